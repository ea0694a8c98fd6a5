"""OpenRLHF's own code (see `openrlhf_real`) with a service, by its address and by a local file."""

from __future__ import annotations

import asyncio
import importlib.metadata
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, ServiceUnreachable
from memr_client.openrlhf import RewardFunction
from support.openrlhf_burst import burst
from support.openrlhf_real import Actor, executor, rollouts, stand_in_for_ray
from support.serving import serving
from support.unreliable import FAULTS, unreliable

TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPT = TEMPLATE.format("What is 7 + 5?")
CONFIG = {"verifier": "numeric", "explore_warmup_steps": 0, "prompt_pattern": r"<\|im_start\|>user\n(.*?)<\|im_end\|>"}


pytestmark = pytest.mark.filterwarnings("ignore:.*under which no group is known as a whole:UserWarning")
"""A warning of every run with the barrier `snapshot`, which has a test of its own."""


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


def create(server, run, **config):
    """The address of a new run."""
    assert httpx.put(f"{server}/runs/{run}", json=CONFIG | config).status_code == 201
    return f"{server}/openrlhf/{run}"


def saying(*completions):
    """A sampler that returns these completions, one after another."""
    left = list(completions)

    async def say(prompt):
        return left.pop(0)

    return say


def sample(remote_url, *completions, prompt=PROMPT, label="12", **lengths):
    """The results of OpenRLHF's executor for these completions of one prompt."""
    real = executor(remote_url)
    try:
        return asyncio.run(rollouts(real, prompt, label, saying(*completions), len(completions), **lengths))
    finally:
        if isinstance(real.reward_func, RewardFunction):
            real.reward_func.close()


def test_this_is_the_release_that_the_documentation_names():
    assert importlib.metadata.version("openrlhf") == "0.11.2"


# By its address


def test_a_burst_through_a_bad_network_is_answered_whole_and_remembered_once():
    came = burst(8, 4)
    assert came.faults.keys() == {"refused", "broken", "time-out"}
    assert came.requests > came.samples == came.answered == came.stored
    assert (came.records, came.incomplete) == (8, 0)
    assert (came.unequal, came.same_state) == (0, True)


def test_long_prompts_that_the_executor_cuts_are_recognised(server):
    address = create(server, "cut", barrier="group", group_size=2)
    prompt = TEMPLATE.format("Let us think. " * 20 + "What is 7 + 5?")
    made = sample(address, "It is 12", "It is 13", prompt=prompt, max_length=200, max_tokens=100)
    assert sorted(one["scores"][0] for one in made) == [0.0, 1.0]
    assert [one["extra_logs"]["prompt_cut"] for one in made] == [[1.0], [1.0]]
    assert httpx.get(f"{server}/runs/cut").json()["memory"]["success"]["prompts"] == 1


def test_several_addresses_of_one_service_share_its_memory(server):
    address = create(server, "replicas", barrier="group", group_size=4)
    made = sample([address, address + "?mode=train"], "12", "12.0", "twelve: 12", "13")
    assert sum(one["scores"][0] for one in made) == 3
    assert httpx.get(f"{server}/runs/replicas").json()["position"] == 1


def test_the_executor_sees_no_reward_and_no_zero_where_the_service_refuses(server, monkeypatch):
    real = executor(create(server, "refuses"))
    monkeypatch.setitem(real._fetch_rewards_via_http.__globals__, "asyncio", impatient())
    (made,) = asyncio.run(rollouts(real, PROMPT, "", saying("12"), 1))
    assert (made["reward"], made["scores"]) == (None, None)


def impatient():
    """asyncio without pauses between tries."""
    return SimpleNamespace(**{**vars(asyncio), "sleep": lambda seconds: asyncio.sleep(0)})


def test_answers_become_tensors_and_groups_are_filtered_by_their_outcomes(server, event_loop_elsewhere):
    """One of three prompts has right and wrong samples; OpenRLHF's dynamic filtering keeps only that one."""
    right, wrong = "It is 12", "It is 13"
    said = {"one": [right, wrong], "two": [wrong, wrong], "three": [right, right]}
    left = {TEMPLATE.format(question): completions for question, completions in said.items()}

    async def say(prompt):
        return left[prompt].pop()

    advantage = SimpleNamespace(is_correction_level="off")
    args = SimpleNamespace(
        rollout=SimpleNamespace(n_samples_per_prompt=2),
        algo=SimpleNamespace(dynamic_filtering_range=(0, 1), advantage=advantage),
    )
    address = create(server, "filtered", barrier="group", group_size=2)
    actor = Actor(executor(address), say, event_loop_elsewhere)
    generator = stand_in_for_ray()(SimpleNamespace(args=args), None, None, None, [actor])
    prompts = iter([(None, [prompt], ["12"], [None]) for prompt in list(left)])
    kept, consumed, _ = generator._generate_vllm(prompts, 3, dynamic_filtering=True, max_len=1000, max_new_tokens=500)
    assert consumed == 3
    assert [one.prompts[0] for one in kept] == [TEMPLATE.format("one")] * 2
    assert sorted(one.scores.item() for one in kept) == [0.0, 1.0]
    assert [list(one.rewards.shape) for one in kept] == [[1, 1], [1, 1]]
    for one in kept:
        logs = {name: value for name, value in one.info.items() if name in ("outcome", "exploit", "support_success")}
        assert len(logs) == 3
        assert {str(value.dtype) for value in logs.values()} == {"torch.float32"}


