"""OpenRLHF's own code for rewards, on a machine without the GPUs and libraries the rest of it needs.

Real: the single-turn executor with its requests, time-outs and tries, and `SamplesGenerator`, which turns answers into
tensors and filters groups. Stand-ins: Ray and vLLM (`stand_in_for_ray`), the sampler (`Engine`, which says what it is
told to), the tokenizer (`Characters`), and OpenRLHF's `utils/__init__.py`, which would load its grader of mathematics.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import openrlhf

FOLDER = Path(openrlhf.__file__).parent

Saying = Callable[[str], Awaitable[str]]
"""What the sampler says to a prompt."""


def _package(name: str) -> None:
    """The package, without running its `__init__.py`."""
    module = sys.modules.setdefault(name, ModuleType(name))
    module.__path__ = [str(FOLDER.joinpath(*name.split(".")[1:]))]


def load(name: str) -> Any:
    """A module of OpenRLHF, by its name below the package."""
    _package("openrlhf.utils")
    return importlib.import_module(f"openrlhf.{name}")


def executor(remote_url: str | Sequence[str], timeout_s: float = 180) -> Any:
    """OpenRLHF's `SingleTurnAgentExecutor`, giving up a try after `timeout_s` instead of its 180 s."""
    agent = load("utils.agent")
    clock = {"ClientTimeout": lambda total: aiohttp.ClientTimeout(total=timeout_s)}
    agent.aiohttp = SimpleNamespace(**{**vars(aiohttp), **clock})
    return agent.SingleTurnAgentExecutor(remote_url)


class Characters:
    """A tokenizer whose tokens are characters, with <|im_end|> at the end of what was said."""

    END = 0x10FFFF

    def __call__(self, text: str, **kwargs: Any) -> dict[str, Any]:
        return {"input_ids": np.array([[ord(character) for character in text]])}

    def decode(self, tokens: Sequence[int], **kwargs: Any) -> str:
        return "".join("<|im_end|>" if token == self.END else chr(token) for token in tokens)


class Engine:
    """A sampler that says to each prompt what it is told to."""

    def __init__(self, say: Saying) -> None:
        self._say = say

    async def generate(self, prompt_token_ids: Sequence[int], params: Any, multi_modal_data: Any = None) -> Any:
        said = await self._say("".join(map(chr, prompt_token_ids)))
        tokens = [*map(ord, said), Characters.END]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tokens, finish_reason="stop", logprobs=None)])


async def rollouts(
    executor: Any, prompt: str, label: Any, say: Saying, n: int, max_length: int = 10_000, max_tokens: int = 2000
) -> list[dict[str, Any]]:
    """n samples of a prompt with their rewards, as OpenRLHF's vLLM actor makes them (`generate_responses`)."""
    params = SimpleNamespace(max_tokens=max_tokens, logprobs=None)  # vLLM's
    return await asyncio.gather(
        *(executor.execute(prompt, label, params, max_length, Characters(), Engine(say)) for _ in range(n))
    )


class Actor:
    """Stands for a Ray actor with a vLLM engine: its rollouts run in an event loop of another thread."""

    def __init__(self, executor: Any, say: Saying, loop: asyncio.AbstractEventLoop) -> None:
        def generate(**call: Any) -> Future[Any]:
            lengths = call["max_length"], call["sampling_params"].max_tokens
            work = rollouts(executor, call["prompt"], call["label"], say, call["num_samples"], *lengths)
            return asyncio.run_coroutine_threadsafe(work, loop)

        self.generate_responses = SimpleNamespace(remote=generate)
        self.get_num_unfinished_requests = SimpleNamespace(remote=lambda: 0)


def stand_in_for_ray() -> Any:
    """OpenRLHF's `SamplesGenerator` class above stand-ins for Ray and vLLM, which nobody else gets to see."""

    def get(given: Any) -> Any:
        if isinstance(given, list):
            return [get(one) for one in given]
        return given.result() if isinstance(given, Future) else given

    def wait_(futures: list[Future[Any]], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        done, _ = wait(futures, timeout, FIRST_COMPLETED)
        ready = [future for future in futures if future in done][:num_returns]
        return ready, [future for future in futures if future not in ready]

    stand_ins = {
        "ray": {"get": get, "wait": wait_},
        "vllm": {"SamplingParams": SimpleNamespace},
        "openrlhf.trainer.ray.vllm_engine": {"batch_vllm_engine_call": None},
    }
    for package in ("openrlhf.trainer", "openrlhf.trainer.ppo_utils", "openrlhf.trainer.ray"):
        _package(package)
    hidden = {name: sys.modules.get(name) for name in stand_ins}
    for name, contents in stand_ins.items():
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(contents)
    try:
        return load("trainer.ppo_utils.samples_generator").SamplesGenerator
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
