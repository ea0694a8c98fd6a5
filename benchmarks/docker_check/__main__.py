"""Do the containers work? Builds, starts and calls the image without a container engine.

    make docker-check           # as root on Debian; five minutes, and one more the first time

It reads the compose files with `docker compose config`, reads alerts and dashboard with promtool, lints the Dockerfile,
builds it unmodified with buildah in chroot isolation, starts the image as its own user, requests rewards, stops it,
restarts it on the same data, and runs two of it with nginx and Redis like compose's profile `scale`. pip's settings of
this machine (indexes, folders of wheels, constraints, certificates) are mounted into the build, and TORCH_INDEX_URL is
passed on. Missing programs are installed (buildah, mmdebstrap, nginx-light, prometheus).

It prints what it did and what it does not cover, writes `reports/docker-check.json`, and publishes the image's parts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from memr_client import RewardClient, RewardResponse
from support.serving import free_port

from benchmarks.docker_check import scale
from benchmarks.docker_check.image import ROOT, UID, Builder
from benchmarks.docker_check.tools import compose, require, run
from benchmarks.published import publish
from benchmarks.report import Report, Row

CACHE = Path("/var/tmp/memr-docker-check")
"""Folder that is kept between checks: the base image, and compose if it is not installed."""
LIMIT = 10**9 / 2**20
"""MiB that the image may have unpacked, 1 GB."""
PROFILES = ("embedded", "redis", "scale", "gpu")
NOT_COVERED = """Not covered: networks, volumes and restarts as an engine makes them; read_only, cap_drop and secrets
being enforced; the hub's own Debian, nginx and Valkey images; the profile gpu and DEVICE=cuda; arm64."""


def main() -> None:
    report = Report("docker-check")
    require(buildah="buildah", mmdebstrap="mmdebstrap", nginx="nginx-light", promtool="prometheus")
    CACHE.mkdir(exist_ok=True)
    command = compose(CACHE / "compose")
    said("compose", check_compose(command))
    run(Path(sys.executable).parent / "hadolint", "docker/Dockerfile", cwd=ROOT)
    said("hadolint", "nothing to say")
    said("promtool", check_queries())
    builder = Builder(CACHE)
    builder.make_base()
    seconds, parts = builder.build(), {part: size / 2**20 for part, size in builder.parts().items()}
    said("image", f"built in {seconds:.0f} s, MiB unpacked: " + ", ".join(f"{one} {parts[one]:.0f}" for one in parts))
    with tempfile.TemporaryDirectory() as folder:
        reward, difference, summary = check_image(builder, Path(folder))
        said("reward", summary)
        said("commands", check_commands(builder, Path(folder) / "files"))
        said("scale", scale.check(builder, command, Path(folder)))
    report.rows = [
        Row("image_mb", parts["all"], "MiB", floor=LIMIT, at_most=True),
        *(Row(f"image_mb/{part}", size, "MiB") for part, size in parts.items() if part != "all"),
        Row("build_seconds", seconds, "s"),
        Row("reward_from_image", reward, floor=0.85),
        Row("reward_difference", difference, floor=5e-3, at_most=True),
    ]
    publish(
        "image", "What the image without a GPU is made of, unpacked", "make docker-check",
        [{"heading": "part", "cell": "{part}"}, {"heading": "MiB", "cell": "{mib:.1f}"}],
        [{"part": part, "mib": size} for part, size in parts.items()],
        seconds=time.perf_counter() - report.began,
    )  # fmt: skip
    print(f"{NOT_COVERED}\n{report.write()}")
    if not all(row.holds in (None, True) for row in report.rows):
        raise SystemExit(1)


def said(what: str, how: str) -> None:
    print(f"{what:9} {how}", flush=True)


