"""Outputs of `memr watch`: one class for each kind. A tracker's library is imported when its sink is opened.

A sink knows the last step it wrote, also after a restart: JSON lines from the last line of the file, the others from a
small state file in the same folder. After a crash the last step may be written twice; none is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from memr_client.errors import MemrError
from memr_client.schemas import HistoryRow

from memr_service.cli.history import metrics

SinkKind = Literal["jsonl", "tensorboard", "wandb", "mlflow"]


class RunPosition(NamedTuple):
    """A position in a run's history. Later branches compare greater than earlier ones."""

    branch: int
    position: int


class Sink(Protocol):
    """Writes a run's steps."""

    written: RunPosition | None
    """Position of the last step written; None if there is none."""
    where: str
    """Where the steps are written, for people."""

    def write(self, row: HistoryRow) -> None:
        """Write one step."""

    def close(self) -> None:
        """Write what is buffered and close the output."""


class JsonLines:
    """One JSON object per step in FOLDER/RUN.jsonl: step, branch, position, Unix time, and the metrics."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.written: RunPosition | None = None
        path = folder / f"{run_id}.jsonl"
        self.where = str(path)
        content = path.read_bytes() if path.exists() else b""
        complete = content[: content.rfind(b"\n") + 1]  # a crash may have left half a line
        if complete:
            with _understood(path):
                last = json.loads(complete.splitlines()[-1])
                self.written = RunPosition(last["branch"], last["position"])
        self._file = path.open("ab")
        self._file.truncate(len(complete))

    def write(self, row: HistoryRow) -> None:
        """Append a line."""
        line = {"step": row.step, "branch": row.branch, "position": row.position, "at": row.at, **metrics(row)}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        self.written = RunPosition(row.branch, row.position)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Tracker:
    """A sink with a state file, FOLDER/RUN.KIND.json: the last step written and the tracker's id of the run."""

    def __init__(self, folder: Path, run_id: str, kind: SinkKind) -> None:
        self._path = folder / f"{run_id}.{kind}.json"
        self.written: RunPosition | None = None
        self._id: str | None = None
        if self._path.exists():
            with _understood(self._path):
                state = json.loads(self._path.read_bytes())
                self.written, self._id = RunPosition(*state["place"]), state["id"]

    def _save(self, row: HistoryRow) -> None:
        """Record that the step is written."""
        self.written = RunPosition(row.branch, row.position)
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps({"place": self.written, "id": self._id}))
        os.replace(part, self._path)


class TensorBoard(_Tracker):
    """Scalars in event files under FOLDER/RUN, for `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, run_id: str) -> None:
        summary = _library("tensorboard", "tensorboard.summary")
        super().__init__(folder, run_id, "tensorboard")
        self.where = f"event files in {folder / run_id}"
        self._writer = summary.Writer(str(folder / run_id))

    def write(self, row: HistoryRow) -> None:
        """Add a point to each curve."""
        for name, value in metrics(row).items():
            self._writer.add_scalar(name, value, _axis(row), wall_time=row.at)
        self._writer.flush()
        self._save(row)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class Wandb(_Tracker):
    """A run of Weights & Biases, configured by its environment variables (WANDB_PROJECT, WANDB_MODE, ...)."""

    def __init__(self, folder: Path, run_id: str) -> None:
        wandb = _library("wandb", "wandb")
        super().__init__(folder, run_id, "wandb")
        project = os.environ.get("WANDB_PROJECT", "memr")
        self._run = wandb.init(project=project, name=run_id, id=self._id, resume="allow", dir=str(folder))
        self._id = self._run.id
        self.where = f"Weights & Biases, run {self._id}"
        # A separate axis: the library's own may never go back, but a restored run does.
        self._run.define_metric("memr/step")
        self._run.define_metric("memr/*", step_metric="memr/step")

    def write(self, row: HistoryRow) -> None:
        """Log all metrics of the step together."""
        self._run.log({"memr/step": _axis(row), **metrics(row)})
        self._save(row)

    def close(self) -> None:
        """Send what is buffered."""
        self._run.finish()


class Mlflow(_Tracker):
    """A run of MLflow, configured by its environment variables (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ...)."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._mlflow = _library("mlflow-skinny", "mlflow")
        super().__init__(folder, run_id, "mlflow")
        self._id = self._mlflow.start_run(run_id=self._id, run_name=run_id).info.run_id
        self.where = f"MLflow, run {self._id}"

    def write(self, row: HistoryRow) -> None:
        """Log all metrics of the step together."""
        self._mlflow.log_metrics(metrics(row), step=_axis(row), timestamp=round(1000 * row.at))
        self._save(row)

    def close(self) -> None:
        """Mark the run as finished. It can be resumed."""
        self._mlflow.end_run()


SINKS: dict[SinkKind, type[Sink]] = {"jsonl": JsonLines, "tensorboard": TensorBoard, "wandb": Wandb, "mlflow": Mlflow}


def open_sink(kind: SinkKind, folder: Path, run_id: str) -> Sink:
    """Open the sink of this kind for a run; it continues after the last step it wrote.

    Raises:
        MemrError: the sink's library is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return SINKS[kind](folder, run_id)  # type: ignore[call-arg]


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Translate what goes wrong when a file is not one that `memr watch` wrote."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise MemrError(
            f"{path} is not a file of `memr watch`, so it cannot be continued. Choose another folder with --dir."
        ) from error


def _axis(row: HistoryRow) -> int:
    """The x value of a step: its number, or its position if requests name no step."""
    return row.position if row.step is None else row.step


def _library(package: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MemrError(f"{package} is not installed ({error}): pip install {package}") from error
