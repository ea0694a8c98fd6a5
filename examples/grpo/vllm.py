"""Completions from a vLLM engine in the trainer's process, on the same GPU; all else is `CausalLM`'s.

Its kernels are not those of our forward pass, and so its probabilities are not quite the policy's: what is learned from
was drawn a little off the policy. The loss does not see it, for both sides of its ratio are forward passes of ours, and
with one update a step it is 1. Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL
Training", show what that can cost and weigh it out by importance sampling, as TRL does unless told otherwise
(`vllm_importance_sampling_correction`); here it is left as it is.

Written after the colocated mode of TRL 1.16 (`trl/generation/vllm_generation.py`, for vLLM 0.22 to 0.31) and after
vLLM's source, and tested with a stand-in: it has not been run against vLLM itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from examples.grpo.causal_lm import CausalLM
from examples.grpo.policy import Tokens

GPU_SHARE = 0.3
"""Of the GPU's memory, which the engine keeps to itself throughout; TRL's default."""


class VllmCausalLM(CausalLM):
    """A pretrained model that vLLM samples from. A resumed training samples the same, on the same hardware and vLLM.

    Args:
        max_completion: tokens; with `max_prompt` the longest text there will be. The others are `CausalLM`'s.

    Raises:
        ImportError: vLLM is not installed.
    """

    def __init__(
        self, name: str, system: str | None, max_prompt: int, bf16: bool, lora: int | None, max_completion: int
    ) -> None:
        # In this process the engine's weights are within reach, and it takes the prompts in the same order each time.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        try:
            import vllm
        except ImportError as error:
            raise ImportError(
                f"the sampler 'vllm' needs vLLM ({error}): pip install vllm, or leave sampler at 'own'"
            ) from error
        super().__init__(name, system, max_prompt, bf16, lora)
        self._params = vllm.SamplingParams
        # After the adapters, which are drawn from torch's random numbers: the engine seeds these anew.
        self._engine = vllm.LLM(
            model=name, dtype="bfloat16" if self._bf16 else "float32", max_model_len=max_prompt + max_completion,
            gpu_memory_utilization=GPU_SHARE,
            max_num_batched_tokens=4096,  # it sets memory aside for its largest batch, by default a much larger one
        )  # fmt: skip

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """By the weights as they are now, from the whole distribution, which is what vLLM's parameters begin with."""
        worker = self._engine.llm_engine.model_executor.driver_worker
        worker.model_runner.model.load_weights(merged(self.model))
        self._engine.reset_prefix_cache()  # what other weights made of the prompts
        # One seed for all would let the first copies of all prompts be drawn alike; vLLM adds 0, 1, ... for the copies.
        params = [
            self._params(
                n=copies, temperature=temperature, seed=seed, max_tokens=limit, stop_token_ids=sorted(self._ends),
                ignore_eos=True, detokenize=False,  # at these ends alone; token ids are all that is wanted
            )
            for seed in torch.randint(2**62, (len(prompts),)).tolist()
        ]  # fmt: skip
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        answers = self._engine.generate(asked, params, use_tqdm=False)
        return [list(completion.token_ids) for answer in answers for completion in answer.outputs]


def merged(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights under the pretrained model's names, those that have a LoRA adapter with it added.

    The model stays as it is. Merged in place and taken apart again, weights would keep rounding errors, which are in no
    checkpoint: a resumed training would be another one.
    """
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            continue
        layer, adapted, kind = name.partition(".base_layer.")
        if adapted and kind == "weight":
            weight = weight + model.get_submodule(layer).get_delta_weight("default")
        own = f"{layer}.{kind}" if adapted else name
        yield own.removeprefix("base_model.model."), weight.detach()
