"""Printing: results go to stdout; progress, remarks and errors go to stderr."""

from __future__ import annotations

from memr_client.errors import MemrError, ProblemError
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Print a one-line result without markup and wrapping."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def remark(text: str) -> None:
    """Print a message for the user that is not a result."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def progress() -> Progress:
    """A progress bar with count, rate and remaining time."""
    done = TextColumn("{task.completed} of {task.total}")
    return Progress(BarColumn(), done, _Rate(), TextColumn("left:"), TimeRemainingColumn(), console=err)


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
    for label in ("value", "limit", "remedy"):
        if (text := getattr(error, label, None)) is not None:
            _print_labelled(label, str(text))


def _print_labelled(label: str, text: str) -> None:
    err.print(Text(f"{label}: ", style="red" if label == "error" else "dim") + Text(text), soft_wrap=True)
