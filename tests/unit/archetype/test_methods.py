"""Calls per method: what they send, and that they are in step with the contract."""

import inspect
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Literal, Unpack, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from PIL import Image as PillowImage

from archetype import ClassModel, Client
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.components import COMPONENTS
from archetype.contract.parameters.inputs import Archive, ImageInput, StorePrefix, TrueBox
from archetype.contract.request import METHODS
from archetype.contract.upload import ArchiveFacts, Image
from archetype.errors import InvalidRequest
from archetype.options import JobOptions
from tests.support.mock_service import JOB_ID, MockService, answer_json, make_job

IDS = ["a" * 64, "b" * 64, "c" * 64]


@pytest.fixture
def service() -> MockService:
    service = MockService()
    service.answer("POST", "/v1/jobs", lambda _: answer_json(make_job(), 202))
    uploads = [answer_json(Image(id=image_id, format="PNG", width=1, height=1, bytes=1), 201) for image_id in IDS]
    service.answer("POST", "/v1/images", *uploads)
    service.answer("POST", "/v1/archives", answer_json(ArchiveFacts(id="f" * 64, pictures=2, bytes=9), 201))
    return service


@pytest.fixture
def client(service: MockService) -> Client:
    return service.client()


def read_body(service: MockService) -> dict[str, Any]:
    return dict(json.loads(service.sent("POST", "/v1/jobs")[-1].content))


def find_options(method: str) -> Any:
    hints = get_type_hints(getattr(Client, method))
    (options,) = get_args(hints["options"])
    assert get_origin(hints["options"]) is Unpack
    return options


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_call_with_all_of_its_parameters(method: str) -> None:
    parameters = METHODS[method].model_fields["params"].annotation
    assert parameters is not None
    options, fields = get_type_hints(find_options(method)), parameters.model_fields
    assert set(options) - set(get_type_hints(JobOptions)) == set(fields)
    for name, field in fields.items():
        if get_origin(field.annotation) is Literal:
            assert set(get_args(options[name])) == set(get_args(field.annotation)), name


@pytest.mark.parametrize("method", METHODS)
def test_no_parameter_of_a_method_has_the_name_of_an_argument(method: str) -> None:
    arguments = set(inspect.signature(getattr(Client, method)).parameters)
    assert not arguments & set(get_type_hints(find_options(method)))


def test_options_and_parameters_are_told_apart(service: MockService, client: Client) -> None:
    handle = client.class_model(
        "shapes",
        ["lemon", 7],
        steps=5,
        seeds=(1, 2),
        regularizers=[{"kind": "total_variation", "weight": 1e-4}],
        priority="bulk",
        tags=["nightly"],
        webhook="https://example.com",
        cancel_after="30m",
        idempotency_key="once",
    )
    assert handle.id == JOB_ID
    body = read_body(service)
    parameters = {"steps": 5, "seeds": [1, 2], "regularizers": [{"kind": "total_variation", "weight": 1e-4}]}
    assert {name: body["params"][name] for name in parameters} == parameters  # a preset adds the others
    assert {name: value for name, value in body.items() if name != "params"} == {
        "method": "class_model",
        "model": "shapes",
        "targets": ["lemon", 7],
        "priority": "bulk",
        "tags": ["nightly"],
        "webhook": "https://example.com",
    }
    headers = service.requests[-1].headers
    assert (headers["Cancel-After"], headers["Idempotency-Key"]) == ("30m", "once")


def test_what_is_not_given_is_not_sent(service: MockService, client: Client) -> None:
    client.filters("shapes")
    assert read_body(service) == {"method": "filters", "model": "shapes", "params": {}}
    assert "cancel-after" not in service.requests[-1].headers


def test_a_submission_without_a_key_gets_a_new_one_so_that_it_can_be_repeated(
    service: MockService, client: Client
) -> None:
    for _ in range(2):
        client.filters("shapes")
    first, second = (request.headers["Idempotency-Key"] for request in service.requests)
    assert len(first) == 32
    assert first != second


def test_a_component_may_be_a_model(service: MockService, client: Client) -> None:
    prior = COMPONENTS["total_variation"](kind="total_variation", weight=0.5)
    client.class_model("shapes", ["lemon"], regularizers=[prior])
    assert read_body(service)["params"]["regularizers"][0]["weight"] == 0.5


@pytest.mark.parametrize(
    ("targets", "sent"), [("lemon", ["lemon"]), (7, [7]), (("a", 1), ["a", 1]), ("all", "all"), (None, None)]
)
def test_classes_are_given_alone_or_as_a_list(
    service: MockService, client: Client, targets: Any, sent: list[str | int] | str | None
) -> None:
    client.saliency("shapes", IDS[0], targets)
    assert read_body(service).get("targets") == sent


@pytest.mark.parametrize("method", ["saliency", "localization", "patches"])
def test_the_highest_classes_are_given_by_their_number(service: MockService, client: Client, method: str) -> None:
    getattr(client, method)("shapes", IDS[0], top=3)
    assert read_body(service)["targets"] == {"top": 3}
    with pytest.raises(InvalidRequest, match="not both"):
        getattr(client, method)("shapes", IDS[0], ["lemon"], top=3)


