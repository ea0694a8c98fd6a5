"""Text to unit vectors.

    base.py                    what an encoder promises: n texts -> (n, d) unit rows
    registry.py                the encoders a server offers, each loaded once
    batcher.py                 texts of many requests, batched for the encoder
    cache.py                   vectors of texts that were encoded before
    hashed.py                  character n-grams: no model, instant
    sentence_transformer.py    a sentence-transformers model
    loading.py                 how such a model is loaded
    model_files.py             where its files are, and their checksums
    windows.py                 texts as windows of tokens
    bert.py                    BERT's forward pass, without padding
    precision.py               which precision is best on this machine
    cpu.py                     what the processor can do

Only loading.py, sentence_transformer.py and bert.py import torch, and only when a model is loaded.
"""

from memr_service.encoder.base import Encoded, Encoder
from memr_service.encoder.hashed import HashedEncoder
from memr_service.encoder.loading import choose_device
from memr_service.encoder.registry import Encoders
from memr_service.encoder.sentence_transformer import SentenceEncoder

__all__ = ["Encoded", "Encoder", "Encoders", "HashedEncoder", "SentenceEncoder", "choose_device"]
