"""Which server a command speaks to, and how it is named on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

HERE = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(help="Where the server listens.", envvar="MEMR_URL")]
ApiKey = Annotated[
    str | None, typer.Option(help="A key of the server, where it has keys.", envvar="MEMR_API_KEY", show_default=False)
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
