"""A running stack with the keys of two tenants, and what attacks use of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from pydantic import SecretStr

from archetype.client import Client
from archetype.contract.api_key import Limits, NewKey, Scope
from archetype.contract.request import AnyRequest
from deploy.local import Stack, run_stack
from deploy.processes import ProcessGroup
from deploy.servers import HOST, free_port
from shared.settings import Settings
from shared.validation.write_back import WriteBackRule
from tests.chaos.requests import paint, small
from tests.chaos.stage import QUICK_SETTINGS
from tests.siege.bystander import Call
from tests.siege.findings import Findings
from tests.siege.gate import Gate
from tests.siege.traffic import MULTIPART, call, make_form
from tests.support.hostile_receiver import hostile_receiver, silent
from tests.support.threads import single_threaded

SEED = 7
OPERATOR_TOKEN, MLFLOW_SECRET = "the operator's token of this test", "the registry's secret of this test"


@dataclass
class Stage:
    """A stack under attack.

    Attributes:
        gate: The proxy in front of the store.
        issuer: The URL of the identity provider, which accepts connections and never answers.
        seconds: How long each attack lasts.
        patience: The factor by which time limits are longer than on an idle machine.
        attacker: The key of the tenant that attacks; it may submit, read and register releases.
        bystander: The key of the tenant whose calls are measured.
        known_job: A job of the bystander that has succeeded.
        picture: A small picture that the bystander uploads.
    """

    stack: Stack
    gate: Gate
    issuer: str
    folder: Path
    seconds: float
    patience: float
    short: bool
    attacker: str
    bystander: str
    random: Random = field(default_factory=lambda: Random(SEED))
    known_job: str = ""
    picture: bytes = b""

    @property
    def address(self) -> str:
        """`host:port` of the API."""
        return urlsplit(self.stack.url).netloc

    @property
    def processes(self) -> ProcessGroup:
        return self.stack.processes

    def connect(self, key: str, *, timeout: float = 20) -> Client:
        """Returns a client of a tenant."""
        return Client(self.stack.url, key=key, timeout=timeout)

    def hold(self) -> None:
        """Lets an attack last."""
        time.sleep(self.seconds)

    def submit(
        self, findings: Findings, request: AnyRequest, *, key: str | None = None, seconds: float = 20
    ) -> int | None:
        """Submits a job of the attacker, or of another key; returns the status."""
        key = key or self.attacker
        body = request.model_dump_json(exclude_unset=True).encode()
        status, job = call(self.address, "POST", "/v1/jobs", body, seconds=seconds, headers={**bearer(key), **JSON})
        if status == 202:
            findings.accept(key, job["id"], request)
        return status

    def register(self, name: str, upload: str, *, seconds: int) -> int | None:
        """Registers a release of the attacker with uploaded weights; returns the status after the worker's answer."""
        release = {"name": name, "architecture": "torchvision:resnet18", "classes": ["one", "two"], "upload": upload}
        headers = {**bearer(self.attacker), **JSON, "Prefer": f"wait={seconds}"}
        return call(
            self.address, "POST", "/v1/models", json.dumps(release).encode(), seconds=seconds + 10, headers=headers
        )[0]

    def list_calls(self) -> list[Call]:
        """Returns the calls of the bystander: liveness, two reads, a submit and an upload."""
        key = bearer(self.bystander)
        form = make_form(self.picture, "small.png").decode("latin-1")
        submitted = self.bystander_request.model_dump_json(exclude_unset=True)
        return [
            Call("healthz", self.address, "GET", "/healthz"),
            Call("read", self.address, "GET", f"/v1/jobs/{self.known_job}", key),
            Call("list", self.address, "GET", "/v1/jobs?limit=5", key),
            Call("submit", self.address, "POST", "/v1/jobs", {**key, "Content-Type": "application/json"}, submitted),
            Call("upload", self.address, "POST", "/v1/images", {**key, "Content-Type": MULTIPART}, form),
        ]

    @property
    def bystander_request(self) -> AnyRequest:
        """The job that the bystander submits once a second."""
        return small(Random(SEED), "bystander")


JSON = {"Content-Type": "application/json"}


def bearer(key: str) -> dict[str, str]:
    """Returns the header that a key is sent in."""
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def open_stage(folder: Path, *, seconds: float, patience: float = 1, short: bool = False) -> Iterator[Stage]:
    """Starts a stack on free ports, with a proxy in front of its store and the keys of two tenants."""
    folder.mkdir(parents=True, exist_ok=True)
    quick = {name: value for name, value in QUICK_SETTINGS.items() if name in Settings.model_fields}
    with Gate(free_port()) as gate, hostile_receiver(silent) as issuer, single_threaded():
        settings = Settings(
            s3_endpoint=gate.url,
            cache=folder / "cache",
            operator_token=SecretStr(OPERATOR_TOKEN),
            keyless_loopback=True,  # the receivers of webhooks are on the loopback
            oidc_issuer=f"http://{HOST}:{issuer}",
            mlflow_url=f"http://{HOST}:{free_port()}",
            mlflow_secret=SecretStr(MLFLOW_SECRET),
            mlflow_tenant="bystander",
            mlflow_write_back={"bystander": [WriteBackRule(models=["shapes"], tag_prefixes=["archetype."])]},
            scheduler_poll_seconds=1,
            **quick,
        )
        with run_stack(folder, settings, store=gate.upstream) as stack:
            keys = {tenant: issue_key(stack, tenant) for tenant in ("attacker", "bystander")}
            stage = Stage(
                stack,
                gate,
                settings.oidc_issuer or "",
                folder,
                seconds,
                patience,
                short,
                keys["attacker"],
                keys["bystander"],
            )
            warm_up(stage)
            yield stage


def issue_key(stack: Stack, tenant: str, **limits: int) -> str:
    """Returns a new key of a tenant, with all scopes."""
    new = NewKey(tenant=tenant, scopes=list(Scope), limits=Limits(**limits))
    with Client(stack.url, key=OPERATOR_TOKEN) as operator:
        return operator.issue_key(new).token


def warm_up(stage: Stage) -> None:
    """Lets the worker load the network and measure its plan, so that no attack waits for that."""
    stage.picture = paint(stage.random)
    with stage.connect(stage.bystander) as client:
        stage.known_job = client.wait(client.submit(stage.bystander_request).id, timeout=400).id
        client.upload(stage.picture)
