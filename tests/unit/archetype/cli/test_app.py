"""The command line without a service: help, `--json` everywhere, plain output, exit codes and start-up time."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import typer
from typer.testing import CliRunner

import archetype.client
from archetype.cli.app import COMMANDS, app, load_command, run_with_json
from archetype.contract.api_key import IssuedKey, Key, Keys
from archetype.contract.audit import AuditView, Estimate, Finding, Trend, TrendPoint
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import Jobs, State, now
from archetype.contract.registration import RegisteredRelease, Registrations
from archetype.contract.report.decision import Decision
from archetype.contract.report.signature import Signature, SigningKey
from archetype.contract.schedule import Announcement, Schedule, Schedules
from archetype.contract.webhook import Deliveries, Delivery, Secret, Secrets
from archetype.version import VERSION
from tests.support.cpu_time import children_cpu_seconds, cpu_limit
from tests.support.mock_service import (
    JOB_ID,
    MockService,
    answer_json,
    answer_problem,
    make_artifact,
    make_job,
    make_problem,
    make_progress,
)

CPU_SECONDS = 0.5
BOX_OR_COLOR = set("─│┌┐└┘╭╮╰╯━┃┏┓┗┛═║\x1b")

AUDIT = AuditView(
    id="audit1",
    model="fruit@2",
    baselines=["fruit@1"],
    plan="nightly",
    plan_version="1" * 12,
    state=State.SUCCEEDED,
    verdict="fail",
    findings=[
        Finding(
            gate="focus", severity="fail", target="sailing boat", change=Estimate(value=1, low=0, high=2), reason="x"
        )
    ],
    progress=make_progress(4, 4),
    members=[],
    created_at=now(),
)
SCHEDULE = Schedule(
    id="schedule1", model="fruit", plan=AuditPlan(name="nightly"), created_at=now(), next_at=now(), outcomes=[]
)
REFUSED = RegisteredRelease(
    model="fruit@3", state="refused", registered_at=now(), attempts=1, error=make_problem(422, "no file")
)
POINT = TrendPoint(
    release="2",
    audit="audit1",
    plan="nightly",
    plan_version="1",
    baselines=["fruit@1"],
    verdict="pass",
    summary="",
    figures={"accuracy": 0.5},
    findings={},
    finished_at=None,
)
DELIVERY = Delivery(id="delivery1", url="https://example.com", event="job.succeeded", data={}, created_at=now())
DECISION = Decision(
    id="d1", decision="approve", name="Ann", reason="known", report_sha256="5" * 64, by="key1", at=now()
)
KEY = Key(id="key1", tenant="vision", created_at=now(), expires_at=now() - timedelta(days=1))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> MockService:
    """The service that the command line reaches at any URL."""
    service = MockService()
    job = make_job(State.SUCCEEDED, artifacts=[make_artifact()], progress=make_progress(8, 8))
    service.answer("GET", f"/v1/jobs/{JOB_ID}", answer_json(job))
    service.answer("GET", f"/v1/jobs/{JOB_ID}/artifacts/0000-lemon.png", httpx2.Response(200, content=b"png"))
    service.answer("GET", "/v1/jobs", answer_json(Jobs(items=[job])))
    service.answer("POST", "/v1/jobs", answer_json(make_job(), 202))
    service.answer("POST", f"/v1/jobs/{JOB_ID}/cancel", answer_json(make_job(State.CANCELLED), 202))
    service.answer("POST", f"/v1/jobs/{JOB_ID}/retry", answer_json(make_job(id="retry1"), 202))
    service.answer("GET", "/v1/audits", answer_json(Jobs(items=[make_job(State.SUCCEEDED, id="audit1")])))
    service.answer("GET", "/v1/audits/audit1", answer_json(AUDIT))
    service.answer("POST", "/v1/audits/audit1/cancel", answer_json(AUDIT))
    service.answer("POST", "/v1/audits/audit1/decision", answer_json(DECISION, 201))
    signature = Signature(key="key2", signature="", report_sha256="5" * 64)
    service.answer("GET", "/v1/audits/audit1/signature", answer_json(signature))
    service.answer("GET", "/v1/signing-key", answer_json(SigningKey(key="key2", public_key="pem")))
    service.answer("GET", "/v1/models/fruit/trend", answer_json(Trend(model="fruit", points=[POINT])))
    model = {"name": "fruit", "releases": ["1", "2"], "classes": 3, "size": [64, 96]}
    service.answer("GET", "/v1/models", answer_json({"items": [model]}))
    service.answer("GET", "/v1/models/fruit", answer_json(model))
    service.answer("GET", "/v1/registrations", answer_json(Registrations(items=[REFUSED])))
    service.answer("GET", "/v1/methods", answer_json({"items": describe_methods()}))
    service.answer("POST", "/v1/models", answer_json(model | {"class_names": ["a", "b"], "layers": [{}]}, 201))
    service.answer("GET", "/v1/schedules", answer_json(Schedules(items=[SCHEDULE])))
    service.answer("POST", "/v1/schedules", answer_json(SCHEDULE, 201))
    service.answer("GET", "/v1/schedules/schedule1", answer_json(SCHEDULE))
    service.answer("DELETE", "/v1/schedules/schedule1", httpx2.Response(204))
    service.answer("POST", "/v1/releases", answer_json(Announcement(model="fruit@2", audits=[])))
    service.answer(
        "GET", "/v1/webhooks/secret", answer_json(Secrets(items=[Secret(secret="whsec_x", created_at=now())]))
    )
    service.answer("GET", "/v1/webhooks/deliveries", answer_json(Deliveries(items=[DELIVERY])))
    service.answer("GET", "/v1/webhooks/deliveries/delivery1", answer_json(DELIVERY))
    service.answer("POST", "/v1/webhooks/deliveries/delivery1/replay", answer_json(DELIVERY))
    service.answer("GET", "/v1/keys", answer_json(Keys(items=[KEY])))
    service.answer("POST", "/v1/keys", answer_json(IssuedKey(**KEY.model_dump(), token="token1")))
    service.answer("DELETE", "/v1/keys/key1", answer_json(KEY))
    service.answer("GET", "/readyz", answer_json({"parts": {"redis": "ok", "object store": "ok"}}))
    box = {"left": 1, "top": 2, "right": 3, "bottom": 4}
    pair = {"image": "a" * 64, "target": {"index": 0, "name": "a"}, "probability": 0.5, "box": box, "size": [8, 8]}
    boxed = make_job(State.SUCCEEDED, id="boxed1", method="localization", metrics={"pairs": [pair]})
    service.answer("GET", "/v1/jobs/boxed1", answer_json(boxed))
    monkeypatch.setattr(archetype.client, "Client", lambda _, key: service.client(key=key))
    return service


def describe_methods() -> list[dict[str, Any]]:
    from archetype.contract.request import describe_methods

    return describe_methods()


PRINTING = {
    "status": ["redis: ok", "object store: ok"],
    "methods": ["learning_rate", "parameter\tdefault\tallowed\tdescription"],
    "submit class-model --model shapes --targets lemon": [JOB_ID],
    "submit filters --model shapes --wait --out here": ["1 files in here"],
    f"jobs wait {JOB_ID} --out here": ["1 files in here"],
    f"jobs show {JOB_ID}": [JOB_ID, '"progress"'],
    "jobs list": ["job\tmethod\tmodel\tstate\tprogress", f"{JOB_ID}\tclass_model\tshapes@1\tsucceeded\t8/8 step\t"],
    f"jobs cancel {JOB_ID}": [f"{JOB_ID} cancelled"],
    f"jobs retry {JOB_ID}": [f"{JOB_ID} -> retry1"],
    "jobs retry --failed": [f"{JOB_ID} -> retry1"],
    "audit list": ["audit\tmodel\tstate\tverdict\tcreated", "audit1\tshapes@1\tsucceeded\tfail\t"],
    "audit show audit1": ['"verdict": "fail"'],
    "audit trend fruit": ["2\tpass\tfruit@1\t0.50\t\t\t\taudit1"],
    "audit cancel audit1": ["audit1 succeeded"],
    "audit decide audit1 approve --name Ann --reason known": ["approve by Ann, report 555"],
    "audit signature audit1 --out report.json.sig": ["report.json.sig"],
    "audit key --out key.pem": ["key.pem: key key2"],
    "schedules add fruit --plan plan.toml --cron 0_0_*_*_*": [
        "schedule schedule1: fruit with plan nightly, next at 20"
    ],
    "schedules add fruit --plan plan.toml --registered-model Fruit --alias audited --run": [
        "schedule schedule1: fruit"
    ],
    "schedules show schedule1": ['"plan"'],
    "schedules remove schedule1": ["schedule schedule1 is removed"],
    "schedules list": ["schedule\tmodel\tplan\ton release"],
    "schedules announce fruit": [""],
    "models list": ["fruit\t1, 2\t3\t64 x 96"],
    "models registrations": ["model\tstate", "fruit@3\trefused\t1\t", "\tno file"],
    "models add fruit --architecture timm:x --classes imagenet --published": ["fruit@1 works: 2 classes, 1 layers"],
    "models show fruit": ['"fruit"'],
    "webhooks secret": ["whsec_x"],
    "webhooks list": ["delivery1\tjob.succeeded\thttps://example.com\twaiting\t0\t"],
    "webhooks show delivery1": ['"job.succeeded"'],
    "webhooks replay delivery1": ["delivery1 is sent again"],
    f"open {JOB_ID}": [f"/jobs/{JOB_ID}"],
    "export boxed1 --to yolo --out here": ["here/labels/", "here/classes.txt"],
    "context add staging --url https://staging.example": ["staging: https://staging.example"],
    "context list": ["used\tcontext\tURL"],
    "keys list": ["key1\tvision\t\tsubmit, read\t", "\texpired"],
    "keys create vision": ["token1"],
    "keys revoke key1": ["key1 revoked"],
}


@pytest.fixture(autouse=True)
def in_folder_with_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text('name = "nightly"')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(typer, "launch", lambda _: 0)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("line", PRINTING)
def test_output_that_is_not_a_terminal_is_plain(service: MockService, line: str) -> None:
    result = run(*line.split())
    assert result.exit_code == 0, result.output
    for text in PRINTING[line]:
        assert text in result.stdout
    assert not BOX_OR_COLOR & set(result.output)


@pytest.mark.parametrize("line", PRINTING)
def test_json_is_printed_before_or_after_the_command(service: MockService, line: str) -> None:
    after, before = run(*line.split(), "--json"), run("--json", *line.split())
    assert (after.exit_code, before.exit_code) == (0, 0)
    assert isinstance(json.loads(after.stdout), dict | list)
    assert json.loads(before.stdout) == json.loads(after.stdout)
    assert not run(*line.split()).stdout.startswith("{") or "show" in line  # the next run prints text again


def test_the_saved_files_are_named_in_json(service: MockService) -> None:
    job = json.loads(run("jobs", "wait", JOB_ID, "--json").stdout)
    assert (job["state"], job["files"]) == ("succeeded", [f"archetype-{JOB_ID}/0000-lemon.png"])
    assert Path(job["files"][0]).read_bytes() == b"png"


def test_a_job_without_boxes_is_not_exported(service: MockService) -> None:
    result = run("export", JOB_ID, "--to", "coco")
    assert result.exit_code == 2
    assert "boxes are those of a localization job" in " ".join(result.stderr.split())


def test_every_command_that_prints_is_tried() -> None:
    silent = {"jobs delete", "images get"}
    elsewhere = {
        "jobs follow",
        "context use",
        "context remove",
        "audit run",
        "audit verify",
        "images upload",
        "pictures get",
        "pictures upload",
    }
    tried = {" ".join(line.split()[:2]) for line in PRINTING} | {line.split()[0] for line in PRINTING}
    assert {name for name in LOADED if not name.startswith("submit ")} - silent - elsewhere <= tried


def test_uploads_are_named_in_json(service: MockService) -> None:
    image = {"id": "a" * 64, "format": "PNG", "width": 1, "height": 1, "bytes": 1}
    service.answer("POST", "/v1/images", answer_json(image, 201))
    Path("bee.png").write_bytes(b"bee")
    assert run("images", "upload", "bee.png").stdout == f"{'a' * 64}  bee.png\n"
    (upload,) = json.loads(run("pictures", "upload", "bee.png", "--json").stdout)  # by the group's former name
    assert (upload["file"], upload["id"]) == ("bee.png", "a" * 64)


def list_commands(group: Any, *path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from list_commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


LOADED = dict(list_commands(SimpleNamespace(commands={name: load_command(name) for name in COMMANDS})))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_lists_what_a_command_says_of_itself(name: str) -> None:
    listed, loaded = COMMANDS[name], load_command(name)
    assert " ".join(loaded.help.split()) == listed.help


HELP = """
import sys
from archetype.cli.app import app
app(["--help"], standalone_mode=False)
print(*sys.modules)
"""


def test_the_help_imports_no_command() -> None:
    """Each command would make all the others slower to start."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=True)
    assert "export" in done.stdout
    modules = {entry.module for entry in COMMANDS.values()}
    assert modules & set(done.stdout.split()) == {"archetype.cli.service.contexts"}  # which knows where the service is


