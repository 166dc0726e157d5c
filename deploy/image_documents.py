"""The two documents of a container image: what is in it, and what it was built from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

Document = dict[str, Any]

BUILD_TYPE = "urn:archetype:images:1"
"""`docker build --network host` of a Dockerfile with arguments, in the root of the checkout; see docs/containers.md."""

BUILDER = "urn:archetype:make-images"


@dataclass(frozen=True)
class Source:
    """The checkout that an image is built from.

    Attributes:
        commit: Full id of the commit.
        url: Where the repository was cloned from; None if from a folder.
        changed: Whether files differ from the commit.
    """

    commit: str
    url: str | None
    changed: bool


@dataclass(frozen=True)
class Build:
    """How an image is built.

    Attributes:
        name: The part of the service: api, worker or store.
        tag: The full name of the image, with its registry and version.
        arguments: Arguments of the Dockerfile.
    """

    name: str
    tag: str
    arguments: dict[str, str]

    @property
    def dockerfile(self) -> str:
        """Path of the Dockerfile in the checkout."""
        return f"deploy/{self.name}.Dockerfile"


def describe_image(materials: Document, packages: str, system: str, *, name: str, digest: str) -> Document:
    """Returns the bill of materials of an image.

    Args:
        materials: That of its Python packages, in the format CycloneDX.
        packages: The status file of dpkg.
        system: The file os-release.
        name: Full name of the image.
        digest: Its SHA-256 digest in hexadecimal.
    """
    facts = {key: text.strip('"') for key, _, text in (line.partition("=") for line in system.splitlines()) if text}
    distribution, version = facts["ID"], facts["VERSION_ID"]
    whole = {"type": "container", "name": name, "version": f"sha256:{digest}", "bom-ref": name}
    release = {
        "type": "operating-system",
        "name": distribution,
        "version": version,
        "bom-ref": f"{distribution}-{version}",
    }
    found = _find_packages(packages, distribution, f"{distribution}-{version}")
    return materials | {
        "serialNumber": f"urn:uuid:{uuid4()}",
        "version": 1,
        "metadata": materials.get("metadata", {}) | {"component": whole},
        "components": [*materials.get("components", []), release, *found],
    }


def _find_packages(status: str, distribution: str, release: str) -> Iterator[Document]:
    """Yields the installed packages of a status file of dpkg, each with the source package that it was built from."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status|Source): (.+)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            qualifiers = {"arch": fields["Architecture"], "distro": release}
            if "Source" in fields:
                source, _, source_version = fields["Source"].partition(" ")
                qualifiers["upstream"] = source + (f"@{source_version.strip('()')}" if source_version else "")
            listed = "&".join(f"{key}={quote(text, safe=':')}" for key, text in qualifiers.items())
            url = f"pkg:deb/{distribution}/{quote(name, safe='')}@{quote(version, safe=':')}?{listed}"
            yield {"type": "library", "name": name, "version": version, "purl": url, "bom-ref": url}


def make_provenance(
    build: Build, source: Source, digests: dict[str, str], started: datetime, ended: datetime
) -> Document:
    """Returns the provenance of an image, as an in-toto statement that is not signed.

    Args:
        build: How the image was built.
        source: What it was built from.
        digests: SHA-256 digests of the image and of the images that it builds on, in hexadecimal, by name.
        started: When the build began, in UTC.
        ended: When it ended, in UTC.

    Source: SLSA 1.0, https://slsa.dev/spec/v1.0/provenance.
    """
    bases = [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items() if name != build.tag]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": build.tag, "digest": {"sha256": digests[build.tag]}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"dockerfile": build.dockerfile, "arguments": build.arguments},
                "resolvedDependencies": [_describe(source), *bases],
            },
            "runDetails": {
                "builder": {"id": BUILDER},
                "metadata": {
                    "invocationId": str(uuid4()),
                    "startedOn": _format(started),
                    "finishedOn": _format(ended),
                },
            },
        },
    }


def _describe(source: Source) -> Document:
    described: Document = {"name": "source", "digest": {"gitCommit": source.commit}}
    if source.url:
        described["uri"] = f"git+{source.url}"
    if source.changed:
        described["annotations"] = {"changed": "files differ from this commit"}
    return described


def _format(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
