"""Printing: results go to stdout; progress, remarks and errors go to stderr."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from contextlib import suppress

from memr_client.errors import MemrError, ProblemError, Unauthorized, UnknownRun
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

out = Console()
err = Console(stderr=True)

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that a terminal obeys, such as the one that begins an escape sequence; line ends and tabs are none."""

REMEDIES: dict[type[MemrError], str] = {
    UnknownRun: "`memr runs list` shows the runs of a server.",
    Unauthorized: "Pass --api-key, or set MEMR_API_KEY.",
}
"""What to do about an error, where the command line has another way than the wire."""


def prepare() -> None:
    """Let no character end a command: what the terminal's encoding lacks is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish(error: OSError | None = None) -> int:
    """Write what is buffered; the exit status is 1 if that, or `error` before, failed.

    A reader that closed the pipe has read enough, so nothing is said about it. What is left is discarded: the
    interpreter would fail at writing it, too.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError as failed:
        error = error or failed
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if error is None:
        return 0
    if error.errno != errno.EPIPE:
        with suppress(OSError):
            _print_labelled("error", _in_words(error))
    return 1


def shown(text: str) -> Text:
    """A text as a terminal may show it: a completion, for example, with its control characters escaped."""
    return Text(CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def say(text: str) -> None:
    """Print a one-line result without markup and wrapping."""
    out.print(shown(text), highlight=False, markup=False, soft_wrap=True)


def say_json(document: str) -> None:
    """Print a JSON document. What the output's encoding lacks is escaped as JSON does it."""
    try:
        document.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        document = json.dumps(json.loads(document), indent=2)
    print(document)


def minute(moment: str) -> str:
    """A moment in UTC (ISO 8601) to the minute, as a table shows it."""
    return moment[:16].replace("T", " ")


def remark(text: str) -> None:
    """Print a message for the user that is not a result."""
    err.print(shown(text), highlight=False, markup=False, soft_wrap=True)


def progress() -> Progress:
    """A progress bar with count, rate and remaining time."""
    return Progress(BarColumn(), _Count(), _Rate(), TextColumn("left:"), TimeRemainingColumn(), console=err)


class _Count(ProgressColumn):
    """What is done, of how much."""

    def render(self, task: Task) -> Text:
        """Nothing before the total is known."""
        return Text("" if task.total is None else f"{task.completed:.0f} of {task.total:.0f}")


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        """The rate so far, or nothing at the beginning."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f}/s" if speed else "")


def show_error(error: MemrError | ValidationError) -> None:
    """Print what is wrong, what is allowed, and what to do."""
    if isinstance(error, ValidationError):
        for wrong in error.errors(include_url=False):
            where = ".".join(str(part) for part in wrong["loc"]) or error.title
            _print_labelled("error", f"{where}: {wrong['msg']} (it is {wrong['input']!r})")
        return
    _print_labelled("error", error.detail if isinstance(error, ProblemError) else str(error))
    members = {name: getattr(error, name, None) for name in ("value", "limit", "remedy")}
    members["remedy"] = REMEDIES.get(type(error)) or members["remedy"]
    for label, text in members.items():
        if text is not None:
            _print_labelled(label, str(text))


def _in_words(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else f"the output cannot be written: {reason}"


def _print_labelled(label: str, text: str) -> None:
    err.print(Text(f"{label}: ", style="red" if label == "error" else "dim") + shown(text), soft_wrap=True)
