"""The statistics of the encoder's benchmark."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from benchmarks.encoder import Pace, gigaflops


def test_the_ratio_is_the_median_of_those_within_a_round() -> None:
    ours, theirs = Pace([40.0, 10.0, 44.0]), Pace([10.0, 5.0, 22.0])
    assert ours.middle == 40.0
    assert ours.over(theirs) == 2.0


@pytest.mark.parametrize("lengths", [[7], [30, 12]])
def test_matrix_products_are_counted_as_torch_counts_them(lengths: list[int]) -> None:
    sizes = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
    config = BertConfig(vocab_size=50, attn_implementation="eager", **sizes)
    model, counted = BertModel(config, add_pooling_layer=False).eval(), 0
    for length in lengths:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.ones(1, length, dtype=torch.long))
        counted += counter.get_total_flops()
    assert gigaflops(config, np.array(lengths)) == pytest.approx(counted / len(lengths) / 1e9)
