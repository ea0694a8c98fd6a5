"""A model of SmolLM2's family with a few thousand weights: a Llama with shared keys, and a byte for a token."""

from __future__ import annotations

from pathlib import Path

import torch
from support.tiny_causal_lm import save_causal_lm
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM


def save_llama(folder: Path) -> Path:
    """A folder that `--model` may name."""
    tokenizer = AutoTokenizer.from_pretrained(save_causal_lm(folder))
    torch.manual_seed(0)
    shape = {"hidden_size": 36, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}
    ids = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": None}
    LlamaForCausalLM(LlamaConfig(**shape, **heads, **ids)).save_pretrained(folder)
    return folder
