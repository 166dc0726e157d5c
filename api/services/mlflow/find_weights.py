"""Finds the file of weights among the artifacts of a registered version."""

from collections.abc import Callable, Sequence

from api.services.mlflow.registry import ArtifactFile, MlflowRegistry
from archetype.contract.registration import HUGGING_FACE, ONNX
from shared.validation.imports import SETTING, ImportRule

MAX_DEPTH, MAX_FILES = 4, 500

SAFE = (".safetensors",)
STATE_DICTS = ("state_dict.pth",)
"""The file that `mlflow.pytorch.log_state_dict` writes."""

PICKLED_MODULES = ("data/model.pth", "data/model.pkl")
"""Files in which MLflow's PyTorch flavor pickles whole modules."""

OTHERS = (".pth", ".pt", ".bin", ".ckpt")
PROGRAM = ".pt2"
CONFIG = "config.json"
GRAPH = ".onnx"
BESIDE_GRAPH = (".yaml", ".yml", ".txt", ".json", "MLmodel", ".py", ".md", ".npy", ".npz", ".pb")
"""Files in the folder of an ONNX file that are not its weights: those of MLflow, and examples."""

FOLDER_FILES = (".json", *SAFE)
"""Files of a Hugging Face model folder that are needed."""

ADVICE = (
    "log the weights with mlflow.pytorch.log_state_dict or as a safetensors file, or log an exported program and "
    "register it with the architecture 'program'"
)


class RefusedVersion(Exception):
    """The artifacts of a version cannot be used. The message says why, and what to do."""


def list_artifacts(registry: MlflowRegistry, folder: str, *, seconds: Callable[[], float]) -> list[ArtifactFile]:
    """Returns all files below a folder.

    Args:
        registry: The registry.
        folder: The folder of a version.
        seconds: Returns the time that is left for a call.

    Raises:
        RefusedVersion: There are too many files or folders.
        RegistryFailed: The registry does not answer.
    """
    files, folders, seen = list[ArtifactFile](), [(folder, 0)], 0
    while folders:
        path, depth = folders.pop()
        for each in registry.list_folder(path, seconds=seconds()):
            seen += 1
            if seen > MAX_FILES:
                raise RefusedVersion(f"the version has more than {MAX_FILES} files; log the weights alone")
            if not each.is_folder:
                files.append(each)
            elif depth < MAX_DEPTH:
                folders.append((each.path, depth + 1))
    return sorted(files, key=lambda file: file.path)


def choose_files(files: Sequence[ArtifactFile], folder: str, rule: ImportRule) -> list[ArtifactFile]:
    """Returns the file of weights; all files of a Hugging Face model folder, and of an ONNX graph with its weights.

    Args:
        files: All files of the version.
        folder: The folder of the version.
        rule: What the operator says about the model.

    Raises:
        RefusedVersion: There is no such file, there are several, or it is a pickled module.
    """
    if rule.architecture == HUGGING_FACE:
        return _choose_folder(files)
    if rule.file is not None:
        return [_find(files, f"{folder}/{rule.file}", rule.file)]
    if rule.architecture == "program":
        return [_take_one([each for each in files if each.path.endswith(PROGRAM)], "exported program (.pt2)", files)]
    if rule.architecture == ONNX:
        return _choose_graph(files)
    usable = [each for each in files if not each.path.endswith(PICKLED_MODULES)]
    for suffixes in (SAFE, STATE_DICTS, OTHERS):
        candidates = [each for each in usable if each.path.endswith(suffixes)]
        if candidates:
            return [_take_one(candidates, "file of weights", files)]
    raise RefusedVersion(_explain(files))


def _choose_graph(files: Sequence[ArtifactFile]) -> list[ArtifactFile]:
    """The ONNX file, and the files of its weights in the same folder, which MLflow names at random."""
    graph = _take_one([each for each in files if each.path.endswith(GRAPH)], "ONNX file", files)
    beside = [each for each in files if each is not graph and _parent(each) == _parent(graph)]
    return [graph, *(each for each in beside if not each.path.endswith(BESIDE_GRAPH))]


def _choose_folder(files: Sequence[ArtifactFile]) -> list[ArtifactFile]:
    """The files of the folder with the configuration of the network, and the image processor's, which may be apart."""
    weights = {_parent(each) for each in files if each.path.endswith(SAFE)}
    config = _take_one(
        [each for each in files if each.name == CONFIG and _parent(each) in weights],
        "folder with config.json and safetensors files",
        files,
    )
    own = [each for each in files if _parent(each) == _parent(config) and each.path.endswith(FOLDER_FILES)]
    names = {each.name for each in own}
    apart = [each for each in files if each.name == "preprocessor_config.json" and each.name not in names]
    return [*own, *apart[:1]]


def _find(files: Sequence[ArtifactFile], path: str, name: str) -> ArtifactFile:
    found = next((each for each in files if each.path == path), None)
    if found is None:
        raise RefusedVersion(f"the version has no file {name!r}, which {SETTING} names; it has {_name_all(files)}")
    return found


def _take_one(candidates: Sequence[ArtifactFile], what: str, files: Sequence[ArtifactFile]) -> ArtifactFile:
    if len(candidates) > 1:
        names = _name_all(candidates)
        raise RefusedVersion(f"the version has more than one {what}: {names}; name one in {SETTING}: file")
    if not candidates:
        raise RefusedVersion(f"the version has no {what}; it has {_name_all(files)}")
    return candidates[0]


def _explain(files: Sequence[ArtifactFile]) -> str:
    """Why files have no weights that can be used, and what to do."""
    if any(each.path.endswith(PICKLED_MODULES) for each in files):
        return f"the version is a pickled module, which is code and is never loaded; {ADVICE}"
    if any(each.path.endswith(PROGRAM) for each in files):
        return (
            f"the version is an exported program, which is code; {SETTING} can register it with the architecture "
            "'program', if the operator allows code, or log the weights with mlflow.pytorch.log_state_dict"
        )
    return f"the version has no file of weights; it has {_name_all(files)}; {ADVICE}"


def _parent(file: ArtifactFile) -> str:
    return file.path.rpartition("/")[0]


def _name_all(files: Sequence[ArtifactFile]) -> str:
    names = ", ".join(repr(each.name[:80]) for each in files[:5])
    return (names + (f" and {len(files) - 5} more" if len(files) > 5 else "")) or "no files"
