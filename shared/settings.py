"""All settings of the service, and the only code that reads the environment."""

import os
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from archetype.contract.api_key import Limits, Tenant
from archetype.contract.strict_json import dump_json
from shared.validation.imports import ImportRule
from shared.validation.write_back import WriteBackRule

PREFIX = "ARCHETYPE_"

SECRETS = "ARCHETYPE_SECRETS"
"""Environment variable with the path of a folder that contains one file for each secret setting."""

RENAMED = {
    "life": "liveness_dir",
    "ca": "ca_bundle",
    "proxies": "trusted_proxies",
    "plans": "plan_cache",
    "look_seconds": "scheduler_poll_seconds",
    "allow_programs": "exported_programs",
}
"""Old and new names of renamed settings. Version 0.4 removes the old names."""

SECTIONS = {
    "Redis and S3": "redis_url",
    "Models": "catalogue",
    "Uploads": "max_body_bytes",
    "API": "max_queued_jobs",
    "Authentication": "operator_token",
    "Webhooks": "webhook_networks",
    "Audits": "signing_key",
    "MLflow": "mlflow_url",
    "Jobs": "deadline_seconds",
    "Recovery and schedules": "lease_seconds",
    "Retention": "retention_seconds",
    "Monitoring": "metrics_token",
}
"""Sections of the settings in documentation, each with the first setting that belongs to it."""


TENANT_LIMITS = Limits(submits_per_minute=120, running_jobs=100, queued_targets=100_000, stored_bytes=100_000_000_000)
"""Default limits of tenants of the identity provider. The largest job has 100,000 pairs of image and target."""


class Environment(EnvSettingsSource):
    """Settings in environment variables, without the empty ones: an empty text is no number, and no JSON."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of a setting, or None if it is missing or empty."""
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if is_empty(value) else value), key, is_complex


class SecretFiles(SecretsSettingsSource):
    """Settings in files of secrets, without the empty ones."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of a setting, or None if it is missing or empty."""
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if is_empty(value) else value), key, is_complex


class OldNames(PydanticBaseSettingsSource):
    """Reads renamed settings under their old names, from the environment and from the folder of secrets."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Not used: `__call__` reads all settings at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values under their old names."""
        folder = Path(os.environ.get(SECRETS) or "/nonexistent")
        files = {old: folder / f"{PREFIX.lower()}{old}" for old in RENAMED}
        secrets = {old: path.read_text().strip() for old, path in files.items() if path.is_file()}
        environment = {name.lower(): value for name, value in os.environ.items()}
        names = {old: f"{PREFIX.lower()}{old}" for old in RENAMED}
        return secrets | {old: environment[name] for old, name in names.items() if name in environment}


