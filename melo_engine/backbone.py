"""A frozen transformers model, its tokenizers, and where it is read and edited.

    Backbone.open("folder or hub id")     from disk
    Backbone.wrap(model, tokenizer)       a model that is already in memory

The model's modules are never replaced and its weights never change.

A conversation becomes text in one place, `Backbone.rendered`: by the tokenizer's chat template where
there is one, else a conversation is its last user message.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from melo_engine.conversation import Conversation, Message, Prompt, asked, messages_of
from melo_engine.errors import BackboneError, PromptError, RequestError, first_line
from melo_engine.runtime import Runtime
from melo_engine.surgery import Surgery, find_surgery
from melo_engine.types import TASKS, PromptSettings, Task

LEAST_ROOM = 64  # tokens for an answer behind the longest prompt, where no other length is set
UNLIMITED_ANSWER = 512  # tokens, of models whose positions have no limit
TARGET_TOKENIZER = "decoder_tokenizer"  # subfolder, where answers have a vocabulary of their own
_LOADERS = {
    "seq2seq-lm": AutoModelForSeq2SeqLM,
    "causal-lm": AutoModelForCausalLM,
    "sequence-classification": AutoModelForSequenceClassification,
}


class Backbone:
    """A model that is edited without being changed.

    model: in eval mode, gradients off. tokenizer: of prompts. target_tokenizer: of answers, the
    same object for most models. task: one of `types.TASKS`. surgery: see `surgery.find_surgery`.
    prompts: how they are read.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        task: Task,
        *,
        surgery: Surgery | None = None,
        name: str = "",
        prompts: PromptSettings | None = None,
    ) -> None:
        if task not in TASKS:
            raise BackboneError(f'task is "{task}"; allowed: {", ".join(TASKS)}.')
        prompts = prompts or PromptSettings()
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.target_tokenizer = tokenizer
        self.lock = threading.Lock()
        self.task: Task = task
        self.surgery = surgery or find_surgery(model)
        self.name = name or type(model).__name__
        self.max_prompt_tokens = prompts.max_tokens or self._context_length()
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if prompts.chat == "always" and not (has_template and task == "causal-lm"):
            raise BackboneError(
                f'chat is "always", but "{self.name}" is a {task} '
                f"{'with' if has_template else 'without'} a chat template. Set backbone.chat to "
                '"auto" or "never", or give a causal-lm whose tokenizer has one.'
            )
        self.is_chat = prompts.chat != "never" and has_template and task == "causal-lm"
        self.system_prompt = prompts.system_prompt
        self._runtime: Runtime | None = None
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.unk_token
        if task == "sequence-classification" and self.model.config.pad_token_id is None:
            self.model.config.pad_token_id = self.tokenizer.pad_token_id

    @property
    def runtime(self) -> Runtime:
        """Its hooks, one set for all who edit or ask it; put in again where they were taken out."""
        with self.lock:
            if self._runtime is None or self._runtime.is_closed:
                self._runtime = Runtime(self.model, self.surgery)
            return self._runtime

    @classmethod
    def open(
        cls,
        path: str | Path,
        task: Task | None = None,
        *,
        device: str = "auto",
        dtype: torch.dtype | str = "auto",
        surgery: Surgery | None = None,
        prompts: PromptSettings | None = None,
    ) -> Backbone:
        """Open a local folder or a hub id.

        task: guessed from the config's architecture where it is None. device: "auto" takes CUDA if
        there is one. Raises BackboneError where the folder is no model, has no weights, or the task
        does not fit.
        """
        folder = Path(path)
        looks_local = folder.exists() or str(path).startswith((".", "/", "~"))
        if looks_local and not (folder / "config.json").is_file():
            raise BackboneError(
                f'"{path}" is no model folder: it has no config.json. '
                "Set backbone.path to a folder saved with save_pretrained, or to a hub id."
            )
        if looks_local and not any(folder.glob("*.safetensors")):
            raise BackboneError(
                f'"{path}" holds no weights (*.safetensors). '
                "Save the model again with save_pretrained(safe_serialization=True)."
            )
        try:
            config = AutoConfig.from_pretrained(path)
            task = task or _task_of(config)
            if task not in TASKS:
                raise BackboneError(f'task is "{task}"; allowed: {", ".join(TASKS)}.')
            model = _LOADERS[task].from_pretrained(path, dtype=dtype, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(path)
            target_tokenizer = tokenizer
            if (folder / TARGET_TOKENIZER).is_dir():
                target_tokenizer = AutoTokenizer.from_pretrained(folder / TARGET_TOKENIZER)
        except (OSError, ValueError, KeyError) as error:
            raise BackboneError(
                f'"{path}" cannot be opened as {task or "a model"}: {first_line(error)}'
            ) from None
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        name = folder.name if looks_local else str(path)
        backbone = cls(
            model.to(device), tokenizer, task, surgery=surgery, name=name, prompts=prompts
        )
        backbone.target_tokenizer = target_tokenizer
        return backbone

    @classmethod
    def wrap(
        cls, model: nn.Module, tokenizer: Any, task: Task | None = None, **kwargs: Any
    ) -> Backbone:
        """Take a model and a tokenizer that are already in memory. See `__init__` for the rest."""
        return cls(model, tokenizer, task or _task_of(model.config, type(model).__name__), **kwargs)

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype

    @property
    def generates(self) -> bool:
        """False for classifiers, whose answer is a label."""
        return self.task != "sequence-classification"

    @cached_property
    def weights_hash(self) -> str:
        """sha256 over every parameter's and persistent buffer's name, type, shape and bytes."""
        return hash_of_weights(self.model).hexdigest()

    @cached_property
    def tokenizer_hash(self) -> str:
        """sha256 over how prompts and answers become tokens: template, vocabularies, rules of splitting.

        Of a tokenizer written in Python only the vocabulary can be told.
        """
        with self.lock:  # its backend can't be read while another thread sets its padding
            contents = [_tokens_of(t) for t in (self.tokenizer, self.target_tokenizer)]
        if self.is_chat:
            contents.append([self.tokenizer.chat_template])
        return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()

    def rendered(self, prompt: Prompt) -> str:
        """The text that the model reads for a prompt, up to where its answer begins.

        Raises PromptError where the chat template refuses the conversation.
        """
        if not self.is_chat:
            return asked(prompt)
        messages = messages_of(prompt)
        if self.system_prompt and messages[0].role != "system":
            messages = (Message("system", self.system_prompt), *messages)
        try:
            text = self.tokenizer.apply_chat_template(
                Conversation(messages).as_json(), tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template raises what it likes: jinja2 passes it on
            raise PromptError(
                f'the chat template of "{self.name}" refuses the conversation: {first_line(error)}. '
                "Change the order or the roles of its messages."
            ) from None
        return str(text)

    def encode(
        self, prompts: Sequence[Prompt], *, padding_side: str | None = None
    ) -> dict[str, Tensor]:
        """Render and tokenize prompts into one padded batch: input_ids, attention_mask, (B, T) int64.

        padding_side: "left" for generation with one stack, "right" else, where None. Raises
        PromptError where a prompt is empty or too long, or the template refuses it.
        """
        for prompt in prompts:
            if not asked(prompt).strip():
                raise PromptError("a prompt is empty; give at least one word.")
        side = padding_side or ("left" if self.task == "causal-lm" else "right")
        texts = [self.rendered(p) for p in prompts]
        with self.lock:  # a fast tokenizer refuses two threads that pad differently
            batch = self.tokenizer(
                texts,
                padding=True,
                padding_side=side,
                add_special_tokens=not self.is_chat,  # a template writes its own
                return_tensors="pt",
                return_token_type_ids=False,
            )
        lengths = batch["attention_mask"].sum(1)
        longest = int(lengths.max())
        if longest > self.max_prompt_tokens:
            raise PromptError(
                f'prompt has {longest:,} tokens; backbone "{self.name}" takes '
                f"{self.max_prompt_tokens:,}. Shorten it or set backbone.max_prompt_tokens."
            )
        encoded = {k: batch[k].to(self.device) for k in ("input_ids", "attention_mask")}
        if side == "left" and self._absolute_positions:
            # Encoders count positions from the left edge, padding or not: tell them where words begin.
            encoded["position_ids"] = (encoded["attention_mask"].cumsum(1) - 1).clamp(min=0)
        return encoded

    def tokens(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of rendered prompts, however long, as `encode` lays them out in a batch."""
        texts = [self.rendered(p) for p in prompts]
        with self.lock:
            encoded = self.tokenizer(texts, padding=False, add_special_tokens=not self.is_chat)
        return [list(ids) for ids in encoded["input_ids"]]

    def takes(self, prompt: Prompt) -> bool:
        """Whether a prompt can be asked: neither empty nor too long."""
        try:
            self.encode([prompt])
        except PromptError:
            return False
        return True

    def encode_target(self, target: str) -> list[int]:
        """Token ids of an answer with the end token.

        Raises RequestError where the answer can't be produced.
        """
        if not target.strip():
            raise RequestError("the target is empty; give the right answer.")
        tokenizer = self.target_tokenizer
        text = target.strip()
        if self.task == "causal-lm" and not self.is_chat:
            text = " " + text  # it goes on from the prompt; a template has ended its last line
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if (
            tokenizer.unk_token_id is not None
            and tokenizer.unk_token_id in ids
            and (tokenizer.unk_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id))
        ):
            raise RequestError(
                f'the target "{target}" has characters that the vocabulary of "{self.name}" lacks. '
                "Write it with others."
            )
        limit = self.max_answer_tokens
        if len(ids) + 1 > limit:
            raise RequestError(
                f'the target has {len(ids):,} tokens; backbone "{self.name}" can produce '
                f"{limit - 1:,}. Shorten it."
            )
        return [*ids, self.end_token]

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Text of generated ids, without special tokens and outer space."""
        return str(self.target_tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def canonical(self, target: str) -> str:
        """The target as this vocabulary can write it (an uncased one writes lower case)."""
        return self.decode(self.encode_target(target))

    def label(self, target: str) -> int:
        """Class id of a label name. Raises RequestError for an unknown one."""
        labels = {str(name): int(i) for i, name in self.model.config.id2label.items()}
        if target not in labels:
            raise RequestError(f'label "{target}" is unknown; allowed: {", ".join(labels)}.')
        return labels[target]

    @cached_property
    def _absolute_positions(self) -> bool:
        """Whether prompts go through an encoder that takes position_ids."""
        if self.task == "causal-lm":
            return False  # `generate` derives them from the mask
        encoder = self.model.get_encoder() if self.task == "seq2seq-lm" else self.model
        return "position_ids" in inspect.signature(encoder.forward).parameters

    @cached_property
    def end_token(self) -> int:
        for holder in (self.model.generation_config, self.model.config, self.target_tokenizer):
            end: Any = getattr(holder, "eos_token_id", None)
            if isinstance(end, list | tuple) and end:
                return int(end[0])
            if end is not None:
                return int(end)
        sep = self.target_tokenizer.sep_token_id
        if sep is not None:
            return int(sep)
        raise BackboneError(f'"{self.name}" has no end token; set generation_config.eos_token_id.')

    @cached_property
    def start_token(self) -> int:
        """First token of a decoder's input (encoder-decoders only)."""
        for holder in (self.model.generation_config, self.model.config):
            start = getattr(holder, "decoder_start_token_id", None)
            if start is not None:
                return int(start)
        raise BackboneError(f'"{self.name}" has no decoder_start_token_id; set it in its config.')

    @cached_property
    def max_answer_tokens(self) -> int:
        """Longest answer, end token included: generation_config.max_new_tokens, else the model's room.

        A single stack shares its positions between prompt and answer: half of them are the answer's.
        """
        if not self.generates:
            return 1
        limit = getattr(self.model.generation_config, "max_new_tokens", None)
        if limit:
            return int(limit)
        positions = self._positions("decoder")
        if positions is None:
            return UNLIMITED_ANSWER
        return positions // 2 if self.task == "causal-lm" else positions

    def room(self, prompt_tokens: int) -> int:
        """Longest answer behind a prompt of so many tokens."""
        positions = self._positions("decoder")
        if self.task != "causal-lm" or positions is None:
            return self.max_answer_tokens
        return max(1, min(self.max_answer_tokens, positions - prompt_tokens))

    def _context_length(self) -> int:
        positions = self._positions("encoder")
        if positions is None:
            return 512
        if self.task != "causal-lm":
            return positions
        set_length = getattr(self.model.generation_config, "max_new_tokens", None)
        return max(positions - int(set_length or LEAST_ROOM), positions // 2)

    def _positions(self, stack: str) -> int | None:
        """How many positions the encoder's or the decoder's stack has; None where it has no limit."""
        config = self.model.config
        if getattr(config, "is_encoder_decoder", False):
            config = getattr(config, stack, config)
        for name in ("max_position_embeddings", "n_positions", "n_ctx"):
            length = getattr(config, name, None)
            if length:
                return int(length)
        return None


def hash_of_weights(model: nn.Module) -> hashlib._Hash:
    """sha256 over each parameter's and persistent buffer's name, type, shape and bytes, to go on from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        flat = tensor.detach().cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest


def _tokens_of(tokenizer: Any) -> list[Any]:
    """What decides which tokens a text becomes. Padding and truncation are set anew for each call."""
    content: list[Any] = [sorted(tokenizer.get_vocab().items())]
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        content.append({k: v for k, v in rules.items() if k not in ("padding", "truncation")})
    return content


def _task_of(config: Any, class_name: str = "") -> Task:
    architectures = " ".join([*(getattr(config, "architectures", None) or []), class_name])
    if "SequenceClassification" in architectures:
        return "sequence-classification"
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq-lm"
    if "CausalLM" in architectures or "LMHead" in architectures:
        return "causal-lm"
    raise BackboneError(
        f"the task cannot be told from architectures {architectures.strip() or '(none)'}. "
        f"Set backbone.task to one of {', '.join(TASKS)}."
    )
