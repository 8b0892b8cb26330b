"""What reads a text's tokens before a key is made of them: one interface, two readers.

    HiddenStates      the backbone's own states at its key module, in a pass that stops there (MELO)
    SentenceEncoder   a small sentence encoder, the same for every backbone

Either reads the bare question: no template, system prompt, history or padding has a say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from melo_engine.backbone import Backbone, hash_of_weights
from melo_engine.errors import BackboneError, first_line
from melo_engine.sentence_encoder_files import FOLDER, sentence_encoder_folder

TOGETHER = 4096  # texts that are sorted by length at a time
LONGEST_READ = 512  # tokens; of a longer text the end is read, since there the question stands

Batch = tuple[list[int], Tensor, Tensor]  # which texts, states (B, T, H), mask (B, T)


class TokenEncoder(Protocol):
    """Reads texts to the hidden states of their tokens."""

    def __hash__(self) -> int:
        """By identity: an encoder is opened once in a process."""

    @property
    def name(self) -> str:
        """What a version's manifest calls it."""

    @property
    def content_hash(self) -> str:
        """sha256 over everything that decides its states."""

    @property
    def hidden_size(self) -> int:
        """Width H of the states."""

    @property
    def device(self) -> torch.device:
        """Where the states are."""

    @property
    def tolerance(self) -> float:
        """By how much a key may differ between batches: below it, a route is decided alone."""

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where each token stands in its text, [begin, end) in characters; empty for special tokens."""

    def read(self, texts: Sequence[str], batch_size: int = 64) -> Iterator[Batch]:
        """Batches of like length: which texts, their states (B, T, H) and mask (B, T) of real tokens."""


class HiddenStates:
    """The backbone's own hidden states at its key module; the layers above are not computed."""

    name = "hidden-states"

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @property
    def content_hash(self) -> str:
        """Of the backbone and the module that is read."""
        content = f"{self.backbone.weights_hash}|{self.backbone.surgery.key_module}"
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def hidden_size(self) -> int:
        config = self.backbone.model.config
        if self.backbone.task == "seq2seq-lm":
            config = getattr(config, "encoder", config)
        return int(config.hidden_size)

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def tolerance(self) -> float:
        return 1e-4 if self.backbone.dtype == torch.float32 else 3e-2

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        with self.backbone.lock:
            return _offsets(self.backbone.tokenizer, texts)

    def read(self, texts: Sequence[str], batch_size: int = 64) -> Iterator[Batch]:
        limit = min(LONGEST_READ, self.backbone.max_prompt_tokens)
        tokenizer = self.backbone.tokenizer
        for rows, batch in _by_length(tokenizer, texts, batch_size, limit, self.backbone.lock):
            inputs = {name: tensor.to(self.device) for name, tensor in batch.items()}
            with torch.inference_mode():
                states = self.backbone.runtime.read_hidden(
                    partial(forward_to_key, self.backbone, inputs)
                )
            yield rows, states, inputs["attention_mask"]


def forward_to_key(backbone: Backbone, inputs: dict[str, Tensor]) -> None:
    """Run the part of the model that holds the key module; to be called inside `read_hidden`."""
    model = backbone.model
    if backbone.task == "seq2seq-lm":
        model.get_encoder()(**inputs)
    elif backbone.task == "causal-lm":
        model.base_model(**inputs, use_cache=False)
    else:
        model.base_model(**inputs)


class SentenceEncoder:
    """A small encoder like all-MiniLM-L6-v2: the last hidden states of its tokens."""

    name = "sentence-encoder"
    tolerance = 1e-4

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @classmethod
    def open(cls, folder: str | Path, device: str = "cpu") -> SentenceEncoder:
        """From a folder as transformers saves it. Raises BackboneError where it can't be read."""
        try:
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise BackboneError(
                f'the sentence encoder in "{folder}" can\'t be read: {first_line(error)}'
            ) from None
        return cls(model.to(device), tokenizer)

    @cached_property
    def content_hash(self) -> str:
        """Of its weights and its vocabulary."""
        digest = hash_of_weights(self.model)
        digest.update(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        return digest.hexdigest()

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return _offsets(self.tokenizer, texts)

    def read(self, texts: Sequence[str], batch_size: int = 64) -> Iterator[Batch]:
        limit = min(LONGEST_READ, int(self.model.config.max_position_embeddings))
        for rows, batch in _by_length(self.tokenizer, texts, batch_size, limit, nullcontext()):
            inputs = {name: tensor.to(self.device) for name, tensor in batch.items()}
            with torch.inference_mode():
                yield rows, self.model(**inputs).last_hidden_state, inputs["attention_mask"]


def default_encoder(backbone: Backbone) -> TokenEncoder:
    """The sentence encoder for chat models, the backbone's own states for all others.

    Decided on rows that no test uses, see docs/decisions/key-reader.md.
    """
    return encoder_named(SentenceEncoder.name if backbone.is_chat else HiddenStates.name, backbone)


def encoder_named(name: str, backbone: Backbone) -> TokenEncoder:
    """The encoder of this name, for this backbone. Raises BackboneError where there is none."""
    if name == HiddenStates.name:
        return HiddenStates(backbone)
    if name == SentenceEncoder.name:
        return installed_sentence_encoder()
    raise BackboneError(
        f'encoder "{name}" is unknown; allowed: {HiddenStates.name}, {SentenceEncoder.name}.'
    )


@cache
def installed_sentence_encoder() -> SentenceEncoder:
    """all-MiniLM-L6-v2 from the folder that `MELO_SENTENCE_ENCODER` names, else from its package.

    Opened once in a process. Raises BackboneError where neither is there.
    """
    folder = sentence_encoder_folder()
    if folder is not None:
        return SentenceEncoder.open(folder)
    raise BackboneError(
        "keys of a chat model are read by all-MiniLM-L6-v2, which is not installed. Install the extra "
        f'"minilm", set {FOLDER} to its folder, or set edit.key_reader to '
        f'"{HiddenStates.name}".'
    )


def _offsets(tokenizer: Any, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """See `TokenEncoder.offsets`; none where the tokenizer keeps no account of them."""
    if not tokenizer.is_fast or not texts:
        return [[] for _ in texts]
    mapping = tokenizer(list(texts), padding=False, return_offsets_mapping=True)["offset_mapping"]
    return [[(int(a), int(b)) for a, b in offsets] for offsets in mapping]


def _by_length(
    tokenizer: Any,
    texts: Sequence[str],
    size: int,
    limit: int,
    lock: AbstractContextManager[Any],
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Tokenized texts in batches of like length, padded on the right, so that little is padding.

    Of a text longer than `limit` tokens the last ones are kept. lock: held while tokenizing.
    """
    pad = tokenizer.pad_token_id or 0
    for start in range(0, len(texts), TOGETHER):
        part = list(texts[start : start + TOGETHER])
        with lock:
            ids = tokenizer(part, padding=False)["input_ids"]
        ids = [
            row if len(row) <= limit else [*row[:1], *row[len(row) - limit + 1 :]] for row in ids
        ]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            longest = len(ids[rows[-1]])
            tokens = torch.tensor([ids[i] + [pad] * (longest - len(ids[i])) for i in rows])
            mask = torch.tensor([[1] * len(ids[i]) + [0] * (longest - len(ids[i])) for i in rows])
            yield [start + i for i in rows], {"input_ids": tokens, "attention_mask": mask}
