"""The gallery has one item for each image, class, layer and candidate, with its own files and figures."""

from typing import Any

import pytest

from api.web.results.figures import list_figures
from api.web.results.gallery import GalleryItem, arrange_gallery
from archetype.contract.job import Artifact, Job, State, TargetClass, now
from shared.media.artifact_names import file_name, file_stem
from tests.support.finished_jobs import describe_file

IMAGE = "ab" * 32
LAYERS = ["features.0", "block-a.conv", "features.2"]


def arrange(artifacts: list[Artifact], metrics: dict[str, Any]) -> list[GalleryItem]:
    fields = {"artifacts": artifacts, "metrics": metrics, "created_at": now(), "state": State.SUCCEEDED}
    return arrange_gallery(Job(id="j", method="m", model="shapes@1", **fields))


def list_files(start: str, *ends: str, **owner: Any) -> list[Artifact]:
    return [describe_file("j", f"{start}{end}", **owner) for end in ends]


def test_every_layer_of_a_feature_inversion_is_an_item_with_its_distance() -> None:
    files = [
        file
        for layer in LAYERS
        for file in list_files(f"{IMAGE[:12]}-{file_name(layer)}", ".png", ".webp", "-curve.png", image=IMAGE)
    ]
    layers = [{"layer": layer, "distance": 0.25 * number} for number, layer in enumerate(LAYERS)]
    items = arrange(files, {"pictures": [{"image": IMAGE, "layers": layers}]})
    assert [item.title for item in items] == LAYERS
    assert [set(item.images) for item in items] == [{"image", "animation", "curve"}] * 3
    assert [list_figures(item.metrics)[0].value for item in items] == ["0", "0.25", "0.5"]


def test_the_layers_of_activations_are_items_with_their_shapes() -> None:
    files = [describe_file("j", f"{IMAGE[:12]}-{file_name(layer)}.png", image=IMAGE) for layer in LAYERS]
    layers = {layer: {"shape": [8, 4, number], "largest": 2.0} for number, layer in enumerate(LAYERS)}
    items = arrange(files, {"pictures": [{"image": IMAGE, "layers": layers}]})
    assert [(item.title, item.metrics["shape"][2]) for item in items] == [*zip(LAYERS, (0, 1, 2), strict=True)]


def test_every_seed_of_a_class_is_an_item_with_its_own_probability() -> None:
    lemon = TargetClass(index=3, name="lemon")
    files = list_files(file_stem(lemon), ".png", "-2.png", "-2-curve.png", "-step-00010.png", target=lemon)
    tries = [{"probability": share, "score": 1.0, "rank": 1, "seed": seed} for share, seed in ((0.9, 7), (0.4, 8))]
    items = arrange(files, {"targets": [{"target": lemon.model_dump(), **tries[0], "tries": tries}]})
    assert [item.title for item in items] == ["lemon", "lemon (2)"]
    assert [item.metrics["seed"] for item in items] == [7, 8]
    assert [file.name for file in items[0].extras] == ["0003-lemon-step-00010.png"]
    assert set(items[1].images) == {"image", "curve"}


@pytest.mark.parametrize("name", ["mask", "Box", "heat map", "side by side"])
def test_a_class_with_the_name_of_a_role_is_shown(name: str) -> None:
    target = TargetClass(index=643, name=name)
    (item,) = arrange(list_files(file_stem(target), ".png", ".webp", "-curve.png", target=target), {})
    assert set(item.images) == {"image", "animation", "curve"}


def test_the_pairs_of_an_image_are_items_with_the_figures_of_their_class() -> None:
    targets = [TargetClass(index=number, name=name) for number, name in enumerate(("ant", "bee"))]
    files = [
        file
        for target in targets
        for file in list_files(f"{IMAGE[:12]}-{file_stem(target)}", "-heat-map.png", target=target, image=IMAGE)
    ]
    pairs = [
        {"image": IMAGE, "target": target.model_dump(), "probability": 0.5, "score": 1.0, "rank": target.index + 1}
        for target in targets
    ]
    items = arrange(files, {"pairs": pairs})
    assert [(item.title, item.metrics["rank"]) for item in items] == [("ant", 1), ("bee", 2)]


def test_files_of_the_whole_job_are_no_items_and_unknown_layers_are() -> None:
    files = [describe_file("j", "contact-sheet.png"), describe_file("j", f"{IMAGE[:12]}-conv1.png", image=IMAGE)]
    (item,) = arrange(files, {})
    assert item.title == "conv1"
