"""Random lives of two runs in a store, against a plain model: nothing is lost, doubled or disturbed."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from memr_client.errors import Conflict, InvalidRequest, UnknownRun
from support.histories import Request, ask_oracle, ask_service, largest_difference
from support.in_process import InProcess
from support.paper_quality import QualityOracle
from support.redis_server import fresh

TOLERANCE = 1e-5

_rng = np.random.default_rng(0)
SAID = _rng.normal(size=(8, 6)).astype(np.float32)
ASKED = _rng.normal(size=(5, 6)).astype(np.float32)
ASKED[3] = ASKED[1]  # two prompts that stand at the same place

RUNS = st.sampled_from(["left", "right"])
GATES = st.fixed_dictionaries(
    {
        "topic_floor": st.sampled_from([None, -0.2, 0.3]),
        "drop_truncated": st.booleans(),
        "agreement": st.booleans(),
    }
)
QUALITY = st.fixed_dictionaries(
    {
        "merge_similarity": st.sampled_from([None, 0.3, 0.99]),
        "decay_steps": st.sampled_from([None, 0.3, 5.0]),
        "max_age": st.sampled_from([None, 0, 2]),
        "eviction": st.sampled_from(["fifo", "value"]),
        "gates": GATES,
    }
)
CONFIGS = st.fixed_dictionaries(
    {
        "k": st.integers(1, 3),
        "max_prompts": st.integers(1, 3),
        "max_completions": st.integers(1, 3),
        "window": st.integers(1, 6),
        "components": st.sampled_from(
            [
                {"exploit": 1.0, "explore": 1.0},
                {"exploit": 1.0, "value": 0.5},
                {"exploit": {"weight": 1.0, "centroids": 2}, "explore": 1.0},
                {"exploit": {"weight": 1.0, "centroids": "all"}, "value": 0.5},
            ]
        ),
        "scaling": st.sampled_from(["item", "request"]),
        "center": st.sampled_from(["none", "group"]),
        "order": st.sampled_from(["hold_one_out", "read_first"]),
        "storage": st.sampled_from(["float32", "float16"]),
        "failure_threshold": st.sampled_from([0.0, 0.5]),
        "explore_warmup_steps": st.integers(0, 3),
        "explore_warmup_prompts": st.integers(0, 2),
    },
    optional={"memory": QUALITY},
)


@st.composite
def requests(draw: st.DrawFn, mode: str = "train") -> Request:
    """Up to six completions of a few prompts, each of which may come at several places."""
    item = st.tuples(st.integers(0, 4), st.integers(0, 7), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    items = draw(st.lists(item, max_size=6))
    column = st.tuples(st.sampled_from([None, "18", "42"]), st.booleans())
    said = [draw(column) for _ in items]
    return Request(
        ids=[f"prompt {place}" for place, _, _ in items],
        prompts=ASKED[[place for place, _, _ in items]],
        completions=SAID[[place for _, place, _ in items]],
        outcomes=[outcome for _, _, outcome in items],
        step=draw(st.none() | st.integers(0, 4)),
        mode=mode,
        answers=[answer for answer, _ in said],
        truncated=[cut for _, cut in said],
    )


@dataclass
class Model:
    """What a run should be."""

    config: dict[str, Any] | None
    """None: created by its first request, with the defaults."""
    oracle: QualityOracle
    accepted: list[tuple[Request, str | None]] = field(default_factory=list)
    answers: dict[str, tuple[Request, dict[str, Any]]] = field(default_factory=dict)


def without_timing(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "timing_ms"}


class Lives(RuleBasedStateMachine):
    """Two runs are created, written to, retried, evaluated, deleted; their service is closed or killed, and opened."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.lives = 0
        self.models: dict[str, Model] = {}
        self.service = self.open()

    def open(self) -> InProcess:
        return InProcess(f"sqlite:///{self.home / str(self.lives)}")

    @rule(run=RUNS, config=CONFIGS)
    def create(self, run: str, config: dict[str, Any]) -> None:
        model = self.models.get(run)
        if model is not None and model.accepted and model.config != config:
            with pytest.raises(Conflict):
                self.service.create(run, **config)
        else:
            self.service.create(run, **config)
        if model is None or not model.accepted:
            self.models[run] = Model(config, QualityOracle(config))

    @rule(run=RUNS, batches=st.lists(st.tuples(requests(), st.booleans()), min_size=1, max_size=6))
    def write(self, run: str, batches: list[tuple[Request, bool]]) -> None:
        for request, named in batches:
            self._write(run, request, named)

    def _write(self, run: str, request: Request, named: bool) -> None:
        model = self.models.get(run, Model(None, QualityOracle({})))
        request_id = f"request {len(model.accepted)}" if named else None
        answer = ask_service(self.service, run, request, request_id)
        assert not self.service.replayed
        assert largest_difference(answer, ask_oracle(model.oracle, request)) <= TOLERANCE
        if request.ids:
            self.models[run] = model  # an empty request creates no run
            model.accepted.append((request, request_id))
            if request_id is not None:
                model.answers[request_id] = (request, answer)
        assert answer["position"] == len(model.accepted)

    @rule(run=RUNS, data=st.data())
    def retry(self, run: str, data: st.DataObject) -> None:
        answers = self.models[run].answers if run in self.models else {}
        if answers:
            request_id = data.draw(st.sampled_from(sorted(answers)))
            request, answer = answers[request_id]
            again = ask_service(self.service, run, request, request_id)
            assert self.service.replayed
            assert without_timing(again) == without_timing(answer)

    @rule(run=RUNS, data=st.data(), other=requests())
    def retry_with_another_body(self, run: str, data: st.DataObject, other: Request) -> None:
        answers = self.models[run].answers if run in self.models else {}
        if answers and other.ids:
            request_id = data.draw(st.sampled_from(sorted(answers)))
            other.outcomes[0] += 7  # no request has such an outcome
            with pytest.raises(InvalidRequest):
                ask_service(self.service, run, other, request_id)

    @rule(run=RUNS, request=requests(mode="eval"))
    def evaluate(self, run: str, request: Request) -> None:
        if run not in self.models:
            with pytest.raises(UnknownRun):
                ask_service(self.service, run, request)
        else:
            answer = ask_service(self.service, run, request)
            assert largest_difference(answer, ask_oracle(self.models[run].oracle, request)) <= TOLERANCE

    @rule(run=RUNS)
    @precondition(lambda self: any(len(model.accepted) > 8 for model in self.models.values()))
    def delete(self, run: str) -> None:
        if self.models.pop(run, None) is not None:
            self.service.delete(run)
        with pytest.raises(UnknownRun):
            self.service.delete(run)

    @precondition(lambda self: self.models)
    @rule()
    def restart(self) -> None:
        before = {run: self.service.info(run) for run in self.models}
        self.service.close()
        self.service = self.open()
        assert {run: self.service.info(run) for run in self.models} == before

    @precondition(lambda self: self.models)
    @rule()
    def kill(self) -> None:
        before = {run: self.service.info(run) for run in self.models}
        self.lives += 1
        texts = shutil.ignore_patterns("texts.db*")  # a side store, written behind the records' back
        shutil.copytree(self.home / str(self.lives - 1), self.home / str(self.lives), ignore=texts)
        self.service.close()
        self.service = self.open()
        assert {run: self.service.info(run) for run in self.models} == before

    @invariant()
    def every_run_is_what_it_should_be(self) -> None:
        for run, model in self.models.items():
            info = self.service.info(run)
            assert info.position == len(model.accepted)
            sizes = {"success": model.oracle.success.size(), "failure": model.oracle.failure.size()}
            memory = info.memory.model_dump()
            assert {name: (size["prompts"], size["completions"]) for name, size in memory.items()} == sizes
            windows = {name: window.count for name, window in info.windows.items()}
            assert windows == {name: len(window) for name, window in model.oracle.windows.items()}

    def teardown(self) -> None:
        """The same requests in an uninterrupted life give the same chains and digests."""
        lived = {run: self.service.info(run) for run in self.models}
        self.service.close()
        shutil.rmtree(self.home)
        with InProcess("memory:") as calm:
            for run, model in self.models.items():
                if model.config is not None:
                    calm.create(run, **model.config)
                for request, request_id in model.accepted:
                    ask_service(calm, run, request, request_id)
                if model.config is not None or model.accepted:
                    info = calm.info(run)
                    assert (info.chain, info.digest) == (lived[run].chain, lived[run].digest)


class SharedLives(Lives):
    """The same in two services over one Redis, now the one and now the other."""

    def __init__(self) -> None:
        self.url = fresh()
        super().__init__()
        self.other = self.open()

    def open(self) -> InProcess:
        return InProcess(self.url)

    @rule()
    def pass_on(self) -> None:
        self.service, self.other = self.other, self.service

    @precondition(lambda self: self.models)
    @rule()
    def kill(self) -> None:
        """The next service has to do with what the last one committed."""
        before = {run: self.service.info(run) for run in self.models}
        killed, self.service = self.service, self.open()
        assert {run: self.service.info(run) for run in self.models} == before
        killed.close()

    def teardown(self) -> None:
        self.other.close()
        super().teardown()


TestLives, TestSharedLives = Lives.TestCase, SharedLives.TestCase
TestLives.settings = TestSharedLives.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
