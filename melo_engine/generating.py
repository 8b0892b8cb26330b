"""From encoded prompts to texts: by generation, or by the label of a classifier."""

from __future__ import annotations

from typing import Any

import torch

from melo_engine.backbone import Backbone
from melo_engine.errors import RequestError

_NO_SCORE = frozenset(
    "max_length max_new_tokens bos_token_id eos_token_id pad_token_id decoder_start_token_id do_sample "
    "num_beams temperature top_k top_p use_cache transformers_version _from_model_config".split()
)


def generation_options(backbone: Backbone, **generation: Any) -> dict[str, Any]:
    """What `model.generate` is called with: greedily, unless `generation` says otherwise.

    Where the generation config names no end, the backbone's `end_token` is one, which blocks are trained
    to say.
    Raises RequestError for several answers to a prompt.
    """
    answers = generation.get("num_return_sequences")
    if answers is not None and answers != 1:
        raise RequestError(
            f"num_return_sequences is {answers}; each prompt gets one answer. Ask it several times."
        )
    pad = backbone.target_tokenizer.pad_token_id
    ends = {} if _configured_ends(backbone) else {"eos_token_id": sorted(end_tokens(backbone))}
    return {
        **ends,
        "do_sample": False,
        "num_beams": 1,
        "num_return_sequences": 1,
        "max_new_tokens": backbone.max_answer_tokens,
        "pad_token_id": int(pad if pad is not None else backbone.end_token),
        **{k: v for k, v in generation.items() if k != "num_return_sequences"},
    }


def is_plain(backbone: Backbone) -> bool:
    """Whether the greedy answer is the likeliest token each time: the config changes no score."""
    if not backbone.generates:
        return True
    options = backbone.model.generation_config.to_diff_dict()
    return {key for key, value in options.items() if value not in (None, False)} <= _NO_SCORE


def end_tokens(backbone: Backbone) -> set[int]:
    """All tokens at which generation ends; some models have several. None of a classifier."""
    if not backbone.generates:
        return set()
    return {backbone.end_token, *_configured_ends(backbone)}


def _configured_ends(backbone: Backbone) -> list[int]:
    """What the generation config names."""
    ends = backbone.model.generation_config.eos_token_id
    return list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]


@torch.inference_mode()
def texts_of(backbone: Backbone, encoded: dict[str, Any], generation: dict[str, Any]) -> list[str]:
    """The answer to each row of a batch. encoded: as from `Backbone.encode`."""
    model = backbone.model
    if not backbone.generates:
        labels = model(**encoded).logits.argmax(-1).tolist()
        return [str(model.config.id2label[i]) for i in labels]
    if "input_ids" in encoded:
        generation = {"max_new_tokens": backbone.room(encoded["input_ids"].shape[1]), **generation}
    ids = model.generate(**encoded, **generation_options(backbone, **generation))
    if backbone.task == "causal-lm":
        ids = ids[:, encoded["input_ids"].shape[1] :]
    return [backbone.decode(row) for row in ids]
