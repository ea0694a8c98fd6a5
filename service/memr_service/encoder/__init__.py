"""Text to unit vectors.

    base.py        what an encoder promises: n texts -> (n, d) unit rows
    sentence.py    a sentence-transformers model
    loading.py     how one is loaded
    windows.py     texts as windows of tokens
    bert.py        BERT's forward pass, without padding
    trial.py       which precision is best here
    processor.py   what the processor can do
    hashed.py      character n-grams: no model, instant
    files.py       where a model's files lie, and their checksums
    allowed.py     the server's allow-list, each encoder loaded once

Only loading.py, sentence.py and bert.py import torch, and only when a model is loaded.
"""

from memr_service.encoder.base import Encoded, Encoder
from memr_service.encoder.hashed import HashedEncoder
from memr_service.encoder.loading import choose_device
from memr_service.encoder.registry import Encoders
from memr_service.encoder.sentence_transformer import SentenceEncoder

__all__ = ["Encoded", "Encoder", "Encoders", "HashedEncoder", "SentenceEncoder", "choose_device"]
