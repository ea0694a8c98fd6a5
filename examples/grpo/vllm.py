"""`CausalLM` with completions from a vLLM engine in the trainer's process, on the same GPU.

vLLM's kernels differ from our forward pass, so its probabilities differ slightly from the policy's, and the completions
are slightly off-policy. The loss cannot correct this, because both sides of its ratio come from our forward pass. Yao
et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training", show the effect and correct it by
importance sampling, as TRL does by default (`vllm_importance_sampling_correction`). This trainer does not.

The code follows the colocated mode of TRL 1.16 (`trl/generation/vllm_generation.py`, for vLLM 0.22 to 0.31) and vLLM's
source. It is tested with a stand-in and has not been run against vLLM itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from examples.grpo.causal_lm import CausalLM
from examples.grpo.policy import Tokens
from examples.grpo.weights import merged

GPU_SHARE = 0.3
"""Share of the GPU's memory that the engine reserves; TRL's default."""


class VllmCausalLM(CausalLM):
    """A pretrained model with a vLLM engine as its sampler.

    On the same hardware and version of vLLM, a resumed training samples the same completions.

    Args:
        max_completion: most tokens of a completion. The other arguments are those of `CausalLM`.

    Raises:
        ImportError: vLLM is not installed.
    """

    def __init__(
        self, name: str, system: str | None, max_prompt: int, bf16: bool, lora: int | None, max_completion: int
    ) -> None:
        # Run the engine in this process, where its weights can be updated and prompts keep their order.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        try:
            import vllm
        except ImportError as error:
            raise ImportError(
                f"the sampler 'vllm' needs vLLM ({error}): pip install vllm, or leave sampler at 'own'"
            ) from error
        super().__init__(name, system, max_prompt, bf16, lora)
        self._params = vllm.SamplingParams
        # Created after the adapters, which use torch's global generator: the engine seeds that generator.
        self._engine = vllm.LLM(
            model=name, dtype=str(self.precision).removeprefix("torch."), max_model_len=max_prompt + max_completion,
            gpu_memory_utilization=GPU_SHARE,
            max_num_batched_tokens=4096,  # limits the memory that vLLM reserves for its largest batch
        )  # fmt: skip

    @torch.no_grad()
    def sample(self, prompts: Sequence[Tokens], copies: int, limit: int, temperature: float) -> list[Tokens]:
        """Sample with the current weights from the whole distribution (vLLM's default parameters)."""
        worker = self._engine.llm_engine.model_executor.driver_worker
        worker.model_runner.model.load_weights(merged(self.model))
        self._engine.reset_prefix_cache()  # computed by the old weights
        # One seed per prompt: with a common seed, all prompts would share random numbers. vLLM adds 0, 1, ... per copy.
        params = [
            self._params(
                n=copies, temperature=temperature, seed=seed, max_tokens=limit, stop_token_ids=sorted(self.ends),
                ignore_eos=True, detokenize=False,  # stop only at these ends, and return only token ids
            )
            for seed in torch.randint(2**62, (len(prompts),)).tolist()
        ]  # fmt: skip
        requests = [{"prompt_token_ids": prompt} for prompt in prompts]
        results = self._engine.generate(requests, params, use_tqdm=False)
        return [list(completion.token_ids) for result in results for completion in result.outputs]
