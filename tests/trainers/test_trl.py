"""The reward function for TRL, called as TRL calls it; `test_trl_training.py` uses the real trainers."""

from __future__ import annotations

import asyncio
import functools
import json
import pickle
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pandas
import pytest
import torch
from memr_client import InvalidRequest, RewardClient, RunConfig, Unavailable
from memr_client.trl import memory_reward, reward, wrap
from memr_client.trl.advice import MIN_OUTCOMES
from PIL import Image
from support.serving import serving
from trl.data_utils import prepare_multimodal_messages

NAN = float("nan")
PROMPTS = ["2+2="] * 2 + ["3+3="] * 2
COMPLETIONS = ["four: 4", "five: 5", "six: 6", "seven: 7"]
OUTCOMES = [1.0, 0.0, 1.0, 0.0]
ALONE = RunConfig(barrier="none")


@pytest.fixture(scope="module")
def client():
    with RewardClient.embedded(encoder="hashed") as embedded:
        yield embedded


@pytest.fixture
def run(request):
    return re.sub(r"[^a-z0-9]+", "-", request.node.name)[:100]


def correctness(prompts, completions, **columns):
    return OUTCOMES[: len(completions)]


class Trainer:
    """The parts of a trainer that a reward function uses: its state and its method `log_metric`."""

    def __init__(self, step=0, training=True, **args):
        self.model = SimpleNamespace(training=training)
        self.args = SimpleNamespace(**{"scale_rewards": "none", **args})
        self.state = SimpleNamespace(global_step=step)
        self.metrics = {}

    def log_metric(self, name, value):
        self.metrics[name] = value

    def call(self, function, prompts=PROMPTS, completions=COMPLETIONS, **columns):
        return function(
            prompts=prompts,
            completions=completions,
            **{"completion_ids": [[0]] * len(prompts), **columns},
            trainer_state=self.state,
            log_extra=lambda column, values: None,
            log_metric=self.log_metric,
        )


class Service:
    """A service with scripted responses that records its requests."""

    def __init__(self, *answers: int):
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.embedded = RewardClient.embedded(encoder="hashed")

    def client(self):
        return RewardClient("http://faulty", retries=0, transport=httpx.MockTransport(self.answer))

    def answer(self, request):
        if request.url.path == "/reward":
            self.bodies.append(json.loads(request.content))
            status = self.answers.pop(0) if self.answers else 200
            if status != 200:
                slug = {503: "unavailable", 422: "invalid-request", 500: "internal-error"}[status]
                document = {"type": f"urn:memr:problem:{slug}", "detail": "It broke."}
                return httpx.Response(status, json=document, headers={"content-type": "application/problem+json"})
        # Forwarded to a working service.
        return self.embedded._transport.handle_request(request)


def test_strings_are_rewarded_and_remembered_with_outcomes_from_a_column(client, run):
    memory = memory_reward(client, run=run, outcome="right", weight=2.0)
    rewards = Trainer().call(memory, right=OUTCOMES)
    assert client.run(run).memory.success.completions == client.run(run).memory.failure.completions == 2
    again = Trainer(step=1).call(memory, right=OUTCOMES)
    assert len(rewards) == 4
    assert 0 < max(again) <= 2
    assert memory.__name__ == "memory"


def test_chats_are_rewarded_as_the_same_words_in_strings_are(client, run):
    chats = [[{"role": "system", "content": "Add."}, {"role": "user", "content": prompt}] for prompt in PROMPTS]
    said = [[{"role": "assistant", "content": completion}] for completion in COMPLETIONS]
    plain = memory_reward(client, run=f"{run}-plain", outcome=correctness)
    chat = memory_reward(client, run=f"{run}-chat", outcome=correctness)
    for step in range(3):
        assert Trainer(step).call(plain) == Trainer(step).call(chat, chats, said)


