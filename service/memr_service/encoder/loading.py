"""How a sentence-transformers model is loaded, from its files or the hub; torch is imported only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from memr_client.errors import EncoderUnusable, ProblemError, Unavailable

from memr_service.encoder import model_files

KNOWN = [
    model_files.MINILM,
    "hashed",
    "the folder of a sentence-transformers model",
    "the name of a sentence-transformers model on the hub",
]
"""What can be named as an encoder."""

GPU_FREE_BYTES = 4 << 30
"""`auto` uses a GPU only if so much of its memory is free, since the card may be shared with a sampler."""


def choose_device(wanted: str, free_bytes: int | None) -> str:
    """The device to load on: `cpu` or `cuda`.

    Args:
        wanted: `cpu`, `cuda`, or `auto` (a GPU with 4 GiB free, else the CPU).
        free_bytes: free memory of the GPU; None if there is no GPU.

    Raises:
        EncoderUnusable: `cuda` is wanted, but there is no GPU.
    """
    if wanted == "cuda" and free_bytes is None:
        raise EncoderUnusable(
            "The device is cuda, but torch finds no GPU.",
            value=wanted,
            remedy="Set MEMR_DEVICE to auto or cpu, or install a CUDA build of torch and its driver.",
        )
    roomy = free_bytes is not None and free_bytes >= GPU_FREE_BYTES
    return "cuda" if wanted == "cuda" or (wanted == "auto" and roomy) else "cpu"


def load(name: str, device: str) -> Any:
    """Load the sentence-transformers model of that name: float32, in eval mode, on its device."""
    folder = model_files.find_model(name)
    if folder is None and (why := model_files.why_absent(name)) is not None:  # before torch, whose import takes seconds
        raise _cannot(name, f"there is no folder of that name, and {why}")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EncoderUnusable(
            f"The encoder {name!r} needs torch and sentence-transformers ({type(error).__name__}).",
            value=name,
            remedy="Run pip install '.[service]' in a clone of memr, or use the encoder 'hashed', which needs neither.",
        ) from error
    free_bytes = torch.cuda.mem_get_info()[0] if device != "cpu" and torch.cuda.is_available() else None
    with _unnoticed():
        model = SentenceTransformer(
            str(folder or model_files.hub_name(name)),
            device=choose_device(device, free_bytes),
            trust_remote_code=False,
            local_files_only=folder is not None or not model_files.hub_answers(),
            model_kwargs={"torch_dtype": torch.float32},
        )
    return model.float().eval()


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Turn every error of loading a model into `EncoderUnusable`, or `Unavailable` if memory was short."""
    try:
        yield
    except ProblemError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own
            raise Unavailable(
                f"There is no memory to load the encoder {name!r}.",
                value=name,
                remedy="Free memory on the device, or set MEMR_DEVICE to cpu.",
            ) from error
        raise _cannot(name, f"its files are damaged or of another kind ({type(error).__name__})") from error


def _cannot(name: str, why: str) -> EncoderUnusable:
    return EncoderUnusable(
        f"The encoder {name!r} cannot be loaded: {why}.", value=name, limit=KNOWN, remedy=model_files.remedy(name)
    )


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Leave the process's random numbers as they are, and show no progress bars, while a model is loaded."""
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


def plain_tokenizer(model: Any, prompt: str) -> Any:
    """The tokenizer of a plain text transformer; None if the model's `encode` does more than tokenize and run it."""
    first, tokenizer = model[0], getattr(model[0], "tokenizer", None)
    plain = (
        hasattr(first, "auto_model")
        and getattr(tokenizer, "is_fast", False)
        and not getattr(first, "processing_kwargs", None)
        and "message" not in getattr(first, "modality_config", ())
        and not (prompt and any(getattr(module, "include_prompt", True) is False for module in model))
    )
    return tokenizer if plain else None