@pytest.fixture
def event_loop_elsewhere():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# By a local file


def write(folder, *lines):
    """The path of a reward file as a user writes it."""
    path = folder / "reward.py"
    path.write_text("\n".join(("from memr_client.openrlhf import RewardFunction", *lines)))
    return str(path)


def test_two_lines_in_a_file_reward_samples_by_the_runs_verifier(server, tmp_path):
    create(server, "file", barrier="snapshot", group_size=4)
    file = write(tmp_path, f'reward_func = RewardFunction("{server}", run="file")')
    for position in (4, 8):
        made = sample(file, "It is 12", "12", "13", "7 + 5 is 12")
        assert [one["scores"] for one in made] == [[1.0], [1.0], [0.0], [1.0]]
        # One record per response; the last of a group stores all four.
        assert httpx.get(f"{server}/runs/file").json()["position"] == position
    assert httpx.get(f"{server}/runs/file").json()["memory"]["success"]["completions"] == 6
    assert {len(value) for value in made[0]["extra_logs"].values()} == {1}


def test_a_users_verifier_may_be_used(server, tmp_path):
    create(server, "own", barrier="snapshot", group_size=2, verifier=None)
    file = write(
        tmp_path,
        "def short(queries, prompts, labels):",
        "    return [len(query) - len(prompt) < 20 for query, prompt in zip(queries, prompts)]",
        f'reward_func = RewardFunction("{server}", run="own", outcome=short)',
    )
    made = sample(file, "12", "a long story that ends with 12", label="")
    assert [one["scores"] for one in made] == [[1.0], [0.0]]


def test_without_a_file_the_environment_says_which_run(server, monkeypatch):
    create(server, "environment")
    command = [sys.executable, "-m", "memr_client.openrlhf"]
    real = executor(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    monkeypatch.setenv("MEMR_URL", server)
    for run, scores in (("", None), ("environment", [1.0])):
        monkeypatch.setenv("MEMR_RUN", run)
        (made,) = asyncio.run(rollouts(real, PROMPT, "12", saying("12"), 1))
        assert made["scores"] == scores
    real.reward_func.__globals__["_function"](server, "environment", "").close()


def test_samples_from_many_threads_count_once_through_an_unreliable_network(server):
    create(server, "many", barrier="snapshot", group_size=4)
    queries = [(TEMPLATE.format(f"What is {n} + 1?"), f"Attempt {i}: {n + i % 2}") for n in range(8) for i in range(4)]
    with unreliable(server, seed=3, share=0.5, path="/openrlhf/many") as (url, proxy):
        function = RewardFunction(url, run="many", timeout=2)
        with ThreadPoolExecutor(32) as threads, function:
            made = list(threads.map(lambda one: function([one[0] + one[1]], [one[0]], [one[0].split()[3]]), queries))
    assert set(FAULTS) <= set(proxy.met)
    assert all(len(one["rewards"]) == 1 for one in made)
    with RewardClient(server, run="many") as client:
        memory = client.run().memory
    assert memory.success.completions + memory.failure.completions == 32


def test_the_barrier_group_is_refused_because_a_file_has_too_few_threads(server):
    create(server, "threads", barrier="group", group_size=16)
    with RewardFunction(server, run="threads") as function, pytest.raises(ValueError, match="snapshot"):
        function([PROMPT + "12"], [PROMPT], ["12"])


def test_without_a_barrier_no_group_is_known_either(server):
    create(server, "single")
    with RewardFunction(server, run="single") as function, pytest.warns(UserWarning, match="barrier 'none', under"):
        function([PROMPT + "12"], [PROMPT], ["12"])


def test_a_barrier_that_knows_no_groups_is_warned_of_once_because_nothing_can_be_held_to_0(server):
    create(server, "unknown-groups", barrier="snapshot", group_size=2)
    with RewardFunction(server, run="unknown-groups") as function:
        with pytest.warns(UserWarning, match="estimator group_norm"):
            function([PROMPT + "12"], [PROMPT], ["12"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            function([PROMPT + "13"], [PROMPT], ["12"])
    asking = RewardFunction(server, run="unknown-groups", equal_spread=0.25)
    with asking, pytest.raises(InvalidRequest, match="equal_spread needs whole groups"):
        asking([PROMPT + "12"], [PROMPT], ["12"])


def test_a_failure_is_raised_and_never_a_number():
    function = RewardFunction("http://127.0.0.1:9", run="run", timeout=0.2, patience=0)
    with pytest.raises(ServiceUnreachable):
        function([PROMPT + "12"], [PROMPT], ["12"])


def test_what_is_refused_is_raised_at_once(server):
    create(server, "refused")
    with RewardFunction(server, run="refused") as function, pytest.raises(InvalidRequest, match="labels"):
        function([PROMPT + "12"], [PROMPT], [""])
