"""BERT's forward pass over packed tokens, with weights that are laid out for the processor only once.

    h_0 = LN(word + position + type)                                                    (T, d) float32
    h'  = LN(h + W_o A + b_o)         A = softmax(Q K^T / sqrt(d_head)) V, within a text
    h   = LN(h' + W_2 gelu(W_1 h' + b_1) + b_2)                  Devlin et al. 2019 (arXiv 1810.04805)

The texts of a batch follow one another in one row of T tokens, so linear layers compute no padding; attention takes
them in groups of one length. In bfloat16 the matrix products and attention are rounded (they sum in float32); the
residual stream, the layer norms and everything after them are float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memr_service.encoder import cpu

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOKENS = {"cpu": 2048, "cuda": 32768}
"""Tokens of a batch. On a CPU, what 2,048 tokens need between two layers fits into the last cache."""
WIDE_STEP = 16
"""Where attention is computed in tiles of so many tokens (AMX, CUDA), texts are padded to a multiple of it: fewer and
fuller tiles gain more than the padding costs. Elsewhere nothing is padded."""


@dataclass(frozen=True)
class Layout:
    """The cells of the tokens of b texts, longest first, in one row of T cells.

    layout(np.array([5, 3, 3]), step=1).groups                          # [(1, 5), (2, 3)]
    """

    groups: list[tuple[int, int]]
    """(texts, cells of each), in order: what attention takes at once."""
    position: np.ndarray
    """(T,) int64: position of the cell's token in its text; 0 in padding."""
    taken: np.ndarray
    """(T,) bool: False in padding."""
    index: np.ndarray
    """(b, longest) int64: the cells of each text; after its end, its last cell again."""
    mask: np.ndarray
    """(b, longest) int64: 1 for a token of the text, 0 after its end."""


