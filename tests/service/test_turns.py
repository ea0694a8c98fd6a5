"""Runs whose unit is the turn: what turns are, what they are compared with, and what a completion gets for them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, TooLarge
from support.turns import CONFIG, GROUP, LOOK, OUTCOMES, chat, send


@pytest.fixture
def client() -> Iterator[RewardClient]:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        yield client


def test_a_completion_gets_the_mean_of_its_turns_and_each_is_told(client: RewardClient) -> None:
    client.create_run(unit="turn", **CONFIG)
    send(client)
    answer = send(client)
    assert answer.turns is not None
    assert [len(turns) for turns in answer.turns] == [3, 2, 2, 1]
    assert answer.rewards == pytest.approx([sum(turns) / len(turns) for turns in answer.turns])
    for column in (*answer.components["exploit"].raw, *answer.support.success, *answer.guards.rejected):
        assert column is not None
    assert len(answer.components["exploit"].scaled) == len(answer.support.failure) == 4
    assert len(answer.guards.rejected) == 4
    assert answer.memory.success.completions == 2 * 5
    assert answer.memory.failure.completions == 2 * 3


def test_a_completion_may_get_what_its_last_turn_gets(client: RewardClient) -> None:
    client.create_run(unit="turn", combine_turns="last", **CONFIG)
    send(client)
    answer = send(client)
    assert answer.turns is not None
    assert answer.rewards == [turns[-1] for turns in answer.turns]
    assert len(set(answer.rewards)) > 1


def test_why_rewards_are_0_is_told_of_completions(client: RewardClient) -> None:
    client.create_run(unit="turn", **CONFIG)
    answer = send(client, [chat(LOOK, LOOK), chat("I guess.", "12 m.", "No.")], outcomes=[1.0, 0.0])
    assert answer.rewards == [0.0, 0.0]
    assert {cause.partition(": ")[0] for cause in answer.why_zero} == {"exploit, 2 of 2", "explore, 2 of 2"}


def test_turns_are_the_assistants_messages_that_say_something(client: RewardClient) -> None:
    client.create_run(unit="turn", **CONFIG)
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}
    silent = {"role": "assistant", "content": ""}
    answer = send(client, [[call, silent, *chat("It is 300 m.")], "It is 300 m.", [silent], []])
    assert answer.turns is not None
    assert [len(turns) for turns in answer.turns] == [2, 1, 1, 1]
    assert [row.completion for row in client.completions().rows][::-1][:2] == ["look({})", "It is 300 m."]
    assert not answer.warnings


def test_a_turn_is_compared_with_the_turns_in_its_place_and_the_last_with_the_last(client: RewardClient) -> None:
    client.create_run(unit="turn", **CONFIG)
    answer = send(client)
    # One entry is held out in each place: of three turns the middle one, which has its place for itself, reads nothing.
    assert answer.support.success == [1 + 0 + 1, 1 + 1, 1 + 1, 1]
    same = send(client, [chat(LOOK, "So it is 300 m tall.")], outcomes=[1.0])
    assert same.support.success[0] == 2 + 2
    other = client.reward(["Another prompt?"], [GROUP[0]], [1.0])
    assert other.support.success == other.support.failure == [0]  # other prompts are not read


def test_no_turn_meets_its_own_completion(client: RewardClient) -> None:
    """A right completion that says the same in all its turns, and a wrong one: their places hold one entry each, which
    either may not see, and no turn of the first reads another one of it."""
    client.create_run(unit="turn", **CONFIG)
    answer = send(client, [chat(LOOK, LOOK, LOOK), chat("I guess.", "It is 12 m.")], outcomes=[1.0, 0.0])
    assert answer.support.success == answer.support.failure == [0, 0]
    assert answer.components["exploit"].raw == answer.components["explore"].raw == [None, None]


def test_completions_of_one_turn_get_what_whole_completions_get(client: RewardClient) -> None:
    client.create_run("whole", **CONFIG)
    client.create_run("turn", unit="turn", **CONFIG)
    texts = ["It is 300 m.", "300 m, says the table.", "It is 12 m.", "No idea."]
    for _ in range(3):
        whole, turn = (send(client, texts, run_id=name) for name in ("whole", "turn"))
    assert turn.rewards == whole.rewards
    assert turn.turns == [[reward] for reward in whole.rewards]
    assert whole.turns is None
    assert client.run("turn", digest=True).digest == client.run("whole", digest=True).digest


def test_a_completion_of_many_turns_counts_once_in_pass_rates_and_answers(client: RewardClient) -> None:
    client.create_run(unit="turn", extract="numeric", **CONFIG)
    for step in range(3):
        answer = send(client, prompt_ids=["tower"] * 4, references=["300"] * 4, step=step)
    assert answer.baseline == [0.5] * 4
    (prompt,) = client.prompts().rows
    assert (prompt.prompt, prompt.visits) == ("How tall is the tower?", 3)
    given = {one.answer: one.completions for one in client.prompt("run", prompt.key).answers}
    assert given == {"300": 6, "12": 3}


@pytest.mark.parametrize("kind", ["step", "group"])
def test_barriers_wait_for_completions_and_order_their_turns(kind: str) -> None:
    barrier = {"barrier": kind, "group_size": 4} if kind == "group" else {"barrier": kind}
    with RewardClient.embedded(run="run", encoder="hashed") as client, ThreadPoolExecutor(4) as threads:
        client.create_run("alone", unit="turn", **CONFIG)
        client.create_run(unit="turn", **CONFIG, **barrier)
        for step in range(2):
            together = send(client, run_id="alone", step=step)
            fields = [{"index": [number]} if kind == "group" else {"part": number, "parts": 4} for number in range(4)]
            sent = [
                threads.submit(send, client, [GROUP[number]], outcomes=[OUTCOMES[number]], step=step, **fields[number])
                for number in (2, 0, 3, 1)
            ]
            third, first, fourth, second = (one.result() for one in sent)
            in_order = [first, second, third, fourth]
            assert [answer.turns for answer in in_order] == [[turns] for turns in together.turns or []]
            assert [answer.rewards[0] for answer in in_order] == together.rewards
        assert client.run(digest=True).digest == client.run("alone", digest=True).digest


def test_a_retry_a_restart_and_an_evaluation(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}"
    with RewardClient.embedded(store, run="run", encoder="hashed") as client:
        client.create_run(unit="turn", **CONFIG)
        send(client)
        first = send(client, request_id="again")
        before = client.run(digest=True).digest
        seen = send(client, mode="eval")
        assert [len(turns) for turns in seen.turns or []] == [3, 2, 2, 1]
        assert client.run(digest=True).digest == before
    with RewardClient.embedded(store, run="run", encoder="hashed") as client:
        again = send(client, request_id="again")
        assert (again.rewards, again.turns, again.position) == (first.rewards, first.turns, 2)
        assert client.run(digest=True).digest == before


@pytest.mark.parametrize(
    ("field", "config", "value"),
    [
        ("k", {"k": 2}, 2),
        ("barrier", {"barrier": "snapshot", "group_size": 4}, "snapshot"),
        ("order", {"preset": "official-memory-r+"}, "official"),
        ("repair", {"repair": {"mode": "mask"}}, "mask"),
        ("components", {"components": {"exploit": 1.0, "partition": 1.0}}, ["partition"]),
        ("memory.gates.agreement", {"memory": {"gates": {"agreement": True}}}, True),
    ],
)
def test_what_would_compare_turns_of_one_completion_is_refused(
    client: RewardClient, field: str, config: dict[str, Any], value: Any
) -> None:
    with pytest.raises(InvalidRequest, match=f"does not go with {field}") as caught:
        client.create_run(unit="turn", **(CONFIG | config))
    assert caught.value.remedy
    assert caught.value.value == value
    assert not client.runs()


def test_embeddings_of_completions_are_refused_and_change_nothing(client: RewardClient) -> None:
    client.create_run(unit="turn", **CONFIG)
    with pytest.raises(InvalidRequest, match="unit is the turn"):
        client.reward(["q"], ["a"], [1], embeddings={"prompts": [[1.0, 0.0]], "completions": [[0.0, 1.0]]})
    assert client.run().position == 0


def test_too_many_turns_are_refused_and_change_nothing() -> None:
    with RewardClient.embedded(run="run", encoder="hashed", max_items=7) as client:
        client.create_run(unit="turn", **CONFIG)
        with pytest.raises(TooLarge, match="4 completions have 8 turns") as caught:
            send(client)
        assert (caught.value.value, caught.value.limit) == (8, 7)
        assert client.run().position == 0
