"""Command-line options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

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


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, without those that are None."""
    return {name: value for name, value in options.items() if value is not None}