@pytest.mark.parametrize("name", LOADED)
def test_every_command_has_json_and_a_help_text_for_everything(name: str) -> None:
    command = LOADED[name]
    assert "--json" in [option for parameter in command.params for option in parameter.opts]
    assert command.help
    assert all(parameter.help for parameter in command.params), name


@pytest.fixture
def run_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Any, str]]:
    def run(*arguments: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["archetype", *arguments])
        code, captured = run_with_json(), capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    return run


def test_errors_are_problem_documents_in_json(
    service: MockService, run_json: Callable[..., tuple[int, Any, str]]
) -> None:
    service.answer("GET", f"/v1/jobs/{JOB_ID}", answer_problem(404, "no job"))
    code, problem, message = run_json("jobs", "show", JOB_ID, "--json")
    assert (code, problem["status"], problem["detail"], message) == (1, 404, "no job", "error: no job\n")
    service.answer("GET", f"/v1/jobs/{JOB_ID}", httpx2.ConnectError("refused"))
    code, problem, message = run_json("jobs", "show", JOB_ID, "--json")
    assert (code, problem["title"]) == (1, "The service does not answer")
    assert problem["detail"] in message
    code, problem, _ = run_json("submit", "class-model", "--model", "x", "--targets", "1", "-p", "stepz=1", "--json")
    assert (code, problem["errors"][0]["field"]) == (1, "/params/stepz")
    code, problem, _ = run_json("keys", "create", "No Tenant", "--json")
    assert (code, problem["errors"][0]["field"]) == (1, "/tenant")
    code, problem, _ = run_json("jobs", "retry", "--json")
    assert (code, "--failed" in problem["detail"]) == (2, True)
    code, problem, _ = run_json("jobs", "show", "--json")
    assert (code, "job_id" in problem["detail"].lower()) == (2, True)


