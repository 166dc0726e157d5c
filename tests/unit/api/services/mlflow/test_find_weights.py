"""Which file of a registered version has its weights."""

from typing import Any

import pytest

from api.services.mlflow.find_weights import MAX_FILES, RefusedVersion, choose_files, list_artifacts
from api.services.mlflow.registry import ArtifactFile, MlflowRegistry
from shared.settings import Settings
from shared.validation.imports import ImportRule
from tests.support.mlflow_server import run_stand_in

FOLDER = "0/run/artifacts/model"


def make_rule(architecture: str = "torchvision:resnet18", **more: Any) -> ImportRule:
    fields = {"name": "fruit", "architecture": architecture, "classes": "imagenet"}
    return ImportRule.model_validate({"register_as": fields} | more)


def choose(names: list[str], **rule: Any) -> list[str]:
    files = [ArtifactFile(f"{FOLDER}/{name}") for name in names]
    return [file.path.removeprefix(f"{FOLDER}/") for file in choose_files(files, FOLDER, make_rule(**rule))]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["state_dict.pth"], "state_dict.pth"),
        (["data/model.safetensors", "MLmodel", "conda.yaml"], "data/model.safetensors"),
        (["model.safetensors", "state_dict.pth"], "model.safetensors"),
        (["state_dict.pth", "optimizer.pth"], "state_dict.pth"),
        (["checkpoints/best.ckpt"], "checkpoints/best.ckpt"),
        (["data/model.pth", "state_dict.pth"], "state_dict.pth"),
    ],
)
def test_the_safest_file_of_weights_is_chosen(names: list[str], chosen: str) -> None:
    assert choose(names) == [chosen]


def test_the_operator_can_name_the_file() -> None:
    assert choose(["a.pth", "b.pth"], file="b.pth") == ["b.pth"]
    with pytest.raises(RefusedVersion, match=r"no file 'c.pth'.*it has 'a.pth'"):
        choose(["a.pth"], file="c.pth")


def test_an_exported_program_is_chosen_only_if_the_architecture_is_one() -> None:
    names = ["MLmodel", "data/model.pt2"]
    assert choose(names, architecture="program") == ["data/model.pt2"]
    with pytest.raises(RefusedVersion, match="an exported program, which is code"):
        choose(names)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["MLmodel", "model.onnx", "conda.yaml", "requirements.txt"], ["model.onnx"]),
        (["MLmodel", "model.onnx", "5f2c", "input_example.json"], ["model.onnx", "5f2c"]),
        (["onnx/net.onnx", "onnx/net.onnx.data", "checkpoint.pth"], ["onnx/net.onnx", "onnx/net.onnx.data"]),
    ],
)
def test_an_onnx_file_comes_with_the_weights_beside_it(names: list[str], chosen: list[str]) -> None:
    assert choose(names, architecture="onnx") == chosen


def test_a_version_with_several_onnx_files_is_refused() -> None:
    with pytest.raises(RefusedVersion, match=r"more than one ONNX file: 'a\.onnx', 'b\.onnx'"):
        choose(["a.onnx", "b.onnx"], architecture="onnx")


def test_a_model_folder_is_its_configuration_weights_and_image_processor() -> None:
    names = ["MLmodel", "model/config.json", "model/model.safetensors", "model/pytorch_model.bin"]
    names += ["components/image_processor/preprocessor_config.json", "components/tokenizer/tokenizer.json"]
    assert choose(names, architecture="huggingface") == [
        "model/config.json",
        "model/model.safetensors",
        "components/image_processor/preprocessor_config.json",
    ]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["MLmodel", "data/model.pth"], r"a pickled module, which is code.*mlflow\.pytorch\.log_state_dict"),
        (["a.safetensors", "b.safetensors"], "more than one file of weights: 'a.safetensors', 'b.safetensors'; name"),
        (["MLmodel"], r"no file of weights; it has 'MLmodel'.*log the weights"),
        ([], "it has no files"),
    ],
)
def test_versions_without_weights_are_refused_with_what_to_do(names: list[str], reason: str) -> None:
    with pytest.raises(RefusedVersion, match=reason):
        choose(names)


def test_all_folders_are_listed_up_to_a_limit() -> None:
    with run_stand_in() as server:
        server.files = {f"{FOLDER}/{name}": b"" for name in ("a", "b/c", "b/d/e")}
        registry = MlflowRegistry(Settings(mlflow_url=server.url))
        found = list_artifacts(registry, FOLDER, seconds=lambda: 10)
        assert [file.path for file in found] == list(server.files)
        server.files = {f"{FOLDER}/{number}": b"" for number in range(MAX_FILES + 1)}
        for tree in (server.files, {f"{FOLDER}/{number}/a/b/c/d/e": b"" for number in range(MAX_FILES)}):
            server.files = tree
            with pytest.raises(RefusedVersion, match="more than 500 files"):
                list_artifacts(registry, FOLDER, seconds=lambda: 10)
