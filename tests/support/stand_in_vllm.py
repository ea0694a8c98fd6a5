"""Stands for vLLM, which wants a GPU: the parts that the trainer calls, under vLLM's names and signatures.

What it does is what vLLM's source says: one in-process engine, reached through `model_executor`; seeds seed, seed + 1,
... for the copies of a prompt; a stop token that belongs to the completion; a cache of prompts until it is reset.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    max_tokens: int | None = 16
    detokenize: bool = True

    def __post_init__(self):
        if not self.temperature and self.n > 1:
            raise ValueError(f"n must be 1 when using greedy sampling, got {self.n}.")


class LLM:
    """Keeps what it was asked in `engine_args`, `asked` and `loaded`."""

    def __init__(
        self, model, *, dtype="auto", seed=0, gpu_memory_utilization=0.92, max_model_len=None,
        max_num_batched_tokens=None,
    ):  # fmt: skip
        self.engine_args = {"model": model, "dtype": dtype, "max_model_len": max_model_len}
        self.asked, self.loaded = [], []
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self._eos, self._first = self._model.config.eos_token_id, {}
        own = SimpleNamespace(load_weights=self._load_weights)
        worker = SimpleNamespace(model_runner=SimpleNamespace(model=own))
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"  # otherwise there is no executor in this process
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))
        torch.manual_seed(seed)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        assert len(prompts) == len(sampling_params)
        self.asked.append((prompts, sampling_params))
        return [
            SimpleNamespace(outputs=[self._complete(prompt["prompt_token_ids"], params, i) for i in range(params.n)])
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    def reset_prefix_cache(self):
        self._first.clear()
        return True

    def _load_weights(self, weights):
        given = {name: weight.clone() for name, weight in weights}
        assert not self._model.load_state_dict(given, strict=False).unexpected_keys
        self.loaded.append(given)
        return set(given)

    @torch.no_grad()
    def _complete(self, prompt, params, copy):
        dice, written = torch.Generator().manual_seed(params.seed + copy), []
        stops = {*params.stop_token_ids} if params.ignore_eos else {*params.stop_token_ids, self._eos}
        while len(written) < params.max_tokens and not stops & {*written}:
            text = torch.tensor([[*prompt, *written]])
            logits = self._model(text).logits[0, -1] if written else self._read(text)
            if params.temperature:
                chances = (logits / params.temperature).softmax(-1)
                written.append(int(torch.multinomial(chances, 1, generator=dice)))
            else:
                written.append(int(logits.argmax()))
        return SimpleNamespace(token_ids=tuple(written))

    def _read(self, prompt):
        key = tuple(prompt[0].tolist())
        if key not in self._first:
            self._first[key] = self._model(prompt).logits[0, -1]
        return self._first[key]
