"""Where a model is read and where it is edited, found from its module tree by one rule.

    encoder-decoder        key: output of the encoder          blocks: MLP of the decoder's last layer
    decoder or encoder     key: output of the layer before     blocks: MLP of the last layer
    alone                       the last one

"MLP" is every linear projection of such a layer that does not belong to an attention module. So a
key is always read before any block acts. No attention runs after a block, so a block sees one
position at a time, and a training step computes only the positions of the target. On a chat model of
30 layers the last layer alone held every edit that the last 8 did, at a sixth of the cost
(docs/decisions/last-layer.md). A `Surgery` may be set by hand instead: module names as in
`model.named_modules()`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from melo_engine.errors import BackboneError

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Surgery:
    """key_module: its output is read as the key. targets: linear modules that get a low-rank pair."""

    key_module: str
    targets: tuple[str, ...]


def find_surgery(model: nn.Module) -> Surgery:
    """Apply the rule above to a model. Raises BackboneError where it has no stack of layers."""
    encoder = _encoder_name(model)
    stacks = _layer_stacks(model)
    if encoder:
        stacks = {n: count for n, count in stacks.items() if not n.startswith(encoder + ".")}
    if not stacks:
        raise BackboneError(
            f"{type(model).__name__} has no stack of layers that could be edited. "
            "Name key_module and targets in a Surgery."
        )
    stack = max(stacks, key=lambda name: (stacks[name], -len(name)))
    last = stacks[stack] - 1
    targets = tuple(_mlp_projections(model, f"{stack}.{last}"))
    if not targets:
        raise BackboneError(
            f"layer {stack}.{last} has no linear projection outside attention. "
            "Name the targets in a Surgery."
        )
    key = encoder or (f"{stack}.{last - 1}" if last else _embedding_name(model))
    return Surgery(key_module=key, targets=targets)


def projection_sizes(module: nn.Module) -> tuple[int, int]:
    """(in, out) features of a Linear or of GPT-2's Conv1D, whose weight is stored transposed."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    raise BackboneError(f"a block needs a Linear or Conv1D; got {type(module).__name__}.")


def _layer_stacks(model: nn.Module) -> dict[str, int]:
    """Names of the module lists that stack transformer layers of a single class, and how many."""
    stacks = {
        name: len(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len({type(layer) for layer in module}) == 1
        and _mlp_projections(model, f"{name}.0")
    }
    # T5 stacks ModuleLists inside its blocks: keep the outermost.
    inner = {n for n in stacks if any(n.startswith(other + ".") for other in stacks)}
    return {name: count for name, count in stacks.items() if name not in inner}


def _mlp_projections(model: nn.Module, layer: str) -> list[str]:
    prefix = model.get_submodule(layer)
    return [
        f"{layer}.{name}"
        for name, module in prefix.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not is_attention(name)
    ]


def is_attention(name: str) -> bool:
    """Whether a module, by its dotted name, is attention or part of one."""
    return bool(_ATTENTION.search(name.replace("ln_cross_attn", "")))


def _encoder_name(model: Any) -> str:
    """Name of the encoder of an encoder-decoder, "" for models with a single stack."""
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return ""
    name = _name_of(model, model.get_encoder())
    if name is None:
        raise BackboneError(
            f"{type(model).__name__} is an encoder-decoder without an encoder module."
        )
    return name


def _embedding_name(model: Any) -> str:
    name = _name_of(model, model.get_input_embeddings())
    if name is None:
        raise BackboneError(f"{type(model).__name__} has one layer and no input embedding to read.")
    return name


def _name_of(model: nn.Module, part: nn.Module) -> str | None:
    return next((name for name, module in model.named_modules() if module is part), None)
