"""`merged`: a model's weights under their names in the pretrained model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def merged(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights under the pretrained model's names, with LoRA adapters added to them.

    The model is not changed. Merging in place and unmerging would leave rounding errors that no checkpoint has, so a
    resumed training would differ.
    """
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            continue
        layer, adapted, kind = name.partition(".base_layer.")
        if adapted and kind == "weight":
            weight = weight + model.get_submodule(layer).get_delta_weight("default")
        own = f"{layer}.{kind}" if adapted else name
        yield own.removeprefix("base_model.model."), weight.detach()
