"""`Decoder`: the forward pass of a Llama or Qwen2 for sampling on a CPU, in plain PyTorch.

It computes what transformers' model computes, with fewer and larger matrix products, and reads a prompt once for all of
its completions. `tests/trainers/test_decoder.py` compares the two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from examples.grpo.key_values import KeyValues
from examples.grpo.weights import merged


class Layer(NamedTuple):
    """Weights of one layer."""

    before_attention: Tensor
    queries_keys_values: Tensor
    bias: Tensor | None
    mixed: Tensor
    before_neurons: Tensor
    gates_and_ups: Tensor
    down: Tensor


def fits(config: Any) -> bool:
    """Whether `Decoder` computes the model with this config of transformers."""
    return (
        config.model_type in ("llama", "qwen2")
        and config.hidden_act == "silu"
        and not getattr(config, "use_sliding_window", False)
        and not getattr(config, "mlp_bias", False)
        and not (config.model_type == "llama" and config.attention_bias)
    )


class Decoder:
    """A copy of a model's weights, with adapters added to them, and its forward pass.

    Args:
        model: a `LlamaForCausalLM` or `Qwen2ForCausalLM`, or peft's wrapper of it.
        dtype: precision of the matrix products. Sums over layers, norms and softmax are in float32.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        config, weights = model.config, dict(merged(model))
        self._epsilon, self._key_heads = config.rms_norm_eps, config.num_key_value_heads
        self._heads = config.num_attention_heads
        self._size = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._angles = next(module for name, module in model.named_modules() if name.endswith("rotary_emb"))
        self._tokens = weights["model.embed_tokens.weight"]
        self._output = weights.get("lm_head.weight", self._tokens).to(dtype)
        self._last, self._dtype = weights["model.norm.weight"], dtype

        def joined(layer: int, *names: str) -> Tensor:
            return torch.cat([weights[f"model.layers.{layer}.{name}"].to(dtype) for name in names])

        projections = [f"self_attn.{name}_proj" for name in "qkv"]
        self._layers = [
            Layer(
                weights[f"model.layers.{layer}.input_layernorm.weight"],
                joined(layer, *(f"{name}.weight" for name in projections)),
                joined(layer, *(f"{name}.bias" for name in projections)) if config.model_type == "qwen2" else None,
                joined(layer, "self_attn.o_proj.weight"),
                weights[f"model.layers.{layer}.post_attention_layernorm.weight"],
                joined(layer, "mlp.gate_proj.weight", "mlp.up_proj.weight"),
                joined(layer, "mlp.down_proj.weight"),
            )
            for layer in range(config.num_hidden_layers)
        ]

    def read(self, tokens: Tensor, mask: Tensor, copies: int) -> tuple[Tensor, KeyValues]:
        """Read prompts.

        Args:
            tokens, mask: (Q, P), padded on the left, where the mask is False.
            copies: sequences after each prompt.

        Returns:
            Logits (Q, V) of the token after each prompt, and what later tokens attend to.
        """
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        turn, length = self._turns(positions), tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        itself = torch.eye(length, dtype=torch.bool)  # attention over nothing would be NaN, also for padding
        visible = (mask[:, None, :] & causal | itself)[:, None]
        x, kept = self._tokens[tokens], []
        for layer in self._layers:
            queries, keys, values = (part.transpose(1, 2) for part in self._attended(layer, x, turn))
            read = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=visible, enable_gqa=True, scale=1.0
            )
            x = self._after_attention(layer, x, read.transpose(1, 2).flatten(-2))
            kept.append(torch.stack([keys, values]))
        return self._logits(x[:, -1]), KeyValues(torch.stack(kept), ~mask, copies)

    def step(self, tokens: Tensor, positions: Tensor, so_far: KeyValues) -> Tensor:
        """Logits (B, V) after one more token of each sequence.

        Args:
            tokens, positions: (B), the tokens and their places in the whole texts.
        """
        turn, x = self._turns(positions[:, None]), self._tokens[tokens]
        turn = (turn[0].squeeze(1), turn[1].squeeze(1))
        for number, layer in enumerate(self._layers):
            queries, keys, values = self._attended(layer, x, turn)
            read = so_far.attend(number, torch.unflatten(queries, 1, (self._key_heads, -1)), keys, values)
            x = self._after_attention(layer, x, read.flatten(1))
        so_far.length += 1
        return self._logits(x)

    def _turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of rotary embeddings, (.., 1, D)."""
        cos, sin = self._angles(self._last, positions)
        return cos.unsqueeze(-2), sin.unsqueeze(-2)

    def _attended(self, layer: Layer, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (.., heads, D), keys and values (.., key heads, D) of hidden states (.., d)."""
        h = functional.linear(self._normed(x, layer.before_attention), layer.queries_keys_values, layer.bias)
        h = torch.unflatten(h, -1, (-1, self._size))
        turned, values = h[..., : -self._key_heads, :], h[..., -self._key_heads :, :]
        left, right = turned.chunk(2, dim=-1)
        turned = turned * turn[0] + torch.cat([-right, left], dim=-1) * turn[1]
        queries, keys = turned[..., : self._heads, :], turned[..., self._heads :, :]
        return (queries * self._size**-0.5).to(self._dtype), keys.to(self._dtype), values

    def _after_attention(self, layer: Layer, x: Tensor, read: Tensor) -> Tensor:
        x = x + functional.linear(read, layer.mixed)
        gates, ups = functional.linear(self._normed(x, layer.before_neurons), layer.gates_and_ups).chunk(2, dim=-1)
        return x + functional.linear(functional.silu(gates) * ups, layer.down)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._epsilon).to(self._dtype)

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(self._normed(x, self._last), self._output)
