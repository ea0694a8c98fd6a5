"""Names of runs and checkpoints: one rule in every call, checked before anything is sent."""

import asyncio
import inspect

import httpx
import numpy as np
import pytest
from memr_client import AsyncRewardClient, InvalidRequest, RewardClient, calls
from memr_client.names import checked_name
from memr_client.schemas import Fork, NewCheckpoint, Restore

WRONG: list[object] = [
    "",
    ".",
    "..",
    "a/b",
    "../b",
    "a b",
    "-a",
    ".a",
    "a\n",
    "a%2f",
    "l\u00e4uft",
    "x" * 129,
    None,
    True,
    b"x",
    1.5,
    ["a"],
]
TEXTS = [name for name in WRONG if isinstance(name, str)]

CALLS = {
    "reward": lambda client, name, file: client.reward(["q"], ["a"], [1], run_id=name),
    "create_run": lambda client, name, file: client.create_run(name),
    "run": lambda client, name, file: client.run(name),
    "delete_run": lambda client, name, file: client.delete_run(name),
    "export_run": lambda client, name, file: client.export_run(name, file),
    "import_run": lambda client, name, file: client.import_run(name, file),
    "history": lambda client, name, file: client.history(name),
    "calibrate": lambda client, name, file: client.calibrate(name),
    "create_checkpoint": lambda client, name, file: client.create_checkpoint(name, "good"),
    "checkpoints": lambda client, name, file: client.checkpoints(name),
    "delete_checkpoint": lambda client, name, file: client.delete_checkpoint(name, "good"),
    "restore": lambda client, name, file: client.restore(name, "good"),
    "fork": lambda client, name, file: client.fork(name, "copy"),
    "set_pool": lambda client, name, file: client.set_pool(name, ["a"]),
    "pool": lambda client, name, file: client.pool(name),
    "delete_pool": lambda client, name, file: client.delete_pool(name),
    "plan": lambda client, name, file: client.plan(name, 1, 2),
    "add_prior": lambda client, name, file: client.add_prior(name, [1], [2], prompt_ids=["a"]),
    "backtest": lambda client, name, file: client.backtest(name),
    "prompts": lambda client, name, file: client.prompts(name),
    "prompt": lambda client, name, file: client.prompt(name, "0" * 32),
    "forget_prompt": lambda client, name, file: client.forget_prompt(name, "0" * 32),
    "pass_rates": lambda client, name, file: client.pass_rates(name),
    "audits": lambda client, name, file: client.audits(name),
    "provenance": lambda client, name, file: client.provenance(name),
    "explain": lambda client, name, file: client.explain(name, position=1, item=0),
    "replay": lambda client, name, file: client.replay(name),
    "completions": lambda client, name, file: client.completions(name),
    "memory_map": lambda client, name, file: client.memory_map(name),
    "suspects": lambda client, name, file: client.suspects(name),
    "decisions": lambda client, name, file: client.decisions(name),
    "set_decisions": lambda client, name, file: client.set_decisions(name, []),
}
NO_DEFAULT = {"delete_run", "export_run", "import_run"}
OF_CHECKPOINTS = {
    "create_checkpoint": lambda client, name: client.create_checkpoint("r", name),
    "delete_checkpoint": lambda client, name: client.delete_checkpoint("r", name),
    "restore": lambda client, name: client.restore("r", name),
    "fork to": lambda client, name: client.fork("r", name),
}


@pytest.fixture(params=[RewardClient, AsyncRewardClient], ids=["sync", "async"])
def client(request):
    """A client whose requests are listed in `sent`; each is refused as an unknown route."""
    sent = []

    def handle(http):
        sent.append(http)
        return httpx.Response(404)

    made = request.param("http://memr", run="default", retries=0, transport=httpx.MockTransport(handle))
    made.sent = sent
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.memr"
    path.write_bytes(b"a run")
    return path


def finished(result):
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def test_every_call_that_names_a_run_is_tested():
    named = {
        name
        for name, member in inspect.getmembers(RewardClient, inspect.isfunction)
        if not name.startswith("_") and "run_id" in inspect.signature(member).parameters
    }
    assert named | {"reward"} == set(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_name_of_a_run_is_refused_before_anything_is_sent(client, call, file):
    for name in WRONG:
        if name is None and call not in NO_DEFAULT:
            continue
        with pytest.raises(InvalidRequest, match="is not the name of a run: a name is a letter or digit") as caught:
            finished(CALLS[call](client, name, file))
        assert caught.value.limit
        assert caught.value.remedy
    assert client.sent == []
    assert file.read_bytes() == b"a run"


@pytest.mark.parametrize("call", OF_CHECKPOINTS)
def test_a_wrong_name_of_a_checkpoint_is_refused_before_anything_is_sent(client, call):
    for name in WRONG:
        with pytest.raises(InvalidRequest, match=r"is not the name of a (run|checkpoint): a name is a letter"):
            finished(OF_CHECKPOINTS[call](client, name))
    assert client.sent == []


@pytest.mark.parametrize("call", CALLS)
def test_an_integer_counts_as_its_digits(client, call, file):
    for number in (5, 5.0, np.int64(5)):
        with pytest.raises(Exception, match="404"):
            finished(CALLS[call](client, number, file))
        sent = client.sent.pop()
        assert sent.url.path.startswith("/runs/5") or sent.headers["x-memr-run"] == "5"


def test_the_wire_has_the_same_rule():
    assert NewCheckpoint(name=5).name == Restore(checkpoint=5).checkpoint == Fork(run_id=5).run_id == "5"
    assert calls.delete_checkpoint(5, 7).path == "/runs/5/checkpoints/7"
    for name in WRONG:
        with pytest.raises(ValueError, match="name"):
            NewCheckpoint(name=name)
        with pytest.raises(InvalidRequest):
            checked_name(name)


@pytest.mark.parametrize("name", ["a", "A", "7", "a.b_c-d", "a..", "x" * 128])
def test_a_name_is_a_part_of_a_path_as_it_is(client, name):
    with pytest.raises(Exception, match="404"):
        finished(client.delete_checkpoint(name, name))
    assert client.sent[0].url.raw_path.decode() == f"/runs/{name}/checkpoints/{name}"
