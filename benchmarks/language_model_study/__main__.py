"""Does a memory reward help a pretrained language model? SmolLM2-135M-Instruct on word problems of one to three steps.

    make lm-study processes=1                               # hours; it continues where it was stopped
    python -m benchmarks.language_model_study --first 6     # only the first six trainings of the queue
    python -m benchmarks.language_model_study --finished    # no training: the tables of those that are finished
    python -m benchmarks.language_model_study --models Qwen/Qwen2.5-0.5B-Instruct tiiuae/Falcon3-1B-Instruct  # a GPU
    python -m benchmarks.language_model_study --dry-run     # one step of every arm, in a minute: does everything start?

The queue and its comparisons were registered in `registered.json` before its seeds were run. A training that is stopped
continues from its last checkpoint, and finished ones are kept in `reports/language-model-study/trainings.jsonl`. Each
needs one core. Prints tables; --publish writes `docs/results/language-model-study*.json`, too.

With --models each model is trained alike, one training at a time. A dry run puts models of the same two families with a
few thousand weights in their place.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.experiment.arms import publish_study, shown
from benchmarks.experiment.pool import read, run_all
from benchmarks.language_model_study import tables
from benchmarks.language_model_study.registration import Registration, registered
from benchmarks.language_model_study.training import FOLDER, Training, train_one
from benchmarks.published import Row
from benchmarks.report import ROOT
from examples.grpo import smollm2

Changes = tuple[tuple[str, Any], ...]
DRY: Changes = (("eval_questions", 2), ("prompts_per_step", 2), ("group_size", 4), ("micro_batch", 4), ("lessons", 0))
"""Fields of `Config` in a dry run."""


@dataclass(frozen=True)
class Queue:
    """The trainings of one model, and where they are kept."""

    registration: Registration
    model: str = smollm2.NAME
    folder: Path = FOLDER
    changes: Changes = ()

    @property
    def kept(self) -> Path:
        """The file of finished trainings."""
        return self.folder / "trainings.jsonl"

    def rounds(self) -> Iterator[dict[str, Training]]:
        """Trainings by key, in the order of the queue. A round starts when the one before is finished."""
        for arms, seeds in self.registration.queue:
            some = [self._training(arm, seed) for seed in self.registration.seeds[:seeds] for arm in arms]
            taught = {one.key: one for one in some if one.teacher is not None}
            yield {one.key: one for one in some if one.key not in taught}
            yield taught

    def run(self, processes: int | None, first: int | None) -> list[Row]:
        """Train what is not finished, up to the first so many of the queue. Returns all that is finished."""
        left = first
        for some in self.rounds():
            chosen = dict([*some.items()][:left])
            run_all(chosen, train_one, self.kept, processes)
            if left is not None:
                left -= len(chosen)
                if left <= 0:
                    break
        return [*read(self.kept).values()]

    def _training(self, arm: str, seed: int) -> Training:
        other, steps = self.registration.other(seed), self.registration.steps
        return Training(arm, seed, other, self.model, steps, self.changes, self.folder)


def show(registration: Registration, found: Sequence[Row]) -> None:
    """Print every training, the means, and the comparisons."""
    for row in sorted(found, key=lambda one: (one["method"], one["seed"])):
        curve = " ".join(f"{accuracy:.3f}" for accuracy in row["accuracy"])
        print(f"{row['method']:<20}{row['seed']} area {row['area']:.4f}, {curve}; {row['seconds'] / 60:.0f} minutes")
    for row in tables.arms(registration, found)["rows"]:
        print(
            f"{row['arm']:<20}n {row['n']}: start {row['start']:.3f}, area {row['area']:.3f}, final {row['final']:.3f}"
        )
    for row in tables.collapse(registration, found)["rows"]:
        print(f"{row['arm']:<20}right {row['outcome']}, format {row['format']}, tokens {row['length']}")
    for comparison in tables.comparisons(registration, found):
        print(shown(*comparison))


def dry_run(registration: Registration, folder: Path) -> None:
    """Train every arm for one step, with a tiny model of each of the two families."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.tiny_causal_lm import save_causal_lm
    from support.tiny_llama import save_llama

    short = registration.model_copy(update={"steps": 1, "queue": registration.queue[:3]})
    for make in (save_causal_lm, save_llama):
        model = make(folder / make.__name__)
        queue = Queue(short, str(model), folder / "trainings" / make.__name__, DRY)
        print(f"## {make.__name__}")
        show(short, queue.run(processes=1, first=None))


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--models", nargs="+", default=[smollm2.NAME], help="of the hub, or folders")
    arguments.add_argument("--first", type=int, help="only the first so many trainings of the queue", metavar="N")
    arguments.add_argument("--finished", action="store_true", help="no training: the tables of those that are finished")
    arguments.add_argument("--dry-run", action="store_true", help="one step of every arm with tiny models")
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    arguments.add_argument("--publish", action="store_true", help="write the tables of docs/results, of smollm2 only")
    asked = arguments.parse_args()
    registration = registered()
    if asked.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            dry_run(registration, Path(folder))
        return
    for model in asked.models:
        own = model == smollm2.NAME
        queue = Queue(registration, model, FOLDER if own else FOLDER / model.replace("/", "-"))
        processes = asked.processes if own else 1
        rows = [*read(queue.kept).values()] if asked.finished else queue.run(processes, asked.first)
        print(f"## {model}")
        show(registration, rows)
        if asked.publish and own:
            makers = {"": tables.arms, "-collapse": tables.collapse, "-comparisons": tables.compared}
            made = {f"language-model-study{name}": make(registration, rows) for name, make in makers.items()}
            publish_study(made, "make lm-study", rows)


if __name__ == "__main__":
    main()
