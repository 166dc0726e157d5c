"""The gallery of the first page, as it is shipped."""

from api.web.results.showcase import FOLDER, INDEX, load_showcase


def test_the_gallery_has_a_hundred_classes_each_with_its_images() -> None:
    showcase = load_showcase()
    assert [entry.index for entry in showcase.classes] == list(range(7, 1000, 10))
    shown = {f"{entry.index}{kind}.webp" for entry in showcase.classes for kind in ("", "-seed", "-ascent")}
    assert {path.name for path in FOLDER.iterdir()} == shown | {INDEX.name}
    assert all(len(entry.probabilities) == len(entry.judged) == 2 for entry in showcase.classes)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 1_500_000


def test_the_gallery_is_searched_by_parts_of_names() -> None:
    showcase = load_showcase()
    assert [entry.name for entry in showcase.search(" GOLDEN ")] == ["golden retriever"]
    assert showcase.search("") == showcase.classes
    assert showcase.search("no such class") == []
    assert showcase.find(5) is None
    assert showcase.count_recognized(1) <= showcase.count_recognized(5) <= 100
