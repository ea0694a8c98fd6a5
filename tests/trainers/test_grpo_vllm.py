"""The trainer with vLLM as its sampler, replaced by `stand_in_vllm`: its requests and how results are used."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch
from pydantic import ValidationError
from support import stand_in_vllm
from support.tiny_causal_lm import save_causal_lm

from examples.grpo import Config, train
from examples.grpo.causal_lm import CausalLM
from examples.grpo.policy import cut
from examples.grpo.tasks.jsonl import Jsonl
from examples.grpo.train import make_policy

# The installed versions of transformers and peft warn about each other.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture
def fields(tmp_path, monkeypatch):
    """The policy of a config with vLLM, and the stand-in."""
    monkeypatch.setitem(sys.modules, "vllm", stand_in_vllm)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    asked = [json.dumps({"prompt": f"{'abcdefg'[i % 7]}=", "answer": i % 7}) for i in range(70)]
    (tmp_path / "questions.jsonl").write_text("\n".join(asked), "utf-8")
    return {
        "model": str(save_causal_lm(tmp_path / "model")), "sampler": "vllm", "task": "jsonl",
        "data": tmp_path / "questions.jsonl", "max_prompt": 300, "max_completion": 6, "bf16": False,
    }  # fmt: skip


def a_policy(fields, **others):
    """The policy, and three prompts for it."""
    config = Config(**{**fields, **others})
    task = Jsonl(config.data, "numeric")
    policy = make_policy(config, task)
    return policy, [policy.prompt(question) for question in task.train[:3]]


def learn_something(policy):
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) / 5)


def test_vllm_is_sent_token_ids_and_the_settings_and_its_token_ids_come_back(fields):
    policy, prompts = a_policy(fields)
    torch.manual_seed(5)
    completions = policy.sample(prompts, 4, 6, temperature=0.7)
    engine = policy._engine
    assert engine.engine_args == {"model": fields["model"], "dtype": "float32", "max_model_len": 306}
    [(asked, params)] = engine.asked
    assert asked == [{"prompt_token_ids": prompt} for prompt in prompts]
    for one in params:
        assert (one.n, one.temperature, one.max_tokens) == (4, 0.7, 6)
        assert (one.top_p, one.top_k, one.min_p) == (1.0, 0, 0.0)
        assert (one.stop_token_ids, one.ignore_eos) == ([1, 2], True)
    assert len({one.seed for one in params}) == 3
    answers = engine.generate(asked, params)
    assert completions == [list(one.token_ids) for answer in answers for one in answer.outputs]
    assert len(completions) == 12
    assert len({tuple(completion) for completion in completions}) > 6  # every copy has its own seed


def test_equal_random_numbers_sample_the_same_and_others_do_not(fields):
    policy, prompts = a_policy(fields)
    sampled = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        sampled.append(policy.sample(prompts, 4, 6, temperature=1.0))
    assert sampled[0] == sampled[1] != sampled[2]


def test_completions_end_with_the_first_of_the_policys_own_end_tokens_or_at_the_limit(fields):
    policy, prompts = a_policy(fields)
    endless, ends = set[int](), set(range(3, 260, 5))
    sampled = []
    for policy.ends in (endless, ends):
        torch.manual_seed(5)
        sampled.append(policy.sample(prompts, 4, 9, temperature=1.0))
    assert {len(completion) for completion in sampled[0]} == {9}
    assert sampled[1] == [cut(completion, ends) for completion in sampled[0]]
    finished = [policy.finished(completion) for completion in sampled[1]]
    assert any(finished)
    assert all(done or len(completion) == 9 for done, completion in zip(finished, sampled[1], strict=True))


@pytest.mark.parametrize("lora", [None, 2])
def test_the_current_weights_are_loaded_before_each_sampling(fields, lora):
    policy, prompts = a_policy(fields, lora=lora)
    before = policy.sample(prompts, 1, 6, temperature=0)
    assert before == CausalLM.sample(policy, prompts, 1, 6, temperature=0)
    learn_something(policy)
    own = {name: weight.clone() for name, weight in policy.model.named_parameters()}
    after = policy.sample(prompts, 1, 6, temperature=0)
    assert after == CausalLM.sample(policy, prompts, 1, 6, temperature=0) != before
    model = copy.deepcopy(policy.model)
    expected = (model if lora is None else model.merge_and_unload()).named_parameters()
    torch.testing.assert_close(policy._engine.loaded[1], dict(expected), check_stride=False)
    assert len(policy._engine.loaded) == 2
    assert all(torch.equal(weight, own[name]) for name, weight in policy.model.named_parameters())


def test_adapters_start_as_without_vllm(fields):
    with_it, without = (a_policy(fields, lora=2, sampler=sampler)[0].model for sampler in ("vllm", "own"))
    pairs = zip(with_it.parameters(), without.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("lora", [None, 2])
def test_a_resumed_training_samples_the_same(fields, tmp_path, lora):
    fields |= {
        "lora": lora, "memory": {"explore_warmup_steps": 0}, "encoder": "hashed", "schedule": "constant",
        "prompts_per_step": 2, "group_size": 4, "micro_batch": 4, "eval_questions": 2, "learning_rate": 1e-2,
    }  # fmt: skip
    first = train(Config(**fields, steps=1, output=tmp_path / "out"))
    resumed = train(Config(**fields, steps=3, output=tmp_path / "out"))
    whole = train(Config(**fields, steps=3))
    learned = [[*result.policy.model.parameters()] for result in (first, resumed, whole)]
    assert all(torch.equal(one, other) for one, other in zip(learned[1], learned[2], strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(learned[0], learned[2], strict=True))
    assert resumed.memory_digest == whole.memory_digest
    # Evaluations before the first step and after the last, and a sampling for each step.
    assert len(whole.policy._engine.loaded) == 5


def test_the_tiny_model_and_a_missing_vllm_are_refused_with_the_remedy(fields, monkeypatch):
    with pytest.raises(ValidationError, match="vllm cannot serve the model tiny: leave sampler at own"):
        Config(model="tiny", sampler="vllm")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match=r"the sampler 'vllm' needs vLLM .*: pip install vllm, or leave sampler"):
        a_policy(fields)
