"""The GRPO trainer: its equations, its models, its tasks, and trainings that are killed and resumed."""

from __future__ import annotations

import json
import math
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from pydantic import ValidationError
from support.real_data import solutions
from support.serving import serving
from support.tiny_causal_lm import save_causal_lm

from examples.grpo import Config, checkpoint, train
from examples.grpo.advantage import (
    batch_advantages,
    clipped_loss,
    group_advantages,
    k3,
    memory_share,
    shrunk_advantages,
    token_mean,
)
from examples.grpo.learner import Learner, learning_rate
from examples.grpo.log import Log
from examples.grpo.measures import diversity, gap
from examples.grpo.policy import cut, padded, score
from examples.grpo.rewards import annealed, compute_rewards, cosine_length, memory_config, open_memory
from examples.grpo.rollout import Rollout, rollout
from examples.grpo.sampling import Shuffled
from examples.grpo.tasks import clock, xml
from examples.grpo.tasks.clock import Clock
from examples.grpo.tasks.dial import Dial
from examples.grpo.tasks.final_number import final_number
from examples.grpo.tasks.gsm8k import Gsm8k
from examples.grpo.tasks.jsonl import Jsonl
from examples.grpo.tasks.task import Question
from examples.grpo.tiny import END, Pieces, TinyPolicy
from examples.grpo.train import make_policy
from examples.grpo.walk_through import lines
from examples.grpo.warm_start import teach, warm_start

ROOT = Path(__file__).parents[2]
SECONDS = ("rollout_s", "reward_s", "update_s")

# The installed versions of transformers and peft warn about each other.
pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.usefixtures("one_core")]


# The equations


def plain_advantages(rewards, size, variant):
    advantages = []
    for start in range(0, len(rewards), size):
        group = rewards[start : start + size]
        mean = sum(group) / size
        deviation = math.sqrt(sum((reward - mean) ** 2 for reward in group) / (size - 1))
        divisor = 1.0 if variant == "dr-grpo" else deviation + 1e-4
        advantages += [(reward - mean) / divisor for reward in group]
    return advantages


def plain_loss(logp, old, reference, entropy, lengths, advantages, config):
    """The mean over completions of the loss, one token at a time, in float64."""
    total = 0.0
    for i, length in enumerate(lengths):
        tokens = 0.0
        for t in range(length):
            ratio = math.exp(logp[i][t] - old[i][t])
            clipped = min(max(ratio, 1 - config.clip), 1 + config.clip)
            tokens -= min(ratio * advantages[i], clipped * advantages[i])
            x = reference[i][t] - logp[i][t]
            tokens += config.kl * (math.exp(x) - x - 1) - config.entropy_bonus * entropy[i][t]
        total += tokens / (config.max_completion if config.variant == "dr-grpo" else length)
    return total / len(lengths)


@pytest.mark.parametrize("variant", ["grpo", "dr-grpo"])
def test_advantages_and_loss_are_those_of_a_plain_loop(variant, record_property):
    config = Config(model="tiny", variant=variant, kl=0.3, entropy_bonus=0.2, max_completion=9)
    dice, furthest = torch.Generator().manual_seed(1), 0.0
    for _ in range(20):
        rewards = torch.randint(0, 4, (24,), generator=dice).double() + torch.rand(24, generator=dice).double()
        rewards[:4] = 1.0  # a group without variance
        advantages = group_advantages(rewards, 4, variant)
        plain = plain_advantages(rewards.tolist(), 4, variant)
        furthest = max(furthest, max(abs(a - b) for a, b in zip(advantages.tolist(), plain, strict=True)))

        logp, old, reference = (-torch.rand(24, 9, generator=dice).double() * 3 for _ in range(3))
        entropy = torch.rand(24, 9, generator=dice).double()
        lengths = torch.randint(1, 10, (24,), generator=dice)
        mask = torch.arange(9) < lengths[:, None]
        tokens = clipped_loss(logp, old, advantages, config.clip) + config.kl * k3(logp, reference)
        loss = token_mean(tokens - config.entropy_bonus * entropy, mask, variant, config.max_completion).mean()
        told = (x.tolist() for x in (logp, old, reference, entropy, lengths))
        furthest = max(furthest, abs(float(loss) - plain_loss(*told, plain, config)))
    record_property("largest difference to the plain loop", furthest)
    print(f"largest difference to the plain loop, {variant}: {furthest:.1e}")
    assert furthest < 1e-12