class Settings(BaseSettings):
    """The settings of a process: built once when it starts, and passed to everything that needs them.

    The environment variable `ARCHETYPE_S3_BUCKET=images` sets `s3_bucket`. If `ARCHETYPE_SECRETS` names a folder, its
    file `archetype_s3_bucket` does the same; environment variables have precedence. An empty value means that the
    setting is not set.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    # Redis and S3
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="URL of the Redis for job records and messages. Use `rediss://` for TLS.",
    )
    redis_memory_watermark: float = Field(
        default=0.85,
        gt=0,
        le=1,
        description="Share of the memory of Redis (`maxmemory`) above which new jobs and audits are refused with 503. "
        "The rest is for jobs that were accepted before. Without `maxmemory`, none is refused.",
    )
    s3_endpoint: str | None = Field(
        default=None, description="URL of the S3-compatible store. If not set, AWS S3 is used."
    )
    s3_public_endpoint: str | None = Field(
        default=None,
        description="URL of the store in presigned URLs, if clients reach it under another address than the service. "
        "If not set, `s3_endpoint` is used.",
    )
    s3_region: str = Field(default="us-east-1", description="Region of the bucket.")
    s3_bucket: str = Field(default="archetype", description="Name of the bucket.")
    s3_access_key: str = Field(default="archetype", description="Access key id for the store.")
    s3_secret_key: SecretStr = Field(
        default=SecretStr("archetype-local-secret"),
        description="Secret access key for the store. The default is for local use only.",
    )
    s3_session_token: SecretStr | None = Field(
        default=None,
        description="Session token of temporary credentials for the store. If not set, the keys are permanent.",
    )
    s3_aws_credentials: bool | None = Field(
        default=None,
        description="Use the credentials that AWS gives to the process, such as a role for service accounts (IRSA) or "
        "an instance profile, instead of `s3_access_key`. If not set, they are used if neither `s3_endpoint` nor "
        "`s3_access_key` is set.",
    )
    ca_bundle: Path | None = Field(
        default=None,
        description="File with CA certificates (PEM) for TLS connections to Redis, the store, the identity provider, "
        "MLflow and the trace collector. If not set, the certificates of the system are used.",
    )

    # Models
    catalogue: Path | None = Field(
        default=None,
        description="File `models.toml` with the operator's models. If not set, there are only built-in and "
        "registered models.",
    )
    factories: dict[str, str] = Field(
        default={},
        description="Your own architectures, as a JSON object that maps the name in `factory:NAME` to "
        "`package.module:function`. None by default.",
    )
    exported_programs: bool = Field(
        default=False,
        description="Allow registered releases that are exported programs (`.pt2`). They contain code, so allow them "
        "only if you trust everyone with the scope `operate`.",
    )
    weight_prefixes: list[str] = Field(
        default=[],
        description="Prefixes of keys in the bucket, for example `exports/`, whose objects every tenant can register "
        "as weights. `{tenant}` in a prefix, for example `exports/{tenant}/`, stands for the tenant. None by default.",
    )
    max_waiting_releases: int = Field(
        default=20,
        ge=1,
        description="Maximum number of registered releases of a tenant that wait for their check. Above it, "
        "registrations are refused with 429.",
    )
    max_releases: int = Field(
        default=1000,
        ge=1,
        description="Maximum number of releases that a tenant can register. The operator has no maximum.",
    )
    cache: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "archetype",
        description="Folder of downloaded weights, named by their digest. By default `.cache/archetype` in the home "
        "folder.",
    )
    cache_bytes: int = Field(
        default=15_000_000_000,
        ge=1,
        description="Size of the folder of downloaded weights, in bytes. Above it, files that were not used for the "
        "longest time are deleted, but none that was used within ten minutes.",
    )
    network_memory: int = Field(
        default=4_000_000_000,
        ge=1,
        description="Memory for loaded networks of a worker, in bytes, including the network in use.",
    )
    device: str = Field(
        default="auto",
        description="PyTorch device of a worker: `cpu`, `cuda` or `cuda:1`. `auto` uses `cuda` if a GPU is available.",
    )
    plan_cache: Path | None = Field(
        default=None,
        description="File in which workers store the fastest precision and batch size of each network. If not set, "
        "each worker process measures them again.",
    )

    # Uploads
    max_body_bytes: int = Field(
        default=20_000_000, ge=1, description="Largest request body in bytes, including uploaded images."
    )
    max_image_pixels: int = Field(default=50_000_000, ge=1, description="Largest image in pixels, width times height.")
    max_archive_bytes: int = Field(default=2_000_000_000, ge=1, description="Largest archive of images in bytes.")
    max_weights_bytes: int = Field(default=5_000_000_000, ge=1, description="Largest file of weights in bytes.")
    decoders: int = Field(
        default=3,
        ge=1,
        description="Number of files that one process of the API decodes at the same time, each in a child process. "
        "One of several is always left for other tenants.",
    )
    decoder_bytes: int = Field(
        default=900_000_000, ge=200_000_000, description="Memory in bytes of each child process that decodes files."
    )
    decoder_seconds: float = Field(
        default=4, gt=0, le=600, description="Longest CPU time in seconds to decode one uploaded file."
    )
    picture_prefixes: list[str] = Field(
        default=[],
        description="Prefixes of keys in the bucket, for example `probes/`, whose images all jobs can read. `{tenant}` "
        "in a prefix, for example `probes/{tenant}/`, stands for the job's tenant. None by default.",
    )

    # API
    max_queued_jobs: int = Field(
        default=10_000,
        ge=1,
        description="Maximum number of queued jobs. Above it, new jobs are refused with 429. One tenant can use nine "
        "tenths of it; several that fill the queue leave less for others, but always a part.",
    )
    max_tenant_shards: int = Field(
        default=100_000,
        ge=1,
        description="Maximum number of shards in the unfinished jobs of one tenant. Above it, its new jobs are refused "
        "with 429.",
    )
    max_wait_seconds: int = Field(
        default=60, ge=0, description="Longest time in seconds that a request with `Prefer: wait` waits for its job."
    )
    max_listeners: int = Field(
        default=32,
        ge=1,
        description="Maximum number of open event streams of one API process. Each occupies a thread.",
    )
    max_connections: int = Field(
        default=1000,
        ge=64,
        description="Maximum number of connections of one API process. If another client connects, the connection that "
        "waits longest for its client is closed.",
    )
    client_seconds: float = Field(
        default=20,
        gt=0,
        description="Time in seconds in which a client must send the head of a request. For the body and for reading "
        "the response it has this time in addition to what `client_bytes_per_second` allows.",
    )
    client_bytes_per_second: int = Field(
        default=32_768,
        ge=1,
        description="Lowest rate in bytes per second at which a client may send a body or read a response.",
    )
    idempotency_seconds: int = Field(
        default=86_400, ge=1, description="How long an idempotency key is remembered, in seconds."
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        description="Number of reverse proxies in front of the API whose `X-Forwarded-…` headers are trusted. With 0 "
        "the headers are ignored.",
    )
    keyless_loopback: bool = Field(
        default=False,
        description="Accept requests without a key from this machine, as tenant `default`. Also allows webhooks to "
        "loopback addresses. Use it only if the port cannot be reached from other machines. Requests that a proxy has "
        "forwarded need a key, and with `trusted_proxies` above 0 this setting has no effect.",
    )

    # Authentication
    operator_token: SecretStr | None = Field(
        default=None,
        description="Bearer token of the operator with full access, including the management of keys. If not set, "
        "there is no operator.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="URL of an OpenID Connect issuer whose tokens are accepted instead of keys. If not set, only keys "
        "are accepted.",
    )
    oidc_audience: str = Field(default="archetype", description="Required audience (`aud`) of the issuer's tokens.")
    oidc_algorithms: list[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
    ] = Field(default=["RS256"], min_length=1, description="Signature algorithms that are accepted in tokens.")
    oidc_jwks: str | None = Field(
        default=None,
        description="URL of the issuer's public keys (JWKS). If not set, it is read from the issuer's discovery "
        "document.",
    )
    oidc_tenant_claim: str = Field(default="tenant", description="Claim of a token that contains the tenant.")
    oidc_scope_claim: str = Field(default="scope", description="Claim of a token that contains the scopes.")
    oidc_tenants: list[str] = Field(
        default=[],
        description="Tenants that tokens of the issuer can name. Tokens of other tenants are refused with 403. By "
        "default, every tenant is allowed.",
    )
    tenant_limits: Limits = Field(
        default=TENANT_LIMITS,
        description="Limits of a tenant for callers without limits of their own, which are the users of the OpenID "
        "Connect issuer, as a JSON object with the fields of a key's `limits`. All users of a tenant share them. "
        "Fields that are left out keep their default values; `null` means no limit.",
    )
    tenant_shares: dict[Tenant, Annotated[float, Field(ge=0.001, le=1000)]] = Field(
        default={},
        description="Shares of the workers that tenants get while several of them wait, as a JSON object, for example "
        '`{"vision": 3}`. A tenant that is left out has 1. A new share applies to new jobs.',
    )
    session_seconds: int = Field(
        default=86_400,
        ge=60,
        description="How long a user of the web page stays signed in, in seconds. A session also ends when its key or "
        "token expires.",
    )

    # Webhooks
    webhook_networks: list[str] = Field(
        default=[],
        description="Networks outside the public internet, for example `10.1.0.0/16`, to which webhooks can be sent. "
        "None by default.",
    )

    chat_hosts: list[str] = Field(
        default=["hooks.slack.com"],
        description="Hosts of chat services, whose webhooks get messages in the format of Slack, for example "
        "`chat.example.com` of a Mattermost.",
    )
    public_url: str | None = Field(
        default=None,
        description="Address of the service for people, such as `https://archetype.example.com`, for links in messages "
        "to chat services. If not set, they have no link.",
    )

    # Audits
    signing_key: SecretStr | None = Field(
        default=None,
        description="Private Ed25519 key in PEM, with which the API signs `report.json` of audits. As a value with "
        "several lines, it is best a file in the folder of `ARCHETYPE_SECRETS`; "
        "`openssl genpkey -algorithm ed25519 -out archetype_signing_key` creates it. If not set, reports are not "
        "signed.",
    )

    # MLflow
    mlflow_url: str | None = Field(
        default=None,
        description="URL of an MLflow tracking server whose model registry gets the verdicts of audits. If not set, "
        "verdicts are not written to a registry.",
    )
    mlflow_token: SecretStr | None = Field(
        default=None,
        description="Bearer token for the MLflow server. If not set, requests are sent without authentication.",
    )
    mlflow_secret: SecretStr | None = Field(
        default=None,
        description="Secret that signs the webhooks of the MLflow server. If not set, its webhooks are refused.",
    )
    mlflow_tenant: str = Field(
        default="default", description="Tenant whose schedules are started by webhooks of the MLflow server."
    )
    mlflow_models: dict[str, ImportRule] = Field(
        default={},
        description="Registered models whose versions are imported, as a JSON object that maps the name in the "
        "registry to a rule: `register_as` has the fields of `POST /v1/models` without release and weights, `file` the "
        "path of the weights if there are several, `first_version` the first version that is imported. Needs "
        "`ARCHETYPE_MLFLOW_URL`. By default, no version is imported.",
    )
    mlflow_write_back: dict[Tenant, list[WriteBackRule]] = Field(
        default={},
        description="Registered models, aliases and tags that schedules may write, as a JSON object that maps a tenant "
        'to a list of rules, for example `{"vision": [{"models": ["vision-*"], "aliases": ["audited"], "tag_prefixes": '
        '["archetype."]}]}`. By default, no tenant may write to the registry.',
    )

    # Jobs
    deadline_seconds: int = Field(
        default=86_400,
        ge=1,
        description="A job that has not finished after this time in seconds is cancelled. `Cancel-After` can set an "
        "earlier deadline.",
    )
    max_attempts: int = Field(
        default=5,
        ge=1,
        description="Maximum number of attempts at a job whose workers stop without finishing it. The last one runs "
        "without other jobs.",
    )
    job_seconds: int = Field(default=3600, ge=1, description="Longest run of one attempt in seconds.")
    step_seconds: float = Field(
        default=300,
        gt=0,
        description="A worker that completes no step for this time in seconds is considered stuck and is restarted.",
    )
    lane_seconds: float = Field(
        default=30,
        ge=0,
        description="For this time in seconds after its first claim, a worker adds further jobs to its batch.",
    )
    checkpoint_seconds: float = Field(
        default=30,
        gt=0,
        description="Time in seconds between two checkpoints of an ascent. If the worker dies, another one continues "
        "from the last checkpoint.",
    )

    # Recovery and schedules
    lease_seconds: float = Field(
        default=15,
        gt=0,
        description="A worker that does not renew its lease for this time in seconds loses its jobs to other workers.",
    )
    sweep_seconds: float = Field(
        default=3, gt=0, description="Time in seconds between two searches for jobs that lost their worker."
    )
    reconcile_seconds: float = Field(
        default=30,
        gt=0,
        description="Time in seconds between two comparisons of the open jobs in the store with those in Redis.",
    )
    scheduler_poll_seconds: float = Field(
        default=15,
        gt=0,
        description="Time in seconds between two searches of the scheduler for new releases and schedules.",
    )

    # Retention
    retention_seconds: int = Field(
        default=2_592_000, ge=1, description="How long results are kept after their job has ended, in seconds."
    )
    history_seconds: int = Field(
        default=300,
        ge=0,
        description="How long the record of a job that has ended stays in Redis, in seconds. Then it is moved into the "
        "history, the index of ended jobs in the store, and uses no memory of Redis.",
    )
    retention_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Maximum size of the results of all tenants together in bytes. Above it, the oldest results of "
        "those tenants are deleted that use more than an equal share. If not set, there is no maximum.",
    )
    tenant_retention_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Maximum size of the results of one tenant in bytes; above it, its oldest ones are deleted. Audits "
        "count, but are kept. If not set, only the maximum of all tenants applies.",
    )

    # Monitoring
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Bearer token with which `GET /metrics` can be read, and nothing else. If not set, only the "
        "operator's token, or a call without a key on the machine itself, can read it.",
    )
    liveness_dir: Path | None = Field(
        default=None,
        description="Folder in which `worker`, `webhook-sender` and `scheduler` each touch a file while "
        "they work, for liveness probes. If not set, no files are touched.",
    )
    container: str | None = Field(
        default=None,
        description="Digest of the container image of the service. It is stored in the provenance of results, if set.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="URL of an OpenTelemetry collector, for example `http://collector:4318`, that gets traces over "
        "HTTP. If not set, there are no traces.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="Format of the logs: `console` for people, `json` for log collectors."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important level of messages that are logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _rename_and_drop_empty(cls, values: Any) -> Any:
        """Accepts old names with a warning, and treats an empty value as not set."""
        if not isinstance(values, dict):
            return values
        given = {name: value for name, value in values.items() if not is_empty(value)}
        old = {name: given.pop(name) for name in RENAMED if name in given}
        for name in old:
            _warn_of_old_name(name)
        given = {RENAMED[name]: value for name, value in old.items()} | given
        if str(given.get("trusted_proxies", 0)).strip() not in (
            "",
            "0",
        ):  # a local proxy forwards requests of others
            given["keyless_loopback"] = False
        return given

    @field_validator("tenant_limits", mode="before")
    @classmethod
    def _complete_limits(cls, value: Any) -> Any:
        """Fills in the default values of limits that are left out."""
        return TENANT_LIMITS.model_dump() | value if isinstance(value, dict) else value

    @field_validator("mlflow_models")
    @classmethod
    def _check_names(cls, rules: dict[str, ImportRule]) -> dict[str, ImportRule]:
        """Refuses two registered models with one name in the catalogue: their versions would be the same releases."""
        names = [rule.name for rule in rules.values()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"several registered models are registered as {', '.join(repeated)}; give each its own name"
            )
        return rules

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, by precedence: arguments, the environment, secrets, then old names."""
        folder = os.environ.get(SECRETS)
        secrets = (SecretFiles(settings_cls, secrets_dir=folder),) if folder else ()
        return (init_settings, Environment(settings_cls), *secrets, OldNames(settings_cls))

    @property
    def s3_credentials(self) -> dict[str, str | None]:
        """Credential arguments of S3 clients; empty if boto3 finds the credentials that AWS gives to the process."""
        uses_aws = self.s3_aws_credentials
        if uses_aws is None:
            uses_aws = self.s3_endpoint is None and "s3_access_key" not in self.model_fields_set
        if uses_aws:
            return {}
        token = self.s3_session_token
        return {
            "aws_access_key_id": self.s3_access_key,
            "aws_secret_access_key": self.s3_secret_key.get_secret_value(),
            "aws_session_token": token.get_secret_value() if token else None,
        }

    @property
    def redis_tls(self) -> dict[str, str]:
        """TLS options of Redis clients; empty if the connection does not use TLS."""
        if not self.redis_url.startswith("rediss:"):
            return {}
        return {"ssl_cert_reqs": "required"} | ({"ssl_ca_certs": str(self.ca_bundle)} if self.ca_bundle else {})

    def environment(self) -> dict[str, str]:
        """Environment variables with which another process builds the same settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {f"{PREFIX}{name.upper()}": _as_text(value) for name, value in values.items() if value is not None}


def is_empty(value: object) -> bool:
    """Whether a value is a text without characters other than white space."""
    return isinstance(value, str) and not value.strip()


def list_sections() -> dict[str, list[str]]:
    """The names of all settings by section, in the order of the class."""
    titles = {first: title for title, first in SECTIONS.items()}
    sections: dict[str, list[str]] = {}
    title = ""
    for name in Settings.model_fields:
        title = titles.get(name, title)
        sections.setdefault(title, []).append(name)
    return sections


def _warn_of_old_name(name: str) -> None:
    old, new = f"{PREFIX}{name.upper()}", f"{PREFIX}{RENAMED[name].upper()}"
    warnings.warn(f"{old} is now {new}; version 0.4 removes the old name", FutureWarning, stacklevel=2)


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    return dump_json(to_jsonable_python(value)) if isinstance(value, dict | list) else str(value)
