"""Command-line options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer
from memr_client import RewardClient
from memr_client.errors import InvalidRequest

from memr_service.settings import Settings

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


def connect(url: str, api_key: str | None) -> RewardClient:
    """A client for one command: it tries once, because a person waits.

    Raises:
        InvalidRequest: the URL is none.
    """
    try:
        return RewardClient(url.strip(), api_key=(api_key or "").strip() or None, retries=0)
    except (ValueError, httpx.InvalidURL) as error:
        raise InvalidRequest(
            f"the address of the server cannot be used: {error}.",
            limit=f"a URL such as {DEFAULT_URL}",
            remedy="Correct --url (MEMR_URL).",
        ) from None


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, without those that are None."""
    return {name: value for name, value in options.items() if value is not None}
