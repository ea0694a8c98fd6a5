"""Which precision `auto` means: what a trial finds, what is expected before, and that a run keeps it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from memr_client.schemas import RewardRequest, RunConfig
from memr_service.encoder import Encoded, Encoders, HashedEncoder, SentenceEncoder, model_files
from memr_service.encoder import cpu as processor
from memr_service.encoder import precision as trial
from memr_service.encoder.precision import Trial
from memr_service.engine.service import Service
from memr_service.settings import Settings
from memr_service.store import open_store
from support.tiny_models import save_bert, save_static

MINILM = "all-MiniLM-L6-v2"


class Paced(HashedEncoder):
    """Takes so many seconds in either precision, by its own clock, and turns its bfloat16 vectors by a little."""

    def __init__(self, float32: float, bfloat16: float, turned: float = 0.0) -> None:
        self.seconds = {"float32": float32, "bfloat16": bfloat16}
        self.turned = turned
        self.now = 0.0

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        self.now += self.seconds[precision]
        vectors = super().encode(texts).vectors
        turned = vectors + self.turned * np.roll(vectors, 1, axis=1) if precision == "bfloat16" else vectors
        return Encoded(turned / np.linalg.norm(turned, axis=1, keepdims=True), np.zeros(len(texts), bool))


@pytest.mark.parametrize(
    ("encoder", "precision"),
    [
        (Paced(4, 1), "bfloat16"),
        (Paced(1, 4), "float32"),
        (Paced(1.05, 1), "float32"),
        (Paced(4, 1, turned=0.05), "float32"),
    ],
    ids=["faster", "slower", "hardly faster", "faster but off"],
)
def test_bfloat16_is_taken_where_it_is_faster_and_agrees(
    encoder: Paced, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.time, "perf_counter", lambda: encoder.now)
    found = trial.compare(encoder)
    assert found.precision == precision
    assert "times as long as float32" in found.reason


def test_the_default_model_is_tried_where_the_processor_has_bfloat16_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def compare(encoder: SentenceEncoder) -> Trial:
        tried.append(encoder.name)
        return Trial("bfloat16", "said so")

    monkeypatch.setattr("memr_service.encoder.sentence_transformer.compare", compare)
    monkeypatch.setattr(processor, "bfloat16", lambda: ("avx512_bf16",))
    encoders = Encoders([MINILM], "cpu")
    assert encoders.load(MINILM).precision == "bfloat16"
    assert encoders.resolve(MINILM, "auto") == "bfloat16"
    monkeypatch.setattr(processor, "bfloat16", tuple)
    without = SentenceEncoder(MINILM, "cpu")
    assert without.trial == Trial("float32", "the cpu has no bfloat16 arithmetic")
    assert tried == [MINILM]


def test_only_a_model_that_our_forward_pass_runs_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "bfloat16", lambda: ("avx512_bf16",))
    encoder = SentenceEncoder(str(save_static(tmp_path)), "cpu")
    assert encoder.trial == Trial("float32", "bfloat16 is tried only with our own forward pass")
    assert encoder.encode(["abc"], encoder.precision).vectors.shape == (1, 12)


def test_before_a_model_is_loaded_its_files_and_the_processor_tell_what_to_expect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert, static = save_bert(tmp_path / "bert"), save_static(tmp_path)
    other = save_bert(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "mpnet"}))
    encoders = Encoders([MINILM, str(bert), str(static), str(other)])
    for words, wanted in [(("amx_bf16",), "bfloat16"), ((), "float32")]:
        monkeypatch.setattr(processor, "bfloat16", lambda words=words: words)
        told = [encoders.resolve(name, "auto") for name in encoders.allowed]
        assert told == [wanted, wanted, "float32", "float32"]
    assert not any(map(encoders.loaded, encoders.allowed))
    assert model_files.find_model(MINILM) is not None


class Changing(Encoders):
    """Offers n-grams; what `auto` means to them changes."""

    auto = "bfloat16"

    def __init__(self) -> None:
        super().__init__(["hashed"])
        self.asked: list[str] = []
        self.encoder = HashedEncoder()
        self.encoder.encode = self._encode  # type: ignore[method-assign]

    def load(self, name: str) -> HashedEncoder:
        self._loaded[name] = self.encoder
        return self.encoder

    def resolve(self, name: str, precision: str) -> str:
        return self.auto if precision == "auto" else precision

    def _encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        self.asked.append(f"{precision}: {' '.join(texts)}")
        return HashedEncoder().encode(texts)


def test_a_run_keeps_what_auto_meant_when_it_was_created() -> None:
    async def scenario() -> None:
        encoders = Changing()
        service = Service(Settings(store="memory:", encoder="hashed", preload=False), open_store("memory:"), encoders)
        request = RewardRequest(run_id="r", prompts=["q"], completions=["a"], outcomes=[1.0])
        try:
            await service.runs.create("r", RunConfig())
            await service.reward(request)
            encoders.auto = "float32"
            await service.reward(request.model_copy(update={"prompts": ["another"], "completions": ["b"]}))
            again, created = await service.runs.create("r", RunConfig())
            await service.runs.create("later", RunConfig())
            await service.reward(request.model_copy(update={"run_id": "later"}))
            told = (await service.version()).encoder
            assert not created
            assert again.config.precision == "auto"
            assert again.encoder is not None
            assert again.encoder["precision"] == "bfloat16"
            assert told is not None
            assert told["precision"] == "float32"
            # Prompts are encoded in float32 whatever the run's precision is; "q" is known by then.
            first, then, later = ["float32: q", "bfloat16: a"], ["float32: another", "bfloat16: b"], ["float32: a"]
            assert encoders.asked == [*first, *then, *later]
        finally:
            await service.close()

    asyncio.run(scenario())
