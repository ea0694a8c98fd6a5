"""BERT's forward pass over packed tokens against the model's own, on the real model and on tiny ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from memr_service.encoder import SentenceEncoder, bert, model_files
from memr_service.encoder.bert import Bert, layout
from support.real_data import solutions
from support.tiny_models import save_bert
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, RobertaConfig, RobertaModel

from benchmarks.encoder import rewards

MINILM = "all-MiniLM-L6-v2"
STEPS = [1, bert.WIDE_STEP]


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    return SentenceEncoder(MINILM, "cpu")


def tiny(**settings: Any) -> BertModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=50, max_position_embeddings=40, initializer_range=0.5, **sizes, **settings)
    return BertModel(config).eval()


def windows(*lengths: int) -> list[list[int]]:
    """Token ids of texts of these lengths."""
    draw = np.random.default_rng(1)
    return [draw.integers(1, 50, length).tolist() for length in lengths]


def packed(model: Any, step: int, precision: str, texts: Sequence[Sequence[int]], monkeypatch: Any) -> list[np.ndarray]:
    """What the packed pass makes of each text, (length, d) each; texts are padded to multiples of `step`."""
    monkeypatch.setattr("memr_service.encoder.cpu.bfloat16", lambda: ("amx_bf16",) if step > 1 else ())
    with torch.inference_mode():
        features = Bert(model, precision)(texts)
    tokens, mask = features["token_embeddings"], features["attention_mask"].bool()
    assert tokens.dtype == torch.float32
    assert mask.sum(axis=1).tolist() == [len(text) for text in texts]
    return [row[kept].numpy() for row, kept in zip(tokens, mask, strict=True)]


def one_by_one(model: Any, texts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The same by the model itself, one text at a time."""
    with torch.inference_mode():
        return [model(torch.tensor([list(text)])).last_hidden_state[0].numpy() for text in texts]


# --- where tokens stand ----------------------------------------------------------------------------------------------


def test_texts_stand_behind_one_another_in_groups_of_one_length() -> None:
    laid = layout(np.array([5, 3, 3, 1]), step=1)
    assert laid.groups == [(1, 5), (2, 3), (1, 1)]
    assert laid.position.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 0]
    assert laid.taken.all()
    assert laid.index.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 7, 7], [8, 9, 10, 10, 10], [11] * 5]
    assert laid.mask.tolist() == [[1] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]


def test_padded_to_a_step_lengths_that_are_near_share_a_group() -> None:
    laid = layout(np.array([5, 4, 3]), step=4)
    assert laid.groups == [(1, 8), (2, 4)]
    assert laid.taken.tolist() == [True] * 5 + [False] * 3 + [True] * 4 + [True] * 3 + [False]
    assert laid.position.max() == 4  # no place beyond the last token: a model has only so many
    assert laid.index.tolist() == [[0, 1, 2, 3, 4], [8, 9, 10, 11, 11], [12, 13, 14, 14, 14]]


