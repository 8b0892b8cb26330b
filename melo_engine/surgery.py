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
    if encoder:
        stacks = [s for s in _layer_stacks(model) if not s.startswith(encoder + ".")]
    else:
        stacks = _layer_stacks(model)
    if not stacks:
        raise BackboneError(
            f"{type(model).__name__} has no stack of layers that could be edited. "
            "Name key_module and targets in a Surgery."
        )
    stack = max(stacks, key=lambda name: (len(_stack(model, name)), -len(name)))
    count = len(_stack(model, stack))
    last = count - 1
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


def _stack(model: nn.Module, name: str) -> nn.ModuleList:
    stack = model.get_submodule(name)
    assert isinstance(stack, nn.ModuleList)
    return stack


def _layer_stacks(model: nn.Module) -> list[str]:
    """Names of the module lists that stack at least one transformer layer of a single class."""
    names = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0:
            continue
        if len({type(layer) for layer in module}) == 1 and _mlp_projections(model, f"{name}.0"):
            names.append(name)
    # T5 stacks ModuleLists inside its blocks: keep the outermost.
    return [n for n in names if not any(n.startswith(other + ".") for other in names)]


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
    config = getattr(model, "config", None)
    if not getattr(config, "is_encoder_decoder", False):
        return ""
    encoder = model.get_encoder()
    for name, module in model.named_modules():
        if module is encoder:
            return str(name)
    raise BackboneError(f"{type(model).__name__} is an encoder-decoder without an encoder module.")


def _embedding_name(model: Any) -> str:
    embedding = model.get_input_embeddings()
    for name, module in model.named_modules():
        if module is embedding:
            return str(name)
    raise BackboneError(f"{type(model).__name__} has one layer and no input embedding to read.")
