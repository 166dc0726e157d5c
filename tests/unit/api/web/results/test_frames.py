"""The slider of an animation shows the step of each frame, and the objective at this step."""

import io
import zipfile

import pytest

from api.web.results.frames import MAX_CURVE_BYTES, count_frames, cut_frame, describe_frames, read_curve
from archetype.contract.parameters.ascent import list_frame_steps
from shared.errors import NotFound
from tests.support.finished_jobs import animate, pack_curve

PARAMS = {"steps": 60, "frames": 6}


def test_every_frame_has_its_step_and_the_objective_of_its_image() -> None:
    described = describe_frames(6, PARAMS, read_curve(io.BytesIO(pack_curve(60))))
    assert described["steps"] == [10, 20, 30, 40, 50, 60]
    # The curve has the objective before each step: the fourth value is that after three steps.
    assert described["objectives"] == [10, 20, 30, 40, 50, None]


def test_an_ascent_that_stopped_early_has_the_frames_before_its_last_step() -> None:
    assert describe_frames(3, PARAMS, [0.0] * 25)["steps"] == [10, 20, 25]


@pytest.mark.parametrize(
    ("count", "params", "curve"),
    [
        (5, PARAMS, [0.0] * 60),  # a frame with infinite values was left out
        (6, PARAMS, []),  # the job saved no curve
        (6, PARAMS | {"octaves": 2}, [0.0] * 60),
    ],
)
def test_steps_that_are_not_known_are_not_guessed(count: int, params: dict[str, int], curve: list[float]) -> None:
    assert describe_frames(count, params, curve) == {"count": count, "steps": None, "objectives": None}


def test_a_value_that_is_not_finite_has_no_objective() -> None:
    assert describe_frames(2, {"steps": 2, "frames": 2}, [0.0, float("nan")])["objectives"] == [None, None]


def test_frames_are_taken_at_evenly_spread_steps() -> None:
    assert list_frame_steps(60, 6) == [10, 20, 30, 40, 50]
    assert list_frame_steps(2, 60) == [1, 2]


def test_a_file_without_a_curve_or_with_a_huge_one_is_not_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("curve.npy", bytes(MAX_CURVE_BYTES + 1))
    assert read_curve(file) == []
    assert read_curve(io.BytesIO(b"no archive")) == []


def test_frames_are_cut_from_an_animation() -> None:
    data = animate(3)
    assert count_frames(data) == 3
    assert cut_frame(data, 2)[:4] == b"RIFF"
    with pytest.raises(NotFound):
        cut_frame(data, 3)
