"""Requests of this machine without a key, and requests of pages of other sites."""

import pytest
from flask import Flask

from api.http.origin import FORWARDING_HEADERS, check_site, is_cross_site, is_local
from shared.errors import Forbidden
from shared.settings import Settings

LOCAL = {"REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "127.0.0.1"}


def is_local_with(
    app: Flask, environ: dict[str, str] | None = None, *, method: str = "GET", proxies: int = 0, **headers: str
) -> bool:
    names = {"Host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    with app.test_request_context("/v1/jobs", method=method, headers=names, environ_overrides=LOCAL | (environ or {})):
        return is_local(Settings().model_copy(update={"trusted_proxies": proxies, "keyless_loopback": True}))


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("server", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:8080"])
def test_a_connection_of_this_machine_is_local(app: Flask, peer: str, server: str, host: str) -> None:
    assert is_local_with(app, {"REMOTE_ADDR": peer, "SERVER_NAME": server}, Host=host)


@pytest.mark.parametrize(
    "peer", ["10.0.0.7", "::ffff:10.0.0.7", "fe80::1%lo", "0.0.0.0", "::", "", "localhost.example"]
)
def test_a_connection_of_another_machine_is_not_local(app: Flask, peer: str) -> None:
    assert not is_local_with(app, {"REMOTE_ADDR": peer})


@pytest.mark.parametrize("server", ["0.0.0.0", "::", "10.0.0.7", "api.example", ""])
def test_a_port_that_other_machines_can_reach_is_not_local(app: Flask, server: str) -> None:
    assert not is_local_with(app, {"SERVER_NAME": server})


@pytest.mark.parametrize(
    "name",
    [
        *sorted(FORWARDING_HEADERS),
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-server",
        "x-forwarded-prefix", "x-forwarded-user", "X-Forwarded-For",
    ],
)  # fmt: skip
def test_a_forwarded_request_is_not_local_whatever_its_header_says(app: Flask, name: str) -> None:
    for value in ("127.0.0.1", "for=127.0.0.1", "", "1.1 proxy"):
        assert not is_local_with(app, **{name: value}), value


def test_with_trusted_proxies_nothing_is_local(app: Flask) -> None:
    assert not is_local_with(app, proxies=1)
    assert not Settings(keyless_loopback=True, trusted_proxies=1).keyless_loopback
    assert Settings(keyless_loopback=True, trusted_proxies=0).keyless_loopback


def test_the_address_is_that_of_the_connection_not_of_a_header(app: Flask) -> None:
    with app.test_request_context(headers={"Host": "127.0.0.1"}, environ_overrides=LOCAL) as context:
        context.request.environ["werkzeug.proxy_fix.orig"] = {"REMOTE_ADDR": "10.0.0.7"}
        assert not is_local(Settings(keyless_loopback=True))


@pytest.mark.parametrize(
    "host", ["points-here.example", "points-here.example:8080", "127.0.0.1.example", "[::1", "a@b", ""]
)
def test_a_name_that_was_made_to_resolve_to_this_machine_is_not_local(app: Flask, host: str) -> None:
    assert not is_local_with(app, Host=host)
    assert not is_local_with(app, Host=host, Origin=f"http://{host}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9090"},
        {"Origin": "http://[::1"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_a_request_that_a_page_of_another_site_sends_is_not_local(app: Flask, headers: dict[str, str]) -> None:
    assert not is_local_with(app, **headers)


def test_a_link_on_another_site_can_be_followed_but_not_with_a_form(app: Flask) -> None:
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert is_local_with(app, **link)
    assert not is_local_with(app, method="POST", **link)


CROSS_SITE = [
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://api.example.elsewhere.example"},
    {"Origin": "https://api.example:8443"},
    {"Origin": "https://api.example, https://elsewhere.example"},
    {"Origin": "file://api.example"},
    {"Origin": "https://[api.example"},
    {"Origin": "http://api.example"},  # loaded without TLS
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "anything"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://api.example"},
]
SAME_SITE = [
    {},
    {"Origin": "https://api.example"},
    {"Origin": "https://api.example:443"},
    {"Origin": "https://API.example"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://api.example"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_that_a_page_of_another_site_asks_for_is_refused(
    app: Flask, headers: dict[str, str], method: str
) -> None:
    for authorization in ({}, {"Authorization": "Basic eDp5"}):
        with (
            app.test_request_context(base_url="https://api.example", method=method, headers=headers | authorization),
            pytest.raises(Forbidden, match="another site"),
        ):
            check_site()


@pytest.mark.parametrize("headers", SAME_SITE)
def test_requests_of_this_site_and_of_programs_are_not_refused(app: Flask, headers: dict[str, str]) -> None:
    with app.test_request_context(base_url="https://api.example", method="POST", headers=headers):
        check_site()
        assert not is_cross_site()


def test_a_bearer_token_is_never_sent_by_a_page_of_another_site(app: Flask) -> None:
    headers = {"Origin": "https://elsewhere.example", "Authorization": "Bearer key"}
    with app.test_request_context(method="POST", headers=headers):
        check_site()
