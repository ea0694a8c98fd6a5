"""What the commands print to: results to stdout; progress, questions and errors to stderr."""

from __future__ import annotations

from memr_client.errors import MemrError, ProblemError
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Print a result of one line as it is: no markup, no wrapping."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def remark(text: str) -> None:
    """Print what is no result, to be read by a person."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def progress() -> Progress:
    """A bar with the count, the rate and the time that is left."""
    done = TextColumn("{task.completed} of {task.total}")
    return Progress(BarColumn(), done, _Rate(), TextColumn("left:"), TimeRemainingColumn(), console=err)


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        """The rate so far; nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f}/s" if speed else "")


def explain(error: MemrError | ValidationError) -> None:
    """Tell what was wrong, what is allowed, and what to do."""
    if isinstance(error, ValidationError):
        for wrong in error.errors(include_url=False):
            where = ".".join(str(part) for part in wrong["loc"]) or error.title
            _say("error", f"{where}: {wrong['msg']} (it is {wrong['input']!r})")
        return
    _say("error", error.detail if isinstance(error, ProblemError) else str(error))
    for label in ("value", "limit", "remedy"):
        if (said := getattr(error, label, None)) is not None:
            _say(label, str(said))


def _say(label: str, text: str) -> None:
    err.print(Text(f"{label}: ", style="red" if label == "error" else "dim") + Text(text), soft_wrap=True)
