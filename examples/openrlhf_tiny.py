"""OpenRLHF with memr on a laptop's CPU: a two-layer model, created here, learns to add two digits.

memr serve --encoder hashed &
python examples/openrlhf_tiny.py

The service and OpenRLHF's single-turn executor, which makes the samples and requests their rewards, are real (install
openrlhf with --no-deps, and aiohttp). The sampler and the trainer are the plain loops below; in OpenRLHF they are vLLM,
Ray and DeepSpeed. This example does not show whether memr helps.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from memr_client import RewardClient
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

GROUP, PROMPTS, TOKENS = 8, 8, 2
LETTERS = ["<pad>", "<|im_end|>", *"0123456789+="]


def make_executor(address: str) -> Any:
    """OpenRLHF's executor, without the package's other modules, which import libraries that need a GPU."""
    spec = importlib.util.find_spec("openrlhf")
    assert spec is not None, "pip install --no-deps openrlhf"
    assert spec.origin is not None
    package = sys.modules["openrlhf.utils"] = ModuleType("openrlhf.utils")
    package.__path__ = [str(Path(spec.origin).parent / "utils")]
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    return SingleTurnAgentExecutor(address)


def make_tokenizer() -> PreTrainedTokenizerFast:
    characters = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(LETTERS)}, unk_token="<pad>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=characters, pad_token="<pad>", eos_token="<|im_end|>")


def make_model() -> Qwen2ForCausalLM:
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "max_position_embeddings": 32}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=len(LETTERS), bos_token_id=None, **shape, **heads))


class Sampler:
    """Replaces vLLM: samples token by token at temperature 1."""

    def __init__(self, model: Qwen2ForCausalLM) -> None:
        self.model = model

    @torch.no_grad()
    async def generate(self, prompt_token_ids: list[int], params: Any, multi_modal_data: Any = None) -> Any:
        """The method that OpenRLHF calls on an engine."""
        tokens = list(prompt_token_ids)
        while len(tokens) < len(prompt_token_ids) + params.max_tokens and tokens[-1] != LETTERS.index("<|im_end|>"):
            logits = self.model(torch.tensor([tokens])).logits[0, -1]
            tokens.append(int(torch.multinomial(logits.softmax(-1), 1)))
        completion = tokens[len(prompt_token_ids) :]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=completion, finish_reason="stop", logprobs=None)])


def train(model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer, samples: list[dict[str, Any]]) -> None:
    """Replaces DeepSpeed: one policy-gradient step with each group's mean as baseline (OpenRLHF's dr_grpo)."""
    rewards = torch.tensor([sample["reward"][0] for sample in samples]).reshape(-1, GROUP)
    advantages = rewards - rewards.mean(1, keepdim=True)
    tokens = pad_sequence([torch.tensor(sample["observation_tokens"]) for sample in samples], batch_first=True)
    in_completion = torch.zeros_like(tokens, dtype=torch.bool)
    for row, sample in enumerate(samples):
        ((start, end),) = sample["action_ranges"]
        in_completion[row, start:end] = True
    log_probs = model(tokens).logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    loss = -(advantages.flatten()[:, None] * log_probs * in_completion[:, 1:]).sum() / len(samples)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


async def learn(address: str, steps: int, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    dice = random.Random(seed)
    executor, tokenizer, model = make_executor(address), make_tokenizer(), make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=7e-3)
    params = SimpleNamespace(max_tokens=TOKENS, logprobs=None)
    for step in range(1, steps + 1):
        sums = dice.sample([(one, other) for one in range(4) for other in range(4)], PROMPTS)
        samples = await asyncio.gather(
            *(
                executor.execute(f"{one}+{other}=", one + other, params, 32, tokenizer, Sampler(model))
                for one, other in sums
                for _ in range(GROUP)
            )
        )
        train(model, optimizer, samples)
        if step % 10 == 0:
            means = {name: sum(one["extra_logs"][name][0] for one in samples) / len(samples) for name in LOGGED}
            print(f"step {step:3}", *(f"{name} {value:.3f}" for name, value in means.items()), sep="  ")


LOGGED = ("outcome", "memory_reward", "exploit", "explore", "support_success")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the memr service")
    parser.add_argument("--run", default="openrlhf-tiny", help="the run's name; use one per training run")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with RewardClient(options.url, run=options.run, wait=60) as client:
        client.create_run(
            verifier="numeric", memory_weight=0.2, barrier="group", group_size=GROUP, barrier_timeout_s=120
        )
        asyncio.run(learn(f"{options.url}/openrlhf/{options.run}", options.steps, options.seed))
        info = client.run()
        print(f"memory: {info.memory.success.completions} right, {info.memory.failure.completions} wrong")


if __name__ == "__main__":
    main()