def plain_shrunk(rewards, size):
    """James-Stein's baseline of each completion, one at a time, from the other groups' completions."""
    groups = [rewards[start : start + size] for start in range(0, len(rewards), size)]
    baselines = []
    for number, group in enumerate(groups):
        others = [other for place, other in enumerate(groups) if place != number]
        means = [sum(other) / size for other in others]
        middle = sum(means) / len(means)
        v = sum(statistics.variance(other) / size for other in others) / len(others)
        s = sum((mean - middle) ** 2 for mean in means) / len(means)
        share = v / (v + s + 1e-6)
        for place in range(size):
            own = sum(group[:place] + group[place + 1 :]) / (size - 1)
            baselines.append((1 - share) * own + share * middle)
    return baselines


@pytest.mark.parametrize("variant", ["grpo", "dr-grpo"])
def test_the_other_baselines_are_those_of_a_plain_loop(variant):
    dice = torch.Generator().manual_seed(3)
    for case in range(20):
        rewards = torch.randint(0, 2, (24,), generator=dice).double() + 2
        rewards[: 4 * (case % 4)] = 2.0  # up to three groups without variance
        given = rewards.tolist()
        divisor = 1.0 if variant == "dr-grpo" else statistics.stdev(given) + 1e-4
        batch = [(reward - sum(given) / 24) / divisor for reward in given]
        assert batch_advantages(rewards, 4, variant).tolist() == pytest.approx(batch, abs=1e-12)
        pairs = zip(given, plain_shrunk(given, 4), strict=True)
        shrunk = [(reward - baseline) / divisor for reward, baseline in pairs]
        assert shrunk_advantages(rewards, 4, variant).tolist() == pytest.approx(shrunk, abs=1e-12)


def test_where_all_groups_are_alike_no_baseline_teaches_anything():
    equal = torch.full((12,), 2.0)
    assert batch_advantages(equal, 4, "grpo").tolist() == shrunk_advantages(equal, 4, "grpo").tolist() == [0.0] * 12
    dead = torch.tensor([1.0] * 4 + [0.0] * 8)  # without variance within groups nothing is shrunk
    assert shrunk_advantages(dead, 4, "grpo").tolist() == [0.0] * 12
    assert all(batch_advantages(dead, 4, "grpo").tolist())
    with pytest.raises(ValidationError, match="at least 3 prompts_per_step"):
        Config(model="tiny", baseline="james-stein", prompts_per_step=2)


def test_the_shares_of_memory_and_rest_add_up_and_are_those_of_a_plain_loop():
    dice = torch.Generator().manual_seed(2)
    outcomes = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1]]).double().flatten()
    rest, memory = (torch.rand(16, generator=dice).double() for _ in range(2))
    rewards = rest + memory
    shares = memory_share(rewards, memory, outcomes, 4)
    others = memory_share(rewards, rest, outcomes, 4)
    for kind, groups in {"all": range(4), "all_wrong": [0], "mixed": [1, 3], "all_right": [2]}.items():
        above = below = 0.0
        for group in groups:
            places = range(4 * group, 4 * group + 4)
            mean, mean_memory = (sum(float(x[i]) for i in places) / 4 for x in (rewards, memory))
            deviation = math.sqrt(sum((float(rewards[i]) - mean) ** 2 for i in places) / 3) + 1e-4
            above += sum((float(memory[i]) - mean_memory) * (float(rewards[i]) - mean) / deviation**2 for i in places)
            below += sum((float(rewards[i]) - mean) ** 2 / deviation**2 for i in places)
        assert shares[kind] == pytest.approx(above / below, abs=1e-12)
        assert shares[kind] + others[kind] == pytest.approx(1, abs=1e-12)


def test_a_memory_that_pays_all_alike_has_no_share_and_one_that_pays_alone_has_all():
    outcomes = torch.tensor([0.0, 0, 1, 1])
    assert memory_share(outcomes + 2, torch.full((4,), 2.0), outcomes, 4)["mixed"] == 0
    alone = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert memory_share(alone, alone, torch.zeros(4), 4) == {"all": 1, "all_wrong": 1, "mixed": None, "all_right": None}


