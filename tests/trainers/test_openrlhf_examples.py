"""The OpenRLHF examples: their flags are OpenRLHF's, their rewards the paper's, and the tiny one runs."""

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from memr_service.app.openrlhf.texts import question_of
from support.openrlhf_real import FOLDER, executor, load, rollouts
from support.serving import serving

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTION = "Natalia sold clips to 48 friends.\nHow many did she sell?"
WORKED = "She sold 48/1 = <<48/1=48>>48 clips.\n#### 48"

pytestmark = pytest.mark.filterwarnings("ignore:.*under which no group is known as a whole:UserWarning")


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The arguments that the script passes to curl and python3, recorded by stand-ins."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("curl", "python3"):
        stand_in = f'#!/bin/sh\nprintf "%s\\0" "$@" > {folder}/{name}.args\ncat > {folder}/{name}.body\n'
        (folder / name).write_text(stand_in)
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "MEMR_API_KEY": "secret", "MEMR_RUN": "run"}
    command = ["bash", EXAMPLES / "openrlhf_grpo.sh", "--train.seed", "7"]
    subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL)
    curl, python = ((folder / f"{name}.args").read_text().split("\0")[:-1] for name in ("curl", "python3"))
    return SimpleNamespace(curl=curl, python=python, config=json.loads((folder / "curl.body").read_text()))


def parsed(arguments, monkeypatch):
    """The arguments as parsed and checked by OpenRLHF's command line, without its last statement."""
    load("utils.config")
    (main,) = (
        node for node in ast.parse((FOLDER / "cli/train_ppo_ray.py").read_text()).body if isinstance(node, ast.If)
    )
    *statements, start = main.body
    assert ast.unparse(start) == "train(args)"
    monkeypatch.setattr(sys, "argv", ["train_ppo_ray", *arguments])
    names = {}
    exec("import argparse\nfrom datetime import datetime", names)
    exec(compile(ast.Module(statements, []), "train_ppo_ray.py", "exec"), names)
    return names["args"]


def test_the_script_has_the_papers_settings_in_flags_that_openrlhf_knows(started, monkeypatch):
    assert started.python[:2] == ["-m", "openrlhf.cli.train_ppo_ray"]
    args = parsed(started.python[2:], monkeypatch)
    assert (args.actor.adam.lr, tuple(args.actor.adam.betas), args.actor.adam.weight_decay) == (5e-6, (0.9, 0.99), 0.1)
    assert (args.actor.lr_scheduler, args.actor.lr_warmup_ratio, args.actor.max_norm) == ("cosine", 0.1, 0.1)
    assert (args.rollout.batch_size, args.rollout.n_samples_per_prompt, args.train.batch_size) == (16, 16, 256)
    assert (args.rollout.max_new_tokens, args.data.max_len, args.train.num_episodes) == (200, 456, 1)
    assert args.actor.model_name_or_path == "Qwen/Qwen2.5-0.5B-Instruct"
    assert args.reward.remote_url == [str(EXAMPLES / "openrlhf_reward.py")]
    assert args.train.seed == 7


def test_the_script_creates_its_run_with_the_key(started, server):
    assert started.curl[-4:-1] == ["-H", "Authorization: Bearer secret", "--data-binary"]
    assert "http://127.0.0.1:8000/runs/run" in started.curl
    created = httpx.put(f"{server}/runs/example", json=started.config)
    assert created.status_code == 201, created.text
    assert created.json()["config"]["group_size"] == 16


def test_the_reward_file_rewards_the_answer_the_format_and_the_memory(started, server, monkeypatch):
    httpx.put(f"{server}/runs/reward", json=started.config | {"group_size": 2}).raise_for_status()
    template = started.python[started.python.index("--data.input_template") + 1]
    prompt = template.format(QUESTION)
    assert question_of(prompt, started.config["prompt_pattern"]) == (QUESTION, True)
    monkeypatch.setenv("MEMR_URL", server)
    monkeypatch.setenv("MEMR_RUN", "reward")
    said = iter(
        ["<reasoning>\nAll of them.\n</reasoning>\n<answer>\n48\n</answer>", "It is <answer>12</answer>"] * 2,
    )

    async def say(prompt):
        return next(said)

    real = executor(str(EXAMPLES / "openrlhf_reward.py"))
    for _ in range(2):
        made = asyncio.run(rollouts(real, prompt, WORKED, say, 2))
    real.reward_func.__globals__["memory"].close()
    assert [one["scores"] for one in made] == [[1.0], [0.0]]
    assert [one["extra_logs"]["form"] for one in made] == [[2.0], [0.5]]
    for one in made:
        parts = [one["extra_logs"][name][0] for name in ("outcome", "memory_reward", "form")]
        assert one["reward"] == [pytest.approx(sum(parts))]
        assert one["extra_logs"]["support_success"] == [1.0]


def test_the_tiny_example_trains_on_rewards_and_the_memory_holds_every_sample_once(server):
    command = [sys.executable, EXAMPLES / "openrlhf_tiny.py", "--url", server, "--steps", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (step, stored) = done.stdout.splitlines()[-2:]
    assert step.startswith("step  10  outcome 0.")
    right, wrong = map(int, re.fullmatch(r"memory: (\d+) right, (\d+) wrong", stored).groups())
    assert right + wrong == 10 * 8 * 8
