"""`Log`: writes metrics as JSON lines and TensorBoard events, and shows a progress bar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from examples.grpo.config import Config
from examples.grpo.measures import Row

if TYPE_CHECKING:
    from typing_extensions import Self


class Log:
    """Writes each step's metrics.

    with Log(config, steps=60, rows=[]) as log:
        log.write({"step": 1, "outcome": 0.25})

    `rows` are the metrics up to the step that training resumes from. The file starts with them, because steps that a
    killed process logged after its last checkpoint are repeated and must not be logged twice.
    """

    def __init__(self, config: Config, steps: int, rows: list[Row]) -> None:
        self.rows = rows
        self._output = config.output
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            disable=not config.progress,
        )  # fmt: skip
        self._task = self._bar.add_task("training", total=steps, completed=_last_step(rows))
        if self._output is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._file = (self._output / "metrics.jsonl").open("w", encoding="utf-8")
            self._file.writelines(json.dumps(row) + "\n" for row in rows)
            self._board = SummaryWriter(self._output / "tensorboard", purge_step=_last_step(rows) + 1)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._output is not None:
            self._file.close()
            self._board.close()

    def write(self, row: Row) -> None:
        """Write a step's metrics. `row["step"]` is its number."""
        self.rows.append(row)
        step = int(row["step"] or 0)
        if self._output is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            for name, value in row.items():
                if value is not None and name != "step":
                    self._board.add_scalar(name, value, step)
        self._bar.update(self._task, completed=step, description=f"outcome {row.get('outcome', 0.0):.2f}")


def _last_step(rows: list[Row]) -> int:
    return int(rows[-1]["step"] or 0) if rows else 0
