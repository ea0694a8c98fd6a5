"""A causal language model of Hugging Face with a few thousand weights and a byte for a token, made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

SPECIAL = ("<pad>", "<|endoftext|>", "<|im_end|>", "<|im_start|>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_causal_lm(folder: Path, chat: bool = True) -> Path:
    """A folder that `--model` may name. As with Qwen's chat models, either of two tokens ends a text."""
    vocabulary = {piece: number for number, piece in enumerate((*SPECIAL, *sorted(ByteLevel.alphabet())))}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary, merges=[], pad_token="<pad>", eos_token="<|im_end|>", unk_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT if chat else None
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
    ids = {"vocab_size": len(vocabulary), "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": None}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, **heads, **ids))
    # They also bring settings that sampling for GRPO must not take over.
    model.generation_config.update(eos_token_id=[2, 1], top_k=1, repetition_penalty=1.5, do_sample=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
