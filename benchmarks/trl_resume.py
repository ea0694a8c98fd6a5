"""TRL with a real `memr serve`: how much time does the memory take, and is it exact after a kill?

    python benchmarks/trl_resume.py                # a few minutes on a CPU
    python benchmarks/trl_resume.py --kills 10

Trains examples/trl_grpo.py --tiny for 20 steps with a checkpoint every 3; then several times with the same seed, each
time killed (SIGKILL) once at a random moment and resumed from its last checkpoint. After every step the memory's digest
must equal that of the uninterrupted training.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import trl_grpo
from memr_client import RewardClient
from support.serving import serving
from transformers import TrainerCallback

STEPS, SAVE_STEPS = 20, 3


class Digests(TrainerCallback):
    """Prints the memory's digest after every step."""

    def __init__(self, client: RewardClient) -> None:
        self._client = client

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        said = {"step": state.global_step, "digest": self._client.run(digest=True).digest}
        print(json.dumps(said), flush=True)


def train(url: str, run: str, folder: str) -> None:
    """One training process: digests on stdout, then what it logged."""
    options = trl_grpo.parse(["--tiny", "--url", url, "--run", run, "--output", folder])
    # Saving in the middle of what takes a moment, and no progress bar on the way.
    changes = {"max_steps": STEPS, "save_steps": SAVE_STEPS, "logging_steps": 1, "disable_tqdm": True}
    trainer = trl_grpo.make_trainer(options, **changes)
    trainer.add_callback(Digests(RewardClient(url, run=run)))
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=trl_grpo.last_checkpoint(folder))
    print(json.dumps({"train_s": time.perf_counter() - began, "log": trainer.state.log_history}), flush=True)


def start(url: str, run: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--train", url, run, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def said_by(process: subprocess.Popen[str]) -> tuple[dict[int, str], dict[str, Any]]:
    """Step -> digest until the process ends, and the process's last log (empty if it was killed)."""
    digests: dict[int, str] = {}
    last: dict[str, Any] = {}
    for line in process.stdout or ():
        if line.startswith('{"step"'):
            said = json.loads(line)
            digests[said["step"]] = said["digest"]
        elif line.startswith('{"train_s"'):
            last = json.loads(line)
    process.wait()
    return digests, last


def killed_and_resumed(url: str, run: str, folder: Path, step: int, later_s: float) -> tuple[int, dict[int, str]]:
    """Kill a training `later_s` after a step's end. Returns the step it resumed from and its digests after that."""
    process = start(url, run, folder)
    for line in process.stdout or ():
        if line.startswith(f'{{"step": {step},'):
            break
    time.sleep(later_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed, _ = said_by(start(url, run, folder))
    return min(resumed), resumed


def report(last: dict[str, Any], wall_s: float) -> None:
    log = [entry for entry in last["log"] if "memory/seconds" in entry]
    calls_s = sum(entry["memory/seconds"] for entry in log)
    print(
        f"{STEPS} steps: process {wall_s:.1f} s, training {last['train_s']:.2f} s, in the reward call {calls_s:.2f} s"
    )
    print(f"share of the training spent in the reward call: {calls_s / last['train_s']:.1%}")
    print("logged at the last step:", {name: log[-1][name] for name in sorted(log[-1]) if "memory/" in name})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--seed", type=int, default=None, help="of the moments of the kills")
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(*options.train)
        return
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = ("--store", f"sqlite:///{folder}/store", "--encoder", options.encoder)
        with serving(*store, OMP_NUM_THREADS="1") as url:  # a core for the service, one for the trainer
            with RewardClient(url) as client:
                client.reward(["1+1="], ["2"], [1.0], run_id="warm")  # the encoder is loaded before the clock starts
            began = time.perf_counter()
            whole, last = said_by(start(url, "whole", Path(folder, "whole")))
            assert len(set(whole.values())) == STEPS, whole
            report(last, time.perf_counter() - began)
            differing = 0
            for number in range(options.kills):
                step, later_s = dice.randrange(1, STEPS), dice.uniform(0, 0.1)
                name = f"killed-{number}"
                begun, resumed = killed_and_resumed(url, name, Path(folder, name), step, later_s)
                wrong = [at for at in range(begun, STEPS + 1) if resumed.get(at) != whole[at]]
                differing += len(wrong)
                print(f"killed {later_s * 1000:.0f} ms after step {step}, resumed with step {begun}: ", end="")
                print(f"{STEPS + 1 - begun - len(wrong)} digests equal, {len(wrong)} not")
    print(f"digests that differ: {differing} (seed {seed})")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