def test_a_failed_job_exits_with_1_and_its_problem(
    service: MockService, run_json: Callable[..., tuple[int, Any, str]]
) -> None:
    failed = make_job(State.FAILED, error=make_problem(500, "the gradient is zero"))
    service.answer("GET", f"/v1/jobs/{JOB_ID}", answer_json(failed))
    result = run("jobs", "wait", JOB_ID)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: the gradient is zero" in result.stderr
    assert run_json("jobs", "wait", JOB_ID, "--json")[:2] == (1, make_problem(500, "the gradient is zero").model_dump())


def test_progress_is_one_line_on_standard_error_without_a_terminal(service: MockService) -> None:
    assert run("jobs", "wait", JOB_ID).stderr == f"{JOB_ID}: 8/8 steps\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (answer_json(AUDIT, 202), 1),
        (answer_problem(422, "no model"), 2),
        (answer_problem(429, "too many"), 3),
        (answer_problem(503, "no Redis"), 3),
        (httpx2.ConnectError("refused"), 3),
        (answer_json(AUDIT.model_copy(update={"verdict": "pass"}), 202), 1),  # polled again: it has failed
    ],
)
def test_an_audit_exits_with_the_kind_of_its_failure(
    service: MockService, answer: httpx2.Response | Exception, code: int
) -> None:
    service.answer("POST", "/v1/audits", answer)
    result = run("audit", "run", "fruit@2", "--plan", "plan.toml")
    assert result.exit_code == code, result.output
    if code == 1:
        assert result.stdout.startswith("fail: fruit@2 compared with fruit@1\nseverity\tgate\tclass\t")
        assert "fail\tfocus\tsailing boat\t+100.0 (0.0 to 200.0)\t\tx" in result.stdout


