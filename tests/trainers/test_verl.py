"""The verl adapter, called by verl's own config, agent loop, reward workers and reward managers."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from memr_client import Conflict, InvalidRequest, RewardClient, ServiceUnreachable, UnknownCheckpoint
from memr_client.verl import compute_score, compute_score_async
from memr_client.verl import memory as memory_module
from memr_client.verl.options import read_options
from memr_client.verl.sample import Sample, chat, reference_of, sample_of
from support.serving import serving
from support.unreliable import unreliable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings of verl and Ray at import
    import memr_client.verl.checkpoint  # noqa: F401
    from support.verl_loop import (
        FUNCTION,
        MANAGER,
        Actor,
        Rollouts,
        agent_loop,
        configure,
        in_batches,
        play,
        save_tokenizer,
    )
    from support.verl_loop import score as score_in_loop
    from verl.trainer.ppo.checkpoint_callback import build_checkpoint_callback
    from verl.utils.config import validate_config
    from verl.utils.dataset.rl_dataset import RLHFDataset

EXAMPLES = Path(__file__).parents[2] / "examples"
GROUPS, SIZE = 8, 4
NOW = {"explore_warmup_steps": 0}
TRAINED = {"split": "train", "question": "1 + 1?"}
KEYS = {
    "score", "acc", "outcome", "memory_reward", "exploit", "exploit_defined", "exploit_scaled", "explore",
    "explore_defined", "explore_scaled", "support_success", "support_failure", "rejected",
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:.*under which no group is known as a whole:UserWarning")
"""A warning of every run without the barrier `group`, which has a test of its own."""


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def tokenizer(model):
    return save_tokenizer(model)


@pytest.fixture
def client(server, request):
    """A client of a run for one test."""
    with RewardClient(server, run=request.node.name[:100].replace("[", "-").replace("]", "")) as client:
        yield client


@pytest.fixture
def actors(model, tokenizer):
    started = []

    def start(number, *overrides):
        config = configure(model, f"actor_rollout_ref.rollout.n={SIZE}", *overrides)
        started.extend(Actor(config) for _ in range(number))
        return started

    yield start
    for actor in started:
        actor.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(memory_module, "PAUSE_S", 0.05)


def options(under, **said):
    return [f"+{under}.{name}={value}" for name, value in said.items()]


def says(outcome):
    return lambda data_source, solution_str, ground_truth, extra_info: outcome


class AllWrong(Rollouts):
    """Groups in which every completion is wrong."""

    def completion(self, group, place):
        return super().completion(group, place).rpartition("####")[0] + "#### 100000"


def one(client, outcome=1.0, completion="2", extra_info=TRAINED, **said):
    said = {"url": client.url, "run": client.run_id, "group_size": 2, **said}
    return compute_score("mine", completion, "2", extra_info, outcome=says(outcome), **said)


@pytest.mark.parametrize(
    ("how", "under"),
    [(MANAGER, "reward.reward_kwargs.memr"), (FUNCTION, "reward.custom_reward_function.reward_kwargs")],
    ids=["manager", "function"],
)
def test_every_sample_gets_a_reward_and_counts_once_over_a_bad_network(
    how, under, server, client, actors, tokenizer, tmp_path
):
    rollouts = Rollouts(GROUPS, SIZE)
    client.create_run(barrier="group", group_size=SIZE, **NOW)
    with unreliable(server, seed=3, share=0.4) as (url, proxy):
        worker = agent_loop(actors(3, *how, *options(under, url=url, run=client.run_id, timeout=1.5)))
        kept = asyncio.run(play(worker, tokenizer, rollouts))
    assert len(proxy.met) == 6, "every fault was met"
    assert proxy.retries >= 2 * 4, "the first tries go through two whole decks; four of five faults make a retry"
    run = client.run(digest=True)
    assert run.memory.success.completions + run.memory.failure.completions == GROUPS * SIZE
    assert (run.position, run.barrier.timeouts, run.barrier.late) == (GROUPS, 0, 0)
    # The manager knows the chat and the trainer's step, a function only the question and the weights' version.
    chats = [rollouts.prompt(group)["raw_prompt"] for group in range(GROUPS)]
    told = (chats, 1) if how is MANAGER else (rollouts.questions, 0)
    digest, raw = in_batches(client, client.run_id, rollouts, *told, tmp_path)
    assert run.digest == digest
    for seat, parts in kept.items():
        assert {name: parts[name] for name in ("exploit", "explore")} == raw[seat]
        assert parts["outcome"] == rollouts.outcome(*seat)
        assert parts["reward_score"] == parts["score"] == parts["outcome"] + parts["memory_reward"]
        assert set(parts) == KEYS | {"reward_score"}
    assert len({parts["explore"] for parts in kept.values()}) > GROUPS


def test_the_manager_creates_the_run_for_groups_of_rollout_n_and_tells_the_step(client, actors, tokenizer):
    said = {"url": client.url, "run": client.run_id, "weight": 0.5, "config": "{explore_warmup_steps: 0, k: 3}"}
    worker = agent_loop(actors(2, *MANAGER, *options("reward.reward_kwargs.memr", **said)))
    kept = asyncio.run(play(worker, tokenizer, Rollouts(2, SIZE)))
    run = client.run()
    assert (run.config.barrier, run.config.group_size, run.config.k, run.step) == ("group", SIZE, 3, 1)
    assert all(parts["score"] == parts["outcome"] + 0.5 * parts["memory_reward"] for parts in kept.values())


def test_a_sample_that_verl_scores_twice_counts_once_and_a_regenerated_one_again(client, actors, tokenizer):
    client.create_run(barrier="snapshot", group_size=SIZE, **NOW)
    said = options("reward.reward_kwargs.memr", url=client.url, run=client.run_id)
    worker = agent_loop(actors(2, *MANAGER, *said))
    prompt = Rollouts(1, SIZE).prompt(0)

    async def scenario():
        first = await score_in_loop(worker, tokenizer, prompt, "#### 0", place=0)
        again = await score_in_loop(worker, tokenizer, prompt, "#### 0", place=0)
        await score_in_loop(worker, tokenizer, prompt, "#### 1", place=0)
        return first.extra_fields, again.extra_fields

    first, again = asyncio.run(scenario())
    assert first == again
    assert client.run().position == 2


def test_a_trainer_that_numbers_no_samples_is_served_as_well(client, actors, tokenizer):
    client.create_run(barrier="group", group_size=SIZE, **NOW)
    said = options("reward.reward_kwargs.memr", url=client.url, run=client.run_id)
    worker = agent_loop(actors(2, *MANAGER, *said))
    row = Rollouts(1, SIZE).prompt(0)
    prompt = {name: value for name, value in row.items() if name != "global_steps"}

    async def scenario():
        # Equal completions of one group can be told apart only by the calls.
        samples = [score_in_loop(worker, tokenizer, prompt, "#### 0", None, global_steps=6) for _ in range(SIZE)]
        await asyncio.wait_for(asyncio.gather(*samples), 30)

    asyncio.run(scenario())
    run = client.run()
    assert (run.position, run.step, run.memory.success.completions) == (1, 6, SIZE)


def test_a_failed_sample_raises_and_is_not_zero(actors, tokenizer):
    said = {"url": "http://127.0.0.1:9", "run": "nobody", "timeout": 0.5, "patience_s": 0.5}
    worker = agent_loop(actors(1, *MANAGER, *options("reward.reward_kwargs.memr", **said)))
    with pytest.raises(ServiceUnreachable, match="memr serve"):
        asyncio.run(play(worker, tokenizer, Rollouts(1, SIZE)))


def test_the_manager_refuses_to_add_the_memory_twice(client, actors, tokenizer):
    said = {"url": client.url, "run": client.run_id}
    twice = [*MANAGER, *FUNCTION, *options("reward.reward_kwargs.memr", **said)]
    client.create_run(barrier="snapshot", group_size=SIZE)
    inner = options("reward.custom_reward_function.reward_kwargs", **said)
    worker = agent_loop(actors(1, *twice, *inner))
    with pytest.raises(ValueError, match="leave memr out"):
        asyncio.run(play(worker, tokenizer, Rollouts(1, SIZE)))


@pytest.mark.parametrize(
    ("overrides", "asked", "held"),
    [
        (["algorithm.adv_estimator=grpo"], None, True),
        (["algorithm.adv_estimator=grpo", "algorithm.norm_adv_by_std_in_grpo=False"], None, False),
        (["algorithm.adv_estimator=rloo"], None, False),
        (["algorithm.adv_estimator=grpo"], 0.25, False),
    ],
)
def test_equal_groups_are_held_to_0_where_verl_divides_by_their_deviation(
    client, actors, tokenizer, overrides, asked, held
):
    client.create_run(preset="memory-r+", **NOW, max_spread=0.5, equal_spread=0.25, barrier="group", group_size=SIZE)
    said = {"url": client.url, "run": client.run_id, **({} if asked is None else {"equal_spread": asked})}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        worker = agent_loop(actors(1, *MANAGER, *overrides, *options("reward.reward_kwargs.memr", **said)))
        kept = asyncio.run(play(worker, tokenizer, AllWrong(3, SIZE)))
    warned = [str(one.message) for one in caught if "norm_adv_by_std_in_grpo" in str(one.message)]
    assert len(warned) == held
    assert all("equal_spread=0.25" in text for text in warned)
    assert ({parts["memory_reward"] for parts in kept.values()} == {0.0}) is held


def test_a_function_that_cannot_know_how_verl_divides_holds_equal_groups_to_0(client):
    client.create_run(preset="memory-r+", **NOW, max_spread=0.5, equal_spread=0.25, barrier="group", group_size=2)

    async def group(step, **options):
        said = {"url": client.url, "run": client.run_id, "group_size": 2, **options}
        texts = (f"a {step}", f"of two words {step}")
        calls = [compute_score_async("mine", text, "2", TRAINED, outcome=says(0), **said) for text in texts]
        return [one["memory_reward"] for one in await asyncio.gather(*calls)]

    with pytest.warns(UserWarning, match="verl may use norm_adv_by_std_in_grpo"):
        first = asyncio.run(group(0))
    assert first == asyncio.run(group(1)) == [0.0, 0.0]
    assert len(set(asyncio.run(group(2, equal_spread=0.25)))) == 2


@pytest.mark.filterwarnings("ignore:.*verl sends completions one by one. Create the run:UserWarning")
@pytest.mark.parametrize("barrier", ["none", "snapshot"])
def test_a_barrier_that_knows_no_groups_is_warned_of_because_nothing_can_be_held_to_0(client, barrier):
    client.create_run(barrier=barrier, group_size=2)
    with pytest.warns(UserWarning, match="under which no group is known as a whole"):
        one(client)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one(client)


def test_the_manager_says_which_completions_were_cut_at_the_length_limit(client, actors, tokenizer):
    client.create_run(preset="memory-r+", components={"explore": {"guards": {"drop_truncated": True}}}, **NOW,
                      barrier="group", group_size=SIZE)  # fmt: skip
    rollouts = Rollouts(1, SIZE)
    lengths = [len(tokenizer.encode(rollouts.completion(0, place))) for place in range(SIZE)]
    cut = f"actor_rollout_ref.rollout.response_length={max(lengths)}"
    said = {"url": client.url, "run": client.run_id}
    worker = agent_loop(actors(1, *MANAGER, cut, *options("reward.reward_kwargs.memr", **said)))
    kept = asyncio.run(play(worker, tokenizer, rollouts))
    rejected = {place: parts["rejected"] for (_, place), parts in kept.items()}
    assert rejected == {place: float(length == max(lengths)) for place, length in enumerate(lengths)}


def test_evaluation_leaves_the_memory_as_it_is_even_before_training(client):
    for split in ("test", "val", "Validation"):
        assert set(one(client, extra_info={**TRAINED, "split": split})) == KEYS
    assert client.run().position == 0
    one(client)
    assert client.run().position == 1


def test_an_unknown_split_is_not_remembered_with_a_warning(client):
    with pytest.warns(UserWarning, match="split 'aime24' is neither training"):
        one(client, extra_info={**TRAINED, "split": "aime24"})
    one(client, extra_info={**TRAINED, "split": "train_easy"})
    assert client.run().position == 1


@pytest.mark.parametrize("returned", [None, "right", float("nan"), {"acc": 1.0}, [1.0, 0.0]])
def test_a_reward_function_that_gives_no_number_is_refused_in_words(client, returned):
    with pytest.raises(InvalidRequest, match=r"the reward function's score is .*, but must be a finite number"):
        one(client, outcome=returned)


def test_an_asynchronous_reward_function_is_awaited_by_both(client):
    async def later(data_source, solution_str, ground_truth, extra_info):
        await asyncio.sleep(0)
        return 1.0

    said = {"url": client.url, "run": client.run_id, "group_size": 2}
    for outcome in (later, functools.partial(later)):
        assert compute_score("mine", "2", "2", TRAINED, outcome=outcome, **said)["outcome"] == 1.0
        scored = compute_score_async("mine", "2", "2", {**TRAINED, "split": "test"}, outcome=outcome, **said)
        assert asyncio.run(scored)["outcome"] == 1.0


def test_options_that_differ_only_in_what_was_set_are_two_memories(client):
    said = {"url": client.url, "run": client.run_id, "group_size": 2}
    memories = [
        memory_module.memory_for(read_options({**said, "config": config}))
        for config in ({"preset": "official-memory-r"}, {"preset": "official-memory-r", "scaling": "item"})
    ]
    assert memories[0] is not memories[1]


def test_empty_variables_are_not_set_and_a_preset_may_be_named_alone(client, monkeypatch):
    monkeypatch.setenv("MEMR_URL", "")
    with pytest.raises(InvalidRequest, match="MEMR_URL"):
        read_options({"run": "r"})
    one(client, preset="memory-r")
    assert client.run().config.preset == "memory-r"


def test_rows_without_a_split_are_training_with_a_warning(client):
    with pytest.warns(UserWarning, match="evaluation cannot be told from training"):
        one(client, extra_info={"question": "1 + 1?"})
    assert client.run().position == 1


def test_the_function_creates_a_run_by_how_verl_calls_it(client):
    one(client)
    assert client.run().config.barrier == "snapshot"
    other = f"{client.run_id}-async"
    pair = [compute_score_async("mine", text, "2", TRAINED, outcome=says(1), url=client.url, run=other, group_size=2)
            for text in ("a", "b")]  # fmt: skip

    async def both():
        return await asyncio.gather(*pair)

    first, second = asyncio.run(both())
    assert client.run(other).config.barrier == "group"
    assert first["support_success"] == second["support_success"] == 1.0


def test_a_group_larger_than_a_pool_of_connections_waits_in_one_process(client):
    said = {"outcome": says(1), "url": client.url, "run": client.run_id, "group_size": 110}

    async def group():
        texts = [f"answer {number}" for number in range(110)]
        return await asyncio.gather(*(compute_score_async("mine", text, "2", TRAINED, **said) for text in texts))

    assert {parts["support_success"] for parts in asyncio.run(group())} == {99.0}  # all but the held-out one
    run = client.run()
    assert (run.position, run.barrier.timeouts) == (1, 0)


def test_a_process_has_one_memory_however_many_threads_begin_at_once(client):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: one(client, completion=f"answer {number}"), range(32)))
    said = read_options({"url": client.url, "run": client.run_id, "group_size": 2})
    assert memory_module.memory_for(said) is memory_module.memory_for(said.model_copy())
    assert client.run().memory.success.completions == 32


def test_a_prompt_of_the_next_epoch_is_a_group_of_its_own(client):
    async def epoch(step):
        said = {"outcome": says(1), "url": client.url, "run": client.run_id, "group_size": 2}
        extra = {**TRAINED, "global_steps": step}
        return await asyncio.gather(*(compute_score_async("mine", text, "2", extra, **said) for text in ("a", "b")))

    for step in (0, 7):
        asyncio.run(epoch(step))
        assert client.run().step == step
    assert client.run().position == 2


def test_a_run_that_does_not_fit_is_refused(client):
    with pytest.raises(InvalidRequest, match=r"actor_rollout_ref\.rollout\.n"):
        one(client, group_size=None)
    one(client)
    with pytest.raises(InvalidRequest, match="groups of 2, and verl samples 3"):
        one(client, group_size=3)
    with pytest.raises(Conflict):
        one(client, config={"k": 7})


def test_a_run_for_another_way_of_calling_is_warned_of(client):
    client.create_run()
    with pytest.warns(UserWarning, match="barrier is 'none'"):
        one(client)
    client.create_run(f"{client.run_id}-group", barrier="group", group_size=1)
    with pytest.warns(UserWarning, match="compute_score_async"):
        one(client, run=f"{client.run_id}-group", group_size=None)


def test_options_are_checked_and_completed_from_the_environment(monkeypatch):
    monkeypatch.setenv("MEMR_URL", "http://somewhere:1")
    monkeypatch.setenv("MEMR_RUN", "by-environment")
    monkeypatch.setenv("MEMR_WEIGHT", "0.25")
    assert read_options({"weight": None}).weight == 0.25
    said = read_options({"run": "said", "weight": 2, "config": {"k": 3}})
    assert (said.url, said.run, said.weight, said.config.k) == ("http://somewhere:1", "said", 2.0, 3)
    for wrong in ({"run": "no/name"}, {"weight": "much"}, {"config": {"kk": 3}}, {"rnu": "x"}, {"group_size": 0}):
        with pytest.raises(InvalidRequest):
            read_options(wrong)
    monkeypatch.delenv("MEMR_RUN")
    with pytest.raises(InvalidRequest, match="MEMR_RUN"):
        read_options({})


def test_an_unknown_option_is_refused(client):
    with pytest.raises(TypeError, match="wieght"):
        one(client, wieght=0.5)


def test_the_outcome_is_any_reward_function_of_verl(client, tmp_path):
    (tmp_path / "rewards.py").write_text(
        "def length(data_source, solution_str, ground_truth, extra_info, scale=1):\n"
        "    return {'score': len(solution_str) * scale, 'acc': 1.0, 'words': 1}\n"
    )
    said = {"url": client.url, "run": client.run_id, "group_size": 2}
    place = f"{tmp_path}/rewards.py:length"
    parts = compute_score("mine", "four", "", TRAINED, outcome=place, scale=0.1, reward_router_address="x", **said)
    assert (parts["outcome"], parts["acc"], parts["words"]) == (1.0, 1.0, 1)
    assert parts["score"] == 0.4 + parts["memory_reward"]
    gsm8k = compute_score("openai/gsm8k", "It is\n#### 4", "4", TRAINED, **said)
    assert (gsm8k["outcome"], gsm8k["acc"]) == (1.0, 1.0)
    for wrong, error in (("rewards.py", ValueError), ("pkg://nowhere.at.all:it", ImportError)):
        with pytest.raises(error):
            compute_score("mine", "", "", TRAINED, outcome=wrong, **said)


def test_a_score_has_the_outcome_that_counts_in_place_of_its_own(client):
    """A score of 0.5 for the format and 1 for being right."""
    client.create_run(
        **NOW, preset="memory-r+", extract="numeric", barrier="snapshot", group_size=4, repair={"mode": "replace"}
    )
    for step in range(3):
        found = [
            compute_score(
                *("mine", f"It is {said}", "7", {**TRAINED, "global_steps": step}),
                outcome=says({"score": 0.5 + (said == 7), "acc": float(said == 7)}),
                **{"url": client.url, "run": client.run_id, "weight": 0.0},
            )
            for said in (6, 6, 6, 7)
        ]
        assert all(set(one) == KEYS | {"repaired"} for one in found)
    assert [one["score"] for one in found] == [1.5, 1.5, 1.5, 0.5]
    assert [(one["outcome"], one["acc"], one["repaired"]) for one in found] == [(1.0, 0.0, 1.0)] * 3 + [(0.0, 1.0, 1.0)]


def test_the_prompt_is_the_chat_that_the_policy_saw_or_the_question(client):
    with pytest.raises(ValueError, match="neither 'raw_prompt' nor 'question'"):
        one(client, extra_info={"split": "train"})
    seen = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what"}]}]
    assert chat(seen) == [{"role": "user", "content": "what"}]
    one(client, extra_info={"split": "train", "raw_prompt": seen, "question": "another"})
    one(client, extra_info={"split": "train", "raw_prompt": seen})
    assert client.run().memory.success.prompts == 1


def test_every_call_has_one_request_id_and_only_numbered_samples_have_it_again():
    numbered = Sample("q", "a", False, 3, group="g", index=0)
    assert numbered.columns(1.0)["request_id"] == numbered.columns(0.0)["request_id"]
    assert (
        Sample("q", "b", False, 3, group="g", index=0).columns(1.0)["request_id"] != numbered.columns(1.0)["request_id"]
    )
    alone = Sample("q", "a", False, 3)
    assert alone.columns(1.0)["request_id"] != alone.columns(1.0)["request_id"]
    assert "request_id" not in Sample("q", "a", True, 3).columns(1.0)


def test_the_adapter_needs_no_verl_until_it_is_asked_for_verls_own_outcome():
    code = "import sys, memr_client.verl; print({'verl', 'ray', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("how", [MANAGER, FUNCTION], ids=["manager", "function"])
def test_memory_and_policy_go_back_together(how, client, model, tmp_path):
    under = "reward.reward_kwargs.memr" if how is MANAGER else "reward.custom_reward_function.reward_kwargs"
    said = options(under, url=client.url, run=client.run_id)
    hook = "trainer.checkpoint_callback_class=memr_client.verl.checkpoint.MemoryCheckpoint"
    sizes = [f"trainer.default_local_dir={tmp_path}", "actor_rollout_ref.rollout.n=1"]

    def begin(*more):
        return build_checkpoint_callback(configure(model, *how, *said, hook, *sizes, *more))

    def train(step):
        client.reward(["q"], [f"at step {step}"], [1.0], step=step)

    callback = begin()
    for step in (1, 2, 3):
        train(step)
        if step < 3:  # as verl saves
            (tmp_path / f"global_step_{step}").mkdir()
            (tmp_path / "latest_checkpointed_iteration.txt").write_text(str(step))
            callback.on_save(trainer=None, global_step=step, checkpoint_dir="", async_save=False)
    assert [mark.name for mark in client.checkpoints()] == ["global_step_0", "global_step_1", "global_step_2"]
    begin()
    assert (client.run().position, client.run().step) == (2, 2)
    begin("trainer.resume_mode=resume_path", f"trainer.resume_from_path={tmp_path}/global_step_1")
    assert client.run().position == 1
    begin("trainer.resume_mode=disable")
    assert client.run().position == 0
    with pytest.raises(UnknownCheckpoint):
        begin("trainer.resume_mode=resume_path", "trainer.resume_from_path=elsewhere/global_step_9")


def settings_of_the_script(tmp_path, *arguments, **environment):
    """The command of examples/verl_grpo.sh, without the interpreter."""
    echo = tmp_path / "python"
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    command = ["bash", str(EXAMPLES / "verl_grpo.sh"), *arguments]
    environment = {**os.environ, "PYTHON": str(echo), **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_example_is_a_configuration_that_verl_accepts(tmp_path, model):
    dash_m, main, *settings = settings_of_the_script(tmp_path, "trainer.total_epochs=2", MEMR_RUN="mine")
    assert (dash_m, main) == ("-m", "verl.trainer.main_ppo")
    config = configure(model, *settings)
    validate_config(config, use_reference_policy=False, use_critic=False)
    said = read_options({**config.reward.reward_kwargs.memr, "group_size": config.actor_rollout_ref.rollout.n})
    assert (said.run, said.group_size, said.config.max_prompts) == ("mine", 16, 7473)
    assert said.config.reasoning_tags == ("<reasoning>", "</reasoning>")
    assert config.trainer.total_epochs == 2


def test_the_tiny_example_runs_through_verls_reward_worker(server, tmp_path, capsys):
    program, *settings = settings_of_the_script(tmp_path, "--tiny", MEMR_URL=server, MEMR_RUN="tiny")
    assert program == str(EXAMPLES / "verl_tiny.py")
    asyncio.run(example("verl_tiny.py").play(settings))
    first, *_, last = [
        dict(re.findall(r"(\w+) +(-?[\d.]+)", line.partition(":")[2])) for line in capsys.readouterr().out.splitlines()
    ]
    assert float(first["outcome"]) < 0.5 < float(last["outcome"])
    assert float(first["exploit"]) < float(last["exploit"])


def test_the_examples_data_is_what_verl_reads_and_its_rewards_tell_right_from_well_formed(
    tmp_path, model, tokenizer, monkeypatch
):
    rewards = example("verl_reward.py")
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"question": "1 + 1?", "answer": "It is\\n#### 2"}\n' * 3)
    monkeypatch.setattr(sys, "argv", ["verl_reward.py", str(tmp_path), "--data", str(tmp_path)])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rewards.main()
    row = RLHFDataset(str(tmp_path / "test.parquet"), tokenizer, configure(model).data)[1]
    assert row["raw_prompt"][-1] == {"role": "user", "content": "1 + 1?"}
    assert row["extra_info"] == {"split": "test", "index": 1, "question": "1 + 1?"}
    truth = row["reward_model"]["ground_truth"]
    form = "<reasoning>\nwhy\n</reasoning>\n<answer>\n{}\n</answer>"
    said = [rewards.score("gsm8k", text, truth) for text in (form.format(2), form.format(3), "2", "<answer>2</answer>")]
    assert [one["acc"] for one in said] == [1.0, 0.0, 1.0, 1.0]
    assert [one["score"] for one in said] == [3.0, 2.0, 1.5, 1.5]


def example(name):
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("ground_truth", "reference"),
    [
        ("72", "72"),
        (72, "72"),
        (72.0, "72"),
        (0.5, "0.5"),
        (np.float64(1234567.0), "1234567"),
        (np.str_("x + 1"), "x + 1"),
        (" ", None),
        (None, None),
        (float("nan"), None),
        (["72"], None),
        (np.array(["72", "73"]), None),
        ({"tests": ["assert f(1) == 2"]}, None),
        (True, None),
    ],
)
def test_the_ground_truth_is_the_reference_where_it_is_a_text_or_a_number(ground_truth, reference):
    assert reference_of(ground_truth) == reference
    columns = sample_of({"question": "q", "split": "train"}, "a", ground_truth).columns(1.0)
    assert columns.get("references") == (None if reference is None else [reference])
