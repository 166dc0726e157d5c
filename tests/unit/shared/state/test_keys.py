"""Names of the keys in Redis. They must not change: existing databases contain them."""

from archetype.contract.job import State
from shared.state.keys import key_of_job, key_of_list, key_of_shard, key_of_state, key_of_stored, lists_of, states_of
from tests.support.jobs import make_spec


def test_every_key_has_the_form_that_existing_databases_contain() -> None:
    assert key_of_job("j") == "archetype:job:j"
    assert key_of_shard("j:0") == "archetype:share:j:0"
    assert key_of_list("t", "tag", "night") == "archetype:list:t:tag:night"
    assert key_of_list("t", "all") == "archetype:list:t:all:"
    assert key_of_stored("t") == "archetype:stored:t"
    assert key_of_state(State.QUEUED) == "archetype:state:queued"


def test_a_job_is_in_a_list_for_each_of_its_properties() -> None:
    job = make_spec(tags=["a", "b"]).job("j")
    start = "archetype:list:default:"
    assert lists_of(job) == [
        f"{start}{name}" for name in ("all:", "method:class_model", "model:shapes", "model:shapes@1", "tag:a", "tag:b")
    ]
    assert states_of(job, State.FAILED) == ["archetype:state:failed", f"{start}state:failed"]