# --- the same as the model -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_packed_tokens_are_what_the_model_makes_of_each_text_alone(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = tiny(), windows(39, 20, 20, 17, 16, 15, 3, 1)
    for ours, theirs in zip(packed(model, step, "float32", texts, monkeypatch), one_by_one(model, texts), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("step", STEPS)
def test_without_onednn_the_sums_are_the_same(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = tiny(), windows(30, 12, 12, 2)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    for ours, theirs in zip(packed(model, step, "float32", texts, monkeypatch), one_by_one(model, texts), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("onednn", [True, False])
def test_bfloat16_rounds_and_no_more(step: int, onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_files.find_model(MINILM)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = [tokenizer(question["solutions"][0]["solution"])["input_ids"] for question in solutions()[:6]]
    texts.sort(key=len, reverse=True)
    if not onednn:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    ours, theirs = packed(model, step, "bfloat16", texts, monkeypatch), one_by_one(model, texts)
    means = [np.stack([tokens.mean(axis=0) for tokens in one]) for one in (ours, theirs)]
    cosines = np.einsum("nd,nd->n", *means) / np.prod([np.linalg.norm(mean, axis=1) for mean in means], axis=0)
    assert cosines.min() >= 0.9999
    assert not np.array_equal(*means)


def test_only_a_bert_whose_every_option_is_known_fits() -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    assert Bert.fits(tiny())
    assert not Bert.fits(tiny(hidden_act="gelu_new"))
    assert not Bert.fits(tiny(is_decoder=True))
    assert not Bert.fits(tiny(output_hidden_states=True))
    assert not Bert.fits(RobertaModel(RobertaConfig(vocab_size=50, **small)))
    assert not Bert.fits(None)


# --- inside the encoder ----------------------------------------------------------------------------------------------


def test_the_default_model_takes_our_pass_and_agrees_on_real_texts_in_both_precisions(minilm: SentenceEncoder) -> None:
    texts = [answer["solution"] for question in solutions()[100:110] for answer in question["solutions"][:2]]
    texts += [question["question"] for question in solutions()[100:105]]
    assert minilm.packed
    plain = minilm._model.encode(texts, show_progress_bar=False)
    exact, rounded = (minilm.encode(texts, precision).vectors for precision in ("float32", "bfloat16"))
    assert np.abs(exact - plain).max() <= 1e-5
    assert np.einsum("nd,nd->n", rounded, plain).min() >= 0.9999


def test_rewards_of_bfloat16_are_within_five_thousandths_of_those_of_float32(minilm: SentenceEncoder) -> None:
    asked = solutions()[:12]
    texts = [question["question"] for question in asked]
    texts += [answer["solution"] for question in asked for answer in question["solutions"]]
    exact, rounded = (rewards(asked, minilm.encode(texts, how).vectors)[0] for how in ("float32", "bfloat16"))
    assert len(exact) == 48
    assert 0 < np.abs(exact - rounded).max() <= 5e-3


def test_alone_a_text_has_the_same_bits_whatever_came_before(minilm: SentenceEncoder) -> None:
    text, others = solutions()[3]["question"], [question["question"] for question in solutions()[:9]]
    for precision in ("float32", "bfloat16"):
        before = minilm.encode([text], precision).vectors
        minilm.encode(others, precision)
        assert np.array_equal(minilm.encode([text], precision).vectors, before)


def test_a_pass_that_gives_something_else_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, texts = str(save_bert(tmp_path)), ["abc", "the quick brown fox", "a"]
    expected = SentenceEncoder(folder, "cpu").encode(texts).vectors
    made = Bert._embed

    def shifted(self: Bert, ids: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        return made(self, ids, torch.clamp(position + 1, max=3))

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(Bert, "_embed", shifted)
        kept = SentenceEncoder(folder, "cpu")
    assert not kept.packed
    assert kept.precision == "float32"
    assert np.abs(kept.encode(texts).vectors - expected).max() <= 1e-6
    assert kept.encode(texts, "bfloat16").vectors.shape == expected.shape
    assert "uses its model's own forward pass; ours does not work: it differs by" in caplog.text


def test_a_pass_that_this_torch_cannot_run_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(dtype: torch.dtype) -> bool:
        raise AttributeError("no such operation")

    monkeypatch.setattr(bert, "_computed_by_onednn", missing)
    with caplog.at_level(logging.WARNING):
        encoder = SentenceEncoder(str(save_bert(tmp_path)), "cpu")
    assert not encoder.packed
    assert encoder.encode(["abc"]).vectors.shape == (1, 16)
    assert "AttributeError" in caplog.text


def test_a_model_that_reads_its_padding_keeps_its_own_pass(tmp_path: Path) -> None:
    # Padded on the left, a BERT counts the padding as places: what it makes of a text depends on the batch.
    assert not SentenceEncoder(str(save_bert(tmp_path / "left", "lasttoken", padding_side="left")), "cpu").packed
    assert SentenceEncoder(str(save_bert(tmp_path / "right", "lasttoken")), "cpu").packed
