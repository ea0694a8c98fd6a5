"""The image and the compose files, checked without an engine: linted, parsed, compared with the settings."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml
from memr_service.app.auth import ROUTES
from memr_service.settings import Settings

from benchmarks.docker_check import sbom
from benchmarks.docker_check.image import pip_settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()


class _Loader(yaml.SafeLoader):
    """Reads compose's own tags as their values."""


_Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_sequence(node))


def compose(name: str) -> dict[str, Any]:
    return yaml.load((ROOT / name).read_text(), _Loader)


def instructions(keyword: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return [line.removeprefix(keyword).strip() for line in joined.splitlines() if line.startswith(keyword + " ")]


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", instructions("ENV")[-1]))


def test_hadolint_finds_no_problem():
    run = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "docker/Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_compose_serves_on_this_machine_only_and_keeps_its_data():
    service = compose("compose.yaml")["services"]["memr-service"]
    assert service["ports"] == ["127.0.0.1:${MEMR_PORT:-8000}:8000"]
    assert service["volumes"] == ["memr-data:/data"]
    assert image_environment()["MEMR_STORE"].removeprefix("sqlite:///").startswith("/data/")
    assert "memr-data" in compose("compose.yaml")["volumes"]


def test_what_compose_starts_by_itself_is_the_profile_of_the_embedded_store():
    assert "COMPOSE_PROFILES=embedded\n" in (ROOT / ".env").read_text()
    services = compose("compose.yaml")["services"]
    assert [name for name, service in services.items() if "embedded" in service["profiles"]] == ["memr-service"]


def test_every_service_that_is_published_is_on_this_machine_only_and_elsewhere_only_with_keys():
    without, with_keys = (compose(name)["services"] for name in ("compose.yaml", "docker/compose.keys.yaml"))
    for name, service in without.items():
        if service.get("ports"):
            assert service["ports"] == ["127.0.0.1:${MEMR_PORT:-8000}:8000"], name
            assert with_keys[name]["ports"] == ["${MEMR_PORT:-8000}:8000"], name
        if service["image"].startswith("memr-service"):
            assert with_keys[name]["environment"]["MEMR_INSECURE"] == "false", name


def test_the_redis_of_compose_flushes_at_every_commit_and_forgets_nothing():
    redis = compose("compose.yaml")["services"]["memr-redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert redis["volumes"] == ["memr-redis:/data"]


def test_nginx_finds_the_run_in_every_path_that_names_one():
    (pattern,) = re.findall(r"~(\S+) \$named;", (ROOT / "docker/nginx.conf").read_text())
    named = re.compile(pattern.replace("?<", "?P<"))
    routes = [route for route in ROUTES if "{run_id}" in route]
    found = [named.match(route.format(run_id="gsm8k.seed-0", name="x", key="0" * 32)) for route in routes]
    assert [match and match["named"] for match in found] == ["gsm8k.seed-0"] * len(routes)
    assert not any(named.match(route) for route in ROUTES if "{run_id}" not in route)


def test_nginx_asks_the_replicas_by_the_name_that_compose_gives_them():
    services = compose("compose.yaml")["services"]
    (asked,) = re.findall(r"server ([\w-]+):8000", (ROOT / "docker/nginx.conf").read_text())
    assert services[asked]["deploy"]["replicas"] == 3
    assert services[asked]["environment"]["MEMR_STORE"] == "redis://memr-redis:6379/0"
    assert list(services["memr-nginx"]["depends_on"]) == [asked]


def test_a_gpu_is_asked_for_in_image_settings_and_engine():
    gpu = compose("compose.yaml")["services"]["memr-gpu"]
    assert gpu["build"]["args"]["DEVICE"] == gpu["environment"]["MEMR_DEVICE"] == "cuda"
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert "ARG DEVICE=cpu" in DOCKERFILE


def test_compose_has_no_keys_only_where_it_is_not_reached_from_elsewhere():
    without = compose("compose.yaml")["services"]["memr-service"]
    with_keys = compose("docker/compose.keys.yaml")["services"]["memr-service"]
    assert without["environment"]["MEMR_INSECURE"] == "true"
    assert with_keys["environment"]["MEMR_INSECURE"] == "false"
    assert with_keys["environment"]["MEMR_KEYS_FILE"] == "/run/secrets/" + with_keys["secrets"][0]


def test_every_setting_named_in_image_and_compose_exists_and_is_valid():
    given = {name: value for name, value in image_environment().items() if name.startswith("MEMR_")}
    for name in ("compose.yaml", "docker/compose.keys.yaml"):
        for service in compose(name)["services"].values():
            given |= service.get("environment", {})
    fields = {name.removeprefix("MEMR_").lower(): value for name, value in given.items()}
    assert fields.keys() <= Settings.model_fields.keys()
    assert Settings(**fields).host == "0.0.0.0"


def test_the_container_is_given_longer_to_stop_than_requests_are_given_to_finish():
    services = compose("compose.yaml")["services"].values()
    graces = [service["stop_grace_period"] for service in services if service["image"].startswith("memr-service")]
    assert min(float(grace.removesuffix("s")) for grace in graces) > Settings.model_fields["drain_s"].default


def test_the_image_runs_without_root():
    assert instructions("USER")[-1] == "10001"
    assert "HNSWLIB_NO_NATIVE=1" in DOCKERFILE


def test_all_that_the_image_copies_is_sent_to_the_builder():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_the_healthcheck_follows_readyz():
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if len(asked) == 1 else 503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    command = json.loads(instructions("HEALTHCHECK")[0].split("CMD ", 1)[1])
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {"MEMR_PORT": str(server.server_port)}
        codes = [
            subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True).returncode
            for _ in range(2)
        ]
        server.shutdown()
    assert asked == ["/readyz", "/readyz"]
    assert codes == [0, 1]


def test_what_pips_settings_name_is_mounted_into_the_build(tmp_path, monkeypatch):
    constraints, wheels, index = tmp_path / "constraints.txt", tmp_path / "wheels", tmp_path / "index/simple"
    constraints.write_text("numpy<3\n")
    wheels.mkdir()
    index.mkdir(parents=True)
    (tmp_path / "pip.conf").write_text(
        f"[global]\nfind-links = /elsewhere\nconstraint = {constraints}\nextra-index-url =\n  file://{index}\n  file:///none\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    mounts = pip_settings(tmp_path / "build")[1::2]
    for path in (constraints, wheels, index.parent):
        assert f"{path}:{path}:ro" in mounts
    written = configparser.ConfigParser()
    written.read(tmp_path / "build/pip.conf")
    assert written["global"]["constraint"] == str(constraints)
    assert written["global"]["find-links"] == str(wheels)
    assert written["global"]["extra-index-url"] == f"file://{index} file:///none"


def test_docker_compose_reads_the_files_where_it_is_installed(tmp_path):
    files = [["-f", "compose.yaml"], ["-f", "compose.yaml", "-f", "docker/compose.keys.yaml"]]
    (tmp_path / "keys.json").write_text("[]")
    environment = os.environ | {"MEMR_KEYS_FILE": str(tmp_path / "keys.json")}
    for chosen in files if _has_compose() else []:
        run = subprocess.run(
            ["docker", "compose", *chosen, "config", "--format", "json"],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["services"]["memr-service"]["read_only"] is True


def _has_compose() -> bool:
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_the_image_installs_the_versions_of_the_constraints_each_with_a_hash():
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.M))
    blocks = re.split(r"\n(?=\w)", (ROOT / "docker/requirements.txt").read_text().strip())
    assert len(blocks) > 40
    for block in blocks:
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", block).groups()
        assert pinned.get(name, version) == version  # not there: Python 3.11.2 alone needs it
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block)
    assert "--require-hashes -r requirements.txt" in DOCKERFILE


