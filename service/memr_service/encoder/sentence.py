"""A sentence-transformers model as an encoder. Torch is imported when a model is loaded, not before."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from memr_client.errors import InvalidRequest, ProblemError, Unavailable

from memr_service.encoder import files
from memr_service.encoder.base import Encoded, unit_rows

BATCH = 32
"""Texts (or windows of long ones) that the model sees at once."""
GPU_FREE_BYTES = 4 << 30
"""`auto` takes a GPU with so much memory free: it may share the card with a sampler."""


class SentenceEncoder:
    """A text model by name or folder, loaded when it is made.

    SentenceEncoder("all-MiniLM-L6-v2").encode(["This is an example sentence"]).vectors     # (1, 384)

    Batches are made here, by length, and the model's own modules run on them, so that pooling, dense layers and
    whatever else follows its transformer count. A model that is no plain text transformer with a Hugging Face
    tokenizer encodes by its own `encode`, and what it truncates is not known.

    Raises:
        Unavailable: it cannot be loaded; the error says why and what helps.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        self.name = name
        with _cannot_load(name):
            self._model = _load(name, device)
            self.device: str = self._model.device.type
            self._prompt: str = self._model.prompts.get(self._model.default_prompt_name) or ""
            self._tokenizer = _plain_tokenizer(self._model, self._prompt)
            length = self._model.max_seq_length
            # Tokenizers that know no limit say 1e30, static embeddings say infinity.
            self.max_length: int | None = int(length) if length and length < 1e9 else None
            self._transformers = {"float32": self._model[0]}
            self.dimension: int = self.encode([""]).vectors.shape[1]

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        """Encode n texts to (n, d), as `Encoder.encode`; in bfloat16 pooling and what follows it stay float32."""
        if not texts:
            return Encoded(np.empty((0, self.dimension), np.float32), np.zeros(0, bool))
        if self._tokenizer is None:
            return Encoded(self._encode_by_model(texts, precision, long_text), np.zeros(len(texts), bool))
        windows, first, count = self._cut(texts)
        if long_text == "windows":
            vectors = self._embed(windows, np.arange(count.sum()), precision)
            return Encoded(unit_rows(np.add.reduceat(vectors, first)), np.zeros(len(texts), bool))
        vectors, long = self._embed(windows, first, precision), np.flatnonzero(count > 1)
        if long_text == "truncate" or not len(long):
            return Encoded(vectors, count > 1)
        tails, last, _ = self._cut([texts[place] for place in long.tolist()], from_end=True)
        vectors[long] = unit_rows(vectors[long] + self._embed(tails, last, precision))
        return Encoded(vectors, count > 2)

    def _cut(
        self, texts: Sequence[str], *, from_end: bool = False
    ) -> tuple[dict[str, list[list[int]]], np.ndarray, np.ndarray]:
        """All texts as windows of tokens that the model can read, column by column.

        Args:
            from_end: the windows are laid from a text's end on, so that it is the first one that is full.

        Returns:
            The windows, the first one of each text (n,), and how many it has (n,).
        """
        side = self._tokenizer.truncation_side
        self._tokenizer.truncation_side = {"right": "left", "left": "right"}[side] if from_end else side
        try:
            columns = self._tokenizer(
                [self._prompt + text for text in texts],
                truncation=self.max_length is not None,
                max_length=self.max_length,
                return_overflowing_tokens=True,
                padding=False,  # whatever the tokenizer's file asks for: a batch is padded to its longest
            )
        finally:
            self._tokenizer.truncation_side = side
        owner = np.asarray(columns.pop("overflow_to_sample_mapping"))
        return dict(columns), np.flatnonzero(np.diff(owner, prepend=-1)), np.bincount(owner)

    def _embed(self, windows: dict[str, list[list[int]]], chosen: np.ndarray, precision: str) -> np.ndarray:
        """Unit vectors of m chosen windows, (m, d)."""
        import torch

        # Longest first: texts of one length share a batch, and what does not fit into memory fails at once.
        order = np.argsort([-len(windows["input_ids"][window]) for window in chosen], kind="stable")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                batch = chosen[order[start : start + BATCH]]
                tokens = {name: [column[window] for window in batch] for name, column in windows.items()}
                features = self._tokenizer.pad(tokens, return_tensors="pt").to(self.device)
                parts.append(self._forward(dict(features), precision))
        return unit_rows(np.concatenate(parts)[np.argsort(order)])

    def _forward(self, features: dict[str, Any], precision: str) -> np.ndarray:
        """One padded batch of b windows through the model's modules, (b, d)."""
        import torch

        features = self._transformer(precision)(features)
        for name, value in features.items():
            if torch.is_tensor(value) and value.is_floating_point():
                features[name] = value.float()
        for module in list(self._model)[1:]:
            features = module(features)
        vectors: np.ndarray = features["sentence_embedding"][:, : self._model.truncate_dim].cpu().numpy()
        return vectors

    def _transformer(self, precision: str) -> Any:
        """The model's first module with weights of this precision; the bfloat16 copy is made on first use."""
        import torch

        if precision not in self._transformers:
            self._transformers[precision] = copy.deepcopy(self._model[0]).to({"bfloat16": torch.bfloat16}[precision])
        return self._transformers[precision]

    def _encode_by_model(self, texts: Sequence[str], precision: str, long_text: str) -> np.ndarray:
        """Unit vectors (n, d) by the model's own `encode`."""
        for option, value, limit in (("precision", precision, "float32"), ("long_text", long_text, "truncate")):
            if value != limit:
                raise InvalidRequest(
                    f"the encoder {self.name!r} is no transformer with a Hugging Face tokenizer",
                    value={option: value},
                    limit={option: limit},
                    remedy=f"leave {option} at {limit}, or take another encoder",
                )
        return unit_rows(self._model.encode(list(texts), batch_size=BATCH, show_progress_bar=False))


