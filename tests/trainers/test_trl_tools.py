"""Episodes with tools in TRL's real trainer: the memory reads each whole chat, and rewards what the run's unit says."""

from __future__ import annotations

from typing import Any

import datasets
import pytest
import torch
from memr_client import RewardClient, RunConfig
from memr_client.trl import memory_reward, wrap
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen2_5_chat_template

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning",
    "ignore::UserWarning:torch.*",
    "ignore:You are using 'environment_factory':UserWarning",
    "ignore:memr. run .* are 0:UserWarning",
)

FACTS = {"height": "212 m", "year": "1874"}
CALLS = {field: f'look_up({{"field": "{field}"}})' for field in FACTS}
"""What the memory reads of a call."""
ANSWERS = ("It is 212 m tall.", "I guess 50 m.")
SAYS = [f'<tool_call>\n{{"name": "look_up", "arguments": {{"field": "{field}"}}}}\n</tool_call>' for field in FACTS]
SAYS += ANSWERS


class Tower:
    """An environment of TRL's with one tool."""

    def reset(self, **row: Any) -> str:
        return "?"

    def look_up(self, field: str) -> str:
        """Look up a fact about the tower.

        Args:
            field: height or year.

        Returns:
            The fact.
        """
        return FACTS[field]


def policy() -> tuple[Any, Any]:
    """A model of two layers, and a tokenizer that has one token for each thing to say."""
    known = ("<pad>", "<unk>", "assistant", "\n")  # with these TRL finds where a turn begins
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s|\S+"), "isolated")
    words.decoder = decoders.Fuse()
    words.add_special_tokens([AddedToken(text, special=True) for text in ("<|im_end|>", "<|im_start|>")])
    words.add_tokens([AddedToken(text, normalized=False) for text in SAYS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<|im_end|>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.chat_template = qwen2_5_chat_template  # one that TRL reads tool calls of
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    ids = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": tokenizer.eos_token_id}
    return Qwen2ForCausalLM(Qwen2Config(**shape, **heads, **ids, bos_token_id=None)), tokenizer


def one_thing_a_turn(tokenizer: Any) -> dict[str, Any]:
    """Settings of the sampling: a turn is one of the things to say and its end, which the policy is free to choose."""
    said, end = tokenizer.convert_tokens_to_ids(SAYS), tokenizer.eos_token_id
    never = [token for token in range(len(tokenizer)) if token not in (*said, end)]
    return {"suppress_tokens": never, "sequence_bias": {(token, end): 50.0 for token in said}}


def answered(chat: list[dict[str, Any]]) -> float:
    return float(len(chat) > 1 and chat[-1].get("content") == ANSWERS[0])


def turns(chat: list[dict[str, Any]]) -> list[str]:
    """What the memory is to read of a chat: a text for each turn of the policy."""
    told = [message for message in chat if message["role"] == "assistant"]
    calls = [[CALLS[call["function"]["arguments"]["field"]] for call in one.get("tool_calls", [])] for one in told]
    return ["\n".join(filter(None, [one["content"], *of])) for one, of in zip(told, calls, strict=True)]


@pytest.mark.parametrize(
    ("unit", "acting"), [("turn", {"tools": [Tower().look_up]}), ("whole", {"environment_factory": Tower})]
)
def test_episodes_are_rewarded_whole_or_by_their_turns(tmp_path, unit, acting):
    model, tokenizer = policy()
    seen, paid = [], []

    def correctness(prompts, completions, **columns):
        seen.append((prompts, completions))
        return [answered(chat) for chat in completions]

    config = {"preset": "memory-r+", "unit": unit, "explore_warmup_steps": 0}
    with RewardClient.embedded(run="trained", encoder="hashed") as client:
        correct = wrap(correctness)
        memory = memory_reward(client, outcome=correct, config=RunConfig(**config))

        def recorded(**batch):
            paid.append(memory(**batch))
            return paid[-1]

        settings = {"max_tool_calling_iterations": 2, "generation_kwargs": one_thing_a_turn(tokenizer)}
        settings |= {"per_device_train_batch_size": 16, "num_generations": 8, "max_completion_length": 48}
        settings |= {"max_steps": 2, "beta": 0.0, "scale_rewards": "batch", "use_cpu": True, "bf16": False}
        settings |= {"gradient_checkpointing": False, "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
        asked = [{"prompt": [{"role": "user", "content": f"How tall is tower {number}"}]} for number in range(4)]
        trainer = GRPOTrainer(
            model=model,
            args=GRPOConfig(output_dir=str(tmp_path), **settings),
            reward_funcs=[correct, recorded],
            train_dataset=datasets.Dataset.from_list(asked),
            processing_class=tokenizer,
            **acting,
        )
        trainer.train()
        assert len(seen) == len(paid) == 2
        assert {len(turns(chat)) for _, chats in seen for chat in chats} == {1, 2, 3}
        client.create_run("by-hand", barrier="none", **config)
        for step, ((prompts, chats), rewards) in enumerate(zip(seen, paid, strict=True)):
            said = [[{"role": "assistant", "content": text} for text in turns(chat)] for chat in chats]
            whole = said if unit == "turn" else ["\n".join(turns(chat)) for chat in chats]
            outcomes = [answered(chat) for chat in chats]
            by_hand = client.reward(prompts, whole, outcomes, step=step, run_id="by-hand")
            assert rewards == by_hand.rewards
            assert (by_hand.turns is not None) == (unit == "turn")
        assert len(set(paid[1])) > 2
        assert client.run("trained").memory == client.run("by-hand").memory
