"""The image, built by buildah without an engine: docker/Dockerfile as it is, in chroot isolation, as root."""

from __future__ import annotations

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
"""What the Dockerfile begins with. There is no hub here, so that Debian's own packages make what goes by that name."""
SLIM = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
UID = 10001


class Builder:
    """buildah with a store of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        where = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "overlay"]
        self.command = ["buildah", *map(str, where)]

    def __call__(self, *arguments: str | Path) -> str:
        """What a command of buildah prints."""
        return run(*self.command, *arguments).stdout.strip()

    def make_base(self) -> None:
        """Have the base image, from Debian's packages; the first time this takes a minute."""
        if self.images(BASE):
            return
        print(f"making {BASE} of Debian's packages", flush=True)
        archive = self._folder / "base.tar"
        without = [f"--dpkgopt=path-exclude={path}" for path in SLIM]
        run("mmdebstrap", "--quiet", "--variant=minbase", *without, SUITE, archive, mirror())
        container = self("from", "scratch")
        self("add", container, archive, "/")
        self("commit", "--rm", container, BASE)
        archive.unlink()

    def images(self, name: str) -> list[dict[str, Any]]:
        """The images of a name."""
        found = json.loads(self("images", "--json") or "[]") or []
        return [image for image in found if any(name in known for known in image.get("names") or [])]

    def build(self) -> float:
        """Build the image from the first line on, and say how many seconds it took."""
        index = os.environ.get("TORCH_INDEX_URL")
        arguments = ["--build-arg", f"TORCH_INDEX_URL={index}"] if index else []
        self("rm", "--all")  # what a check that was broken off left behind
        began = time.monotonic()
        self(
            *("bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "--network", "host"),
            *arguments,
            *_as_pip_is_told(self._folder / "pip"),
            *("--file", ROOT / "docker/Dockerfile", "--tag", NAME, ROOT),
        )
        took = time.monotonic() - began
        self("rmi", "--prune")  # the image that had the name before
        return took

    def config(self) -> dict[str, Any]:
        """What the image says of itself: Env, User, Entrypoint, Cmd, Healthcheck."""
        config: dict[str, Any] = json.loads(self("inspect", "--type", "image", NAME))["Docker"]["config"]
        return config

    def bytes(self) -> int:
        """The image's size, unpacked."""
        with self.container() as container:
            mounted = self("mount", container)
            size = int(run("du", "-s", "--bytes", "--one-file-system", mounted).stdout.split()[0])
            self("umount", container)
        return size

    @contextmanager
    def container(self) -> Iterator[str]:
        """A container of the image; gone in the end."""
        container = self("from", "--pull-never", NAME)
        try:
            yield container
        finally:
            self("rm", container)

    @contextmanager
    def serving(self, data: Path, port: int, **settings: str) -> Iterator[psutil.Process]:
        """The image's own command, as its own user, on a port of this machine; gives the process that serves.

        Raises:
            SystemExit: it does not start, or does not end at SIGTERM with status 0.
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

    def healthcheck(self, port: int) -> bool:
        """Whether the image's HEALTHCHECK, run in a container of it, finds a server well."""
        test = self.config()["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        with self.container() as container:
            asked = [*self.command, "run", "--isolation", "chroot", "--env", f"MEMR_PORT={port}", container, "--"]
            return subprocess.run([*asked, *test[1:]], capture_output=True).returncode == 0


def _server(pid: int) -> psutil.Process:
    """The process below buildah that is memr's."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # those that prepare the container come and go
                if process.cmdline()[:2] == ["/opt/memr/bin/python3", "/opt/memr/bin/memr"]:
                    return process
        time.sleep(0.05)
    raise SystemExit("The image's command did not start.")


def _kill_all_below(buildah: subprocess.Popen[bytes]) -> None:
    """What is left of a container where the check itself failed."""
    while buildah.poll() is None:
        for process in psutil.Process(buildah.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.1)


def _as_pip_is_told(folder: Path) -> list[str]:
    """Mounts by which pip in the build knows what it knows here: indexes, folders of wheels, certificates."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told, places = ["[global]"], set[Path]()
    for line in run(sys.executable, "-m", "pip", "config", "list").stdout.splitlines():
        key, _, quoted = line.partition("=")
        name, value = key.rpartition(".")[2], quoted.strip("'\"")
        if name == "cert":
            shutil.copy(value, folder / "certificates.crt")
            value = "/etc/memr-build/certificates.crt"
        places |= {Path(word) for word in value.split() if word.startswith("/")}
        # An index that is a folder may keep its files beside itself.
        places |= {Path(word.removeprefix("file://")).parent for word in value.split() if word.startswith("file://")}
        told.append(f"{name} = {value}")
    (folder / "pip.conf").write_text("\n".join(dict.fromkeys(told)) + "\n")
    mounts = [f"{folder}:/etc/memr-build:ro", f"{folder / 'pip.conf'}:/etc/pip.conf:ro"]
    mounts += [f"{place}:{place}:ro" for place in sorted(places) if place.is_dir()]
    return [word for mount in mounts for word in ("--volume", mount)]
