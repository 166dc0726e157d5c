"""Networks, weights files and pictures as people bring them: registered and explained over HTTP, compared with PyTorch.

Every case of `../shared/cases/classifiers.py` is registered. It is refused for the right reason, or all jobs that the
model is said to support succeed, and their numbers are those of the plain network.
"""

import os
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from archetype.client import Client
from archetype.contract.request import REQUEST
from deploy.local import run_stack
from shared.settings import Settings
from tests.support.case_references import captum, centered, measure_gradient_error, predict, read_layer, varies
from tests.support.case_rows import FILE, GRADIENTS, JOBS, Case, build
from tests.support.case_runs import Files, Run, as_inputs, describe_jobs, run_all
from tests.support.case_table import ACCEPTED, CASES
from tests.support.paths import ROOT

pytestmark = pytest.mark.timeout(900)

TOLERANCE = 1e-5
NOT_FINITE = "finite|NaN|infinity|no gradient"


@pytest.fixture(scope="module")
def cases_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a stack of its own, whose workers can build the cases."""
    if not FILE.is_file():
        pytest.skip("needs the cases in ../shared/cases")
    folder = tmp_path_factory.mktemp("cases")
    settings = Settings(
        factories={"case": "classifiers:build", "twin": "tests.support.twins:build"},
        exported_programs=True,
        max_wait_seconds=300,
        lease_seconds=5,
        sweep_seconds=0.5,
        step_seconds=60,
        cache=folder / "cache",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(FILE.parent), str(ROOT), str(ROOT / "sdk")]))
        with run_stack(folder / "stack", settings, workers=2) as stack:
            token = stack.settings.operator_token
            assert token is not None
            with Client(stack.url, key=token.get_secret_value(), timeout=300) as client:
                yield client


NAMED = {"numpy_random_features", "numpy_random_features_again", "left_minus_right", "per_image_std", "plain"}
NAMED |= {"negative_evidence", "mixed_activations", "nan_gradient", "divisible"}
"""Cases that single tests need."""

SHORT = {case.name for case in CASES[::8]} | NAMED
"""Cases that `make test` runs; `make test-all` runs all."""


@pytest.fixture(scope="module")
def runs(
    cases_client: Client, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, Run]:
    """What the service did with the cases of the tests that were selected."""
    calls = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {params["case"].name for params in calls if isinstance(params.get("case"), Case)} | NAMED
    return run_all(cases_client, [case for case in CASES if case.name in wanted], tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def files(cases_client: Client) -> Files:
    return Files(cases_client)


def each(cases: list[Case]) -> pytest.MarkDecorator:
    """Runs a test for each case; those that are not in the short form are slow."""
    marks = {case.name: () if case.name in SHORT else pytest.mark.slow for case in cases}
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=marks[case.name]) for case in cases])


def accepted(runs: dict[str, Run], case: Case) -> Run:
    """The run of a case that must have been accepted; skips the test if it was refused and may be."""
    run = runs[case.name]
    if run.refusal and case.may_refuse:
        pytest.skip(f"refused with a reason, which is right as well: {run.refusal}")
    assert not run.refusal, run.refusal
    return run


@each(CASES)
def test_a_case_is_refused_for_the_right_reason_or_described(runs: dict[str, Run], case: Case) -> None:
    run = runs[case.name]
    if case.refused:
        assert re.search(case.refused, run.refusal), run.refusal or "it was accepted"
        return
    model = accepted(runs, case).model
    assert not case.meaning or model["output"] in case.meaning
    assert not case.note or re.search(case.note, " ".join(model["notes"])), model["notes"]


@each(CASES)
def test_no_text_blames_the_service_or_advises_to_disable_a_check(runs: dict[str, Run], case: Case) -> None:
    for text in runs[case.name].texts:
        assert "fault of the service" not in text
        assert "weights_only=False" not in text
        assert "Traceback" not in text


@each(ACCEPTED)
def test_capabilities_say_which_jobs_work_and_why_others_do_not(runs: dict[str, Run], case: Case) -> None:
    run = accepted(runs, case)
    for name in JOBS:
        capability = run.capability(name)
        assert capability is not None, f"nothing is said about {name}"
        assert capability["available"] == (capability["reason"] is None)
        if name in case.missing:
            assert not capability["available"], f"{name} is said to work"
        elif name not in case.optional and not (name in GRADIENTS and not varies(run)):
            assert capability["available"], f"{name}: {capability['reason']}"


@each(ACCEPTED)
def test_jobs_succeed_if_they_are_available_and_are_refused_with_the_reason_if_not(
    runs: dict[str, Run], case: Case
) -> None:
    run, faults = accepted(runs, case), {}
    for name in JOBS:
        capability = run.capability(name)
        if capability is not None and not capability["available"]:
            assert name in run.refusals, f"{name} was accepted although it is not available"
            assert capability["reason"] in run.refusals[name]
        elif name in run.refusals:
            faults[name] = run.refusals[name]
        elif (error := run.jobs[name].error) is not None and not (
            (case.may_be_nan or name in case.optional) and re.search(NOT_FINITE, error.detail)
        ):
            faults[name] = error.detail
    excused = case.missing | (frozenset() if varies(run) else GRADIENTS)
    assert not {name: fault for name, fault in faults.items() if name not in excused}


def is_available(run: Run, name: str) -> bool:
    capability = run.capability(name)
    return name not in run.case.missing and (capability is None or capability["available"])


def skip_if_unavailable(run: Run, name: str) -> None:
    may_fail = name in run.case.missing | run.case.optional
    if may_fail and (not is_available(run, name) or run.jobs[name].error is not None):
        pytest.skip(f"{name} is not available for this network")


@each([case for case in ACCEPTED if not case.is_random])
def test_scores_and_probabilities_are_those_of_the_plain_network(runs: dict[str, Run], case: Case) -> None:
    run = accepted(runs, case)
    name = "gradient" if is_available(run, "gradient") else "occlusion"
    pairs = run.succeeded(name).metrics["pairs"] if not case.may_be_nan else run.succeeded("occlusion").metrics["pairs"]
    rows = {image: row for row, image in enumerate(run.images)}
    scores, probabilities = predict(run, run.inputs)
    for pair in pairs:
        row, target = rows[pair["image"]], pair["target"]["index"]
        assert pair["probability"] == pytest.approx(float(probabilities[row, target]), abs=TOLERANCE)
        if not case.centered and case.meaning:
            assert pair["score"] == pytest.approx(float(scores[row, target]), abs=TOLERANCE)
    if case.centered and name == "gradient":
        found = torch.tensor([pair["score"] for pair in pairs]).reshape(len(rows), -1)
        torch.testing.assert_close(centered(case, found, 1), centered(case, scores, 1), atol=TOLERANCE, rtol=0)


@each([case for case in ACCEPTED if not (case.missing >= GRADIENTS or case.may_be_nan or case.is_random)])
def test_gradients_are_those_of_the_plain_network(runs: dict[str, Run], files: Files, case: Case) -> None:
    run = accepted(runs, case)
    skip_if_unavailable(run, "gradient")
    job = run.succeeded("gradient")
    targets = range(len(case.classes))
    found = torch.tensor(np.array([[files.map(job, image, target) for image in run.images] for target in targets]))
    alternatives = [case.score] if case.meaning else [case.score, case.probabilities]
    errors = [measure_gradient_error(run, found, score) for score in alternatives]
    assert min(errors) <= TOLERANCE, errors


@each([case for case in ACCEPTED if case.cam])
def test_grad_cam_is_that_of_captum(runs: dict[str, Run], files: Files, case: Case) -> None:
    run = accepted(runs, case)
    skip_if_unavailable(run, "grad_cam")
    job = run.succeeded("grad_cam")
    for target in range(len(case.classes)):
        found = np.stack([files.map(job, image, target) for image in run.images[:2]])
        errors = {layer: float(np.abs(found - captum(run, layer, target)).max()) for layer in case.cam}
        assert min(errors.values()) <= TOLERANCE, (target, errors)


@each([case for case in ACCEPTED if case.layers])
def test_activations_are_the_outputs_of_the_named_layers(runs: dict[str, Run], files: Files, case: Case) -> None:
    run = accepted(runs, case)
    skip_if_unavailable(run, "activations")
    job = run.succeeded("activations")
    for name in case.layers:
        for image, expected in zip(run.images, read_layer(run, name), strict=True):
            found = files.layer(job, image, name)
            assert found["maps"].shape == expected.shape
            np.testing.assert_allclose(found["maps"], expected[found["channels"]], atol=TOLERANCE)


@each(
    [
        case
        for case in ACCEPTED
        if case.channels == 3 and not (case.missing >= GRADIENTS or case.is_random or case.may_be_nan)
    ]
)
def test_the_score_of_a_class_model_is_that_of_the_plain_network_for_the_saved_picture(
    runs: dict[str, Run], files: Files, case: Case
) -> None:
    run = accepted(runs, case)
    skip_if_unavailable(run, "class_model")
    if not varies(run):
        pytest.skip("the scores do not depend on the picture")
    job = run.succeeded("class_model")
    for target in job.metrics["targets"]:
        index = target["target"]["index"]
        inputs = as_inputs([files.pixels(job, index)])
        probability = predict(run, inputs)[1][0, index]
        assert target["probability"] == pytest.approx(float(probability), abs=1e-4)


def test_a_release_whose_features_are_drawn_when_it_is_built_gives_the_same_scores_in_every_worker(
    runs: dict[str, Run],
) -> None:
    twins = [runs[name].succeeded("gradient") for name in ("numpy_random_features", "numpy_random_features_again")]
    first, second = ([pair["score"] for pair in job.metrics["pairs"]] for job in twins)
    assert first == second


def run_job(client: Client, run: Run, name: str, params: dict[str, object], **changes: object):  # type: ignore[no-untyped-def]
    """Runs one of the jobs of a case with other parameters."""
    body = describe_jobs(run.case, run.images)[name]
    body = body | changes | {"params": body["params"] | params}
    return client.wait(client.submit(REQUEST.validate_python(body)).id, timeout=400)


def test_occlusion_points_at_positive_evidence_only(runs: dict[str, Run], cases_client: Client) -> None:
    run = runs["left_minus_right"]
    right_half = {"left": 16, "top": 0, "right": 32, "bottom": 32}
    image = [{"id": run.images[0], "boxes": [right_half]}]
    job = run_job(cases_client, run, "occlusion", {"metrics": ["pointing"]}, images=image, targets=["b"])
    assert job.metrics["pairs"][0]["pointing"] is True, job.metrics


def test_a_flat_picture_without_finite_scores_fails_by_itself(runs: dict[str, Run], cases_client: Client) -> None:
    run = runs["per_image_std"]
    flat = cases_client.upload(build("flat_grey")).id
    job = run_job(cases_client, run, "gradient", {}, images=[flat, run.images[0]])
    assert list(job.metrics["failed"]) == [flat] or job.metrics["failed"][0]["image"] == flat
    assert {pair["image"] for pair in job.metrics["pairs"]} == {run.images[0]}


def test_a_map_that_is_all_zero_is_reported(runs: dict[str, Run]) -> None:
    job = runs["negative_evidence"].succeeded("grad_cam")
    (first, *_) = [pair for pair in job.metrics["pairs"] if pair["target"]["index"] == 0]
    assert "zero" in str(first) or "zero" in str(job.metrics.get("warnings")), job.metrics


def test_a_guided_map_says_how_many_activations_had_the_rule(runs: dict[str, Run]) -> None:
    job = runs["mixed_activations"].succeeded("guided")
    assert re.search(r"1 of (the )?3", str(job.metrics)), job.metrics


def test_maps_that_are_not_finite_are_failures(runs: dict[str, Run]) -> None:
    run = runs["nan_gradient"]
    if "gradient" in run.refusals:
        assert re.search(NOT_FINITE, run.refusals["gradient"])
    elif (job := run.jobs["gradient"]).error is not None:
        assert re.search(NOT_FINITE, job.error.detail)
    else:
        assert job.metrics["failed"]


def test_other_sizes_of_a_network_that_checks_its_size_are_refused_or_handled(
    runs: dict[str, Run], cases_client: Client
) -> None:
    run = runs["divisible"]
    default = run_job(cases_client, run, "class_model", {"canvas": [48, 40], "transforms": []})
    windows = {"method": "class_model", "model": "divisible", "targets": [0], "params": {"steps": 3, "extras": False}}
    dream = {"method": "deep_dream", "model": "divisible", "images": run.images[:1], "params": {"steps": 2}}
    jobs = [cases_client.submit(REQUEST.validate_python(body)) for body in (windows, dream)]
    for job in (default, *(cases_client.wait(job.id, timeout=400) for job in jobs)):
        assert job.error is None or re.search("size|divisible|canvas", job.error.detail), job.error
        assert job.error is None or "fault" not in job.error.detail


def test_a_picture_with_long_text_is_accepted_with_all_of_its_pixels(
    runs: dict[str, Run], cases_client: Client
) -> None:
    run = runs["plain"]
    picture = cases_client.upload(build("png_long_text")).id
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    job = run_job(cases_client, run, "gradient", {}, images=[picture], targets=[0])
    assert job.error is None, job.error
    expected = predict(run, as_inputs([pixels]))[0][0, 0]
    assert job.metrics["pairs"][0]["score"] == pytest.approx(float(expected), abs=TOLERANCE)