@pytest.mark.parametrize(
    ("verdict", "code"), [("pass", 0), ("warn", 0), ("fail", 1), ("error", 3), ("not_comparable", 4)]
)
def test_an_audit_exits_with_its_verdict(service: MockService, verdict: str, code: int) -> None:
    audit = AUDIT.model_copy(update={"verdict": verdict})
    service.answer("POST", "/v1/audits", answer_json(audit, 202))
    service.answer("GET", "/v1/audits/audit1", answer_json(audit))
    result = run("audit", "run", "fruit@2", "--plan", "plan.toml", "--json")
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (code, verdict)


def test_too_many_baselines_are_a_wrong_call(service: MockService) -> None:
    result = run("audit", "run", "fruit@2", "--plan", "plan.toml", *(["--baseline", "fruit@1"] * 5))
    assert result.exit_code == 2
    assert "/baselines" in result.stderr


def test_url_and_key_are_read_from_the_environment(service: MockService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHETYPE_KEY", "secret")
    run("jobs", "list")
    assert service.requests[0].headers["Authorization"] == "Bearer secret"


def archetype_process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "archetype", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_the_version_is_printed() -> None:
    assert archetype_process("--version").stdout == f"archetype {VERSION}\n"
    assert json.loads(archetype_process("--version", "--json").stdout) == {"version": VERSION}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_starts_quickly_and_plain(option: str) -> None:
    seconds = []
    for _ in range(3):
        before = children_cpu_seconds()
        printed = archetype_process(option).stdout
        seconds.append(children_cpu_seconds() - before)
    assert min(seconds) < cpu_limit(CPU_SECONDS)
    assert not BOX_OR_COLOR & set(printed)


def test_the_client_of_the_command_line_is_closed(service: MockService, monkeypatch: pytest.MonkeyPatch) -> None:
    client = service.client()
    monkeypatch.setattr(archetype.client, "Client", lambda _, key: client)  # noqa: ARG005 - it is named by the caller
    run("status")
    assert client._transport.http.is_closed
