"""Can one client take the service from the others? Attacks on a keyless server, beside a trainer and probes.

    make attack                                   # six to ten minutes; QUICK=1 or --quick: under a minute
    python -m benchmarks.attack --only "math bombs,slow bodies" --seed 3

The server has the hashed encoder and SQLite in a temporary folder, and listens on loopback. All the time a trainer asks
for rewards, one request after another, and `/livez` and `/readyz` are probed, from a process of their own; resident
memory of the server and its children is measured. Then one attack after another is tried for some seconds, from several
threads. They have a lower priority, as an attacker has processors of its own. The first row is no attack: it shows the
machine. An attack holds if the trainer got all its rewards, 99 of 100 in less than a second, every probe was answered
with 200 within 100 ms, memory stayed within 500 MB of the idle server, nothing was answered with 500, and what must be
refused was. Requests are random and reproducible from the seed.

Prints a table and writes `reports/attack.json`; `--publish` writes `docs/results/attack.json`, too. The exit status is
1 if an attack does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.attack import amplification, archives, browsers, client, idle, starvation
from benchmarks.attack.bystanders import Bystanders, bystanders
from benchmarks.attack.server import Memory, attacked
from benchmarks.attack.table import Outcome, published, table
from benchmarks.attack.target import Attack, Target
from benchmarks.published import publish
from benchmarks.report import Report, machine, quick

SECONDS, QUICK_SECONDS = 20.0, 1.0
"""How long each attack lasts, at least."""
ATTACKERS_PRIORITY = 10
"""The priority (nice) of the attackers' threads, which share the processors with those whom they attack."""
CALM = Attack("(no attack)", lambda target, rng: time.sleep(0.1))
ATTACKS = (
    CALM,
    *browsers.ATTACKS,
    *amplification.ATTACKS,
    *starvation.ATTACKS,
    *idle.ATTACKS,
    *archives.ATTACKS,
    *client.ATTACKS,
)


def main() -> int:
    """Run the attacks. The exit status is 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="attacks to run, separated by commas (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help=f"seconds of each attack (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", default=quick(), help=f"{QUICK_SECONDS:g} s for each attack")
    parser.add_argument("--publish", action="store_true", help="write docs/results/attack.json")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(",") if name.strip()]
    if unknown := set(names) - {one.name for one in ATTACKS}:
        parser.error(f"no such attack: {', '.join(unknown)}; there are {', '.join(one.name for one in ATTACKS)}")
    chosen = [one for one in ATTACKS if not names or one.name in names]
    report, console = Report("attack"), Console(width=None if sys.stdout.isatty() else 200)
    outcomes = run(chosen, options.seconds or (QUICK_SECONDS if options.quick else SECONDS), options.seed)
    console.print(table(outcomes))
    for one in outcomes:
        for what in one.wrong[:3]:
            console.print(f"{one.name}: {what}", markup=False, soft_wrap=True)
    report.rows = [row for one in outcomes for row in one.rows()]
    console.print(f"seed {options.seed}, {time.perf_counter() - report.began:.0f} s, {report.write()}")
    if options.publish:
        publish(
            "attack",
            "What became of the trainer, the probes and the memory of a keyless server under each attack",
            "make attack",
            **published(outcomes),
            seconds=time.perf_counter() - report.began,
            quick=options.quick,
            on=f"{machine()}, load {os.getloadavg()[1]:.1f} at the end",
        )
    return int(any(one.failures for one in outcomes))


def run(attacks: Sequence[Attack], seconds: float, seed: int) -> list[Outcome]:
    """Try one attack after another: on one server, and on a new one where an attack leaves nothing that answers."""
    progress = Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        console=Console(stderr=True),
    )
    outcomes: list[Outcome] = []
    with progress:
        shown = progress.add_task("", total=len(attacks))
        while len(outcomes) < len(attacks):
            with attacked() as (url, memory), bystanders(url) as others:
                starvation.mathematics(Target(url, 0))  # the verifiers' processes are there in an idle server
                time.sleep(min(seconds, 2))
                idle_memory, usable = memory.now(), True
                while usable and len(outcomes) < len(attacks):
                    one = attacks[len(outcomes)]
                    progress.update(shown, description=one.name)
                    outcomes.append(tried(one, url, others, memory, idle_memory, seconds, seed))
                    progress.advance(shown)
                    usable = cleared(url)
    return outcomes


def tried(
    attack: Attack, url: str, others: Bystanders, memory: Memory, idle_memory: float, seconds: float, seed: int
) -> Outcome:
    """Prepare an attack, which is not measured, and run it."""
    target = Target(url, 0)
    attack.prepare(target)
    others.seen()
    memory.peak()
    target.until = time.monotonic() + seconds
    with ThreadPoolExecutor(1, initializer=yield_to_others) as attacker:
        attacker.submit(attack.run, target, seed).result()
    over = memory.peak() - idle_memory
    return Outcome(attack.name, others.seen(), over, dict(target.statuses), target.failed, attack.refused)


def yield_to_others() -> None:
    """Give this thread, and those that it starts, a lower priority. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ATTACKERS_PRIORITY)


def cleared(url: str) -> bool:
    """Delete all runs but the trainer's. Returns whether the server did so."""
    target = Target(url, 0)
    try:
        for one in json.loads(target.set_up("GET", "/runs"))["runs"]:
            if one["run_id"] != "trainer":
                target.set_up("DELETE", f"/runs/{one['run_id']}")
    except httpx.HTTPError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