def test_the_learning_rate_rises_and_falls_or_stays():
    paper = Config(learning_rate=1.0)
    assert [round(learning_rate(paper, step, 100), 3) for step in (0, 9, 10, 55, 99)] == [0.1, 1.0, 1.0, 0.5, 0.0]
    assert {learning_rate(Config(model="tiny", learning_rate=0.5), step, 10) for step in range(10)} == {0.5}
    assert learning_rate(paper, 0, 1) == 1.0


def test_the_length_reward_and_the_annealing_end_where_they_should():
    assert [cosine_length(length, 10, right) for right in (1.0, 0.0) for length in (0, 10)] == [1.0, 0.5, -1.0, -0.5]
    assert cosine_length(5, 10, 1.0) == pytest.approx(0.75)
    assert [annealed((10, 20), step) for step in (0, 10, 15, 20, 30)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert annealed(None, 10**6) == 1.0


def test_diversity_and_gap_of_known_groups():
    assert diversity([[1, 2], [2, 1], [3], [4]], 2) == pytest.approx(0.5)
    values, outcomes = torch.tensor([1.0, 0, 0, 5, 5, 5]), torch.tensor([1.0, 0, 0, 0, 0, 0])
    assert gap(values, outcomes, 3) == 1.0
    assert gap(values, torch.zeros(6), 3) is None


# Models


def a_policy(pieces="abcdefghij", seed=0):
    torch.manual_seed(seed)
    return TinyPolicy(pieces, max_prompt=12, max_completion=10)


def test_pieces_are_read_longest_first_and_come_back():
    pieces = Pieces(["1", "12", "o'clock", " "])
    assert pieces.decode(pieces.encode("12 1 o'clock")) == "12 1 o'clock"
    assert len(pieces.encode("12 1 o'clock")) == 5
    assert pieces.decode(pieces.encode("1x2")) == "1??"


def test_padding_changes_nothing_and_the_cache_neither():
    policy = a_policy()
    prompts = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12]]
    together = policy.sample(prompts, 2, 10, temperature=0)
    alone = [completion for prompt in prompts for completion in policy.sample([prompt], 2, 10, temperature=0)]
    assert together == alone
    repeated = [prompt for prompt in prompts for _ in range(2)]
    scores = score(policy, policy.model, repeated, together, 1.0, entropy=True)
    for row, (prompt, completion) in enumerate(zip(repeated, together, strict=True)):
        text = torch.tensor([prompt + completion])
        logits = policy.model(text, torch.ones_like(text, dtype=torch.bool), text.shape[1])[0]
        logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        length = len(completion)
        assert scores.mask[row].sum() == length
        assert logp.argmax(-1).tolist() == completion
        torch.testing.assert_close(scores.logp[row, :length], logp.max(-1).values, atol=1e-5, rtol=0)
        torch.testing.assert_close(scores.entropy[row, :length], -(logp.exp() * logp).sum(-1), atol=1e-5, rtol=0)


def test_samples_follow_the_probabilities_at_their_temperature():
    policy, n = a_policy(), 20_000
    torch.manual_seed(3)
    first = torch.tensor([completion[0] for completion in policy.sample([[3, 4]], n, 1, temperature=0.5)])
    logits = policy.model(torch.tensor([[3, 4]]), torch.ones(1, 2, dtype=torch.bool), 1)[0, 0]
    expected = (logits / 0.5).softmax(-1)
    seen = torch.bincount(first, minlength=len(expected)) / n
    assert (seen - expected).abs().max() < 4 * math.sqrt(0.25 / n)


def test_a_completion_ends_with_its_first_end_token():
    assert cut([5, END, 7, END], {END}) == [5, END]
    assert cut([5, 6], {END}) == [5, 6]
    tokens, mask = padded([[1], [2, 3]], 0, left=True)
    assert (tokens.tolist(), mask.tolist()) == ([[0, 1], [2, 3]], [[False, True], [True, True]])


