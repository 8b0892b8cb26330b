"""Which layer GRACE edits: the output projection of the MLP, three quarters up the stack.

GRACE's own choices are T5-small's encoder block 5 of 6 and GPT-2 XL's layer 36 of 48. In an
encoder-decoder it is the encoder, whose states every later step reads.
"""

from __future__ import annotations

from torch import nn
from transformers.pytorch_utils import Conv1D

from melo_engine import Backbone
from melo_engine.errors import BackboneError


def grace_layer(backbone: Backbone) -> str:
    """Name of the module. Raises BackboneError where there is no stack with an MLP."""
    root = backbone.model.get_encoder() if backbone.task == "seq2seq-lm" else backbone.model
    prefix = next(name for name, module in backbone.model.named_modules() if module is root)
    stacks = [
        (name, module)
        for name, module in root.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and _output(module[0])
    ]
    if not stacks:
        raise BackboneError(f"{type(root).__name__} has no stack of layers with an MLP.")
    name, stack = max(stacks, key=lambda item: (len(item[1]), -len(item[0])))
    # One layer at least comes after it, so that later tokens can attend to what is replaced.
    number = max(0, min(3 * len(stack) // 4, len(stack) - 2))
    inner = _output(stack[number])
    return ".".join(part for part in (prefix, name, str(number), inner) if part)


def _output(layer: nn.Module) -> str:
    """The last linear projection of a layer outside attention, "" where there is none."""
    names = [
        name
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and "att" not in name.lower()
    ]
    return names[-1] if names else ""