def choose_device(wanted: str, free_bytes: int | None) -> str:
    """The device to load on: `cpu` or `cuda`.

    Args:
        wanted: `cpu`, `cuda`, or `auto` (a GPU with 4 GiB free, else the CPU).
        free_bytes: free memory of the GPU; None where there is none.

    Raises:
        Unavailable: `cuda` is wanted and there is none.
    """
    if wanted == "cuda" and free_bytes is None:
        raise Unavailable(
            "device is cuda, but torch finds no GPU",
            value=wanted,
            remedy="set MEMR_DEVICE to auto or cpu, or install a CUDA build of torch and its driver",
        )
    roomy = free_bytes is not None and free_bytes >= GPU_FREE_BYTES
    return "cuda" if wanted == "cuda" or (wanted == "auto" and roomy) else "cpu"


def _load(name: str, device: str) -> Any:
    """The sentence-transformers model of that name, float32, in eval mode, on its device."""
    folder = files.find_model(name)
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise Unavailable(
            f"the encoder {name!r} needs torch and sentence-transformers ({type(error).__name__})",
            value=name,
            remedy="pip install 'memr[service]', or take the encoder 'hashed', which needs neither",
        ) from error
    free_bytes = torch.cuda.mem_get_info()[0] if device != "cpu" and torch.cuda.is_available() else None
    with _unnoticed():
        model = SentenceTransformer(
            str(folder or files.hub_name(name)),
            device=choose_device(device, free_bytes),
            trust_remote_code=False,
            local_files_only=folder is not None or not files.hub_answers(),
            model_kwargs={"torch_dtype": torch.float32},
        )
    return model.float().eval()


@contextmanager
def _cannot_load(name: str) -> Iterator[None]:
    """Turns whatever escapes from loading a model into `Unavailable`."""
    try:
        yield
    except ProblemError:
        raise
    except Exception as error:
        raise Unavailable(
            f"the encoder {name!r} cannot be loaded: {type(error).__name__}",
            value=name,
            remedy=files.remedy(name),
        ) from error


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Loading draws no random numbers that the process would miss, and no progress bars."""
    import torch
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _plain_tokenizer(model: Any, prompt: str) -> Any:
    """The tokenizer of a plain text transformer; None where the model's `encode` does more than tokenize and run."""
    first, tokenizer = model[0], getattr(model[0], "tokenizer", None)
    plain = (
        hasattr(first, "auto_model")
        and getattr(tokenizer, "is_fast", False)
        and not getattr(first, "processing_kwargs", None)
        and "message" not in getattr(first, "modality_config", ())
        and not (prompt and any(getattr(module, "include_prompt", True) is False for module in model))
    )
    return tokenizer if plain else None
