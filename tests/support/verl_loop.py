"""verl's reward path without verl's cluster: its own config, agent loop, reward workers and managers, in threads.

Real are the composed `ppo_trainer` config, `AgentLoopWorker._compute_score`, which makes the data of a sample,
`RewardLoopWorker` and the reward manager that it loads. What stands in for something else is named so: `Actor` is a Ray
actor's handle, and `Rollouts` what a policy might have sampled.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import verl
from hydra import compose, initialize_config_dir
from memr_client import RewardClient
from memr_service.encoder import HashedEncoder
from memr_service.run.archive import read_header, read_records
from omegaconf import DictConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput, AgentLoopWorker
from verl.experimental.reward_loop import RewardLoopWorker

MANAGER = (
    "reward.reward_manager.source=importlib",
    "reward.reward_manager.name=MemoryRewardManager",
    "reward.reward_manager.module.path=pkg://memr_client.verl.manager",
)
FUNCTION = (
    "reward.custom_reward_function.path=pkg://memr_client.verl",
    "reward.custom_reward_function.name=compute_score_async",
)


def configure(model: Path, *overrides: str) -> DictConfig:
    """verl's config as its trainer composes it, with `model` as the policy's folder."""
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with initialize_config_dir(str(folder), version_base=None):
        return compose("ppo_trainer", overrides=[f"actor_rollout_ref.model.path={model}", *overrides])


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes, saved where verl looks for the policy's."""
    alphabet = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    letters = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, pad_token="<pad>", eos_token="<eos>")
    tokenizer.save_pretrained(folder)
    return tokenizer


class Rollouts:
    """Groups of completions, no two alike, some of them right: what a policy might have sampled."""

    def __init__(self, groups: int, size: int) -> None:
        self.size = size
        self.questions = [
            f"What is {number} and {number * 7 % 13}? Give the sum after four hashes." for number in range(groups)
        ]
        self.answers = [str(number + number * 7 % 13) for number in range(groups)]

    def completion(self, group: int, place: int) -> str:
        """Right for some places of most groups, with words of its own."""
        right = (group + place * place) % 5 < 2
        said = self.answers[group] if right else str(100 + place)
        return f"Sample {place} of question {group} counts {'up ' * (place % 4)}to {said}.\n#### {said}"

    def outcome(self, group: int, place: int) -> float:
        """What verl's scorer of GSM8K says of it."""
        return float(self.completion(group, place).endswith(f"#### {self.answers[group]}"))

    def prompt(self, group: int) -> dict[str, Any]:
        """A row of the data set with what verl's trainer adds to it."""
        return {
            "raw_prompt": [{"role": "user", "content": self.questions[group]}],
            "data_source": "openai/gsm8k",
            "reward_model": {"style": "rule", "ground_truth": self.answers[group]},
            "extra_info": {"split": "train", "index": group, "question": self.questions[group]},
            "index": group,
            "uid": f"0000-{group}",
            "global_steps": 1,
        }


class Actor:
    """Stands in for a Ray actor's handle: verl's worker with an event loop in a thread, and everything pickled."""

    def __init__(self, config: DictConfig) -> None:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, args=(config, started), name="reward-worker")
        self._thread.start()
        started.wait()
        self.compute_score = SimpleNamespace(remote=self._remote)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _live(self, config: DictConfig, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._worker = RewardLoopWorker(pickle.loads(pickle.dumps(config)))
        finally:
            started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _remote(self, data: Any) -> asyncio.Future[dict[str, Any]]:
        sent = pickle.dumps(data)

        async def score() -> bytes:
            return pickle.dumps(await self._worker.compute_score(pickle.loads(sent)))

        answered = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(score(), self._loop))

        async def received() -> dict[str, Any]:
            answer: dict[str, Any] = pickle.loads(await answered)
            return answer

        return asyncio.ensure_future(received())


def agent_loop(handles: Sequence[Any]) -> AgentLoopWorker:
    """verl's agent loop worker, of which only the scoring is used: it needs neither a model server nor Ray for that."""
    worker = AgentLoopWorker.__new__(AgentLoopWorker)
    worker.reward_loop_worker_handles = list(handles)
    worker.processor = None
    worker.mm_processor_kwargs = None
    return worker


async def score(
    worker: AgentLoopWorker, tokenizer: Any, prompt: dict[str, Any], completion: str, place: int | None, **fields: Any
) -> AgentLoopOutput:
    """One sample through verl's agent loop; `place` is the session's number, which only verl's newer trainer gives."""
    output = AgentLoopOutput(
        prompt_ids=tokenizer(prompt["raw_prompt"][0]["content"])["input_ids"],
        response_ids=tokenizer(completion)["input_ids"],
        response_mask=[],
        num_turns=2,
        metrics=AgentLoopMetrics(),
        extra_fields={"turn_scores": [], "tool_rewards": [], "global_steps": 0, **fields},
    )
    session = {} if place is None else {"session_id": place}
    await worker._compute_score([output], kwargs={**session, **prompt})
    return output


async def play(worker: AgentLoopWorker, tokenizer: Any, rollouts: Rollouts) -> dict[tuple[int, int], dict[str, Any]]:
    """All samples at once; what verl keeps of each, by (group, place)."""
    seats = [(group, place) for group in range(len(rollouts.questions)) for place in range(rollouts.size)]
    outputs = await asyncio.gather(
        *(
            score(worker, tokenizer, rollouts.prompt(group), rollouts.completion(group, place), place)
            for group, place in seats
        )
    )
    return {
        seat: {"reward_score": output.reward_score, **output.extra_fields["reward_extra_info"]}
        for seat, output in zip(seats, outputs, strict=True)
    }


def in_batches(
    client: RewardClient, run: str, rollouts: Rollouts, prompts: Sequence[Any], step: int, folder: Path
) -> tuple[str | None, dict[tuple[int, int], dict[str, float]]]:
    """What one request for each group would have said: the new run's digest, and the raw values by (group, place).

    Groups and their members are taken in the order in which `run` recorded them; it must have the encoder `hashed`.

    Args:
        prompts: of each group, as the run was told it.
    """
    client.export_run(run, folder / "run")
    config = client.run(run).config.model_copy(update={"barrier": "none", "group_size": None})
    client.create_run("in-batches", config)
    raw: dict[tuple[int, int], dict[str, float]] = {}
    for seats in _recorded(folder / "run", rollouts):
        answer = client.reward(
            [prompts[group] for group, _ in seats],
            [rollouts.completion(*seat) for seat in seats],
            [rollouts.outcome(*seat) for seat in seats],
            run_id="in-batches",
            step=step,
        )
        for number, seat in enumerate(seats):
            values = {name: component.raw[number] for name, component in answer.components.items()}
            raw[seat] = {name: 0.0 if value is None else value for name, value in values.items()}
    digest = client.run("in-batches", digest=True).digest
    client.delete_run("in-batches")
    return digest, raw


def _recorded(exported: Path, rollouts: Rollouts) -> list[list[tuple[int, int]]]:
    """The (group, place) of each record's items, told by their embeddings."""
    seats = [(group, place) for group in range(len(rollouts.questions)) for place in range(rollouts.size)]
    vectors = HashedEncoder().encode([rollouts.completion(*seat) for seat in seats]).vectors
    seat_of = {vector.astype(np.float32).tobytes(): seat for vector, seat in zip(vectors, seats, strict=True)}
    with open(exported, "rb") as file:
        read_header(file)
        records = [record for record, _ in read_records(file)]
    return [[seat_of[row.astype(np.float32).tobytes()] for row in record.batch.completions] for record in records]