def test_a_verifier_is_called_as_trl_calls_reward_functions(client, run):
    seen = {}

    def verifier(prompts, completions, **columns):
        seen.update(columns, prompts=prompts, completions=completions)
        return [True, False, True, False]

    trainer = Trainer(step=7)
    trainer.call(memory_reward(client, run=run, outcome=verifier), answer=["4", "4", "6", "6"])
    assert (seen["prompts"], seen["completions"], seen["answer"]) == (PROMPTS, COMPLETIONS, ["4", "4", "6", "6"])
    assert seen.keys() >= {"completion_ids", "trainer_state", "log_extra", "log_metric"}
    assert client.run(run).step == 7


def test_a_completion_without_an_outcome_is_neither_remembered_nor_rewarded(client, run):
    rewards = Trainer().call(memory_reward(client, run=run, outcome="right"), right=[1.0, None, None, 0.0])
    assert [reward is None for reward in rewards] == [False, True, True, False]
    sizes = client.run(run).memory
    assert sizes.success.completions + sizes.failure.completions == 2


def test_answers_labels_and_what_was_cut_off_go_along():
    def answers(prompts, completions, **columns):
        return [completion.rpartition(" ")[2] for completion in completions]

    service, trainer = Service(), Trainer(max_completion_length=3)
    trainer.processing_class = SimpleNamespace(eos_token_id=1, pad_token_id=0)
    columns = {"answers": answers, "references": "solution", "labels": "topic"}
    memory = memory_reward(service.client(), run="r", outcome="right", **columns)
    ids = [[7, 7], [7, 7, 1], [7, 7, 7], [7, 7, 0]]
    trainer.call(
        memory, completion_ids=ids, right=[1.0, None, 1.0, 0.0], topic=["a", "b", "c", "d"], solution=[4, 5, None, 7]
    )
    (body,) = service.bodies
    assert (body["answers"], body["labels"]) == (["4", "6", "7"], ["a", "c", "d"])
    assert body["references"] == ["4", None, "7"]
    assert body["truncated"] == [False, True, False]


@pytest.mark.parametrize(
    "outcomes",
    [
        [NAN, 1.0, None, 0.0],
        np.array([NAN, 1.0, NAN, 0.0]),
        torch.tensor([NAN, 1.0, NAN, 0.0]),
        list(torch.tensor([NAN, 1.0, NAN, 0.0])),
        pandas.Series([None, 1.0, None, 0.0], index=[7, 5, 3, 1]),
        pandas.Series([pandas.NA, True, pandas.NA, False], dtype="boolean"),
    ],
    ids=["list", "numpy", "torch", "tensors", "pandas", "nullable"],
)
def test_nan_means_does_not_apply_as_none_does(client, run, outcomes):
    def verifier(prompts, completions, **columns):
        return outcomes

    for outcome in (verifier, wrap(verifier), "right"):
        name = f"{run}-{outcome if isinstance(outcome, str) else type(outcome).__name__}"
        rewards = Trainer().call(memory_reward(client, run=name, outcome=outcome), right=outcomes)
        assert [reward is None for reward in rewards] == [True, False, True, False]
        sizes = client.run(name).memory
        assert (sizes.success.completions, sizes.failure.completions) == (1, 1)
    assert wrap(verifier)(PROMPTS, COMPLETIONS) == [None, 1.0, None, 0.0]


def test_images_in_a_prompt_are_left_out(client, run):
    pictures = [Image.new("RGB", (4, 4)) for _ in PROMPTS]
    prompts = [
        prepare_multimodal_messages([{"role": "user", "content": text}], images=[picture])
        for text, picture in zip(PROMPTS, pictures, strict=True)
    ]
    said = [[{"role": "assistant", "content": completion}] for completion in COMPLETIONS]
    memory = memory_reward(client, run=run, outcome=correctness)
    assert None not in Trainer().call(memory, prompts, said)
    assert client.run(run).memory.success.prompts == 2  # equal texts are one prompt


