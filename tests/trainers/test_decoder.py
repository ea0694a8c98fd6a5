"""The sampler of pretrained models on a CPU: it computes what transformers computes, and a prompt is read once."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from examples.grpo import decoder
from examples.grpo.decoder import Decoder
from examples.grpo.decoding import decode, draw
from examples.grpo.key_values import ROOM
from examples.grpo.packing import pack
from examples.grpo.policy import padded

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SHAPE = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 300}
HEADS = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 256}
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12], [13, 14]]
END = 2


def models():
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "eos_token_id": END, "bos_token_id": 1}
    yield LlamaForCausalLM(LlamaConfig(**SHAPE, **HEADS, **ids, tie_word_embeddings=True)).eval()
    qwen = Qwen2ForCausalLM(Qwen2Config(**SHAPE, **HEADS, **ids, tie_word_embeddings=False)).eval()
    for layer in qwen.model.layers:  # a fresh model's biases are 0
        torch.nn.init.normal_(layer.self_attn.k_proj.bias)
    yield qwen


@pytest.fixture(params=[0, 1], ids=["llama", "qwen2"], scope="module")
def model(request):
    return list(models())[request.param]


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def reference(model, tokens, mask):
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    return model(input_ids=tokens, attention_mask=mask.long(), position_ids=positions).logits


def test_logits_are_those_of_transformers_also_after_sequences_left(model):
    own = Decoder(model, torch.float32)
    tokens, mask = padded(PROMPTS, 0, left=True)
    logits, so_far = own.read(tokens, mask, 4)
    torch.testing.assert_close(logits, reference(model, tokens, mask)[:, -1])
    texts, lengths = (one.repeat_interleave(4, dim=0) for one in (tokens, mask.sum(1)))
    mask = mask.repeat_interleave(4, dim=0)
    dice = torch.Generator().manual_seed(1)
    for place in range(ROOM + 3):  # the room for completions grows in between
        if place in (2, 5):  # first groups become ragged, then one is gone
            rows = torch.tensor([0, 3, 4, 5, 6, 11] if place == 2 else [1, 2, 3])
            so_far.keep(rows)
            texts, lengths, mask = texts[rows], lengths[rows], mask[rows]
        new = torch.randint(3, 300, (len(texts),), generator=dice)
        texts = torch.cat([texts, new[:, None]], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        logits = own.step(new, lengths + place, so_far)
        torch.testing.assert_close(logits, reference(model, texts, mask)[:, -1])


def test_bfloat16_is_as_close_to_float32_as_autocast_is(model):
    tokens, mask = padded(PROMPTS, 0, left=True)
    exact = reference(model, tokens, mask)[:, -1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = reference(model, tokens, mask)[:, -1].float()
    logits, _ = Decoder(model, torch.bfloat16).read(tokens, mask, 1)
    assert (logits.float() - exact).abs().mean() < 2 * (autocast - exact).abs().mean()


def test_the_most_probable_tokens_are_those_of_generate(model):
    expected = []
    for prompt in PROMPTS:
        written = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0)
        expected += [written[0, len(prompt) :].tolist()] * 3
    assert decode(Decoder(model, torch.float32), PROMPTS, 3, 20, 0.0, {END}, 0) == expected


def test_sequences_end_at_their_end_token_and_do_not_disturb_others(model):
    own = Decoder(model, torch.float32)

    def sampled(ends):
        torch.manual_seed(3)
        return decode(own, PROMPTS, 6, 40, 1.0, ends, 0)

    whole, ends = sampled({END}), set(range(3, 60))
    cut_short = sampled(ends)
    assert sampled(ends) == cut_short
    assert {len(one) for one in cut_short} > {1}  # they leave one after another
    for one, other in zip(cut_short, whole, strict=True):
        assert one == other[: len(one)]
        assert len(one) == 40 or one[-1] in ends or one[-1] == END
        assert not ends.intersection(one[:-1])


def test_tokens_are_drawn_with_their_probabilities():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0, 0.5]]).repeat(1, 80)  # 400 tokens: more than one block
    numbers = (torch.arange(20_000) + 0.5) / 20_000
    drawn = draw(logits.expand(20_000, -1), numbers, 2.0)
    shares = torch.bincount(drawn, minlength=400) / 20_000
    torch.testing.assert_close(shares, (logits[0] / 2).softmax(0), atol=1e-4, rtol=0)
    ends = draw(logits.expand(2, -1), torch.tensor([0.0, 1 - 2**-24]), 1.0)
    assert ends.tolist() == [0, 399]


def test_packed_completions_have_the_logits_and_gradients_of_single_ones(model):
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    dice = torch.Generator().manual_seed(2)
    completions = [torch.randint(3, 300, (4 + number,), generator=dice).tolist() for number in range(9)]
    before, before_mask = padded(prompts, 0, left=True)
    after, after_mask = padded(completions, 0, left=False)
    tokens, mask = torch.cat([before, after], 1), torch.cat([before_mask, after_mask], 1)
    length = after.shape[1]
    packed = pack(tokens, mask, length)
    assert packed is not None
    assert packed.tokens.shape == (3, 5 + 3 * length)
    gradients = []
    with torch.enable_grad():
        for packs in (True, False):
            model.zero_grad()
            if packs:
                output = model(
                    input_ids=packed.tokens, attention_mask=packed.visible, position_ids=packed.positions,
                    logits_to_keep=packed.keep, use_cache=False,
                )  # fmt: skip
                logits = packed.unpack(output.logits)
            else:
                logits = reference(model, tokens, mask)[:, -length - 1 :]
            logits = logits[:, :-1][after_mask]
            gradients.append((logits.detach(), logits.square().sum().backward(), model.lm_head.weight.grad.clone()))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_what_does_not_come_in_groups_of_one_size_is_not_packed():
    tokens = torch.tensor([[3, 4, 5], [3, 4, 6], [7, 8, 9]])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    assert pack(tokens, mask, 1) is None
    assert pack(tokens[1:], mask[1:], 1) is None
    assert pack(tokens[:2], mask[:2], 1) is not None


def test_only_models_that_are_computed_rightly_fit():
    fitting = LlamaConfig(**SHAPE, **HEADS)
    assert decoder.fits(fitting)
    for changes in ({"model_type": "gemma"}, {"hidden_act": "gelu"}, {"mlp_bias": True}, {"attention_bias": True}):
        other = LlamaConfig(**SHAPE, **HEADS)
        for name, value in changes.items():
            setattr(other, name, value)
        assert not decoder.fits(other)
    assert not decoder.fits(Qwen2Config(**SHAPE, **HEADS, use_sliding_window=True))