def layout(lengths: np.ndarray, step: int) -> Layout:
    """Lay out texts of so many tokens (b,); each gets a multiple of `step` cells."""
    cells = -(-lengths // step) * step
    start = np.cumsum(cells) - cells
    position = np.arange(cells.sum()) - np.repeat(start, cells)
    taken = position < np.repeat(lengths, cells)
    sizes, first = np.unique(-cells, return_index=True)
    count = np.diff(np.append(first, len(cells)))
    column = np.arange(lengths.max())
    return Layout(
        groups=list(zip(count.tolist(), (-sizes).tolist(), strict=True)),
        position=position * taken,
        taken=taken,
        index=start[:, None] + np.minimum(column, lengths[:, None] - 1),
        mask=(column < lengths[:, None]).astype(np.int64),
    )


class Bert:
    """The layers of a `transformers.BertModel` with weights of one precision, on the model's device.

    Bert(model, "bfloat16")([[101, 7592, 102], [101, 102]])["token_embeddings"]         # (2, 3, d) float32
    """

    def __init__(self, model: Any, precision: str) -> None:
        import torch

        self.device: str = model.device.type
        self._step = WIDE_STEP if self.device == "cuda" or "amx_bf16" in cpu.bfloat16() else 1
        self._embeddings = model.embeddings
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        with torch.no_grad():
            self._layers = [_Layer(layer, model.config.num_attention_heads, dtype) for layer in model.encoder.layer]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether this is the forward pass of a transformer."""
        from transformers import BertModel

        if type(model) is not BertModel:
            return False
        config: Any = model.config
        return config.hidden_act == "gelu" and not config.is_decoder and not config.output_hidden_states

    def __call__(self, windows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Compute the hidden states of b windows of token ids, longest first.

        Returns:
            `token_embeddings` (b, longest, d) float32 and `attention_mask` (b, longest), as the next modules read them.
        """
        laid = layout(np.array([len(window) for window in windows]), self._step)
        ids = np.zeros(len(laid.taken), np.int64)
        ids[laid.taken] = np.concatenate([np.asarray(window, np.int64) for window in windows])
        hidden = self._embed(self._moved(ids), self._moved(laid.position))
        groups = list(self._groups(laid))
        for layer in self._layers:
            hidden = layer(hidden, groups)
        return {"token_embeddings": hidden[self._moved(laid.index)], "attention_mask": self._moved(laid.mask)}

    def _embed(self, ids: Tensor, position: Tensor) -> Tensor:
        """h_0 (T, d) of T token ids at their positions; all have the first type, as in a single text."""
        embeddings = self._embeddings
        first_type = embeddings.token_type_embeddings.weight[0]
        hidden = embeddings.word_embeddings(ids) + first_type + embeddings.position_embeddings(position)
        laid: Tensor = embeddings.LayerNorm(hidden)
        return laid

    def _groups(self, laid: Layout) -> Iterator[_Group]:
        """What attention takes at once, with the mask of its keys if there is padding."""
        at = 0
        for count, cells in laid.groups:
            rows = slice(at, at := at + count * cells)
            taken = laid.taken[rows].reshape(count, 1, 1, cells)
            yield _Group(rows, count, None if taken.all() else self._moved(taken))

    def _moved(self, values: np.ndarray) -> Tensor:
        """An array on the model's device; copying to a GPU goes on in the background."""
        import torch

        here = torch.from_numpy(values)
        return here if self.device == "cpu" else here.pin_memory().to(self.device, non_blocking=True)


@dataclass(frozen=True)
class _Group:
    """Texts of one length."""

    rows: slice
    """Their tokens."""
    count: int
    taken: Tensor | None
    """(count, 1, 1, length) bool: the keys that count; None: all."""


class _Layer:
    """One layer: attention and the feed-forward network, each with its residual connection and layer norm."""

    def __init__(self, layer: Any, heads: int, dtype: torch.dtype) -> None:
        attention = layer.attention
        self._dtype, self._heads = dtype, heads
        self._qkv = _Linear([attention.self.query, attention.self.key, attention.self.value], dtype)
        self._out = _Linear([attention.output.dense], dtype)
        self._up = _Linear([layer.intermediate.dense], dtype, gelu=True)
        self._down = _Linear([layer.output.dense], dtype)
        self._norms = attention.output.LayerNorm, layer.output.LayerNorm

    def __call__(self, hidden: Tensor, groups: Sequence[_Group]) -> Tensor:
        """h (T, d) float32 to the next."""
        after_attention, after_network = self._norms
        hidden = after_attention(hidden + self._out(self._attend(self._qkv(hidden.to(self._dtype)), groups)))
        result: Tensor = after_network(hidden + self._down(self._up(hidden.to(self._dtype))))
        return result

    def _attend(self, qkv: Tensor, groups: Sequence[_Group]) -> Tensor:
        """A (T, d) of the projections (T, 3 d)."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        parts = []
        for group in groups:
            texts = qkv[group.rows].view(group.count, -1, 3, self._heads, qkv.shape[1] // 3 // self._heads)
            query, key, value = texts.permute(2, 0, 3, 1, 4)
            attended = scaled_dot_product_attention(query, key, value, attn_mask=group.taken)
            parts.append(attended.transpose(1, 2).reshape(-1, qkv.shape[1] // 3))
        return torch.cat(parts)


class _Linear:
    """x W^T + b of one or several layers side by side, and on request gelu of it.

    On a CPU, oneDNN's own operation is called, as torch's compiler does: the weights are laid out once instead of in
    every call, and gelu is computed while the sums are still in registers.
    """

    def __init__(self, layers: Sequence[Any], dtype: torch.dtype, *, gelu: bool = False) -> None:
        import torch

        weight = torch.cat([layer.weight for layer in layers]).to(dtype)
        self._bias, self._gelu = torch.cat([layer.bias for layer in layers]).to(dtype), gelu
        self._laid_out = weight.device.type == "cpu" and _computed_by_onednn(dtype)
        laid_out = torch.ops.mkldnn._reorder_linear_weight if self._laid_out else None
        self._weight = laid_out(weight, TOKENS["cpu"]) if laid_out else weight

    def __call__(self, x: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        if self._laid_out:
            after, how = ("gelu", "none") if self._gelu else ("none", "")
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, after, [], how)
            return product
        product = functional.linear(x, self._weight, self._bias)
        return functional.gelu(product) if self._gelu else product


def _computed_by_onednn(dtype: torch.dtype) -> bool:
    """Whether oneDNN is available and computes this precision on this processor."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
