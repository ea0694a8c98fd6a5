"""A sentence-transformers model as an encoder. Torch is imported when a model is loaded."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from memr_client.errors import InvalidRequest

from memr_service.encoder import cpu, loading
from memr_service.encoder.base import Encoded, unit_rows
from memr_service.encoder.bert import TOKENS, Bert
from memr_service.encoder.precision import TEXTS, Trial, compare
from memr_service.encoder.windows import Chunk, Columns, Cutter

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("memr.encoder")

Transformer = Callable[[Any], dict[str, Any]]
"""A model's first module, or the `Bert` that replaces it: tokens to features."""

SAME = 1e-5
"""Most by which our own forward pass may differ from the model's, in float32."""


class SentenceEncoder:
    """A text model by name or folder, loaded by the constructor.

    SentenceEncoder("all-MiniLM-L6-v2").encode(["This is an example sentence"]).vectors     # (1, 384)

    Texts are batched here, by length. A BERT is run by our own forward pass (bert.py), if that gives the same as the
    model's; other transformers are run as they are. The model's other modules (pooling, dense layers, ...) then follow.
    A model that is no plain text transformer with a Hugging Face tokenizer is run by its own `encode`; then it is not
    known which texts are truncated.

    Raises:
        EncoderUnusable: it cannot be loaded; the error says why, and what helps. Unavailable: memory is short.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        self.name = name
        with loading.refused(name):
            self._model = loading.load(name, device)
            self.device: str = self._model.device.type
            length = self._model.max_seq_length
            # Tokenizers without a limit say 1e30, static embeddings say infinity.
            self.max_length: int | None = int(length) if length and length < 1e9 else None
            prompt = self._model.prompts.get(self._model.default_prompt_name) or ""
            self._tokenizer = loading.plain_tokenizer(self._model, prompt)
            self._cutter = Cutter(self._tokenizer, prompt, self.max_length)
            self._transformers: dict[str, Transformer] = {"float32": self._model[0]}
            self.dimension: int = self.encode([""]).vectors.shape[1]
            self.packed = self._tokenizer is not None and self._pack()
            self.trial = self._try()
            self.precision = self.trial.precision

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        """Encode n texts to (n, d), as `Encoder.encode`. With bfloat16, pooling and later modules stay float32."""
        if not texts:
            return Encoded(np.empty((0, self.dimension), np.float32), np.zeros(0, bool))
        if self._tokenizer is None:
            return Encoded(self._encode_by_model(texts, precision, long_text), np.zeros(len(texts), bool))
        parts = [self._encode_chunk(chunk, precision, long_text) for chunk in self._cutter.chunks(texts, long_text)]
        return Encoded(
            np.concatenate([part.vectors for part in parts]), np.concatenate([part.truncated for part in parts])
        )

    def _encode_chunk(self, chunk: Chunk, precision: str, long_text: str) -> Encoded:
        """The vectors of a chunk's texts, from the vectors of their windows."""
        heads, tails, count = chunk.heads, chunk.tails, chunk.heads.count
        if long_text == "windows":
            vectors = self._embed(heads.columns, np.arange(count.sum()), precision)
            return Encoded(unit_rows(np.add.reduceat(vectors, heads.first)), np.zeros(len(count), bool))
        vectors = self._embed(heads.columns, heads.first, precision)
        if tails is None:
            return Encoded(vectors, count > (1 if long_text == "truncate" else 2))
        long = np.flatnonzero(count > 1)
        vectors[long] = unit_rows(vectors[long] + self._embed(tails.columns, tails.first, precision))
        return Encoded(vectors, count > 2)

    def _embed(self, windows: Columns, chosen: np.ndarray, precision: str) -> np.ndarray:
        """Unit vectors of m chosen windows, (m, d). They are copied from the device once, when all are computed."""
        import torch

        lengths = np.array([len(windows["input_ids"][window]) for window in chosen])
        # Longest first: texts of one length share a batch, and a batch that does not fit into memory fails at once.
        order = np.argsort(-lengths, kind="stable")
        parts = []
        with torch.inference_mode():
            for rows in _batches(lengths[order], TOKENS[self.device]):
                batch = {name: [column[window] for window in chosen[order[rows]]] for name, column in windows.items()}
                parts.append(self._forward(batch, precision))
            vectors = torch.cat(parts).cpu().numpy()
        return unit_rows(vectors[np.argsort(order)])

    def _forward(self, windows: Columns, precision: str) -> Tensor:
        """One batch of b windows, longest first, through the model's modules, (b, d)."""
        transformer = self._transformer(precision)
        if isinstance(transformer, Bert):
            features = transformer(windows["input_ids"])
        else:
            features = transformer(dict(self._tokenizer.pad(windows, return_tensors="pt").to(self.device)))
            floats = {name: value.float() for name, value in features.items() if _is_float(value)}
            features = {**features, **floats}
        for module in list(self._model)[1:]:
            features = module(features)
        vectors: Tensor = features["sentence_embedding"][:, : self._model.truncate_dim]
        return vectors

    def _transformer(self, precision: str) -> Transformer:
        """The model's first module with weights of this precision, created on first use."""
        import torch

        if precision not in self._transformers:
            dtype = {"bfloat16": torch.bfloat16}[precision]
            first = self._model[0]
            self._transformers[precision] = (
                Bert(first.auto_model, precision) if self.packed else copy.deepcopy(first).to(dtype)
            )
        return self._transformers[precision]

    def _pack(self) -> bool:
        """Use our own forward pass if it fits this model and gives the same as the model's own; whether it is used."""
        first = self._model[0]
        if not Bert.fits(first.auto_model):
            return False
        expected = self.encode(TEXTS).vectors
        try:
            self._transformers["float32"] = Bert(first.auto_model, "float32")
            difference = float(np.abs(self.encode(TEXTS).vectors - expected).max())
        except Exception as error:  # this build of torch may lack something; the model's own forward pass remains
            difference, why = np.inf, type(error).__name__
        else:
            why = f"it differs by {difference:.1e}"
        if difference <= SAME:
            return True
        logger.warning("The encoder %r uses its model's own forward pass; ours does not work: %s", self.name, why)
        self._transformers["float32"] = first
        return False

    def _try(self) -> Trial:
        """Find out what `auto` means; bfloat16 is tried only where it is known to be fast."""
        import torch

        if not self.packed:
            return Trial("float32", "bfloat16 is tried only with our own forward pass")
        hardware = torch.cuda.is_bf16_supported() if self.device == "cuda" else bool(cpu.bfloat16())
        return compare(self) if hardware else Trial("float32", f"the {self.device} has no bfloat16 arithmetic")

    def _encode_by_model(self, texts: Sequence[str], precision: str, long_text: str) -> np.ndarray:
        """Unit vectors (n, d) by the model's own `encode`."""
        for option, value, limit in (("precision", precision, "float32"), ("long_text", long_text, "truncate")):
            if value != limit:
                raise InvalidRequest(
                    f"The encoder {self.name!r} is no transformer with a Hugging Face tokenizer.",
                    value={option: value},
                    limit={option: limit},
                    remedy=f"Leave {option} at {limit}, or use another encoder.",
                )
        return unit_rows(self._model.encode(list(texts), show_progress_bar=False))


def _batches(lengths: np.ndarray, tokens: int) -> Iterator[slice]:
    """Cut windows of these lengths (m,), longest first, into batches of at most so many tokens, padding included."""
    at = 0
    while at < len(lengths):
        size = max(1, tokens // max(1, int(lengths[at])))
        yield slice(at, at + size)
        at += size


def _is_float(value: Any) -> bool:
    import torch

    return torch.is_tensor(value) and value.is_floating_point()
