"""The client where processes fork and interpreters end."""

import asyncio
import os
import subprocess
import sys

import pytest
from memr_client import AsyncRewardClient, RewardClient
from support.serving import serving

BATCH = (["2+2?"] * 4, ["4", "5", "four", "22"], [1.0, 0.0, 1.0, 0.0])


@pytest.fixture
def client():
    with RewardClient.embedded(run="r", encoder="hashed") as client:
        yield client


def test_a_forked_child_is_told_to_use_a_server_and_the_parent_goes_on(client):
    client.reward(*BATCH)
    if (child := os.fork()) == 0:
        try:
            client.runs()
        except RuntimeError as error:
            client.close()  # does nothing here, and does not wait for a thread that is not there
            os._exit(0 if "memr serve" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert client.reward(*BATCH).position == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"NO_PROXY": "localhost,::1,fd00::/8"},
        {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.0/8"},
    ],
    ids=["http", "socks", "range", "lower case"],
)
def test_a_service_on_this_machine_is_reached_whatever_proxies_there_are(monkeypatch, environment):
    with serving() as url:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with RewardClient(url, run="r", retries=0) as client:
            assert len(client.reward(*BATCH).rewards) == 4
        shared = AsyncRewardClient(url, run="r", retries=0)
        assert len(asyncio.run(shared.reward(*BATCH)).rewards) == 4


def test_an_interpreter_may_end_while_a_client_is_open(tmp_path):
    code = f"""
import logging
from memr_client import RewardClient
logging.getLogger("asyncio").setLevel(logging.ERROR)  # without its notes on what a busy machine does slowly
client = RewardClient.embedded("sqlite:///{tmp_path}/data", run="r", encoder="hashed")
client.reward(["q"], ["a"], [1.0])
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.glob("data/*-wal"))  # the store was closed, not dropped


def test_the_callers_generators_threads_dtypes_logging_and_signals_are_left_alone():
    code = """
import logging, random, signal
import numpy as np, torch
from memr_client import RewardClient  # importing httpx draws from `random`: programs seed after their imports

def surroundings():
    loggers = [logging.root] + [logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)]
    return {
        "random": hash(random.getstate()), "numpy": hash(np.random.get_state()[1].tobytes()),
        "torch": hash(torch.get_rng_state().numpy().tobytes()),
        "threads": torch.get_num_threads(), "interop": torch.get_num_interop_threads(),
        "dtype": torch.get_default_dtype(), "device": torch.get_default_device(), "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "handlers": [one for one in loggers if one.handlers and one.name.startswith(("memr", "root", "asyncio"))],
        "level": logging.root.level, "signals": [signal.getsignal(s) for s in signal.valid_signals()],
    }

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
random.seed(1), np.random.seed(1), torch.manual_seed(1)
before = surroundings()
with RewardClient.embedded(run="r") as client:
    for step in range(2):
        answer = client.reward(["2+2?"] * 2, ["4", "5"], [1.0, 0.0], step=step)
    assert client.version().encoder["model"] == "all-MiniLM-L6-v2"
    during = surroundings()
after = surroundings()
for moment in during, after:
    for name, value in before.items():
        assert moment[name] == value, f"{name}: {value} became {moment[name]}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_forked_child_and_its_parent_have_different_connections():
    client = RewardClient("http://memr")
    parents = client._pool()
    if (child := os.fork()) == 0:
        client.close()  # must not close the parent's
        os._exit(0 if client._pool() is not parents and not parents.is_closed else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client._pool() is parents
    client.close()
    assert parents.is_closed
