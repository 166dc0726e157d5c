"""Small files and bodies that are expensive to read."""

from collections.abc import Callable
from functools import partial

from archetype.contract.request import Saliency
from tests.chaos.requests import NAMES
from tests.siege import bombs
from tests.siege.attack import Attack
from tests.siege.findings import Findings
from tests.siege.stage import Stage, bearer
from tests.siege.traffic import MULTIPART, Crowd, call, make_form

CALLERS, PAUSE_SECONDS = 3, 0.5
ANSWER_SECONDS, LARGE_ANSWER_SECONDS = 20.0, 60.0
"""The longest time that an attacker waits for an answer; the second for a body of many megabytes."""

JSON_TYPE, FORM = "application/json", "application/x-www-form-urlencoded"
MEBIBYTE = 1 << 20


def send(
    stage: Stage, findings: Findings, *, path: str, make: Callable[[], bytes], media_type: str, large: bool = False
) -> None:
    """Sends the same body again and again, or a large one once from each caller; each must be answered."""
    body, headers = make(), {**bearer(stage.attacker), "Content-Type": media_type}
    seconds = (LARGE_ANSWER_SECONDS if large else ANSWER_SECONDS) * stage.patience

    def send_one() -> int | None:
        return call(stage.address, "POST", path, body, seconds=seconds, headers=headers)[0]

    with Crowd(send_one, count=CALLERS, pause=PAUSE_SECONDS, calls=CALLERS if large else 100) as crowd:
        stage.hold()
        crowd.stop()
        crowd.wait(seconds)
    findings.note(f"{len(body)} bytes each; answers: {crowd.describe()}")
    failed = sum(count for status, count in crowd.answers.items() if status is None or status == 500)
    sentence = f"each body is answered within {seconds:g} s, and not with 500; {failed} were not"
    findings.expect(not failed, sentence)


def upload(
    name: str,
    title: str,
    make: Callable[[], bytes],
    *,
    path: str = "/v1/images",
    large: bool = False,
    short: bool = False,
) -> Attack:
    """An attack with a file."""

    def make_body() -> bytes:
        return make_form(make(), "file")

    act = partial(send, path=path, make=make_body, media_type=MULTIPART, large=large)
    return Attack(10, name, title, act, prepare=make, short=short)


def post(
    name: str,
    title: str,
    make: Callable[[], bytes],
    *,
    path: str = "/v1/jobs",
    kind: str = JSON_TYPE,
    large: bool = False,
) -> Attack:
    """An attack with a body."""
    return Attack(10, name, title, partial(send, path=path, make=make, media_type=kind, large=large))


def bzip2_member(stage: Stage, findings: Findings) -> None:
    """Uploads an archive with a bzip2 member, and submits a job that reads it."""
    form, headers = make_form(make_archive(), "archive.zip"), {**bearer(stage.attacker), "Content-Type": MULTIPART}
    status, facts = call(stage.address, "POST", "/v1/archives", form, headers=headers)
    findings.note(f"an archive of {len(make_archive())} bytes was answered with {status}")
    if status == 201:
        images = {"archive": facts["id"]}
        request = Saliency.model_validate(
            {"method": "saliency", "model": "shapes", "targets": [NAMES[0]], "images": images}
        )
        findings.expect(stage.submit(findings, request) is not None, "the job is answered")
    else:
        findings.expect(status is not None and 400 <= status < 500, "the archive is refused with the reason")
    stage.hold()


def deflated_checkpoint(stage: Stage, findings: Findings) -> None:
    """Uploads a deflated checkpoint, and registers a release with it."""
    form, headers = make_form(make_checkpoint(), "weights.pt"), {**bearer(stage.attacker), "Content-Type": MULTIPART}
    status, weights = call(stage.address, "POST", "/v1/weights", form, headers=headers)
    findings.note(f"a checkpoint of {len(make_checkpoint())} bytes was answered with {status}")
    if status == 201:
        status = stage.register("deflated", weights["id"], seconds=30)
        findings.note(f"its registration was answered with {status}")
        findings.expect(status in (202, 422), f"the release is refused with the reason; the answer was {status}")
    else:
        findings.expect(status is not None and 400 <= status < 500, "the checkpoint is refused with the reason")
    stage.hold()


make_archive = partial(bombs.bzip2_archive, 512 * MEBIBYTE)
make_checkpoint = partial(bombs.checkpoint_bomb, 128 * MEBIBYTE)

make_directory = partial(bombs.directory_archive, 1_000_000)

ATTACKS = (
    upload("png", "a PNG of 50 million pixels in 194 kB", bombs.png_bomb, short=True),
    upload("png-16", "the same with 16 bits per value", partial(bombs.png_bomb, depth=16)),
    upload("tiff", "a deflated TIFF of 50 million pixels", partial(bombs.tiff_bomb, channels=3, bits=8)),
    upload("tiff-float", "the same with floats", partial(bombs.tiff_bomb, channels=1)),
    upload("jpeg", "a progressive JPEG of 1,000 scans", partial(bombs.scans_jpeg, 1000)),
    upload("directory", "an archive with a million directory entries", make_directory, path="/v1/archives", large=True),
    post("json-lists", "1 MB of JSON with a long list", partial(bombs.long_list, 490_000)),
    post("json-deep", "JSON of 100,000 nested lists", partial(bombs.deep_json, 100_000)),
    post(
        "form",
        "a form of sign-in of 19 MB",
        partial(bombs.large_form, 19_000_000),
        path="/enter",
        kind=FORM,
        large=True,
    ),
    Attack(
        10,
        "bzip2",
        "an archive of 1 kB with a bzip2 member of 512 MB",
        bzip2_member,
        prepare=make_archive,
        adds=256 * MEBIBYTE,
    ),
    Attack(
        10,
        "checkpoint",
        "a deflated checkpoint of 512 MB in 0.5 MB",
        deflated_checkpoint,
        prepare=make_checkpoint,
        adds=256 * MEBIBYTE,
    ),
)
