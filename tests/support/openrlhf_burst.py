"""A burst of samples as OpenRLHF sends them, through a network that loses some, and what the memory made of it.

Real: OpenRLHF's executor (`openrlhf_real`), sockets, and `memr serve` in a process of its own. Between them stands a
proxy that refuses requests, breaks connections whose request has arrived, or lets them end in silence.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from memr_client import RewardClient
from memr_service.encoder.hashed import hashed_vectors
from memr_service.run import archive
from support.openrlhf_real import Characters, executor, rollouts
from support.real_data import solutions
from support.serving import serving

CONFIG = {
    "preset": "memory-r+",
    "verifier": "numeric",
    "barrier": "group",
    "explore_warmup_steps": 0,
    "window": 50,
    "k": 3,
}
COMPONENTS = ("exploit", "explore")
END = "<|im_end|>"
REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Fault = Literal["refused", "broken", "silent"]
"""refused: 500, and it never arrived; broken: it arrives, then the connection to the service ends and the caller gets
500; silent: it never arrives, and the caller waits until its time is out, as do the others of its group."""


@dataclass
class Group:
    """A prompt, the right answer, different completions of it, and what befalls them on their way."""

    prompt: str
    label: str
    completions: list[str]
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """Completion -> what its first tries meet. The last completion is the last to be said; unless it is to meet a fault
    itself, the proxy holds it until all others have met theirs.

    So no group is complete while one of its connections is being broken or given up: an answer that crosses its
    caller's leaving is lost without anybody knowing, and no server can help that."""


@dataclass
class Outcome:
    """What came of a burst."""

    samples: int
    answered: int
    stored: int
    records: int
    requests: int
    """That reached the proxy."""
    faults: Counter[str]
    incomplete: int
    """Groups that timed out, and members that came late."""
    unequal: int
    """Raw values that differ from those of one request per group."""
    same_state: bool
    """Whether the memory is the one that one request per group leaves."""
    seconds: float


def make_groups(n: int, size: int, seed: int) -> list[Group]:
    """n groups of real questions with variations of real solutions. In every four groups one is spared; in one, one
    completion falls silent; in two, up to all meet other faults, once or twice."""
    dice = random.Random(seed)
    groups = []
    for number, question in enumerate(solutions()[:n]):
        prompt = f"<|im_start|>user\n{question['question']}{END}\n<|im_start|>assistant\n"
        texts = [solution["solution"] for solution in question["solutions"]]
        endings = [f"Attempt {i}.\n#### {number if dice.random() < 0.5 else -1 - i}" for i in range(size)]
        group = Group(prompt, str(number), [f"{texts[i % 4]}\n{ending}" for i, ending in enumerate(endings)])
        if number % 4 == 1:
            group.faults[group.completions[-1]] = ["silent"]
        elif number % 4 > 1:
            for completion in dice.sample(group.completions[:-1], dice.randint(1, size - 1)):
                group.faults[completion] = dice.choices(("refused", "broken"), k=dice.randint(1, 2))
        groups.append(group)
    return groups


