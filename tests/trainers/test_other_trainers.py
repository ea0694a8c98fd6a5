"""The snippets in examples/others, called by the parts of each trainer that need no heavy dependencies."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import os
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest
import torch
from memr_client import RewardClient
from support.serving import serving

HAS_VERIFIERS = sys.version_info >= (3, 11)
OTHERS = Path(__file__).parents[2] / "examples" / "others"


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


@pytest.fixture
def client(server, request, monkeypatch):
    """A client of the run that a snippet's environment names."""
    monkeypatch.setenv("MEMR_URL", server)
    monkeypatch.setenv("MEMR_RUN", request.node.name)
    monkeypatch.syspath_prepend(OTHERS)
    with RewardClient(server, run=request.node.name) as client:
        yield client
    for snippet in OTHERS.glob("*.py"):
        sys.modules.pop(snippet.stem, None)


def test_skyrl_steps_an_environment_that_adds_the_memorys_reward(client, monkeypatch):
    import skyrl_gym

    monkeypatch.setenv("MEMR_GROUP_SIZE", "4")
    skyrl_gym.register(id="gsm8k-memr", entry_point="skyrl_env:MemoryGSM8k")

    def trajectory(answer, split="train"):
        extras = {"reward_spec": {"ground_truth": "4"}, "extra_info": {"split": split}}
        env = skyrl_gym.make("gsm8k-memr", env_config={}, extras=extras)
        env.init([{"role": "user", "content": "2 + 2?"}])
        told = env.step(f"It must be\n#### {answer}")
        assert told["done"]
        assert told["reward"] == sum(env.get_metrics().values())
        return env.get_metrics()

    with ThreadPoolExecutor(4) as pool:
        outcomes = [parts["outcome"] for parts in pool.map(trajectory, ("4", "5", "4", "6"))]
    assert outcomes == [1.0, 0.0, 1.0, 0.0]
    trajectory("4", split="validation")
    sys.modules["skyrl_env"].memory.close()
    run = client.run()
    assert (run.memory.success.completions, run.memory.failure.completions, run.position) == (2, 2, 4)


def test_swift_finds_the_plugin_and_scores_a_batch_with_it(client, without_swifts_dependencies):
    orms = importlib.import_module("swift.rewards.orm").orms
    importlib.import_module("swift_reward")  # as --external_plugins does
    score = importlib.import_module("swift.rl_core.grpo_algorithm").compute_rewards_per_func
    functions = [orms["accuracy"](None), orms["memr"](None)]

    def batch(step, split):
        samples = [Sample("1 + 1?", f"so $\\boxed{{{number}}}$", "$2$", split) for number in (2, 3)]
        state = types.SimpleNamespace(global_step=step)
        return score(samples, functions, [None, None], torch.device("cpu"), trainer_state=state)

    right, memory = batch(7, "train").T.tolist()
    assert right == [1.0, 0.0]
    assert len(memory) == 2
    batch(8, "test")
    run = client.run()
    assert (run.step, run.memory.success.completions, run.memory.failure.completions) == (7, 1, 1)
    # The prompt is the chat without its completion, so all completions of a question share it.
    assert (run.memory.success.prompts, run.config.barrier) == (1, "step")
    batch(9, "train")
    functions[1].memory.client.close()
    assert client.run().memory.success.prompts == 1


def test_axolotl_loads_the_functions_by_the_names_in_its_config(client):
    load = axolotls("get_reward_func")
    correct, memory = load(None, "axolotl_reward.correct"), load(None, "axolotl_reward.memory")
    chats = [[{"role": "assistant", "content": f"it is {number}"}] for number in (2, 3)]
    batch = {"prompts": ["1 + 1?"] * 2, "completions": chats, "answer": ["2", "2"]}
    assert correct(**batch) == [1.0, 0.0]
    assert len(memory(**batch)) == 2
    memory.client.close()
    run = client.run()
    assert (run.memory.success.completions, run.memory.failure.completions) == (1, 1)


def test_openenv_pays_an_episode_with_its_own_rubric_and_the_memorys(client, monkeypatch, without_openenvs_servers):
    from openenv.core.rubrics import Rubric

    class Right(Rubric):
        def forward(self, action, observation):
            return float(observation.done and action.message == observation.answer)

    monkeypatch.setenv("MEMR_GROUP_SIZE", "4")
    snippet = importlib.import_module("openenv_rubric")

    def episode(answer, mode="train"):
        rubric = snippet.MemoryRubric(Right(), lambda o: o.question, lambda a: a.message, mode)
        paid = []
        for step, message in enumerate(["let me see", answer]):
            told = types.SimpleNamespace(question="2 + 2?", answer="4", done=step == 1)
            paid.append(rubric(types.SimpleNamespace(message=message), told))
        assert paid[0] == 0
        assert (rubric.last_score, rubric.outcome.last_score) == (paid[1], float(answer == "4"))
        assert [path for path, _ in rubric.named_rubrics()] == ["outcome"]
        rubric.reset()
        assert (rubric.turns, rubric.earned) == ([], 0.0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(episode, ("4", "5", "4", "6")))
    episode("4", "eval")
    snippet.memory.close()
    run = client.run()
    assert (run.memory.success.completions, run.memory.failure.completions, run.position) == (2, 2, 4)


