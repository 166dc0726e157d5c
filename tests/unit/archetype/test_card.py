"""The card of a job: complete HTML in which everything from outside is escaped."""

from html.parser import HTMLParser

from archetype.card import MAX_IMAGE_BYTES, MAX_IMAGES, choose_images, render_card
from archetype.contract.job import State, TargetClass
from tests.support.mock_service import make_artifact, make_job, make_problem, make_progress

SCRIPT = "<script>alert(1)</script>'\""


class Tags(HTMLParser):
    """Collects the tags and attributes of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "img":
            self.open.append(tag)
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(card: str) -> Tags:
    tags = Tags()
    tags.feed(card)
    assert tags.open == []
    return tags


def test_whatever_the_service_answers_is_escaped() -> None:
    target = TargetClass(index=0, name=SCRIPT)
    artifact = make_artifact(f"{SCRIPT}.png").model_copy(update={"target": target})
    job = make_job(
        State.FAILED,
        id=SCRIPT,
        method=SCRIPT,
        model=SCRIPT,
        artifacts=[artifact, make_artifact(SCRIPT)],
        error=make_problem(500, SCRIPT),
    )
    tags = parse(render_card(job, {f"{SCRIPT}.png": b"png", SCRIPT: b"png"}))
    assert tags.text.count(SCRIPT) >= 5
    assert {name for name, _ in tags.attributes} == {"style", "src", "alt", "title"}
    running = make_job(State.RUNNING, progress=make_progress(1, 2).model_copy(update={"unit": SCRIPT}))
    assert SCRIPT in parse(render_card(running, {})).text


def test_only_images_that_browsers_show_safely_and_small_ones_are_chosen() -> None:
    artifacts = [
        make_artifact("a.svg", "image/svg+xml"),
        make_artifact("a.html", "text/html"),
        make_artifact("a.tif", "image/tiff"),
        make_artifact("huge.png", size=MAX_IMAGE_BYTES + 1),
        *(make_artifact(f"{number}.png") for number in range(MAX_IMAGES + 5)),
    ]
    job = make_job(State.SUCCEEDED, artifacts=artifacts)
    assert [artifact.name for artifact in choose_images(job)] == [f"{number}.png" for number in range(MAX_IMAGES)]
    card = render_card(job, {artifact.name: b"png" for artifact in artifacts})
    assert card.count("<img") == MAX_IMAGES
    assert f"{len(artifacts)} files" in parse(card).text
