"""Which modules of a stack the baselines edit: the projections of an MLP, some way up.

    layer 0 ─ ... ─ layer n-1          into the MLP:   gate, up    (UltraEdit)
                                       out of the MLP: down        (GRACE, localized fine-tuning)

GRACE's own choices are T5-small's encoder block 5 of 6 and GPT-2 XL's layer 36 of 48. In an
encoder-decoder it is the encoder, whose states every later step reads.
"""

from __future__ import annotations

from torch import nn
from transformers.pytorch_utils import Conv1D

from melo_engine import Backbone
from melo_engine.errors import BackboneError


def grace_layer(backbone: Backbone) -> str:
    """The output projection of the MLP, three quarters up the stack.

    Raises BackboneError where there is no stack with an MLP.
    """
    return output_projection(backbone, 0.75)


def output_projection(backbone: Backbone, depth: float) -> str:
    """Name of the last projection of the MLP at this share of the stack's height.

    Raises BackboneError where there is no stack with an MLP.
    """
    name, stack = _stack(backbone)
    # One layer at least comes after it, so that later tokens can attend to what is replaced.
    number = max(0, min(int(depth * len(stack)), len(stack) - 2))
    return f"{name}.{number}.{_projections(stack[number])[-1]}"


def input_projections(backbone: Backbone, low: float, high: float) -> tuple[str, ...]:
    """Names of the projections into the MLP (gate, up) of the layers between two shares of the height.

    One layer at least. Raises BackboneError where there is no stack with an MLP.
    """
    name, stack = _stack(backbone)
    first = min(int(low * len(stack)), len(stack) - 1)
    last = max(first + 1, int(high * len(stack)))
    return tuple(
        f"{name}.{number}.{inner}"
        for number in range(first, last)
        for inner in _projections(stack[number])[:-1]
    )


def _stack(backbone: Backbone) -> tuple[str, nn.ModuleList]:
    """The tallest stack of layers with an MLP, and its name in the model."""
    root = backbone.model.get_encoder() if backbone.task == "seq2seq-lm" else backbone.model
    prefix = next(name for name, module in backbone.model.named_modules() if module is root)
    stacks = [
        (name, module)
        for name, module in root.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and _projections(module[0])
    ]
    if not stacks:
        raise BackboneError(f"{type(root).__name__} has no stack of layers with an MLP.")
    name, stack = max(stacks, key=lambda item: (len(item[1]), -len(item[0])))
    return ".".join(part for part in (prefix, name) if part), stack


def _projections(layer: nn.Module) -> list[str]:
    """The linear projections of a layer outside attention, in order."""
    return [
        name
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and "att" not in name.lower()
    ]