@pytest.mark.skipif(not HAS_VERIFIERS, reason="verifiers needs Python 3.11")
def test_verifiers_adds_the_memorys_reward_to_a_tasks_own(client, monkeypatch):
    import verifiers.v1 as vf

    monkeypatch.setenv("MEMR_GROUP_SIZE", "4")
    snippet = importlib.import_module("verifiers_task")

    class Sum(snippet.MemoryTask):
        @vf.reward(weight=0.5)
        async def right(self, trace):
            return 2 * float(trace.last_reply == "4")

    async def rollout(answer):
        task = Sum(vf.TaskData(prompt="2 + 2?"))
        trace = traced(vf, task, answer)
        await task.score(trace)
        outcome, memory = trace.rewards["right"].value, trace.rewards["memory"].value
        assert (outcome, trace.reward) == (float(answer == "4"), outcome + memory)
        return memory

    async def group():
        paid = await asyncio.gather(*(rollout(answer) for answer in ("4", "5", "4", "6")))
        unsampled = Sum(vf.TaskData(prompt="2 + 2?"))
        empty = traced(vf, unsampled, None)
        await unsampled.score(empty)
        assert "memory" not in empty.rewards
        await snippet.memory.close()
        return paid

    assert len(asyncio.run(group())) == 4
    run = client.run()
    assert (run.memory.success.completions, run.memory.failure.completions, run.position) == (2, 2, 4)
    assert run.memory.success.prompts == 1


def test_every_snippet_is_short_and_tested_with_the_release_it_names():
    tested = Path(__file__).read_text("utf-8")
    packages = {"skyrl_env": "skyrl-gym", "swift_reward": "ms-swift", "axolotl_reward": "axolotl"}
    packages |= {"openenv_rubric": "openenv", "verifiers_task": "verifiers"}
    assert {path.stem for path in OTHERS.glob("*.py")} == packages.keys()
    for snippet, package in packages.items():
        text = (OTHERS / f"{snippet}.py").read_text("utf-8")
        code = [line for line in ast.unparse(ast.parse(text)).splitlines() if line.strip()]
        assert len(code) <= 30
        if package != "verifiers" or HAS_VERIFIERS:
            assert metadata.version(package).startswith(text.partition("(")[2].partition(")")[0].split()[-1])
        assert snippet in tested


# Stand-ins for what the real packages need


class Sample:
    """Replaces swift's `GRPOSample`, whose module imports swift's templates, for a reward function."""

    def __init__(self, question, answer, solution, split):
        self.messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        self.row = {"messages": self.messages, "solution": solution, "split": split, "is_truncated": False}

    def to_reward_row(self):
        return self.row


def traced(vf, task, answer):
    """A trace of verifiers in which the policy called a tool and then answered; without an answer it wrote nothing."""
    from verifiers.v1.graph import MessageNode

    call = vf.ToolCall(id="c", name="add", arguments="{}")
    written = [
        vf.AssistantMessage(content=None, tool_calls=[call]),
        vf.ToolMessage(tool_call_id="c", content="4"),
        vf.AssistantMessage(content=answer),
    ]
    messages = [vf.UserMessage(content=task.data.prompt), *(written if answer else [])]
    nodes = [
        MessageNode(parent=at - 1 if at else None, message=message, sampled=isinstance(message, vf.AssistantMessage))
        for at, message in enumerate(messages)
    ]
    about = {"type": type(task).__name__, "data": task.data}
    return vf.Trace[vf.TaskData, vf.State, vf.AgentConfig](task=about, agent={"config": {}}, nodes=nodes)


@pytest.fixture
def without_openenvs_servers(monkeypatch):
    """openenv's installed rubrics; `openenv.core`, which would load its servers, and its models' clients are stubs."""
    core = types.ModuleType("openenv.core")
    core.__path__ = [str(Path(importlib.util.find_spec("openenv").origin).parent / "core")]
    clients = types.ModuleType("openenv.core.llm_client")
    clients.LLMClient = object
    monkeypatch.setitem(sys.modules, "openenv.core", core)
    monkeypatch.setitem(sys.modules, "openenv.core.llm_client", clients)
    yield
    for name in [name for name in sys.modules if name.startswith("openenv.core.")]:
        del sys.modules[name]


@pytest.fixture
def without_swifts_dependencies(monkeypatch):
    """swift's installed reward modules; its `__init__` modules and those that read data or models are stubs."""
    root = Path(importlib.util.find_spec("swift").origin).parent
    logger = types.SimpleNamespace(warning=pytest.fail)
    batched = types.SimpleNamespace(
        rows_to_batched=lambda rows: {name: [row[name] for row in rows] for name in rows[0]}
    )
    stubs = {
        "swift": {"__path__": [str(root)]},
        "swift.utils": {"__path__": [str(root / "utils")], "get_logger": lambda: logger},
        "swift.infer_engine": {"InferRequest": object},
        "swift.dataset": {"RowPreprocessor": batched},
        "swift.rl_core.data": {"GRPOSample": Sample},
    }
    for name, members in stubs.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    yield
    for name in [name for name in sys.modules if name.startswith("swift.") and name not in stubs]:
        del sys.modules[name]


def axolotls(method):
    """A method of axolotl's `GRPOStrategy` from the installed source, since importing it would need all of axolotl."""
    root = Path(importlib.util.find_spec("axolotl").origin).parent
    tree = ast.parse((root / "core/trainers/grpo/__init__.py").read_text("utf-8"))
    (found,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == method]
    found.decorator_list, found.returns = [], None
    names = {"importlib": importlib, "inspect": inspect, "os": os}
    exec(compile(ast.Module([found], []), str(root), "exec"), names)
    return names[method]
