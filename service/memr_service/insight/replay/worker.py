"""Runs a replay in a process of its own: it takes minutes of processor time, and rewards must not wait for it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from memr_client.errors import InternalError, ProblemError
from memr_client.schemas import Problem, ReplayLine, ReplayProgress, RunConfig
from pydantic import TypeAdapter

from memr_service.engine.readers import Readers
from memr_service.insight.replay.comparison import Comparison
from memr_service.insight.replay.replay import replay
from memr_service.run import archive
from memr_service.run.spool import temporary_file

logger = logging.getLogger("memr.insight")

PROGRESS_ITEMS = 5_000
"""Completions between two lines of progress."""
LONGEST_LINE = 64 << 20
"""Bytes; the line with the result is the longest."""

_SETTINGS = TypeAdapter(list[RunConfig])


def compare(file: BinaryIO, run_id: str, settings: Sequence[RunConfig], completions: int) -> Iterator[ReplayLine]:
    """Score a run's file (`archive.write`) under each of some resolved configs: lines of progress, then the result.

    Args:
        completions: how many completions the file has, for the progress.

    Raises:
        MalformedBody: the file is damaged; the message names the record.
    """
    file.seek(0)
    recorded = RunConfig.model_validate_json(archive.read_header(file).config)
    comparison = Comparison(run_id, recorded)
    for number, config in enumerate(settings):
        file.seek(0)
        header = archive.read_header(file)
        base = archive.read_base(file, header)
        records = (record for record, _ in archive.read_records(file, base))
        reported = 0
        for done in comparison.take(config, replay(recorded, config, records, header.law, base)):
            if done - reported >= PROGRESS_ITEMS:
                reported = done
                yield _progress(number, len(settings), done, completions)
        yield _progress(number, len(settings), completions, completions)
    yield ReplayLine(result=comparison.result())


async def work(
    readers: Readers, pieces: AsyncIterator[bytes], run_id: str, settings: Sequence[RunConfig], completions: int
) -> AsyncIterator[bytes]:
    """`compare` as lines of JSON, from a process that uses one core. It is killed when the caller stops reading.

    Args:
        readers: threads that write the file.
        pieces: the run's file.
    """
    # The settings go through a file as well: the system limits how long an argument may be.
    with temporary_file() as file, tempfile.NamedTemporaryFile() as chosen:
        async for piece in pieces:
            await readers.ask(file.write, piece)
        file.seek(0)
        chosen.write(_SETTINGS.dump_json(list(settings)))
        chosen.flush()
        job = [run_id, str(completions), chosen.name]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, *job),
            stdin=file,
            stdout=PIPE,
            stderr=PIPE,
            limit=LONGEST_LINE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async for line in process.stdout:
                yield line
            if await process.wait():
                logger.error("a replay ended with %s: %s", process.returncode, (await process.stderr.read()).decode())
                yield _line(_problem(InternalError("The replay failed.", remedy="See the server's log.")))
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def _progress(setting: int, settings: int, completions: int, of: int) -> ReplayLine:
    return ReplayLine(progress=ReplayProgress(setting=setting, settings=settings, completions=completions, of=of))


def _problem(error: ProblemError) -> ReplayLine:
    return ReplayLine(problem=Problem(**error.document()))


def _line(line: ReplayLine) -> bytes:
    return line.model_dump_json(exclude_none=False).encode() + b"\n"


def main(run_id: str, completions: str, chosen: str) -> None:
    """The process itself: the run's file on stdin, the settings in a file of their own, lines on stdout."""
    os.nice(10)  # rewards have priority
    settings = _SETTINGS.validate_json(Path(chosen).read_bytes())
    try:
        for line in compare(sys.stdin.buffer, run_id, settings, int(completions)):
            sys.stdout.buffer.write(_line(line))
            sys.stdout.buffer.flush()
    except ProblemError as error:
        sys.stdout.buffer.write(_line(_problem(error)))


if __name__ == "__main__":
    main(*sys.argv[1:])