class Proxy:
    """Passes requests on to `port`, byte by byte, but for those that meet a fault."""

    def __init__(self, port: int, groups: Sequence[Group]) -> None:
        self.requests = 0
        self.met: Counter[str] = Counter()
        self._port = port
        self._texts = {group.prompt + text + END: text for group in groups for text in group.completions}
        self._faults = {text: [*faults] for group in groups for text, faults in group.faults.items()}
        self._left = {group.completions[-1]: [self._faults[text] for text in group.faults] for group in groups}
        self._met_one = asyncio.Condition()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The port it listens on."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", backlog=4096)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await self._pass_on(head, await reader.readexactly(length), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.met["connection lost"] += 1
        finally:
            writer.close()

    async def _pass_on(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests += 1
        text = self._texts[json.loads(body)["query"][0]]
        fault = self._faults[text][0] if self._faults.get(text) else None
        if fault is None:
            async with self._met_one:
                await self._met_one.wait_for(lambda: not any(self._left.get(text, ())))
            await self._forward(head + body, reader, writer)
            return
        if fault == "silent":
            await reader.read()  # until the caller gives up
        elif fault == "broken":
            arrived = await asyncio.open_connection("127.0.0.1", self._port)
            arrived[1].write(head + body)
            await arrived[1].drain()
            await asyncio.sleep(0.2)
            arrived[1].close()
        self.met["time-out" if fault == "silent" else fault] += 1
        writer.write(REFUSAL)
        async with self._met_one:
            self._faults[text].pop(0)
            self._met_one.notify_all()

    async def _forward(self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        forth.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer, gone = asyncio.create_task(back.read()), asyncio.create_task(reader.read())
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        forth.close()
        gone.cancel()
        if answer.done():
            writer.write(answer.result())
        else:
            answer.cancel()
            self.met["time-out"] += 1


async def sample(groups: Sequence[Group], url: str, timeout_s: float, spread_s: float, seed: int) -> dict[str, Any]:
    """Completion -> what OpenRLHF's executor makes of it; all of them come within `spread_s`, in random order."""
    dice = random.Random(seed)
    real = executor(url, timeout_s)

    async def of(group: Group) -> dict[str, Any]:
        *others, last = group.completions
        left = [*dice.sample(others, len(others)), last]
        waits = sorted(dice.uniform(0, spread_s) for _ in left)

        async def say(prompt: str) -> str:
            said = left.pop(0)
            await asyncio.sleep(waits.pop(0))
            return said

        done = await rollouts(real, group.prompt, group.label, say, len(left))
        decoded = [Characters().decode(one["observation_tokens"]) for one in done]
        return {text[len(group.prompt) : -len(END)]: one for text, one in zip(decoded, done, strict=True)}

    return {text: one for made in await asyncio.gather(*map(of, groups)) for text, one in made.items()}


def batched(client: RewardClient, url: str, groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """Completion -> its logs where each group is one request, in the order in which run "burst" took them."""
    with tempfile.TemporaryDirectory() as folder:
        client.export_run("burst", Path(folder) / "run")
        with open(Path(folder) / "run", "rb") as file:
            archive.read_base(file, archive.read_header(file))
            records = [record.batch for record, _ in archive.read_records(file)]
    of = {text: group for group in groups for text in group.completions}
    known = dict(zip((row.tobytes() for row in hashed_vectors(list(of))), of, strict=True))
    logs: dict[str, dict[str, float]] = {}
    for batch in records:
        texts = [known[row.tobytes()] for row in batch.completions]
        prompts = [of[text].prompt for text in texts]
        body = {
            "query": [prompt + text + END for prompt, text in zip(prompts, texts, strict=True)],
            "prompts": prompts,
            "labels": [of[text].label for text in texts],
        }
        answer = httpx.post(f"{url}/openrlhf/batched", json=body, timeout=60).raise_for_status().json()
        for item, text in enumerate(texts):
            logs[text] = {name: values[item] for name, values in answer["extra_logs"].items()}
    return logs


def burst(
    n: int, size: int, timeout_s: float = 4.0, spread_s: float = 0.5, seed: int = 0, *, faulty: bool = True
) -> Outcome:
    """n groups of `size` completions, which come within `spread_s`, and what came of them."""
    groups = make_groups(n, size, seed)
    for group in groups if not faulty else []:
        group.faults.clear()
    with serving() as url, RewardClient(url) as client:
        for run in ("burst", "batched"):
            client.create_run(run, group_size=size, barrier_timeout_s=120, **CONFIG)

        async def through_the_proxy() -> tuple[dict[str, Any], Proxy]:
            proxy = Proxy(int(url.rpartition(":")[2]), groups)
            async with proxy.listening() as port:
                made = await sample(groups, f"http://127.0.0.1:{port}/openrlhf/burst", timeout_s, spread_s, seed)
            return made, proxy

        started = time.monotonic()
        made, proxy = asyncio.run(through_the_proxy())
        seconds = time.monotonic() - started
        expected = batched(client, url, groups)
        after, again = client.run("burst", digest=True), client.run("batched", digest=True)
    assert after.barrier is not None
    raw = [
        (made[text]["extra_logs"].get(name), [logs[name]])
        for text, logs in expected.items()
        for component in COMPONENTS
        for name in (component, f"{component}_defined")
    ]
    return Outcome(
        samples=n * size,
        answered=sum(one["reward"] is not None for one in made.values()),
        stored=after.memory.success.completions + after.memory.failure.completions,
        records=after.position,
        requests=proxy.requests,
        faults=proxy.met,
        incomplete=after.barrier.timeouts + after.barrier.late,
        unequal=sum(one != other for one, other in raw),
        same_state=after.digest == again.digest and len(expected) == n * size,
        seconds=seconds,
    )
