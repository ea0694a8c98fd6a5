"""Where `memr watch` writes: one small class for each place, its library imported when it is used.

Each knows how far it has come, also in an earlier life: JSON lines by their last line, the others by a small file of
notes in the same folder. What was written last before a crash may be written twice, nothing is left out.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from memr_client.errors import MemrError
from memr_client.schemas import HistoryRow

from memr_service.cli.history import metrics

Kind = Literal["jsonl", "tensorboard", "wandb", "mlflow"]


class Place(NamedTuple):
    """A position of a run's history. Later branches come after earlier ones."""

    branch: int
    position: int


class Sink(Protocol):
    """Takes a run's steps."""

    place: Place | None
    """Of the last step written; None: there is none."""

    def write(self, row: HistoryRow) -> None:
        """Take one more step."""

    def close(self) -> None:
        """Finish what was begun."""


class JsonLines:
    """One JSON object for each step in FOLDER/RUN.jsonl: step, branch, position, Unix time, and the metrics."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.place: Place | None = None
        path = folder / f"{run_id}.jsonl"
        whole = path.read_bytes() if path.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]  # the rest is a line that was cut short
        if whole:
            last = json.loads(whole.splitlines()[-1])
            self.place = Place(last["branch"], last["position"])
        self._file = path.open("ab")
        self._file.truncate(len(whole))

    def write(self, row: HistoryRow) -> None:
        """Append a line."""
        line = {"step": row.step, "branch": row.branch, "position": row.position, "at": row.at, **metrics(row)}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        self.place = Place(row.branch, row.position)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Noted:
    """A sink whose library does not tell how far it has come; FOLDER/RUN.KIND.json does, and what it calls the run."""

    def __init__(self, folder: Path, run_id: str, kind: Kind) -> None:
        self._path = folder / f"{run_id}.{kind}.json"
        said: dict[str, Any] = json.loads(self._path.read_bytes()) if self._path.exists() else {}
        self.place = Place(*said["place"]) if said else None
        self._id: str | None = said.get("id")

    def _note(self, row: HistoryRow) -> None:
        """The step is written."""
        self.place = Place(row.branch, row.position)
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps({"place": self.place, "id": self._id}))
        os.replace(part, self._path)


class TensorBoard(_Noted):
    """Scalars in event files under FOLDER/RUN, for `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, run_id: str) -> None:
        summary = _library("tensorboard", "tensorboard.summary")
        super().__init__(folder, run_id, "tensorboard")
        self._writer = summary.Writer(str(folder / run_id))

    def write(self, row: HistoryRow) -> None:
        """Add a point to each curve."""
        for name, value in metrics(row).items():
            self._writer.add_scalar(name, value, _axis(row), wall_time=row.at)
        self._writer.flush()
        self._note(row)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class Wandb(_Noted):
    """A run of Weights & Biases. Its own environment variables say where: WANDB_PROJECT, WANDB_MODE, ..."""

    def __init__(self, folder: Path, run_id: str) -> None:
        wandb = _library("wandb", "wandb")
        super().__init__(folder, run_id, "wandb")
        project = os.environ.get("WANDB_PROJECT", "memr")
        self._run = wandb.init(project=project, name=run_id, id=self._id, resume="allow", dir=str(folder))
        self._id = self._run.id
        # An axis of our own: the library's may never go back, as a restored run does.
        self._run.define_metric("memr/step")
        self._run.define_metric("memr/*", step_metric="memr/step")

    def write(self, row: HistoryRow) -> None:
        """Log all metrics of the step together."""
        self._run.log({"memr/step": _axis(row), **metrics(row)})
        self._note(row)

    def close(self) -> None:
        """Send what waits."""
        self._run.finish()


class Mlflow(_Noted):
    """A run of MLflow. Its own environment variables say where: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ..."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._mlflow = _library("mlflow-skinny", "mlflow")
        super().__init__(folder, run_id, "mlflow")
        self._id = self._mlflow.start_run(run_id=self._id, run_name=run_id).info.run_id

    def write(self, row: HistoryRow) -> None:
        """Log all metrics of the step together."""
        self._mlflow.log_metrics(metrics(row), step=_axis(row), timestamp=round(1000 * row.at))
        self._note(row)

    def close(self) -> None:
        """Mark the run as finished; it can be begun again."""
        self._mlflow.end_run()


SINKS: dict[Kind, type[Sink]] = {"jsonl": JsonLines, "tensorboard": TensorBoard, "wandb": Wandb, "mlflow": Mlflow}


def open_sink(kind: Kind, folder: Path, run_id: str) -> Sink:
    """The sink of that kind for a run, as far as it had come.

    Raises:
        MemrError: its library is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return SINKS[kind](folder, run_id)  # type: ignore[call-arg]


def _axis(row: HistoryRow) -> int:
    """Where a step is drawn: at its number, or where requests name no step at its position."""
    return row.position if row.step is None else row.step


def _library(package: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MemrError(f"{package} is not installed ({error}): pip install {package}") from error
