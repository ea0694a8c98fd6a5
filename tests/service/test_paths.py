"""What the path and the query of a request may say."""

import math

import pytest
from memr_client import InvalidRequest, RewardClient


@pytest.fixture(scope="module")
def client():
    with RewardClient.embedded(run="kept", encoder="hashed") as client:
        client.reward(["q"] * 2, ["a", "b"], [1, 0])
        client.create_checkpoint("kept", "good")
        yield client


@pytest.mark.parametrize(
    ("call", "says", "value"),
    [
        (lambda client: client.history(limit=-1), "limit is -1, but must be at least 1.", "-1"),
        (lambda client: client.history(limit=10**6), "limit is 1000000, but must be at most 10000.", "1000000"),
        (lambda client: client.history(after=math.inf), "after is a text, but must be a whole number.", "inf"),
        (lambda client: client.history(after=2**62), f"after is {2**62}, but must be less than {2**62}.", str(2**62)),
        (lambda client: client.memory_map(most=0), "most is 0, but must be at least 2.", "0"),
        (lambda client: client.memory_map(most=1.5), "most is a text, but must be a whole number.", "1.5"),
        (lambda client: client.completions(limit="x"), "limit is a text, but must be a whole number.", "x"),
        (lambda client: client.completions(right="maybe"), "right is a text, but must be true or false.", "maybe"),
        (lambda client: client.audits(at=-3), "at is -3, but must be at least 1.", "-3"),
    ],
)
def test_a_wrong_value_of_a_query_is_named_with_its_limit(client, call, says, value):
    with pytest.raises(InvalidRequest) as caught:
        call(client)
    assert caught.value.detail == says
    assert caught.value.value == value


def test_an_argument_that_a_page_does_not_have_names_the_nearest(client):
    with pytest.raises(InvalidRequest, match=r"no argument 'limt'\.(.|\n)*Did you mean 'limit'"):
        client.completions(limt=5)


@pytest.mark.parametrize("name", [".", "..", "../..", "good/..", "%2e%2e"])
def test_no_name_of_a_checkpoint_deletes_anything_else(client, name):
    for run in ("kept", None):
        with pytest.raises(InvalidRequest, match="is not the name of a checkpoint"):
            client.delete_checkpoint(run, name)
    for call in (client.delete_run, lambda name: client.export_run(name, "/dev/null")):
        with pytest.raises(InvalidRequest, match="is not the name of a run"):
            call(name)
    assert [run.run_id for run in client.runs()] == ["kept"]
    assert [one.name for one in client.checkpoints()] == ["good"]