@pytest.mark.parametrize("lora", [None, 2])
def test_a_causal_lm_scores_what_it_samples(tmp_path, lora):
    config = Config(model=str(save_causal_lm(tmp_path)), lora=lora, kl=0, bf16=False)
    task = Jsonl(questions_file(tmp_path), "numeric")
    policy = make_policy(config, task)
    prompts = [policy.prompt(question) for question in task.train[:3]]
    torch.manual_seed(0)
    completions = policy.sample(prompts, 8, 6, temperature=1.0)
    # The model's own settings ask for greedy decoding with a repetition penalty.
    assert len({tuple(completion) for completion in completions[:8]}) == 8
    repeated = [prompt for prompt in prompts for _ in range(8)]
    scores = score(policy, policy.model, repeated, completions, 1.0)
    for row in range(0, 24, 5):
        text = torch.tensor([repeated[row] + completions[row]])
        logp = policy.model(text).logits[0].log_softmax(-1)[len(repeated[row]) - 1 : -1]
        own = logp.gather(-1, torch.tensor(completions[row])[:, None])[:, 0]
        torch.testing.assert_close(scores.logp[row, : len(own)], own, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("chat", "begins"), [(True, "<|im_start|>system\nRespond"), (False, "Respond")])
def test_a_causal_lm_is_asked_as_its_template_says_and_stops_at_any_of_its_ends(tmp_path, chat, begins):
    config = Config(model=str(save_causal_lm(tmp_path, chat)), max_prompt=400)
    policy = make_policy(config, Gsm8k(gsm8k_folder(tmp_path / "data")))
    prompt = policy.prompt(Question("How many?", "1"))
    asked = "".join(policy.text([token]) for token in prompt)
    told = policy._tokenizer.decode(prompt)
    assert told.startswith(begins)
    assert "How many?" in asked
    assert [policy.finished([token]) for token in (1, 2, 0, 9)] == [True, True, False, False]


def test_gradients_do_not_depend_on_micro_batches():
    gradients = []
    for size in (12, 5):
        policy = a_policy()
        config = Config(
            model="tiny", micro_batch=size, max_grad_norm=1e9, kl=0.1, entropy_bonus=0.1, updates_per_step=2
        )
        learner = Learner(config, policy, 10)
        torch.manual_seed(1)
        sampled = rollout(policy, [Question("abc", ""), Question("d", "")], 6, 10, 1.0)
        learner.update(sampled, torch.linspace(-1, 1, 12), 0)
        gradients.append(torch.cat([weight.grad.flatten() for weight in policy.model.parameters()]))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_a_second_update_of_a_step_is_clipped_and_kept_near_the_reference():
    policy = a_policy()
    config = Config(model="tiny", kl=0.1, learning_rate=0.01, updates_per_step=4, clip=0.01)
    torch.manual_seed(1)
    sampled = rollout(policy, [Question("abc", "")], 8, 10, 1.0)
    row = Learner(config, policy, 10).update(sampled, torch.linspace(-1, 1, 8), 0)
    assert row["clipped"] > 0
    assert row["kl"] > 0


# Tasks


def test_the_format_rewards_are_the_papers():
    perfect = "<reasoning>\n1 + 1 = 2\n</reasoning>\n<answer>\n2\n</answer>"
    assert xml.format_reward(perfect) == 2.0
    assert xml.format_reward(perfect + "\n") == 2.0
    assert xml.format_reward(perfect.replace("\n", "")) == 0.5 + 0.5  # soft, and a whole number
    assert xml.format_reward(perfect.replace("\n2\n", "\ntwo\n")) == 1.5
    assert xml.format_reward("<reasoning>\nhm\n</reasoning>\n") == 0.25
    assert xml.format_reward("") == 0.0
    assert xml.answer_in("<answer>\n1,250\n</answer>") == "1250"


def test_each_way_of_answering_the_clock_gets_the_reward_that_makes_the_trap():
    question, work = clock.ask(7, [5, 9, 1, 2, 6]), clock.working(7, [5, 9, 1, 2, 6])
    assert question.answer == "6"
    assert work == "7, + 5 = 12, + 9 = 21, + 1 = 22, + 2 = 0, + 6 = 6"
    task = Clock(0)
    closed = clock.OPEN + work + clock.CLOSE + "6" + clock.END
    unclosed = clock.OPEN + work + clock.UNCLOSED + "6"
    guess = clock.OPEN + clock.GUESS + clock.CLOSE + "3" + clock.END
    told = [(task.mode(text), task.format(text), task.right(text, "6")) for text in (closed, unclosed, guess, "hm")]
    assert told == [("worked", 2.0, True), ("unclosed", 0.125, False), ("guess", 2.0, False), ("other", 0.0, False)]


