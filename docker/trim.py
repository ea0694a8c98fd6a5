"""Takes out of the image's environment what no server needs, and compiles the modules that a server imports.

    python trim.py cpu        # or cuda, which keeps what torch compiles kernels with

The build ends here if what is left gives no first reward.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode

SITE = Path(sysconfig.get_path("purelib"))

NEVER = (
    *("pip", "pip-*", "setuptools", "setuptools-*", "pkg_resources", "_distutils_hack", "distutils-precedence.pth"),
    *("**/tests", "**/*.dist-info/RECORD"),
    *("**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.pyi", "**/*.h", "**/*.hpp", "**/*.a"),
    *("torch/include", "torch/test", "torch/bin/[!t]*", "torch/bin/test*"),
    "transformers/models/*/modular_*.py",  # what the modules beside them were generated from
)
"""What is neither imported nor read by any server."""
COMPILER = ("networkx", "sympy", "torch/_inductor", "torch/testing", "torchgen")
"""For torch.compile, which no server on a CPU calls. Other modules of torch import a part of it."""
SERVE = """
import sys
import httptools, uvloop, uvicorn, websockets
from memr_client import RewardClient
from memr_service.cli import commands
with RewardClient.embedded("memory:", run="build") as client:
    print(client.reward(["q"], ["a"], [1]).rewards, file=sys.stderr)
print(*{file for one in list(sys.modules.values()) if (file := getattr(one, "__file__", None))}, sep="\\n")
"""


def main(device: str) -> None:
    """Trim the environment of this interpreter for a device."""
    for pattern in NEVER:
        for path in [*SITE.glob(pattern)]:
            remove(path)
    imported = modules()
    if device == "cpu":
        for name in COMPILER:
            for path in [*(SITE / name).rglob("*.py")]:
                if path not in imported:
                    remove(path)
    strip()
    # Bytecode that is checked by its source's time would be stale: layers of an image keep whole seconds.
    for path in imported:
        compileall.compile_file(path, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    assert modules() == imported


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def modules() -> set[Path]:
    """The installed modules that a server has imported after its first reward."""
    done = subprocess.run([sys.executable, "-B", "-c", SERVE], stdout=subprocess.PIPE, text=True, check=True)
    return {path for line in done.stdout.splitlines() if (path := Path(line)).is_relative_to(SITE)}


def strip() -> None:
    """Take symbols out of compiled modules, but not of the libraries in *.libs, which stripping breaks."""
    compiled = (path for path in SITE.rglob("*.so*") if path.is_file() and not path.is_symlink())
    found = [path for path in compiled if not path.parent.name.endswith(".libs")]
    subprocess.run(["strip", "--strip-unneeded", *found], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
