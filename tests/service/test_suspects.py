"""Wrong references and verdicts are found in what runs have seen; decisions about them last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import Conflict, InvalidRequest, UnknownRun
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient

M, G = 12, 6
IDS = [f"q{number}" for number in range(M)]
TEXTS = [f"What is {number} + 1?" for number in range(M)]
WRONG = 3
"""The prompt whose reference is wrong: it should be 4."""
REFERENCES = ["99" if number == WRONG else str(number + 1) for number in range(M)]
ROWS = np.random.default_rng(0).normal(size=(M, 8))


@pytest.fixture
def client() -> Iterator[RewardClient]:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        yield client


def answered(client: RewardClient, run: str, step: int, seed: int = 0, **columns: Any) -> None:
    """Groups of six for every prompt, most completions right."""
    rng = np.random.default_rng([seed, step])
    items = [number for number in range(M) for _ in range(G)]
    said = [number + 1 if rng.random() < 0.8 else int(rng.integers(50, 90)) for number in items]
    client.reward(
        [TEXTS[item] for item in items],
        [f"I think it is {one}." for one in said],
        [float(str(one) == REFERENCES[item]) for one, item in zip(said, items, strict=True)],
        run_id=run,
        step=step,
        embeddings={"prompts": ROWS[items], "completions": rng.normal(size=(len(items), 8))},
        **(
            {
                "prompt_ids": [IDS[item] for item in items],
                "references": [REFERENCES[item] for item in items],
                "answers": [str(one) for one in said],
            }
            | columns
        ),
    )


def trained(client: RewardClient, run: str, seed: int = 0, steps: int = 3, **config: Any) -> None:
    client.create_run(run, **config)
    for step in range(steps):
        answered(client, run, step, seed)


def one(client: RewardClient, run: str, prompt: str, answers: Sequence[str], reference: str, **columns: Any) -> None:
    """One group of a prompt."""
    client.reward(
        [prompt] * len(answers),
        ["" for _ in answers],
        [float(answer == reference) for answer in answers],
        run_id=run,
        embeddings={"prompts": np.ones((len(answers), 8)), "completions": np.ones((len(answers), 8))},
        **({"answers": answers, "references": [reference] * len(answers)} | columns),
    )


def test_the_wrong_reference_is_the_first_suspect_with_its_evidence(client: RewardClient) -> None:
    for seed, run in enumerate(["a", "b", "run"]):
        trained(client, run, seed)
    found = client.suspects(min_probability=0.0, runs=["a", "b"])
    assert (found.prompts, found.decided, found.runs) == (M, 0, ["run", "a", "b"])
    first = found.labels[0]
    assert (first.prompt_id, first.reference, first.answer) == (IDS[WRONG], "99", "4")
    assert first.probability > 0.5 > found.labels[1].probability
    assert [one.prompt_id for one in client.suspects(runs=["a", "b"]).labels] == [IDS[WRONG]]
    evidence = first.evidence
    assert (evidence.sources, evidence.says_reference, evidence.visits) == (3, 0, 9)
    assert evidence.completions == 3 * 3 * G
    assert evidence.counts["4"] == round(first.share * evidence.completions)
    assert len(evidence.shares) == 3
    assert evidence.slope == pytest.approx(np.polyfit(range(3), evidence.shares, 1)[0], abs=1e-5)
    assert [says.run for says in evidence.runs] == ["run", "a", "b"]
    assert all(says.answer == "4" and 0.5 < (says.accuracy or 0) < 1 for says in evidence.runs)
    assert evidence.example is not None
    assert "4" in evidence.example
    assert first.prompt == TEXTS[WRONG]


def test_one_run_alone_is_less_sure_than_three(client: RewardClient) -> None:
    for seed, run in enumerate(["a", "b", "run"]):
        trained(client, run, seed)
    alone = client.suspects(min_probability=0).labels[0]
    assert alone.prompt_id == IDS[WRONG]
    assert alone.probability < client.suspects(min_probability=0, runs=["a", "b"]).labels[0].probability


def test_prior_runs_count_as_runs_that_are_named_do(client: RewardClient) -> None:
    trained(client, "a", 0)
    trained(client, "b", 1, prior_runs=["a"])
    client.create_run("run", prior_runs=["b"])
    found = client.suspects(min_probability=0)
    assert found.runs == ["run", "b", "a"]
    first = found.labels[0]
    assert (first.prompt_id, first.answer, first.evidence.sources) == (IDS[WRONG], "4", 2)
    answered(client, "run", 0, 2)
    assert client.suspects(min_probability=0).labels[0].evidence.sources == 3
    assert client.suspects(min_probability=0, runs=["a", "b"]).labels[0].evidence.sources == 3


def test_prompts_of_other_runs_are_matched_by_their_text(client: RewardClient) -> None:
    trained(client, "run")
    client.create_run("other")
    answered(client, "other", 0, 1, prompt_ids=None)
    client.create_run("unlike")
    answered(client, "unlike", 0, 1, prompt_ids=[f"q{(item // G + 1) % M}" for item in range(M * G)])
    sources = {run: client.suspects(min_probability=0, runs=[run]).labels[0] for run in ("other", "unlike")}
    assert {run: len(found.evidence.runs) for run, found in sources.items()} == {"other": 2, "unlike": 2}
    assert {found.prompt_id for found in sources.values()} == {IDS[WRONG]}


def test_equal_answers_are_one_answer_however_they_are_written(client: RewardClient) -> None:
    client.create_run("run")
    one(client, "run", "half?", ["1/2", "0.5", r"\frac{1}{2}", "2"], "7", prompt_ids=["half"] * 4)
    found = client.suspects(min_probability=0).labels[0]
    assert found.share == 0.75
    assert sorted(found.evidence.counts.values()) == [1, 3]


def test_verdicts_that_do_not_fit_the_reference_are_found(client: RewardClient) -> None:
    client.create_run("run")
    judged = {"outcomes": [0.0, 0.0, 1.0, 1.0, 0.0]}
    answers = ["0.5", "0.5", "1/2", "3", "4"]
    n = len(answers)
    client.reward(
        ["half?"] * n,
        [f"says {answer}" for answer in answers],
        judged["outcomes"],
        answers=answers,
        references=["1/2"] * n,
        embeddings={"prompts": np.ones((n, 8)), "completions": np.ones((n, 8))},
    )
    found = client.suspects().verdicts
    assert [(one.kind, one.answer, one.completions, one.others) for one in found] == [
        ("missed", "0.5", 2, 0),
        ("wrong", "3", 1, 0),
    ]
    assert found[0].example == "says 0.5"


@pytest.mark.parametrize(
    ("extract", "completion", "answer"),
    [
        ("numeric", "so 3 + 4 = 7 apples.", "7"),
        ("boxed", r"thus \boxed{x + 1}", "x + 1"),
        ("<answer>", "<answer>no</answer> wait <answer> blue </answer>", "blue"),
        (r"pattern:Answer: (\w+)", "Answer: A. No, Answer: B", "B"),
    ],
)
def test_answers_are_extracted_where_none_are_sent(
    client: RewardClient, extract: str, completion: str, answer: str
) -> None:
    client.create_run("run", extract=extract)
    rows = np.ones((2, 8))
    embeddings = {"prompts": rows, "completions": rows}
    sent = {"references": ["r", "r"], "answers": [None, "sent"], "embeddings": embeddings}
    client.reward(["q"] * 2, [completion] * 2, [0, 0], **sent)
    client.reward(["q"] * 2, ["nothing", completion], [0, 0], references=["r", "r"], embeddings=embeddings)
    assert client.suspects(min_probability=0).labels[0].evidence.counts == {answer: 2, "sent": 1}


def test_a_search_that_takes_too_long_finds_no_answer(client: RewardClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memr_service.verifiers.extraction.last_match.__defaults__", (0.02,))
    client.create_run("run", extract="pattern:((?:a|aa)+)c")
    rows = np.ones((3, 8))
    texts = ["a" * 60 + "bc", "aac", "a" * 60 + "bc"]
    client.reward(["q"] * 3, texts, [0] * 3, references=["r"] * 3, embeddings={"prompts": rows, "completions": rows})
    assert client.suspects(min_probability=0).labels[0].evidence.counts == {"aa": 1}


@pytest.mark.parametrize("extract", ["answer", "<answer", "pattern:x", "pattern:(a)(b)", "pattern:(", "", 5])
def test_an_extraction_that_cannot_be_is_refused(client: RewardClient, extract: Any) -> None:
    with pytest.raises(InvalidRequest, match="extract"):
        client.create_run("run", extract=extract)


def test_references_are_read_as_answers_are(client: RewardClient) -> None:
    client.create_run("run", extract="numeric")
    one(client, "run", "q", ["72", "72"], "She sold 48 / 2 = 24 clips.\n#### 72")
    found = client.suspects(min_probability=0)
    assert found.prompts == 1
    assert found.labels == []
    assert found.verdicts[0].kind == "missed"


@pytest.mark.slow
def test_decisions_end_suspicion_and_last(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/data"
    with RewardClient.embedded(store, run="run", encoder="hashed", snapshot_bytes=1 << 16) as client:
        trained(client, "run")
        client.create_checkpoint("run", "before")
        given = [
            {"prompt_id": IDS[WRONG], "decision": "replace", "answer": 4},
            {"prompt": TEXTS[0], "decision": "keep"},
        ]
        made = client.set_decisions("run", given)
        assert [(one.prompt_id, one.decision, one.answer) for one in made] == [
            (IDS[WRONG], "replace", "4"),
            (None, "keep", None),
        ]
        found, digest = client.suspects(min_probability=0), client.run(digest=True).digest
        position = client.run().position
        assert client.set_decisions("run", given) == made
        assert client.run().position == position
    with RewardClient.embedded(store, run="run", encoder="hashed") as client:
        assert client.decisions() == made
        assert client.run(digest=True).digest == digest
        assert (found.decided, client.suspects(min_probability=0).decided) == (2, 2)
        assert IDS[WRONG] not in {one.prompt_id for one in client.suspects(min_probability=0).labels}
        missed = next(one for one in found.verdicts if one.kind == "missed")
        assert (missed.prompt_id, missed.answer, missed.reference) == (IDS[WRONG], "4", "4")
        client.export_run("run", tmp_path / "run.memr")
        client.import_run("again", tmp_path / "run.memr")
        client.fork("run", "copy")
        for name in ("again", "copy"):
            assert client.decisions(name) == made
            assert client.run(name, digest=True).digest == digest
            labels = client.suspects(name, min_probability=0).labels
            assert [(one.key, one.probability) for one in labels] == [
                (one.key, one.probability) for one in found.labels
            ]
        client.create_run("later", prior_runs=["run"])
        assert client.decisions("later") == made
        client.restore("run", "before")
        assert client.decisions("run") == []


def test_wrong_decisions_are_refused(client: RewardClient) -> None:
    client.create_run("run")
    for given, match in [
        ([{"decision": "keep"}], "all missing"),
        ([{"prompt_id": "q", "decision": "replace"}], "answer"),
        ([{"prompt_id": "q", "decision": "replace", "answer": " "}], "answer"),
        ([{"key": "Q", "decision": "keep"}], "key"),
        ([{"prompt_id": "q", "decision": "maybe"}], "decision"),
        ([{"prompt_id": "q", "decision": "keep"}] * 2, "twice"),
    ]:
        with pytest.raises(InvalidRequest, match=match):
            client.set_decisions("run", given)
    with pytest.raises(InvalidRequest, match="add"):
        client.set_decisions("run", [], add=1)  # type: ignore[arg-type]
    assert client.run().position == 0
    assert client.set_decisions("run", [{"prompt_id": 1, "decision": "replace", "answer": 0.5}])[0].answer == "0.5"


def test_the_verifier_judges_by_replaced_references() -> None:
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as client:
        client.put("/runs/run", json={"verifier": "numeric", "extract": "numeric", "preset": "memory-r"})

        def outcome(label: str) -> Any:
            body = {"query": ["2 + 2? It is 4."], "prompts": ["2 + 2?"], "labels": [label]}
            return client.post("/openrlhf/run", json=body).json()["scores"]

        assert outcome("5") == [0]
        assert client.get("/runs/run/suspects?min_probability=0").json()["labels"][0]["answer"] == "4"
        decision = {"prompt": "2 + 2?", "decision": "replace", "answer": "4"}
        assert client.put("/runs/run/decisions", json={"decisions": [decision]}).status_code == 200
        assert outcome("5") == [1]


def test_what_cannot_be_asked_is_refused(client: RewardClient) -> None:
    client.create_run("run")
    with pytest.raises(UnknownRun):
        client.suspects(runs=["none"])
    with pytest.raises(InvalidRequest, match="min_probability"):
        client.suspects(min_probability=2)
    with pytest.raises(InvalidRequest):
        client.suspects(runs=["run"] * 17)
    found = client.suspects()
    assert (found.labels, found.verdicts, found.prompts) == ([], [], 0)
    assert re.search("GSM8K", found.calibrated_on)


def test_a_run_of_an_earlier_law_keeps_no_answers(client: RewardClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memr_service.engine.decisions.ANSWERS", 99)
    client.create_run("run")
    for ask in (client.suspects, client.decisions, lambda: client.set_decisions("run", [])):
        with pytest.raises(Conflict, match="keeps no answers"):
            ask()


def test_more_expected_wrong_references_make_each_more_suspect(client: RewardClient) -> None:
    trained(client, "run")
    few, many = (client.suspects(min_probability=0, prior=prior).labels for prior in (0.05, 0.4))
    assert few[0].key == many[0].key
    assert few[0].probability < many[0].probability
    with pytest.raises(InvalidRequest, match="prior"):
        client.suspects(prior=1.0)


def test_decisions_that_are_added_at_the_same_time_all_count(client: RewardClient) -> None:
    answered(client, "run", 0)
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda one: client.set_decisions("run", [{"prompt_id": one, "decision": "keep"}], add=True), IDS)]
    assert sorted(str(one.prompt_id) for one in client.decisions("run")) == sorted(IDS)
