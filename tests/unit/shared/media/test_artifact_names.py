"""File names of artifacts."""

from shared.media.artifact_names import file_name


def test_every_layer_has_a_different_file_name() -> None:
    names = ["a.b", "a_b", "a-b", "a.b-", "ä", "b" * 100, "b" * 101, "a"]
    assert len({file_name(name) for name in names}) == len(names)
    assert file_name("features.0") == "features-0"
