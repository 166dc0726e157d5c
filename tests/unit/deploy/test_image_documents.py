"""The documents of an image: bill of materials and provenance."""

from datetime import UTC, datetime

from packageurl import PackageURL

from deploy.image_documents import Build, Source, describe_image, make_provenance

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.2.13.dfsg-1
Description: compression library
 Version: of a description

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: libstdc++6
Status: hold ok installed
Source: gcc-12 (12.2.0-14)
Architecture: amd64
Version: 12.2.0-14+deb12u1
"""
COMMIT = "0123456789" * 4


SYSTEM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n\nVERSION_ID="12"\n'
IMAGE, DIGEST = "registry.example.org/archetype-api:1", "ab" * 32


def test_installed_packages_of_debian_and_the_image_are_added() -> None:
    before = {"specVersion": "1.6", "components": [{"name": "flask"}], "metadata": {"tools": {}}}
    after = describe_image(before, STATUS, SYSTEM, name=IMAGE, digest=DIGEST)
    assert [component["name"] for component in after["components"]] == ["flask", "debian", "zlib1g", "libstdc++6"]
    assert after["components"][1]["type"] == "operating-system"
    assert after["components"][1]["version"] == "12"
    assert after["components"][2]["version"] == "1:1.2.13.dfsg-1"
    urls = [component["purl"] for component in after["components"][2:]]
    assert urls == [
        "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14",
    ]
    assert [PackageURL.from_string(url).to_string() for url in urls] == urls
    component = after["metadata"]["component"]
    assert (component["type"], component["name"], component["version"]) == ("container", IMAGE, f"sha256:{DIGEST}")
    assert "tools" in after["metadata"]
    assert before["components"] == [{"name": "flask"}]


def test_provenance_names_what_an_image_was_built_from() -> None:
    build = Build("worker", "a/archetype-worker:1-cuda", {"TORCH_INDEX": "https://x.example.org"})
    source = Source(COMMIT, "https://git.example.org/a.git", changed=False)
    digests = {build.tag: "ab" * 32, "python:3.11": "cd" * 32}
    began, ended = datetime(2026, 1, 2, 3, 4, 5, 999, UTC), datetime(2026, 1, 2, 3, 14, 5, tzinfo=UTC)
    statement = make_provenance(build, source, digests, began, ended)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": build.tag, "digest": {"sha256": "ab" * 32}}]
    definition, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert definition["externalParameters"] == {
        "dockerfile": "deploy/worker.Dockerfile",
        "arguments": {"TORCH_INDEX": "https://x.example.org"},
    }
    assert definition["resolvedDependencies"] == [
        {"name": "source", "digest": {"gitCommit": COMMIT}, "uri": "git+https://git.example.org/a.git"},
        {"name": "python:3.11", "digest": {"sha256": "cd" * 32}},
    ]
    assert (details["metadata"]["startedOn"], details["metadata"]["finishedOn"]) == (
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:14:05Z",
    )


def test_provenance_says_that_files_differ_from_the_commit() -> None:
    build = Build("api", "archetype-api:1", {})
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    statement = make_provenance(build, Source(COMMIT, None, changed=True), {build.tag: "ab" * 32}, moment, moment)
    (source,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["annotations"] == {"changed": "files differ from this commit"}
    assert "uri" not in source