def test_the_clock_keeps_its_test_questions_out_of_its_lessons():
    task, dice = Clock(5), random.Random(1)
    assert (len(task.train), len(task.test)) == (256, 150)
    assert not {question.text for question in task.train} & {question.text for question in task.test}
    shown = [task.demonstration(dice) for _ in range(4000)]
    assert not {question for question, _ in shown} & {question.text for question in task.test}
    modes = [task.mode(text) for _, text in shown]
    shares = {mode: modes.count(mode) / 4000 for mode in ("worked", "unclosed", "guess")}
    assert shares == pytest.approx({"worked": 0.175, "unclosed": 0.525, "guess": 0.3}, abs=0.03)
    pieces = Pieces(task.pieces)
    assert all(pieces.decode(pieces.encode(question + text)) == question + text for question, text in shown[:100])


def test_a_lesson_is_learned_once_for_each_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(Clock, "lessons", 3)
    task = Clock(0)
    first, shorter, again, other = (new_policy(task, seed) for seed in (0, 0, 0, 1))
    warm_start(first, task, 0, tmp_path)
    warm_start(shorter, task, 0, tmp_path, lessons=2)
    assert not torch.equal(first.model.tokens.weight, shorter.model.tokens.weight)
    monkeypatch.setattr(Clock, "demonstration", None)
    warm_start(again, task, 0, tmp_path)
    learned, reused = (policy.model.state_dict() for policy in (first, again))
    assert all(torch.equal(learned[name], reused[name]) for name in learned)
    with pytest.raises(TypeError):  # weights that began otherwise have lessons of their own
        warm_start(other, task, 0, tmp_path)


def new_policy(task, seed):
    torch.manual_seed(seed)
    return TinyPolicy(task.pieces, 16, 40)


def test_lessons_make_demonstrations_more_probable(monkeypatch):
    monkeypatch.setattr(Clock, "lessons", 15)
    task, dice = Clock(0), random.Random(7)
    policy = TinyPolicy(task.pieces, 16, 40)
    shown = [task.demonstration(dice) for _ in range(32)]
    prompts = [policy.tokenizer.encode(question) for question, _ in shown]
    completions = [[*policy.tokenizer.encode(text), END] for _, text in shown]

    def surprise():
        scores = score(policy, policy.model, prompts, completions, 1.0)
        return -scores.logp[scores.mask].mean().item()

    before = surprise()
    teach(policy, task, 0, task.lessons)
    assert surprise() < before - 1


def gsm8k_folder(folder, n=40):
    """Real questions with their answers, as GSM8K's files have them."""
    right = [
        (question["question"], final_number(solution["solution"]))
        for question in solutions()
        for solution in question["solutions"][:1]
        if solution["is_correct"]
    ][: 2 * n]
    folder.mkdir(parents=True)
    for name, part in {"train": right[:n], "test": right[n:]}.items():
        written = [json.dumps({"question": text, "answer": f"...\n#### {answer:,}"}) for text, answer in part]
        (folder / f"{name}.jsonl").write_text("\n".join(written) + "\n", "utf-8")
    return folder


def questions_file(folder, n=70):
    """`a=`, whose answer is 0, and so on to `g=`, repeatedly, so held-out questions are trained on too."""
    path = folder / "questions.jsonl"
    written = [json.dumps({"prompt": f"{'abcdefg'[i % 7]}=", "answer": i % 7}) for i in range(n)]
    path.write_text("\n".join(written), "utf-8")
    return path


def test_gsm8k_reads_answers_without_their_separators(tmp_path):
    task = Gsm8k(gsm8k_folder(tmp_path / "data"))
    assert (len(task.train), len(task.test)) == (40, 40)
    assert all("," not in question.answer and question.answer for question in task.train)
    assert task.right("<reasoning>\n...\n</reasoning>\n<answer>\n1,000\n</answer>", "1000")
    assert not task.right("1001", "1000")
    strict, soft = "<reasoning>\nx\n</reasoning>\n<answer>\n1\n</answer>", "<reasoning>x</reasoning><answer>1</answer>"
    assert [*map(task.mode, (strict, soft, "<answer>1", "1"))] == ["strict", "soft", "tagged", "bare"]


