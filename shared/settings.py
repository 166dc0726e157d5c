"""Every setting of the service, and the only reader of the environment."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

SECRETS = "ARCHETYPE_SECRETS"
"""Names the folder of a container's secrets, one file for each."""


class Settings(BaseSettings):
    """Built once where a process starts and passed down. `ARCHETYPE_S3_BUCKET=pictures` sets `s3_bucket`."""

    model_config = SettingsConfigDict(env_prefix="ARCHETYPE_", frozen=True, extra="forbid")

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Live records and the broker.")
    s3_endpoint: str | None = Field(default=None, description="None: AWS.")
    ca: Path | None = Field(
        default=None,
        description="Certificates (PEM) of whoever vouches for `rediss://` and `https://` above, where the system's "
        "own do not.",
    )
    s3_public_endpoint: str | None = Field(default=None, description="What clients reach, in presigned URLs.")
    s3_region: str = "us-east-1"
    s3_bucket: str = "archetype"
    s3_access_key: str = "archetype"
    s3_secret_key: SecretStr = SecretStr("archetype-local-secret")

    catalogue: Path | None = Field(default=None, description="The operator's models.toml.")
    factories: dict[str, str] = Field(
        default={}, description='In-house architectures, name to "package.module:function".'
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:1, …; auto: cuda where there is one.")
    network_memory: int = Field(
        default=4_000_000_000,
        ge=1,
        description="Bytes of networks that a worker keeps in memory; the one at work counts.",
    )
    cache: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "archetype",
        description="Where downloaded weights lie, under their digest.",
    )
    allow_programs: bool = Field(
        default=False, description="Load exported programs (`.pt2`), which are code, from whoever registers releases."
    )
    plans: Path | None = Field(
        default=None, description="A file where workers remember which precision and batch is fastest for each network."
    )

    max_body_bytes: int = Field(default=20_000_000, ge=1, description="Largest request body, pictures included.")
    max_image_pixels: int = Field(default=50_000_000, ge=1, description="Largest picture, width times height.")
    max_weights_bytes: int = Field(default=5_000_000_000, ge=1, description="Largest file of weights.")
    operator_token: SecretStr | None = Field(
        default=None,
        description="What whoever runs the service sends as `Authorization: Bearer`: it opens everything, keys too.",
    )
    proxies: int = Field(
        default=0, ge=0, description="How many proxies stand before the API, whose `X-Forwarded-…` are believed."
    )
    keyless_loopback: bool = Field(
        default=False,
        description="On a port that only this machine can reach, take jobs without a key; they are the tenant "
        "`default`'s.",
    )
    oidc_issuer: str | None = Field(
        default=None, description="An identity provider whose tokens are taken instead of keys."
    )
    oidc_audience: str = Field(default="archetype", description="Whom its tokens must be meant for.")
    oidc_algorithms: list[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
    ] = Field(default=["RS256"], min_length=1, description="What they may be signed with.")
    oidc_jwks: str | None = Field(
        default=None, description="Where its keys are; without it, where its discovery document says."
    )
    oidc_tenant_claim: str = Field(default="tenant", description="The claim that names the tenant.")
    oidc_scope_claim: str = Field(default="scope", description="The claim that names the scopes.")
    weight_prefixes: list[str] = Field(
        default=[], description="Places in the bucket whose files may be registered as weights, as `exports/`."
    )
    max_archive_bytes: int = Field(default=2_000_000_000, ge=1, description="Largest archive of pictures.")
    picture_prefixes: list[str] = Field(
        default=[], description="Places in the bucket whose pictures any job may look at, as `probes/`."
    )
    webhook_networks: list[str] = Field(
        default=[], description="Networks outside the public internet that webhooks may lead to, as `10.1.0.0/16`."
    )
    mlflow_url: str | None = Field(
        default=None, description="An MLflow tracking server, in whose model registry verdicts are written down."
    )
    mlflow_token: SecretStr | None = Field(default=None, description="What it is sent as `Authorization: Bearer`.")
    mlflow_secret: SecretStr | None = Field(
        default=None, description="What its webhooks are signed with; without it, they are refused."
    )
    mlflow_tenant: str = Field(default="default", description="Whose schedules its webhooks start.")
    max_queued_jobs: int = Field(default=10_000, ge=1, description="More get 429.")
    max_wait_seconds: int = Field(default=60, ge=0, description="Longest `Prefer: wait`.")
    max_listeners: int = Field(
        default=32, ge=1, description="Connections of a process that may listen to events; each takes a thread of it."
    )
    idempotency_seconds: int = Field(default=86_400, ge=1, description="How long an idempotency key is remembered.")

    lease_seconds: float = Field(default=15, gt=0, description="A worker that is silent for longer has lost its job.")
    sweep_seconds: float = Field(default=3, gt=0, description="How often lost jobs are looked for.")
    reconcile_seconds: float = Field(
        default=30, gt=0, description="How often what is open in the store is compared with what Redis knows of."
    )
    look_seconds: float = Field(
        default=15, gt=0, description="How often the scheduler looks for new releases and schedules."
    )
    max_attempts: int = Field(default=3, ge=1, description="Then a job that is always lost fails.")
    job_seconds: int = Field(default=3600, ge=1, description="Longest run of one attempt.")
    step_seconds: float = Field(
        default=300, gt=0, description="A worker that takes no step for longer hangs, and is started afresh."
    )
    life: Path | None = Field(
        default=None,
        description="A folder where `worker`, `courier` and `scheduler` touch a file each as long as they take work: "
        "what liveness probes look at.",
    )
    lane_seconds: float = Field(
        default=30, ge=0, description="For so long a worker takes in more jobs that share its batch."
    )
    checkpoint_seconds: float = Field(
        default=30, gt=0, description="How often an ascent is put away, for whoever goes on if this worker dies."
    )
    deadline_seconds: int = Field(
        default=86_400,
        ge=1,
        description="A job that has not ended after so long is cancelled; `Cancel-After` may say less.",
    )
    retention_seconds: int = Field(default=2_592_000, ge=1, description="How long results are kept.")
    retention_bytes: int | None = Field(
        default=None, ge=0, description="How much all results may take; the oldest go first."
    )

    container: str | None = Field(
        default=None, description="Digest of the image that the service runs from, for what results were made with."
    )
    otlp_endpoint: str | None = Field(
        default=None, description="An OpenTelemetry collector that traces go to over HTTP, as `http://collector:4318`."
    )

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("operator_token", "mlflow_secret", mode="before")
    @classmethod
    def _is_none_if_blank(cls, given: Any) -> Any:
        """`ARCHETYPE_OPERATOR_TOKEN=` means that there is none, and not that everybody knows it."""
        return None if isinstance(given, str) and not given.strip() else given

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """The environment, and where `ARCHETYPE_SECRETS` names a folder, files there such as `archetype_redis_url`."""
        folder = os.environ.get(SECRETS)
        files = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder else ()
        return (init_settings, env_settings, *files)

    @property
    def redis_tls(self) -> dict[str, str]:
        """What a client of Redis is told beside the address: nothing where it is not spoken to over TLS."""
        if not self.redis_url.startswith("rediss:"):
            return {}
        return {"ssl_cert_reqs": "required"} | ({"ssl_ca_certs": str(self.ca)} if self.ca else {})

    def environment(self) -> dict[str, str]:
        """The environment variables from which another process builds the same settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {f"ARCHETYPE_{name.upper()}": _as_text(value) for name, value in values.items() if value is not None}


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