@pytest.mark.parametrize("form", ["function", "partial", "object", "lambda"])
def test_an_asynchronous_verifier_is_awaited(client, run, form):
    async def later(prompts, completions, **columns):
        await asyncio.sleep(0)
        return OUTCOMES

    class Later:
        __call__ = staticmethod(later)

    verifier = {
        "function": later,
        "partial": functools.partial(later),
        "object": Later(),
        "lambda": lambda **columns: later(**columns),
    }[form]
    correct = wrap(verifier)
    assert Trainer().call(correct) == OUTCOMES
    for name, outcome in (("plain", verifier), ("wrapped", correct)):
        assert None not in Trainer().call(memory_reward(client, run=f"{run}-{name}", outcome=outcome))

    async def notebook():
        return correct(PROMPTS, list(COMPLETIONS))

    assert asyncio.run(notebook()) == OUTCOMES


def test_what_is_missing_is_refused(client, run):
    memory = memory_reward(client, run=run, outcome="right")
    with pytest.raises(ValueError, match=r"names no column.*'wrong'"):
        Trainer().call(memory, wrong=OUTCOMES)
    with pytest.raises(ValueError, match="outcome has 3 values for 4 completions"):
        Trainer().call(memory, right=OUTCOMES[:3])
    for given, says in (
        (None, "outcome gave None for 4 completions"),
        (1.0, "outcome gave 1.0 for 4 completions"),
        ([1.0, [0.0], 1.0, 0.0], r"outcome\[1\] is a value of type list"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            Trainer().call(memory, right=given)
    with pytest.raises(ValueError, match="outcome is a function or the name of a column"):
        memory_reward(client, run=run, outcome=OUTCOMES)
    with pytest.raises(TypeError, match="wrap takes a reward function"):
        wrap(None)
    with pytest.raises(InvalidRequest, match="'my/run' is not the name of a run"):
        memory_reward(client, run="my/run", outcome="right")
    with pytest.raises(ValueError, match="no run"):
        memory_reward(RewardClient(), outcome="right")
    with pytest.raises(ValueError, match="'raise' or 'drop'"):
        memory_reward(client, run=run, outcome="right", on_failure="zeros")


def test_a_wrapped_verifier_judges_each_batch_once(client, run):
    calls = []

    def verifier(prompts, completions, **columns):
        calls.append(completions)
        return OUTCOMES

    correct = wrap(verifier)
    memory = memory_reward(client, run=run, outcome=correct)
    assert correct.__name__ == "verifier"
    for step in range(3):
        completions = list(COMPLETIONS)  # every step has its own list, even of equal texts
        assert Trainer(step).call(correct, completions=completions) == OUTCOMES
        Trainer(step).call(memory, completions=completions)
    assert len(calls) == 3
    completions[0] = "something else"  # a loop may reuse its list
    correct(PROMPTS, completions)
    assert len(calls) == 4


def test_a_wrapped_verifier_recognises_a_batch_by_everything_it_was_given():
    correct = wrap(lambda completions, answer, **columns: [float(said == answer[0]) for said in completions])
    completions, said = ["1", "2"], [[{"role": "assistant", "content": "1"}]]
    assert correct(PROMPTS[:2], completions, answer=["1", "1"]) == [1.0, 0.0]
    assert correct(PROMPTS[:2], completions, answer=["2", "2"]) == [0.0, 1.0]
    chats = wrap(lambda completions, **columns: [float(chat[0]["content"] == "1") for chat in completions])
    assert chats(PROMPTS[:1], said) == [1.0]
    said[0][0]["content"] = "2"
    assert chats(PROMPTS[:1], said) == [0.0]
    by_step = wrap(lambda completions, trainer_state, **columns: [trainer_state.global_step] * len(completions))
    assert [by_step(PROMPTS, COMPLETIONS, trainer_state=Trainer(step).state)[0] for step in (0, 5)] == [0.0, 5.0]
    calls = []
    counted = wrap(lambda completions, **columns: calls.append(1) or [0.0] * len(completions))
    for _ in range(2):
        Trainer().call(counted, completions=completions, prompts=PROMPTS[:2], weight=[NAN, 1.0])
    assert len(calls) == 1


def test_concurrent_calls_wait_for_a_wrapped_verifier():
    entered, go = threading.Event(), threading.Event()

    def verifier(prompts, completions, **columns):
        entered.set()
        assert go.wait(30)
        return OUTCOMES

    correct = wrap(verifier)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(correct, PROMPTS, COMPLETIONS)
        assert entered.wait(30)
        second = threads.submit(correct, PROMPTS, COMPLETIONS)
        go.set()
        assert first.result() == second.result() == OUTCOMES


def test_a_wrapped_verifier_that_fails_is_called_again():
    answers = [ValueError("not yet"), OUTCOMES]

    def verifier(prompts, completions, **columns):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    correct = wrap(verifier)
    with pytest.raises(ValueError, match="not yet"):
        correct(PROMPTS, COMPLETIONS)
    assert correct(PROMPTS, COMPLETIONS) == OUTCOMES


def test_metrics_are_means_over_what_has_a_value(client, run):
    memory = memory_reward(client, run=run, outcome=correctness, name="episodes")
    trainer = Trainer()
    trainer.call(memory)
    measured = set(trainer.metrics)
    assert {"episodes/exploit_scaled", "episodes/support_success", "episodes/rejected", "episodes/seconds"} <= measured
    assert "episodes/explore" not in measured  # during warm-up no item has a value, and a missing value is not 0
    assert "episodes/dropped" not in measured
    assert trainer.metrics["episodes/seconds"] > 0
    trainer.call(memory)
    assert trainer.metrics["episodes/exploit"] < 0
    assert trainer.metrics["episodes/support_success"] > 0


@pytest.mark.parametrize("told_by", ["switch", "column", "bound trainer", "bound model", "log_metric"])
def test_evaluation_leaves_the_memory_as_it_is(client, run, told_by):
    memory = memory_reward(client, run=run, outcome=correctness, split_column="split" if told_by == "column" else None)
    splits = {"split": ["test"] * 4}
    Trainer().call(memory, split=["train"] * 4)
    before = client.run(run, digest=True).digest
    trainer = Trainer(training=told_by != "log_metric")
    bound = Trainer(training=False)
    bound.model = Model()
    if told_by == "switch":
        with memory.evaluating():
            trainer.call(memory, **splits)
    elif told_by.startswith("bound"):
        memory.bind(bound if told_by == "bound trainer" else bound.model)
        memory(PROMPTS, COMPLETIONS)
    else:
        trainer.call(memory, **splits)
    assert client.run(run, digest=True).digest == before
    bound.model.training = True
    Trainer().call(memory, split=["train"] * 4)
    assert client.run(run).position == 2


class Model:
    training = False


@pytest.mark.parametrize(("split", "position"), [("train", 1), ("Train_small", 1), (" Test", 0), ("val", 0)])
def test_splits_are_known_by_their_words(client, run, split, position):
    memory = memory_reward(client, run=run, outcome=correctness, split_column="split")
    memory.open()
    Trainer().call(memory, split=[split] * 4)
    assert client.run(run).position == position


def test_an_unknown_split_is_not_remembered_with_a_warning(client, run):
    memory = memory_reward(client, run=run, outcome=correctness, split_column="split")
    memory.open()
    with pytest.warns(UserWarning, match="split 'aime24' is neither training"):
        Trainer().call(memory, split=["aime24"] * 4)
    assert client.run(run).position == 0
    with pytest.raises(ValueError, match="split_column='split' names no column"):
        Trainer().call(memory)


def test_a_batch_of_training_and_evaluation_is_refused(client, run):
    memory = memory_reward(client, run=run, outcome=correctness, split_column="split")
    with pytest.raises(ValueError, match="mixes"):
        Trainer().call(memory, split=["train", "train", "test", "test"])


def test_a_new_run_waits_for_all_ranks_and_an_old_one_stays_what_it_is(client, run):
    Trainer().call(memory_reward(client, run=f"{run}-new", outcome=correctness))
    assert client.run(f"{run}-new").config.barrier == "step"
    Trainer().call(memory_reward(client, run=f"{run}-k", outcome=correctness, config=RunConfig(k=3)))
    assert (client.run(f"{run}-k").config.k, client.run(f"{run}-k").config.barrier) == (3, "step")
    alone = RunConfig(barrier="none")
    Trainer().call(memory_reward(client, run=f"{run}-alone", outcome=correctness, config=alone))
    assert client.run(f"{run}-alone").config.barrier == "none"
    client.create_run(f"{run}-old", k=5)
    Trainer().call(memory_reward(client, run=f"{run}-old", outcome=correctness))
    assert (client.run(f"{run}-old").config.k, client.run(f"{run}-old").config.barrier) == (5, "none")


def test_the_preset_may_be_named_alone(client, run):
    for name, given in (("a", {"preset": "memory-r"}), ("b", {"config": {"preset": "memory-r"}})):
        assert memory_reward(client, run=f"{run}-{name}", outcome="right", **given).open().preset == "memory-r"
    both = {"preset": "memory-r", "config": RunConfig(k=3)}
    config = memory_reward(client, run=f"{run}-c", outcome="right", **both).open()
    assert (config.preset, config.k, config.barrier) == ("memory-r", 3, "step")
    with pytest.raises(InvalidRequest, match="preset='memory-r', but the config has preset 'random'"):
        memory_reward(client, run=run, outcome="right", preset="memory-r", config=RunConfig(preset="random"))
    with pytest.raises(InvalidRequest, match=r"'memory-r\+'"):
        memory_reward(client, run=run, outcome="right", preset="memory_r+")


def test_asynchronous_grpo_calls_without_a_trainer_and_from_any_thread(client, run):
    memory = memory_reward(client, run=run, outcome=correctness)
    with ThreadPoolExecutor(8) as threads:
        groups = [threads.submit(memory, prompts=PROMPTS, completions=COMPLETIONS) for _ in range(16)]
        assert all(len(group.result()) == 4 for group in groups)
    info = client.run(run)
    assert (info.position, info.step, info.config.barrier) == (16, None, "none")


def test_ranks_say_which_part_of_which_step_they_send(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    service = Service()
    with pytest.warns(UserWarning, match="2 ranks share a run whose barrier is 'none'"):
        Trainer(step=3).call(memory_reward(service.client(), run="r", outcome=correctness, config=ALONE))
    (body,) = service.bodies
    assert (body["step"], body["part"], body["parts"]) == (3, 1, 2)


def test_ranks_cannot_share_a_memory_that_is_embedded_in_one_of_them(client, run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="memr serve"):
        Trainer().call(memory_reward(client, run=run, outcome=correctness))


def test_a_failing_service_is_an_error_by_default_and_no_zeros():
    memory = memory_reward(Service(503).client(), run="r", outcome=correctness)
    with pytest.raises(Unavailable):
        Trainer().call(memory)
    assert len(Trainer().call(memory)) == 4


def test_a_dropped_reward_is_none_for_all_with_one_warning_and_counted():
    memory = memory_reward(Service(500, 503).client(), run="r", outcome=correctness, on_failure="drop")
    trainer = Trainer()
    with pytest.warns(UserWarning, match="no memory reward for this batch"):
        assert trainer.call(memory) == [None] * 4
    assert trainer.metrics["memory/dropped"] == 1
    assert trainer.call(memory) == [None] * 4
    assert None not in trainer.call(memory)
    assert trainer.metrics["memory/dropped"] == 0


def test_a_wrong_request_is_never_dropped():
    memory = memory_reward(Service(422).client(), run="r", outcome=correctness, on_failure="drop")
    with pytest.raises(InvalidRequest):
        Trainer().call(memory)


def test_several_ranks_never_drop_but_retry_with_one_id(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(reward, "PAUSE_S", 0.001)
    service = Service(503, 500, 503)
    memory = memory_reward(service.client(), run="r", outcome=correctness, on_failure="drop", config=ALONE)
    with pytest.warns(UserWarning, match="barrier"):
        assert None not in Trainer().call(memory)
    assert len(service.bodies) == 4
    assert len({body["request_id"] for body in service.bodies}) == 1
    assert service.embedded.run("r").position == 1


def test_several_ranks_raise_when_their_patience_is_over(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(reward, "PAUSE_S", 0.001)
    service = Service(*[503] * 10_000)
    memory = memory_reward(service.client(), run="r", outcome=correctness, on_failure="drop", patience_s=2.0)
    memory.open()  # the patience is that of the tries, not of the service's start
    with pytest.raises(Unavailable):
        Trainer().call(memory)
    assert len(service.bodies) > 1


def test_a_pickled_reward_still_works_and_shares_its_verifier():
    with serving() as url, RewardClient(url) as client:
        correct = wrap(correctness)
        functions = [correct, memory_reward(client, run="r", outcome=correct)]
        Trainer().call(functions[1])
        correct_again, memory_again = pickle.loads(pickle.dumps(functions))
        assert memory_again._sources["outcome"] is correct_again
        with memory_again.client:
            assert len(Trainer(step=1).call(memory_again)) == 4
        assert client.run("r").position == 2


def test_the_outcomes_that_count_and_the_rewards_come_with_one_request():
    service = Service()
    config = RunConfig(preset="memory-r+", barrier="none", explore_warmup_steps=0, repair={"mode": "replace"})
    said, right = ["6", "6", "6", "7"], [0.0, 0.0, 0.0, 1.0]
    columns = {"label": ["7"] * 4, "said": said, "right": right}
    memory = memory_reward(
        service.client(), run="run", outcome="right", answers="said", references="label", config=config
    )
    functions = [memory.outcome, memory]
    assert [one.__name__ for one in functions] == ["right", "memory"]
    for step in range(3):
        trainer, batch = Trainer(step), {"prompts": ["3+3="] * 4, "completions": [*said]}
        order = functions if step % 2 else functions[::-1]
        found = {one.__name__: trainer.call(one, **batch, **columns) for one in order}
        assert len(service.bodies) == step + 1
    assert found["right"] == [1.0, 1.0, 1.0, 0.0]
    assert trainer.metrics["memory/repaired"] == 1.0
    assert len(found["memory"]) == 4
    again = [*said]
    trainer.call(memory.outcome, completions=again, prompts=["3+3="] * 4, **columns)
    trainer.call(memory.outcome, completions=again, prompts=["3+3="] * 4, **columns)  # another call, another request
    assert len(service.bodies) == 5


def test_the_outcome_beside_a_run_that_does_not_repair_is_the_verifiers(client, run):
    memory = memory_reward(client, run=run, outcome=correctness, config=ALONE)
    functions, completions = [memory.outcome, memory], list(COMPLETIONS)
    assert functions[0].__name__ == "correctness"
    assert Trainer().call(functions[0], completions=completions) == OUTCOMES
    assert len(Trainer().call(functions[1], completions=completions)) == 4
    assert client.run(run).position == 1


def test_an_embedded_memory_is_not_pickled(client, run):
    with pytest.raises(TypeError, match="memr serve"):
        pickle.dumps(memory_reward(client, run=run, outcome=correctness))


def test_outcomes_outside_0_to_1_give_one_warning(client, run):
    memory = memory_reward(client, run=run, outcome="right")
    with pytest.warns(UserWarning, match=r"outcome of 2 is outside \[0, 1\]"):
        Trainer().call(memory, right=[2.0, 0.0, 1.0, -1.0])
    Trainer(step=1).call(memory, right=[2.0, 0.0, 1.0, -1.0])


@pytest.mark.parametrize(("outcome", "empty"), [(1.0, "failure memory"), (0.0, "success memory")])
def test_one_sided_outcomes_give_a_warning_after_a_sufficient_number(client, run, outcome, empty):
    memory = memory_reward(client, run=run, outcome="right")
    half = MIN_OUTCOMES // 2
    batch = {"prompts": ["q"] * half, "completions": [f"a{item}" for item in range(half)], "right": [outcome] * half}
    Trainer().call(memory, **batch)
    with pytest.warns(UserWarning, match=empty):
        Trainer(step=1).call(memory, **batch)
    with pytest.warns(UserWarning, match="No completion succeeded") if outcome == 0 else nullcontext():
        Trainer(step=2).call(memory, **batch)
    Trainer(step=3).call(memory, **batch)


def test_zeros_are_explained_after_the_first_steps(client, run):
    memory = memory_reward(client, run=run, outcome="right")
    shaped = {"right": [0.1, 0.4, 0.0, 0.2]}
    for step in range(2):
        Trainer(step).call(memory, **shaped)
    with pytest.warns(UserWarning, match=r"largest outcome is 0.4, .*success_threshold=0.5.*lower success_threshold"):
        Trainer(2).call(memory, **shaped)
    Trainer(3).call(memory, **shaped)


@pytest.mark.parametrize(
    ("args", "warned"),
    [
        ({"scale_rewards": "group"}, True),
        ({"scale_rewards": "group", "max_spread": 0.5}, False),
        ({"scale_rewards": "group", "multi_objective_aggregation": "sum_then_normalize"}, True),
        ({"scale_rewards": "group", "multi_objective_aggregation": "normalize_then_sum"}, False),
        ({"scale_rewards": "batch"}, False),
        ({"scale_rewards": "none"}, False),
    ],
)
def test_group_normalisation_without_a_limit_gives_one_warning_with_the_remedy(client, run, args, warned):
    config = RunConfig(max_spread=args.get("max_spread"))
    memory = memory_reward(client, run=run, outcome=correctness, config=config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trainer(**args).call(memory)
        Trainer(step=1, **args).call(memory)
    said = [str(warning.message) for warning in caught]
    assert len(said) == warned
    assert all("scale_rewards='batch' or 'none'" in text for text in said)


ALL_WRONG = [0.0, 0.0, 0.0, 0.0]
PAYS = RunConfig(preset="memory-r+", scaling="request", explore_warmup_steps=0, max_spread=0.5, equal_spread=0.25)
"""Pays a little where all outcomes are equal, as the default preset does."""


@pytest.mark.parametrize(
    ("args", "asked", "held", "remedy"),
    [
        ({"scale_rewards": "group"}, None, True, "scale_rewards='batch' or 'none'"),
        ({"scale_rewards": True}, None, True, "scale_rewards='batch' or 'none'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, None, True, "'sum_then_normalize'"),
        ({"scale_rewards": "group"}, 0.25, False, None),
        ({"scale_rewards": "batch"}, None, False, None),
        ({"scale_rewards": "none"}, None, False, None),
        ({"scale_rewards": "none"}, 0.0, True, None),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_equal_groups_are_held_to_0_where_the_trainer_divides_by_their_deviation(
    client, run, args, asked, held, remedy, exists
):
    if exists:
        client.create_run(run, PAYS, barrier="step")
    memory = memory_reward(client, run=run, outcome="right", equal_spread=asked, config=None if exists else PAYS)
    prompts = [PROMPTS[0]] * 4
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        equal = Trainer(0, **args).call(memory, prompts, right=ALL_WRONG)
        mixed = Trainer(1, **args).call(memory, prompts, [f"{text} or so" for text in COMPLETIONS], right=OUTCOMES)
    assert (equal == [0.0] * 4) is held
    assert 0 <= max(equal) - min(equal) <= 0.25 + 1e-9
    assert max(mixed) > min(mixed)
    said = [str(warning.message) for warning in caught]
    assert len(said) == (remedy is not None)
    assert all(remedy in text and "equal_spread=0.25" in text for text in said)
