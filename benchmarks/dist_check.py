"""Is what `make dist` built what people can use? The wheel, in two clean environments.

    python -m benchmarks.dist_check dist/memr-*.whl

client: the wheel alone. numpy, torch and fastapi must not come with it, and importing it must take under half a second
of processor time.
service: the wheel with the extra `service`. The command `memr` starts a server, and the client gets a reward from it.

Packages come from the index and the folders that pip is set up for, pinned by constraints.txt.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORT_S = 0.5
ABSENT = ("numpy", "torch", "fastapi", "starlette", "hnswlib")
TIMED = "import time; begun = time.process_time(); import memr_client; print(time.process_time() - begun)"
REWARD = """
from memr_client import RewardClient

with RewardClient(URL, run="check", wait=120) as client:
    client.reward(["What is 3 + 4?"] * 4, ["7", "8", "It is 7.", "No idea."], [1, 0, 1, 0])
    response = client.reward(["What is 3 + 4?"] * 4, ["7", "9", "3 + 4 = 7", "No idea."], [1, 0, 1, 0])
    assert len(response.rewards) == 4 and response.position == 2, response
    print("rewards:", [round(reward, 2) for reward in response.rewards])
"""


def main() -> int:
    """Check the wheel; the exit status is 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--index", help="a further index of packages (PyTorch's CPU wheels)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memr-dist-") as folder:
        client = environment(Path(folder) / "client", str(asked.wheel.resolve()), asked.index)
        present = [name for name in ABSENT if has(client, name)]
        seconds = min(float(run(client, "-c", TIMED)) for _ in range(5))
        print(f"client: {len(packages(client))} packages; of {', '.join(ABSENT)}: {', '.join(present) or 'none'}")
        print(f"client: import memr_client takes {seconds:.2f} s of processor time (limit {IMPORT_S} s)")
        service = environment(Path(folder) / "service", f"{asked.wheel.resolve()}[service]", asked.index)
        served = serves(service, Path(folder))
        print(f"service: {len(packages(service))} packages; gives a reward: {served}")
    return int(bool(present) or seconds >= IMPORT_S or not served)


def environment(folder: Path, requirement: str, index: str | None) -> Path:
    """A clean environment with this requirement; the path of its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    further = ["--extra-index-url", index] if index else []
    run(python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *further, requirement)
    return python


def run(python: Path, *arguments: str) -> str:
    """What a Python prints, started outside the checkout so that only installed packages count."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True, cwd=python.parent, env=own)
    if done.returncode:
        raise SystemExit(f"{python} {' '.join(arguments[:4])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def has(python: Path, package: str) -> bool:
    """Whether a package is installed."""
    return (
        run(python, "-c", f"import importlib.util as u; print(u.find_spec({package!r}) is not None)").strip() == "True"
    )


def packages(python: Path) -> list[str]:
    """The names of what is installed."""
    return run(python, "-c", "import importlib.metadata as m; print(*{d.name for d in m.distributions()})").split()


def serves(python: Path, folder: Path) -> bool:
    """Whether the installed command starts a server that gives rewards."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.serving import free_port

    port = free_port()
    command = [str(python.with_name("memr")), "serve", "--port", str(port), "--encoder", "hashed"]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=own)
    try:
        print(run(python, "-c", REWARD.replace("URL", repr(f"http://127.0.0.1:{port}"))), end="")
    except SystemExit as error:
        print(error, (folder / "log").read_text()[-2000:], sep="\n")
        return False
    finally:
        server.terminate()
        server.wait(30)
    return True


if __name__ == "__main__":
    sys.exit(main())
