"""Sentence-transformers models of a few thousand weights, made on the spot."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

MAX_LENGTH = 16
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {
    piece: place
    for place, piece in enumerate((*SPECIAL, *ascii_lowercase, *("##" + letter for letter in ascii_lowercase)))
}
"""Letters are the word-pieces: "ab c" is three tokens, five with [CLS] and [SEP]."""


def tokenizer(padding_side: str = "right", truncation_side: str = "right") -> BertTokenizerFast:
    return BertTokenizerFast(vocab=VOCABULARY, padding_side=padding_side, truncation_side=truncation_side)


def save_bert(folder: Path, pooling: str = "mean", tail: tuple[str, ...] = (), seed: int = 0, **how: Any) -> Path:
    """A BERT of two layers that reads 16 tokens, with pooling and what `tail` names; `how` goes to the model."""
    torch.manual_seed(seed)
    dtype = how.pop("dtype", torch.float32)
    sides = [how.pop(side, "right") for side in ("padding_side", "truncation_side")]
    config = BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).to(dtype).save_pretrained(folder / "bert")
    tokenizer(*sides).save_pretrained(folder / "bert")
    made = {"dense": lambda: Dense(16, 8), "normalize": Normalize}
    modules = [Transformer(str(folder / "bert"), max_seq_length=MAX_LENGTH), Pooling(16, pooling)]
    model = SentenceTransformer(modules=[*modules, *(made[name]() for name in tail)], device="cpu", **how)
    model.save(str(folder / "model"))
    return folder / "model"


def save_static(folder: Path) -> Path:
    """Word-piece vectors and their mean: a model without a Hugging Face tokenizer that reads every text whole."""
    torch.manual_seed(0)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer(), embedding_dim=12)], device="cpu")
    model.save(str(folder / "static"))
    return folder / "static"
