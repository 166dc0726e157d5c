"""Keys of the objects in the bucket. They must not change: existing stores contain them."""

import inspect
from hashlib import sha256

import pytest

from shared.storage import layout

KEYS = {
    layout.open_marker("j"): "open/j",
    layout.idempotency_record("t", "key"): f"keys/{sha256(b't key').hexdigest()}",
    layout.job_folder("j"): "jobs/j/",
    layout.job_request("j"): "jobs/j/request.json",
    layout.job_probe("n"): "jobs/probe/n",
    layout.artifact("j", 7, "a.png"): "jobs/j/attempts/7/a.png",
    layout.checkpoints("j", 2): "jobs/j/checkpoints/2/",
    layout.all_shard_results("j"): "jobs/j/parts/",
    layout.shard_results("j", 2): "jobs/j/parts/2/",
    layout.manifests("j"): "jobs/j/manifests/",
    layout.history_days("t"): "history/t/days/",
    layout.history_day("t", "2026-11-29"): "history/t/days/2026-11-29.json",
    layout.history_segments("t"): "history/t/rows/",
    layout.history_segment("t", "2026-11-29", "s.gz"): "history/t/rows/2026-11-29/s.gz",
    layout.expired_marker("j"): "expired/j",
    layout.images("t"): "images/t/",
    layout.archives("t"): "archives/t/",
    layout.model_description("m", "1"): "models/m/1.json",
    layout.model_description("m", "1", "t"): "models/@t/m/1.json",
    layout.uploaded_weights("d"): "weights/d",
    layout.uploaded_weights("d", "t"): "weights/t/d",
    layout.audit_record("t", "d"): "audits/t/d",
    layout.write_back_results("t", "a"): "audits/t/a/write_backs/",
    layout.decisions("t", "a"): "audits/t/a/decisions/",
    layout.decisions_about("t", "m@1"): "audits/t/releases/m/1/",
    layout.audit_member_record("t", "d"): "members/t/d",
    layout.trigger_search("t", "d"): "searches/t/d",
    layout.registration("m", "1"): "releases/m/1.json",
    layout.registration("m", "1", "t"): "releases/@t/m/1.json",
    layout.schedules("t"): "schedules/t/",
    layout.schedules(): "schedules/",
    layout.outcomes("s"): "outcomes/s/",
    layout.pending_import("m", "1"): "imports/pending/m/1.json",
    layout.ended_import("m", "1"): "imports/ended/m/1.json",
    layout.write_back("s", "a"): "writebacks/s/a.json",
    layout.outbox_entry("t", "d"): "outbox/t/d.json",
    layout.delivery_log("t", "d"): "deliveries/t/d.json",
    layout.api_key("k"): "access/keys/k.json",
    layout.webhook_secrets("t"): "access/webhooks/t.json",
}


def test_every_key_has_its_documented_form() -> None:
    assert list(KEYS) == list(KEYS.values())
    functions = {name for name, value in vars(layout).items() if inspect.isfunction(value)}
    with_two_forms = {"schedules", "model_description", "uploaded_weights", "registration"}
    assert len(KEYS) == len(functions - {"read_registration_key", "_namespace"}) + len(with_two_forms)


@pytest.mark.parametrize("tenant", [None, "t"])
def test_the_key_of_a_registration_says_whose_name_it_is(tenant: str | None) -> None:
    key = layout.registration("a.json", "1.json", tenant)
    assert layout.read_registration_key(key) == (tenant, "a.json", "1.json")


def test_every_key_is_under_one_of_the_prefixes_of_the_service() -> None:
    assert {key.partition("/")[0] for key in KEYS.values()} == set(layout.PREFIXES) - {"setup"}