def test_code_of_others_is_as_it_was_published():
    folder = ROOT / "service/memr_service/app/dashboard/vendor"
    sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {one.name for one in folder.iterdir() if one.suffix in (".js", ".css")}
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}


def test_the_list_of_an_images_packages_has_each_with_its_version_and_licence(tmp_path):
    site = tmp_path / "opt/memr/lib/python3.11/site-packages"
    packages = {"memr": ("0.2.0", "Apache-2.0"), "Some_Thing": ("1.5", "MIT OR Apache-2.0"), "plain": ("2", None)}
    for name, (version, licence) in packages.items():
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        said = f"License-Expression: {licence}\n" if licence else ""
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{said}")
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    paragraphs = [("libc6", "install ok installed", "2.36-9+deb12u13"), ("gone", "deinstall ok config-files", "1")]
    about = "Architecture: amd64\nDescription: of it\n more: text\n"
    lines = [f"Package: {name}\nStatus: {state}\nVersion: {version}\n{about}" for name, state, version in paragraphs]
    status.write_text("\n".join(lines))
    listed = json.loads(sbom.document(sbom.contents(tmp_path)))
    assert {
        one["purl"]: [choice["expression"] for choice in one.get("licenses", [])] for one in listed["components"]
    } == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64": [],
        "pkg:pypi/plain@2": [],
        "pkg:pypi/some-thing@1.5": ["MIT OR Apache-2.0"],
    }
    described = listed["metadata"]["component"]
    assert (described["type"], described["version"]) == ("container", "0.2.0")
    assert [one["purl"] for one in described["components"]] == ["pkg:pypi/memr@0.2.0"]


def test_trimming_takes_what_no_server_needs_and_leaves_bytecode_that_no_layer_makes_stale(tmp_path, monkeypatch):
    trim = runpy.run_path(str(ROOT / "docker/trim.py"))
    kept = ["used.py", "torch/bin/torch_shm_manager", "torch/testing/_comparison.py", "sympy/core.py"]
    gone = ["pip/main.py", "used/tests/a.py", "torch/bin/test_jit", "torch/bin/protoc", "torch/include/x.h", "a/b.pyi"]
    gone += ["transformers/models/bert/modular_bert.py", "torch/testing/_internal.py", "networkx/graph.py"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("answer = 42\n")
    imported = {tmp_path / name for name in kept if name.endswith(".py")}
    functions = trim["main"].__globals__
    functions |= {"SITE": tmp_path, "modules": lambda: imported, "strip": lambda: None}
    trim["main"]("cpu")
    assert sorted(path for path in kept + gone if (tmp_path / path).exists()) == sorted(kept)
    os.utime(tmp_path / "used.py", (1, 1))
    shown = subprocess.run(
        [sys.executable, "-v", "-c", "import used"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.search(r"code object from '.*used\.cpython-\d+\.pyc'", shown.stderr)
