"""Which functions does a reward request go through? One `POST /reward` is followed through the service.

    python -m benchmarks.path           # figures for a request with texts, and for one with embeddings
    python -m benchmarks.path --show    # also every call of the service's own functions

The whole app runs in this process, over a store in memory with the `hashed` encoder. The figures describe the code, not
its speed, and are the same on every machine. A room is a folder of `memr_service`. A climb is a call from a room into a
room above it, where only calls down are meant to be. `tests/service/test_hops.py` keeps the path itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.request_path import Call, Step, Trace, follow

FLOORS = (
    ("cli",),
    ("app",),
    ("insight",),
    ("engine",),
    ("run",),
    ("rewards",),
    ("state",),
    ("memory", "encoder", "store", "verifiers", "settings"),
)
"""The rooms from top to bottom, as in the contract of `pyproject.toml`."""
EXPLOIT = Step("rewards/components/exploit.py", "exploit")
COMMIT = Step("store/sqlite/journal.py", "SqliteJournal.commit")


def figures(trace: Trace) -> dict[str, int]:
    """What is counted, by its name."""
    steps = {call.step for call in trace.calls}
    moves = {(call.caller.step, call.step) for call in trace.calls if call.caller is not None and moved(call)}
    return {
        "functions from the first middleware to equation 4": len(trace.chains({EXPLOIT})[0]),
        "functions from the first middleware to the commit": len(trace.chains({COMMIT})[0]),
        "calls of own functions": len(trace.calls),
        "own functions": len(steps),
        "files": len({step.file for step in steps}),
        "rooms": len({step.room for step in steps}),
        "calls from room to room": sum(moved(call) for call in trace.calls),
        "pairs of functions that make them": len(moves),
        "pairs that climb": len(climbs(trace)),
    }


def moved(call: Call) -> bool:
    """Whether a call goes from one room to another."""
    return call.caller is not None and call.caller.step.room != call.step.room


def climbs(trace: Trace) -> list[tuple[Step, Step]]:
    """Caller and function of the calls that go up, each pair once."""
    found = ((call.caller.step, call.step) for call in trace.calls if call.caller is not None)
    return [*dict.fromkeys(pair for pair in found if floor(pair[1]) < floor(pair[0]))]


def floor(step: Step) -> int:
    """0 at the top."""
    return next(number for number, rooms in enumerate(FLOORS) if step.room in rooms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="also print every call, in order")
    show: bool = parser.parse_args().show
    traces = {"texts": follow(embeddings=False), "embeddings": follow(embeddings=True)}
    if show:
        for name, trace in traces.items():
            print(f"A request with {name}")
            for call in trace.calls:
                print(f"{'  ' * len(call.chain)}{call.step.file}: {call.step.function}")
    counted = {name: figures(trace) for name, trace in traces.items()}
    print(f"{'':<54}" + "".join(f"{name:>12}" for name in counted))
    for figure in counted["texts"]:
        print(f"{figure:<54}" + "".join(f"{one[figure]:>12}" for one in counted.values()))
    for caller, step in dict.fromkeys(pair for trace in traces.values() for pair in climbs(trace)):
        print(f"climbs: {caller.file}: {caller.function} calls {step.file}: {step.function}")


if __name__ == "__main__":
    main()
