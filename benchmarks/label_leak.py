"""Does a component leak the label? Its AUC for correctness within groups of real solutions, for each order of L9.

    python benchmarks/label_leak.py

All 1,319 test questions of GSM8K with the solutions of four models, one group per question, encoded by all-MiniLM-L6-v2
(some minutes on a CPU). An AUC of 0.5 has no information about correctness; 1 is the label itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.leak import ORDERS, measure
from support.minilm import embed
from support.real_data import rollouts, solutions


def main() -> None:
    texts = [text for rollout in rollouts() for text in (rollout["prompt"], rollout["completion"])]
    print(f"encoding {len(set(texts))} texts ...", file=sys.stderr)
    embed(texts)
    print(f"{'order':<14}{'component':<11}{'right of 4':>10}{'groups':>8}{'pairs':>7}{'defined':>9}{'AUC':>7}")
    for order in ORDERS:
        for leak in measure(solutions(), order):
            counts = f"{leak.right:>10}{leak.groups:>8}{leak.pairs:>7}{leak.defined:>9}{leak.auc:>7.3f}"
            print(f"{leak.order:<14}{leak.component:<11}{counts}")


if __name__ == "__main__":
    main()
