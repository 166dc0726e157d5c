"""Readiness and metrics."""

import httpx2


def test_readiness_and_metrics_cover_the_whole_service(http: httpx2.Client) -> None:
    assert http.get("/readyz").json() == {"status": "ok", "parts": {"redis": "ok", "object store": "ok"}}
    text = http.get("/metrics").text
    assert 'archetype_jobs{state="queued"}' in text
    assert "archetype_http_requests_total" in text