def test_own_questions_are_split_judged_and_refused(tmp_path):
    task = Jsonl(questions_file(tmp_path), "numeric")
    assert (len(task.train), len(task.test)) == (63, 7)
    assert task.right("so it is 7.0", "7")
    assert not Jsonl(questions_file(tmp_path), "exact").right("7.0", "7")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "?", "answer": "none"}\n')
    with pytest.raises(InvalidRequest):
        Jsonl(tmp_path / "bad.jsonl", "numeric")
    with pytest.raises(ValidationError, match="needs data"):
        Config(task="jsonl")


# Trainings


def toy(folder, **fields):
    """A training of one second: digits for letters."""
    small = {"steps": 6, "prompts_per_step": 4, "group_size": 4, "max_prompt": 4, "max_completion": 3, "eval_every": 3}
    memory = {"explore_warmup_steps": 1}
    return Config(
        **{"model": "tiny", "task": "jsonl", "data": questions_file(folder), "memory": memory, **small, **fields}
    )


def weights(result):
    return torch.cat([weight.detach().flatten() for weight in result.policy.model.parameters()])


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name not in SECONDS} for row in rows]


def test_the_toy_learns_what_is_rewarded(tmp_path):
    groups = {"prompts_per_step": 7, "group_size": 16, "max_completion": 2, "memory": {"components": {"exploit": 0.5}}}
    # Without the bonus it converges to one digit for all letters.
    result = train(toy(tmp_path, steps=120, eval_every=60, learning_rate=2e-3, entropy_bonus=0.3, **groups))
    assert [step for step, _ in result.curve] == [0, 60, 120]
    assert result.curve[0][1] < 0.5
    assert result.accuracy > 0.8
    assert result.area == pytest.approx(sum(a * w for (_, a), w in zip(result.curve, (0.25, 0.5, 0.25), strict=True)))
    kinds = [sum(row[f"groups/{kind}"] for kind in ("all_wrong", "mixed", "all_right")) for row in result.rows[1:]]
    assert kinds == pytest.approx([1.0] * 120)


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": None},
        {"kl": 0.1},
        {"entropy_bonus": 0.01, "updates_per_step": 2},
        {"variant": "dr-grpo", "micro_batch": 5},
        {"format_gated": True, "correctness_weight": 3.0, "format_weight": 0.2},
        {"length_weight": 1.0, "schedule": "cosine"},
        {"memory": "random", "memory_weight": 0.5, "memory_anneal": (2, 4)},
        {"memory": {"components": {"contrast": 1.0, "value": 1.0, "outcome_ucb": 1.0}}},
        {"memory": "official-memory-r+"},
        {"memory": None, "baseline": "batch"},
        {"memory": None, "baseline": "james-stein", "prompts_per_step": 3},
    ],
)
def test_every_control_and_memory_trains(tmp_path, fields):
    result = train(toy(tmp_path, **fields))
    assert [step for step, _ in result.curve] == [0, 3, 6]
    assert [row["step"] for row in result.rows] == list(range(7))
    assert all(math.isfinite(value) for row in result.rows for value in row.values() if value is not None)
    assert (result.memory_digest is None) == (fields.get("memory", True) is None)


def test_the_reward_is_the_weighted_sum(tmp_path):
    memory = {"preset": "memory-r+", "explore_warmup_steps": 1}  # a preset without a limit on spreads
    config = toy(tmp_path, correctness_weight=3.0, memory=memory, memory_weight=0.5, memory_anneal=(0, 4), steps=5)
    for row in train(config).rows[1:]:
        assert row["reward"] == pytest.approx(3 * row["outcome"] + row["memory"], abs=1e-5)
        weight = 0.5 * max(0.0, 1 - (row["step"] - 1) / 4)
        parts = row["component/exploit"] + row["component/explore"]
        assert row["memory"] == pytest.approx(weight * parts, abs=1e-5)


def test_the_outcomes_that_count_are_trained_on():
    """All say 6, and the label is 7."""
    config = Config(model="tiny", task="dial", memory={"preset": "memory-r", "repair": {"mode": "replace"}})
    task = Dial(0)
    with open_memory(config, task) as memory:
        n = config.group_size
        asked = [Question("The dial is at 6. Where is it?", "7")] * n
        sampled = Rollout(asked, [[0]] * n, [[0]] * n, ["<answer>\n6\n</answer>"] * n, [False] * n)
        found = [compute_rewards(config, task, memory, sampled, step) for step in range(3)]
    assert [float(one.outcome.mean()) for one in found] == [0.0, 0.0, 1.0]
    assert float((found[2].total - found[2].memory - found[2].format).mean()) == 1.0


