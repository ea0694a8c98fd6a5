"""Forged run files: exports that were changed, with checksums that are right."""

from __future__ import annotations

import random
import zlib

import orjson
from memr_service.run.archive import FRAME, MAGIC
from memr_service.state import codec

from benchmarks.attack.mutations import mutated
from benchmarks.attack.target import Attack, Target

RUN = "attack-exported"
_FILES: list[bytes] = []


def exported(target: Target) -> None:
    """A small run, as a file."""
    target.set_up("PUT", f"/runs/{RUN}", {"preset": "memory-r+", "explore_warmup_steps": 0})
    target.set_up("POST", f"/runs/{RUN}/prior", {"prompt_ids": ["q0", "q1"], "right": [1.0, 2.0], "n": [4.0, 4.0]})
    target.set_up("PUT", f"/runs/{RUN}/pool", {"prompt_ids": ["q0", "q1"], "prompts": ["q0", "q1"]})
    for step in range(6):
        body = {
            "run_id": RUN, "prompts": [f"q{item % 2}" for item in range(6)],
            "completions": [f"{step} {item}" for item in range(6)], "outcomes": [float(item % 2) for item in range(6)],
            "step": step,
        }  # fmt: skip
        target.set_up("POST", "/reward", body)
    _FILES[:] = [target.set_up("GET", f"/runs/{RUN}/export")]


def forge(target: Target, rng: random.Random) -> None:
    """Import a forged file. A run that this makes must open, and can be deleted."""
    name = f"attack-forged-{rng.randrange(10**9)}"
    made = target.send("POST", f"/runs/{name}/import", forged(rng, _FILES[0]), content_type="application/octet-stream")
    if made is not None and made.status_code == 201:
        for method, path, status in (
            ("GET", f"/runs/{name}?digest=1", 200),
            ("GET", f"/runs/{name}/history", 200),
            ("GET", f"/runs/{name}/pool", 200),
            ("DELETE", f"/runs/{name}", 204),
        ):
            answer = target.send(method, path)
            if answer is not None and answer.status_code != status:
                target.wrong(f"{method} {path}: {answer.status_code} {answer.text[:200]}")


def forged(rng: random.Random, file: bytes) -> bytes:
    """The file with something changed. Mostly its checksums and its chain are right again."""
    header, *records, end = split(file)
    number = rng.randrange(len(records))
    kind = rng.randrange(10)
    if kind == 0:
        at = rng.randrange(len(file))
        return file[:at] + rng.randbytes(rng.randrange(9)) + file[at + 1 :]
    if kind == 1:
        header = orjson.dumps(mutated(rng, orjson.loads(header)))
    elif kind == 2:
        end = orjson.dumps(mutated(rng, orjson.loads(end)))
    elif kind == 3:
        records = rng.choice([records[:number], records[number:], [*records, records[number]]])
        end = orjson.dumps({"records": len(records)})
    else:
        records = chained(rng, records, number)
    frames = [header, *records, end]
    return MAGIC + b"".join(FRAME.pack(len(one), zlib.crc32(one)) + one for one in frames)


def split(file: bytes) -> list[bytes]:
    """The frames of a run file."""
    frames, at = [], len(MAGIC)
    while at < len(file):
        length, _ = FRAME.unpack_from(file, at)
        frames.append(file[at + FRAME.size : at + FRAME.size + length])
        at += FRAME.size + length
    return frames


def chained(rng: random.Random, records: list[bytes], number: int) -> list[bytes]:
    """The records with one value of one of them changed, and the chain made right again from there."""
    parent, made = None, records[:number]
    for record in records[number:]:
        beside, *parts = codec._unpack(record)
        if parent is None:
            part = rng.randrange(3)
            try:
                if part == 2:
                    beside = mutated(rng, beside)
                else:
                    parts[part] = codec._pack(mutated(rng, codec._unpack(parts[part])))
            except (TypeError, ValueError, OverflowError):
                return records  # what the codec cannot write
        else:
            beside["parent"] = parent
        try:
            parent = beside["chain"] = codec._chain(beside, *parts)
            made.append(codec._pack([beside, *parts]))
        except (TypeError, ValueError, OverflowError, KeyError):
            return records
    return made


ATTACKS = (Attack("forged archives", forge, exported),)
