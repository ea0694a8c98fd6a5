"""The programs that the check needs. Missing ones are installed, on Debian as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

COMPOSE_SUITE = "trixie"
"""The first Debian release with `docker compose` version 2. Its package is one static program."""


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output.

    Raises:
        SystemExit: the command failed. The end of its output is shown.
    """
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{(done.stdout + done.stderr)[-4000:]}")
    return done


def require(**packages: str) -> None:
    """Install missing programs, each given with its Debian package (`nginx="nginx-light"`).

    Raises:
        SystemExit: a program is missing, and this is not Debian or not root.
    """
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if not missing:
        return
    if os.geteuid() or shutil.which("apt-get") is None:
        raise SystemExit(f"This check needs {', '.join(packages)}: apt-get install {' '.join(missing)}")
    print(f"installing {' '.join(missing)}", flush=True)
    quietly = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=quietly)


def mirror() -> str:
    """The address of this machine's Debian mirror."""
    return run("apt-get", "indextargets", "--format", "$(REPO_URI)").stdout.split()[0]


def compose(folder: Path) -> list[str]:
    """The command `docker compose`. If it is not installed, its program is unpacked into a folder."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*plugin, "version"], capture_output=True).returncode == 0:
        return plugin
    program = folder / "usr/libexec/docker/cli-plugins/docker-compose"
    if not program.exists():
        _unpack("docker-compose", folder)
    return [str(program)]


def _unpack(package: str, folder: Path) -> None:
    """Unpack a package of another Debian release without installing it."""
    print(f"fetching {package} of Debian {COMPOSE_SUITE}", flush=True)
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(f"deb [signed-by={keys}] {mirror()} {COMPOSE_SUITE} main\n")
    apart = [f"Dir::Etc::SourceList={sources}", "Dir::Etc::SourceParts=-", f"Dir::State::Lists={folder}/lists"]
    options = [word for one in [*apart, "APT::Sandbox::User=root"] for word in ("-o", one)]
    run("apt-get", *options, "update", "-qq")
    run("apt-get", *options, "download", package, cwd=folder)
    (archive,) = folder.glob(f"{package}_*.deb")
    run("dpkg-deb", "-x", archive, folder)