def check_compose(command: list[str]) -> str:
    """Check that every profile is valid, with and without API keys, and that errors are refused."""
    guarded = ["-f", "compose.yaml", "-f", "docker/compose.keys.yaml"]
    keys = {"env": os.environ | {"MEMR_KEYS_FILE": "./keys.json"}, "cwd": ROOT}
    services = []
    for profile in PROFILES:
        services += run(*command, "--profile", profile, "config", "--services", cwd=ROOT).stdout.split()
        run(*command, *guarded, "--profile", profile, "config", "--quiet", **keys)
    assert run(*command, "config", "--services", cwd=ROOT).stdout.split() == ["memr-service"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as wrong:
        wrong.write((ROOT / "compose.yaml").read_text().replace("stop_grace_period", "stop_grace_periode"))
        wrong.flush()
        for refused in (["-f", wrong.name], guarded):
            asked = [*command, *refused, "config", "--quiet"]
            assert subprocess.run(asked, cwd=ROOT, capture_output=True).returncode, asked
    return f"{len(PROFILES)} profiles, with keys and without: {' '.join(dict.fromkeys(services))}"


def check_queries() -> str:
    """Check that Prometheus reads the alerts and the dashboard's queries."""
    run("promtool", "check", "rules", ROOT / "docker/alerts.yaml")
    text = (ROOT / "docker/grafana/memr.json").read_text().replace("$__rate_interval", "5m").replace("$instance", ".*")
    queries = [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)  # YAML reads JSON
        file.flush()
        run("promtool", "check", "rules", file.name)
    return f"alerts, and {len(queries)} queries of the dashboard"


def check_image(builder: Builder, folder: Path) -> tuple[float, float, str]:
    """Check the image's rewards before and after a restart.

    Returns:
        A reward, the largest difference to the rewards of this checkout, and a summary.
    """
    port = free_port()
    url, data = f"http://127.0.0.1:{port}", folder / "data"
    began = time.monotonic()
    with builder.serving(data, port, MEMR_INSECURE="true") as server, RewardClient(url, run="sums") as client:
        client.wait(120)
        seconds, user = time.monotonic() - began, server.uids().real
        healthy = builder.healthcheck(port)
        client.create_run(preset="memory-r+")
        given = [rewards(client, number) for number in range(2)]
    with builder.serving(data, port, MEMR_INSECURE="true"), RewardClient(url, run="sums") as client:
        client.wait(120)
        again = rewards(client, 1)
    unhealthy = not builder.healthcheck(port)
    with RewardClient.embedded(run="sums") as client:
        client.create_run(preset="memory-r+")
        expected = [rewards(client, number) for number in range(2)]
    difference = max(
        abs(one - other)
        for ours, theirs in zip(given, expected, strict=True)
        for one, other in zip(ours.rewards, theirs.rewards, strict=True)
    )
    assert (user, healthy, unhealthy) == (UID, True, True), (user, healthy, unhealthy)
    assert (again.rewards, again.chain) == (given[1].rewards, given[1].chain), (again, given[1])
    shown = [round(reward, 2) for reward in given[1].rewards]
    summary = f"{shown} as uid {user}, {seconds:.1f} s after start; stopped at SIGTERM, same rewards after a restart"
    return given[1].rewards[1], difference, summary


def check_commands(builder: Builder, folder: Path) -> str:
    """Check that `memr doctor` finds nothing wrong, and that `memr score` reads JSON lines and refuses Parquet."""
    folder.mkdir()
    rows = [{"prompt": "2 + 3?", "completion": f"It is {number}", "outcome": float(number == 5)} for number in range(8)]
    (folder / "rollouts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    doctor = builder.memr(folder, "doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    scored = builder.memr(folder, "score", "rollouts.jsonl", "--out", "rewards.jsonl")
    assert scored.returncode == 0, scored.stderr
    written = [json.loads(line) for line in (folder / "rewards.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in written] == [row["completion"] for row in rows]
    refused = builder.memr(folder, "score", "rollouts.jsonl", "--out", "rewards.parquet")
    assert (refused.returncode, "needs pyarrow" in refused.stderr) == (1, True), refused.stderr
    return "memr doctor and memr score; Parquet is refused with the remedy"


def rewards(client: RewardClient, number: int) -> RewardResponse:
    """The rewards of a request with four completions."""
    prompts, completions = (
        ("2 + 3?", ["No idea", "2 + 3 is 6", "2 + 3 is 5", "Two and three is 5"]),
        ("7 + 5?", ["No idea", "7 + 5 is 13", "7 + 5 is 12", "Seven and five is 12"]),
    )[number]
    return client.reward([prompts] * 4, completions, [0, 0, 1, 1], request_id=f"request {number}")


if __name__ == "__main__":
    main()