def test_targets_of_deep_dream_choose_its_objective(service: MockService, client: Client) -> None:
    client.deep_dream("shapes", IDS[0], ["lemon"])
    assert read_body(service)["params"] == {"objective": {"kind": "class"}}
    client.deep_dream("shapes", IDS[0])
    assert read_body(service)["params"] == {}


@pytest.mark.parametrize("method", ["fool", "feature_inversion", "activations"])
def test_other_methods_send_their_images(service: MockService, client: Client, method: str) -> None:
    targets = [["lemon"]] if method == "fool" else []
    getattr(client, method)("shapes", [IDS[0]], *targets)
    assert (read_body(service)["method"], read_body(service)["images"]) == (method, [IDS[0]])


def test_files_and_bytes_are_uploaded_and_ids_are_not(service: MockService, client: Client, tmp_path: Path) -> None:
    (tmp_path / "bee.png").write_bytes(b"bee")
    known = Image(id="d" * 64, format="PNG", width=1, height=1, bytes=1)
    boxed = ImageInput(id="e" * 64, boxes=[TrueBox(left=0, top=0, right=1, bottom=1)])
    client.activations("shapes", [tmp_path / "bee.png", b"data", str(tmp_path / "bee.png"), "9" * 64, known, boxed])
    sent = read_body(service)["images"]
    assert sent[:5] == [*IDS, "9" * 64, known.id]
    assert sent[5]["boxes"] == [{"left": 0, "top": 0, "right": 1, "bottom": 1}]
    uploads = [request.content for request in service.sent("POST", "/v1/images")]
    assert [b"bee.png" in upload and b"bee" in upload for upload in uploads] == [True, False, True]


@pytest.mark.parametrize("single", ["bee.png", b"data", "a" * 64])
def test_one_image_needs_no_list(
    service: MockService, client: Client, tmp_path: Path, single: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bee.png").write_bytes(b"bee")
    client.saliency("shapes", single)
    assert read_body(service)["images"] == [IDS[0]]


def test_collections_are_given_by_archive_or_by_prefix(service: MockService, client: Client, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "probes.ZIP", "w") as archive:
        archive.writestr("a.png", b"a")
    uploaded = ArchiveFacts(id="f" * 64, pictures=1, bytes=1)
    for images in (tmp_path / "probes.ZIP", str(tmp_path / "probes.ZIP"), uploaded, Archive(archive="f" * 64)):
        client.saliency("shapes", images)
        assert read_body(service)["images"] == {"archive": "f" * 64}
    client.saliency("shapes", StorePrefix(prefix="probes/"))
    assert read_body(service)["images"] == {"prefix": "probes/"}


def test_a_mistake_is_found_before_anything_is_sent(service: MockService, client: Client) -> None:
    with pytest.raises(InvalidRequest, match="did you mean steps") as wrong:
        client.class_model("shapes", ["lemon"], stepz=3)  # type: ignore[call-arg]
    assert wrong.value.problem is not None
    assert wrong.value.problem.errors[0].field == "/params/stepz"
    with pytest.raises(FileNotFoundError):
        client.saliency("shapes", "no-such-file.png")
    assert service.requests == []


def test_a_request_model_is_submitted_as_it_is(service: MockService, client: Client) -> None:
    request = ClassModel(
        method="class_model", model="shapes", targets=["lemon"], params=ClassModelParameters(steps=3), tags=["a"]
    )
    assert client.start(request, cancel_after="90s").id == client.submit(request).id == JOB_ID
    assert read_body(service)["params"]["steps"] == 3
    assert service.requests[0].headers["Cancel-After"] == "90s"


@pytest.mark.parametrize("several", [False, True])
def test_arrays_and_images_of_pillow_are_uploaded(service: MockService, client: Client, several: bool) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    client.saliency("shapes", [array, PillowImage.fromarray(array)] if several else array)
    uploads = [request.content for request in service.sent("POST", "/v1/images")]
    assert read_body(service)["images"] == IDS[: len(uploads)]
    assert [b"\x93NUMPY" in upload for upload in uploads] == [True, False][: len(uploads)]
    assert [b"\x89PNG" in upload for upload in uploads] == [False, True][: len(uploads)]
    assert len(uploads) == 1 + several


def test_arrays_of_paths_are_paths_and_images_are_uploaded_upright(
    service: MockService, client: Client, tmp_path: Path
) -> None:
    turned = PillowImage.new("CMYK", (20, 10))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    turned.save(tmp_path / "a.jpg", exif=exif)
    with PillowImage.open(tmp_path / "a.jpg") as opened:
        client.saliency("shapes", [np.str_(tmp_path / "a.jpg"), opened])
    plain, encoded = (request.content for request in service.sent("POST", "/v1/images"))
    assert (tmp_path / "a.jpg").read_bytes() in plain
    start = encoded.index(b"\x89PNG")
    with PillowImage.open(io.BytesIO(encoded[start:])) as image:
        assert (image.size, image.mode) == ((10, 20), "RGB")
