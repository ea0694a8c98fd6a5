"""Command-line options that several commands share."""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import PresetName

from memr_service.run.presets import PRESETS
from memr_service.settings import Settings, did_you_mean

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(help="Address of the server.", envvar="MEMR_URL")]
ApiKey = Annotated[
    str | None, typer.Option(help="API key, if the server needs one.", envvar="MEMR_API_KEY", show_default=False)
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
EncoderName = Annotated[
    str | None,
    typer.Option(
        help="Name or folder of a sentence-transformers model, or `hashed` (needs no torch, starts at once, coarser)."
    ),
]
DeviceName = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option(help="Device of the encoder; auto uses the GPU if it has 4 GiB free."),
]


def default(setting: str) -> str:
    """The default of a server's setting, for the help of its option."""
    return str(Settings.model_fields[setting].default)


def home(path: Path | None) -> Path | None:
    """Callback of options that take a path: `~` is the home directory, also after `--option=`.

    Raises:
        InvalidRequest: `~NAME` names nobody.
    """
    try:
        return None if path is None else path.expanduser()
    except RuntimeError as error:
        raise InvalidRequest(
            f"{path} cannot be found: {error}", value=str(path), remedy="Write it without ~."
        ) from None


def require_writable(path: Path) -> None:
    """Check, before the work begins, that a file can be written: beside its path, and renamed when it is complete.

    Raises:
        InvalidRequest: the folder does not exist or cannot be written to, or the path is a folder, a device or a pipe.
    """
    if not path.parent.is_dir():
        raise InvalidRequest(f"the folder {path.parent} does not exist.", value=str(path), remedy="Create it first.")
    if path.exists() and not path.is_file():
        raise InvalidRequest(f"{path} is not a regular file.", value=str(path), remedy="Give the name of a file.")
    if not os.access(path.parent, os.W_OK):
        raise InvalidRequest(
            f"the folder {path.parent} cannot be written to.", value=str(path), remedy="Choose another folder."
        )


def known_preset(name: str) -> PresetName:
    """The preset's name.

    Raises:
        InvalidRequest: there is no such preset.
    """
    for preset in PRESETS:
        if preset == name:
            return preset
    raise InvalidRequest(
        f"there is no preset {name!r}.",
        value=name,
        limit=list(PRESETS),
        remedy=f"Choose one of these.{did_you_mean(name, PRESETS)}",
    )


def listed_presets(names: str) -> list[PresetName]:
    """The presets of a list with commas.

    Raises:
        InvalidRequest: one of them does not exist.
    """
    return [known_preset(name.strip()) for name in names.split(",") if name.strip()]


def read_json(path: Path, example: str) -> Any:
    """What a JSON file holds.

    Raises:
        InvalidRequest: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes().removeprefix(BOM_UTF8))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not JSON: {error}"
        raise InvalidRequest(
            f"cannot read {path}: {reason}.", value=str(path), remedy=f"Give a JSON file that holds {example}."
        ) from error


def connect(url: str, api_key: str | None) -> RewardClient:
    """A client for one command: it tries once, because a person waits.

    Raises:
        InvalidRequest: the address or the key cannot be used.
    """
    return RewardClient(url, api_key=api_key, retries=0)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, without those that are None."""
    return {name: value for name, value in options.items() if value is not None}
