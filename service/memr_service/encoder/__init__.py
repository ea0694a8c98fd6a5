"""Text to unit vectors.

    base.py        what an encoder promises: n texts -> (n, d) unit rows
    sentence.py    a sentence-transformers model
    hashed.py      character n-grams: no model, instant
    files.py       where a model's files lie, and their checksums
    allowed.py     the server's allow-list, each encoder loaded once

Only sentence.py imports torch, and only when it loads a model.
"""

from memr_service.encoder.allowed import Encoders
from memr_service.encoder.base import Encoded, Encoder
from memr_service.encoder.hashed import HashedEncoder
from memr_service.encoder.sentence import SentenceEncoder, choose_device

__all__ = ["Encoded", "Encoder", "Encoders", "HashedEncoder", "SentenceEncoder", "choose_device"]
