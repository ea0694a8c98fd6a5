"""`memr doctor`: checks packages, machine and model, and computes a reward."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TypeVar

import numpy as np
from memr_client import Embeddings, MemrError, ProblemError, RewardClient
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from memr_service.encoder import Encoder, Encoders, HashedEncoder, SentenceEncoder, cpu, model_files
from memr_service.settings import Settings
from memr_service.store import is_redis

TEXTS = [f"Question {n}: she has {n} apples and buys {2 * n} more, so now she has {3 * n} of them." for n in range(64)]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    found: str
    remedy: str | None = None
    """What to do if the check failed; None if it passed."""


def examine(settings: Settings, console: Console) -> bool:
    """Run all checks and print the results. Returns whether all passed."""
    findings = [*packages(extras(settings)), *machine(), *model(settings)]
    if all(finding.remedy is None for finding in findings):
        findings += self_test(settings)
    table = Table("", "", Column(overflow="fold"), show_header=False, box=None)
    for finding in findings:
        table.add_row("[red]failed[/]" if finding.remedy else "[green]ok[/]", finding.what, escape(finding.found))
    console.print(table, highlight=False)
    remedies = [finding.remedy for finding in findings if finding.remedy]
    for remedy in dict.fromkeys(remedies):
        console.print(f"[b]Do this:[/] {escape(remedy)}", highlight=False, soft_wrap=True)
    if not remedies:
        console.print("Everything is ready. Next: [b]memr demo[/], then [b]memr serve[/].", highlight=False)
    return not remedies


def extras(settings: Settings) -> list[str]:
    """The extras of memr that a server with these settings needs."""
    sentences = any(name != HashedEncoder.name for name in settings.allowed_encoders)
    return ["service" if sentences else "server", *(["redis"] if is_redis(settings.store) else [])]


def packages(extras: Sequence[str]) -> Iterator[Finding]:
    """Python, memr, and the packages that some extras of memr bring."""
    yield Finding("Python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("memr", version("memr"))
    needed = re.compile(rf"extra *== *['\"]({'|'.join(extras)})['\"]")
    for requirement in requires("memr") or []:
        wanted, _, marker = requirement.partition(";")
        if marker and not needed.search(marker):
            continue
        name = re.split(r"[^A-Za-z0-9_.-]", wanted.strip())[0]
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            install = f"pip install '.[{','.join(extras)}]' in a clone of memr"
            yield Finding(name, f"not installed (required: {wanted.strip()})", install)


def machine() -> Iterator[Finding]:
    """Number of cores and threads, and whether the processor has bfloat16 arithmetic."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "unset (one thread per core)")
    yield Finding("processor", f"{platform.machine()}, {cores} cores usable, OMP_NUM_THREADS {threads}")
    yield Finding("bfloat16 in hardware", ", ".join(cpu.bfloat16()) or "no")


def model(settings: Settings) -> Iterator[Finding]:
    """The folder of the encoder's model and the checksum of its weights."""
    name = settings.encoder
    if name == HashedEncoder.name:
        yield Finding("model", "hashed: needs no files")
        return
    try:
        folder = model_files.find_model(name)
        if folder is None:
            yield Finding(f"model {name}", "not on this machine; it will be downloaded from the hub")
            return
        weights = model_files.digests(folder)["weights"]
    except MemrError as error:
        yield _failure(f"model {name}", error)
        return
    yield Finding(f"model {name}", str(folder))
    published = weights == model_files.MINILM_SHA256
    yield Finding("its weights", f"sha256 {weights}{', the published file' if published else ''}")


def self_test(settings: Settings) -> Iterator[Finding]:
    """Load the encoder, encode 64 texts, and compute rewards with a durable commit to a temporary folder, all timed."""
    try:
        encoders = Encoders(settings.allowed_encoders, settings.device)
        encoder, seconds = _timed(lambda: encoders.load(settings.encoder))
        yield Finding("encoder", f"{encoder.dimension} dimensions on {encoder.device}, loaded in {seconds:.1f} s")
        yield Finding("precision auto", f"{encoder.precision}: {_reason(encoder)}")
        vectors, seconds = _timed(lambda: _encode(encoder))
        yield Finding("64 texts", f"encoded in {1e3 * seconds:.0f} ms, {len(TEXTS) / seconds:.0f} texts per second")
        yield from _reward(vectors)
    except MemrError as error:
        yield _failure("self-test", error)


def _reason(encoder: Encoder) -> str:
    """Why the encoder uses its precision."""
    if not isinstance(encoder, SentenceEncoder):
        return "n-grams are exact"
    way = "our own forward pass" if encoder.packed else "the model's own modules"
    return f"{encoder.trial.reason}; {way}"


def _encode(encoder: Encoder) -> np.ndarray:
    encoder.encode(TEXTS[:1], encoder.precision)  # the first pass is slower
    return encoder.encode(TEXTS, encoder.precision).vectors


def _reward(vectors: np.ndarray) -> Iterator[Finding]:
    """Score 63 completions, half of them right, through the whole service with a durable store."""
    prompts, outcomes = ["How many apples?"] * 63, [n % 2 for n in range(63)]
    embeddings = Embeddings(prompts=vectors[:1].repeat(63, 0), completions=vectors[1:])
    with (
        tempfile.TemporaryDirectory() as folder,
        RewardClient.embedded(f"sqlite:///{folder}", run="doctor", encoder=HashedEncoder.name) as client,
    ):
        # The first request is slower, so the second is shown.
        responses = [client.reward(prompts, TEXTS[1:], outcomes, embeddings=embeddings) for _ in range(2)]
    timing = responses[1].timing_ms
    yield Finding("63 rewards", f"scored in {timing.score:.1f} ms, mean {np.mean(responses[1].rewards):.3f}")
    yield Finding("durable commit", f"{timing.commit:.1f} ms in {tempfile.gettempdir()}")


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """The result of the work and the seconds it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _failure(what: str, error: MemrError) -> Finding:
    detail = error.detail if isinstance(error, ProblemError) else str(error)
    remedy = error.remedy if isinstance(error, ProblemError) else None
    return Finding(what, detail, remedy or "see above")
