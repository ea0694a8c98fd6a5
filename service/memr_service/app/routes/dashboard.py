"""Routes of the pages' files: the dashboard's, and those of `/docs`. They contain no data of runs."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from memr_client.errors import UnknownRoute

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "dashboard"
HEADERS = {
    # Nothing from other hosts, nothing inline: a completion inserted as HTML by mistake could still not run scripts.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",  # modules of two versions must not be mixed
}


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


@router.get("/docs")
async def docs() -> FileResponse:
    """The page of the HTTP API."""
    return FileResponse(FOLDER / "docs.html", headers=HEADERS)


@router.get("/dashboard/{name}")
async def part(name: str) -> FileResponse:
    """A module or the style sheet.

    Raises:
        UnknownRoute: no file has this name.
    """
    if re.fullmatch(r"[A-Za-z]+\.(js|css)", name):
        for folder in (FOLDER, FOLDER / "vendor"):
            if (folder / name).is_file():
                return FileResponse(folder / name, headers=HEADERS)
    raise UnknownRoute("The dashboard has no such file.", value=name[:64], remedy="GET / loads all of them.")