def test_equal_configs_train_bit_for_bit_and_other_seeds_do_not(tmp_path):
    one, same, other = (train(toy(tmp_path, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(weights(one), weights(same))
    assert without_seconds(one.rows) == without_seconds(same.rows)
    assert one.memory_digest == same.memory_digest != other.memory_digest
    assert not torch.equal(weights(one), weights(other))


def test_all_questions_come_once_before_one_comes_again(tmp_path):
    config = toy(tmp_path, prompts_per_step=5)
    questions = [Question(str(number), "1") for number in range(20)]
    sampling = Shuffled(config, SimpleNamespace(train=questions), None, None)
    steps = [sampling.questions(step) for step in range(8)]
    first, second = ([question for step in steps[start : start + 4] for question in step] for start in (0, 4))
    assert set(first) == set(second) == set(questions)
    assert first != second


def test_killed_at_a_random_step_and_resumed_it_is_the_same_training(tmp_path):
    whole = train(toy(tmp_path, steps=30, output=tmp_path / "whole", save_every=4))
    config = toy(tmp_path, steps=30, output=tmp_path / "killed", save_every=4)
    given = config.model_dump(mode="json", exclude_unset=True)
    code = "import sys; from examples.grpo import Config, train; train(Config.model_validate_json(sys.argv[1]))"
    killed_after = random.SystemRandom().randrange(1, 25)
    with subprocess.Popen([sys.executable, "-c", code, json.dumps(given)], cwd=ROOT) as process:
        metrics = tmp_path / "killed" / "metrics.jsonl"
        while process.poll() is None:
            time.sleep(0.002)
            if metrics.exists() and metrics.read_text().count("\n") > killed_after:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    resumed = train(config)
    assert torch.equal(weights(resumed), weights(whole)), f"killed after step {killed_after}"
    assert resumed.memory_digest == whole.memory_digest
    assert without_seconds(resumed.rows) == without_seconds(whole.rows)
    assert without_seconds(map(json.loads, metrics.read_text().splitlines())) == without_seconds(whole.rows)
    assert list((tmp_path / "killed" / "tensorboard").iterdir())


def test_a_kill_between_the_memorys_checkpoint_and_the_file_loses_nothing(tmp_path, monkeypatch):
    whole = train(toy(tmp_path, output=tmp_path / "whole"))
    config = toy(tmp_path, output=tmp_path / "cut", save_every=2)
    replace = Path.replace

    def out_of_power(path, target):
        if target.name == checkpoint.NAME and torch.load(path)["step"] == 4:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", out_of_power)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    resumed = train(config)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.memory_digest == whole.memory_digest


def test_a_finished_training_returns_its_result_again_without_a_step(tmp_path):
    config = toy(tmp_path, output=tmp_path / "done")
    once, again = train(config), train(config)
    assert once.curve == again.curve
    assert once.memory_digest == again.memory_digest
    assert torch.equal(weights(once), weights(again))


def test_a_memory_at_a_server_is_the_same_memory_and_is_not_shared_by_mistake(tmp_path):
    with serving() as url:
        served = train(toy(tmp_path, memory_url=url, memory_run="a"))
        assert served.memory_digest == train(toy(tmp_path)).memory_digest
        with pytest.raises(FileExistsError, match="has seen steps up to 5"):
            train(toy(tmp_path, memory_url=url, memory_run="a"))


def planned(folder, **fields):
    """A training whose questions the memory plans, and which no memory pays."""
    return toy(folder, plan=True, memory=None, memory_store=folder / "memory", prompts_per_step=3, **fields)


def test_a_planned_training_asks_what_the_plan_says_and_counts_every_completion(tmp_path):
    config = planned(tmp_path, steps=8, memory_run="first")
    result = train(config)
    assert {row["memory"] for row in result.rows[1:]} == {0.0}
    with RewardClient.embedded(f"sqlite:///{tmp_path / 'memory'}", run="first") as memory:
        info = memory.run()
        assert (info.step, memory.pool().prompts, memory.pool().visited) == (7, 7, 7)
        assert memory.completions(limit=1).matching == 8 * 3 * 4
        for step in range(8):
            plan = memory.plan(None, 3, 4, step=step, position=1 + step)
            asked = {row.prompt for row in memory.completions(step=step, limit=12).rows}
            assert asked == {"abcdefg"[int(pick.prompt_id)] + "=" for pick in plan.picks}
    train(planned(tmp_path, steps=2, memory_run="second", prior_run=["first"], seed=1))
    with RewardClient.embedded(f"sqlite:///{tmp_path / 'memory'}", run="second") as memory:
        plan = memory.plan(None, 7, 4, position=2)
        assert {pick.source for pick in plan.picks} == {"prior"}
        assert memory.run().step == 1


def test_a_planned_training_that_was_killed_goes_on_with_the_same_questions(tmp_path, monkeypatch):
    whole = train(planned(tmp_path, steps=8, save_every=3, output=tmp_path / "whole", memory_run="whole"))
    config = planned(tmp_path, steps=8, save_every=3, output=tmp_path / "cut", memory_run="cut")
    write = Log.write

    def out_of_power(log, row):
        if row["step"] == 5:
            raise KeyboardInterrupt
        write(log, row)

    monkeypatch.setattr(Log, "write", out_of_power)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    resumed = train(config)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.memory_digest == whole.memory_digest
    assert without_seconds(resumed.rows) == without_seconds(whole.rows)


def test_prior_runs_without_a_plan_and_two_places_for_a_memory_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="prior_run is for plans: set plan too"):
        toy(tmp_path, prior_run=["first"])
    with pytest.raises(ValidationError, match="leave it out with memory_url"):
        toy(tmp_path, memory_url="http://localhost", memory_store=tmp_path)


@pytest.mark.parametrize("lora", [None, 2])
def test_a_causal_lm_trains_and_resumes_on_real_questions(tmp_path, lora):
    fields = {
        "model": str(save_causal_lm(tmp_path / "model")), "lora": lora, "data": gsm8k_folder(tmp_path / "data"),
        "memory": {"explore_warmup_steps": 0}, "encoder": "hashed", "max_completion": 6, "max_prompt": 300,
        "schedule": "constant", "prompts_per_step": 2, "group_size": 4, "micro_batch": 4, "eval_questions": 2,
    }  # fmt: skip
    first = train(Config(**fields, steps=2, output=tmp_path / "out"))
    resumed = train(Config(**fields, steps=4, output=tmp_path / "out"))
    whole = train(Config(**fields, steps=4))
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.memory_digest == resumed.memory_digest
    assert not torch.equal(weights(first), weights(resumed))
    learned = torch.load(tmp_path / "out" / checkpoint.NAME)["weights"]
    assert all("lora" in name for name in learned) == (lora is not None)


def test_gsm8k_with_a_tiny_model_runs_logs_and_resumes(tmp_path):
    fields = {
        "model": "tiny", "data": gsm8k_folder(tmp_path / "data"), "memory": {"explore_warmup_steps": 0},
        "prompts_per_step": 2, "group_size": 4, "max_completion": 8, "max_prompt": 128, "eval_questions": 4,
        "save_every": 1, "output": tmp_path / "out",
    }  # fmt: skip
    short = train(Config(**fields, steps=2))
    assert short.accuracy == 0.0  # the model is untrained
    longer = train(Config(**fields, steps=4))
    whole = train(Config(**{**fields, "output": None}, steps=4))
    assert torch.equal(weights(longer), weights(whole))
    assert longer.memory_digest == whole.memory_digest
    assert memory_config(Config(**fields), Gsm8k(fields["data"])).reasoning_tags == ("<reasoning>", "</reasoning>")


def test_the_command_line_takes_every_field(tmp_path):
    options = ["--model", "tiny", "--task", "jsonl", "--data", str(questions_file(tmp_path)), "--steps", "2"]
    options += ["--memory", '{"components": {"exploit": 2}}', "--memory-anneal", "[0, 9]", "--max-completion", "3"]
    command = [sys.executable, "-m", "examples.grpo", *options, "--format-gated", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"step +0  accuracy 0\.\d+\nstep +2  accuracy 0\.\d+\n", done.stdout)
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 3


def test_the_walk_through_in_the_documentation_is_what_it_prints():
    said = (ROOT / "examples" / "grpo" / "README.md").read_text("utf-8")
    assert "```text\n" + "\n".join(lines()) + "\n```" in said
