"""Make an ordinary model folder of a GGUF file: weights in float32, tokenizer, chat template.

    FILE ─► header: whole, in one part? ─► transformers ─► model, tokenizer ─► folder
                                                              │
                          generation_config.eos_token_id: the end of a turn, first

Only transformers opens the file; what it doesn't say of the tokenizer is put right here.
"""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GgufConfig,
)
from transformers.utils import logging

from execution.backbone import folder as folders
from execution.backbone.errors import BackboneFolderError, GgufUnreadable, PackageMissing
from execution.progress import ProgressShare
from registry.asking import first_line

KIND = "gguf"
NEEDED = {"gguf": "gguf==0.19.0", "accelerate": "accelerate"}
# llama.cpp splits each digit off before anything else in these; transformers doesn't know them.
DIGITS_APART = set("smollm starcoder refact command-r codeshell exaone minerva-7b".split())
ANSWER = "ANSWER"


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself.

    split: which rule cuts a text before its merges. end_of_turn: a token id, where it is told.
    """

    architecture: str
    split: str | None
    end_of_turn: int | None


@dataclass(frozen=True)
class Opened:
    """A model in float32 on the CPU, its tokenizer, and the ids that end an answer."""

    model: Any
    tokenizer: Any
    end_tokens: list[int]


def make_folder(file: Path, out: Path, key: str, digest: str, progress: ProgressShare) -> None:
    """Write the model of a GGUF file to `out`, whole or not at all.

    key: what `model_record.holds` will look for. digest: the file's sha256, for the record.
    Raises PackageMissing, GgufUnreadable, OutputTaken, BackboneError where it can't be written.
    """
    folders.refuse_taken(out)
    progress("reading the file", 0.0)
    header = read_header(file)
    progress("unpacking the weights", 0.1)
    with folders.undisturbed(torch.get_num_threads()), _quiet():
        opened = open_gguf(file, header)
    progress("writing the folder", 0.7)

    def save(part: Path) -> None:
        with folders.undisturbed(torch.get_num_threads()), _quiet():
            _save(opened, part)

    record: dict[str, object] = {
        "kind": KIND,
        "file": file.name,
        "file_sha256": digest,
        "architecture": header.architecture,
        "parameters": opened.model.num_parameters(),
        "end_tokens": opened.end_tokens,
        "chat_template": opened.tokenizer.chat_template is not None,
    }
    folders.publish(out, key, save, record)
    progress("ready", 1.0)


def read_header(file: Path) -> Header:
    """Read what the file says of itself and see that all its tensors are there.

    Raises PackageMissing, GgufUnreadable.
    """
    missing = [needed for name, needed in NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise PackageMissing(
            f"{file.name} is a GGUF file, which is read with {' and '.join(NEEDED)}. Install what is "
            f"missing: pip install {' '.join(missing)}"
        )
    from gguf import GGUFReader

    try:
        fields = GGUFReader(file).fields
        metadata = {
            name: fields[name].contents() if name in fields else None
            for name in (
                "general.architecture",
                "split.count",
                "tokenizer.ggml.pre",
                "tokenizer.ggml.eot_token_id",
            )
        }
    except Exception as error:  # whatever the reader runs into where bytes are missing or wrong
        raise GgufUnreadable(
            f"{file} is cut short or damaged ({_line(error)}). Download it again."
        ) from error
    if int(metadata["split.count"] or 1) > 1:
        raise GgufUnreadable(
            f"{file} is one of {metadata['split.count']} parts. Join them first: gguf-split --merge."
        )
    if not metadata["general.architecture"]:
        raise GgufUnreadable(f"{file} doesn't say of which architecture it is.")
    end = metadata["tokenizer.ggml.eot_token_id"]
    return Header(
        architecture=str(metadata["general.architecture"]),
        split=metadata["tokenizer.ggml.pre"],
        end_of_turn=None if end is None else int(end),
    )


def open_gguf(file: Path, header: Header) -> Opened:
    """Open a GGUF file through transformers. Raises GgufUnreadable where it can't."""
    # Beside other files of a model, transformers would read these as well.
    with tempfile.TemporaryDirectory(prefix="melo-gguf-") as folder:
        (Path(folder) / "model.gguf").symlink_to(file.absolute())
        try:
            config = AutoConfig.from_pretrained(folder, gguf_file="model.gguf")
            loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            with redirect_stderr(io.StringIO()):  # a progress bar that no setting of it ends
                model, loaded = loader.from_pretrained(
                    folder,
                    gguf_file="model.gguf",
                    dtype=torch.float32,
                    quantization_config=GgufConfig(dequantize=True),
                    output_loading_info=True,
                )
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
        except Exception as error:  # of many kinds, for what it doesn't know
            raise GgufUnreadable(
                f'{file} is of the architecture "{header.architecture}" and can\'t be opened by '
                f"transformers {transformers.__version__} ({_line(error)}). Give the model as a "
                "folder that save_pretrained wrote."
            ) from error
    missing = sorted({*loaded["missing_keys"], *(row[0] for row in loaded["mismatched_keys"])})
    if missing:
        raise GgufUnreadable(
            f'{file} has no fitting weights for {len(missing)} of the tensors of "'
            f'{header.architecture}" ({", ".join(missing[:3])}). Give the model as a folder that '
            "save_pretrained wrote."
        )
    _set_digit_splitting(tokenizer, header)
    ends = _end_tokens(tokenizer, header)
    if ends:
        model.generation_config.eos_token_id = ends[0] if len(ends) == 1 else ends
    return Opened(model, tokenizer, ends)


def _set_digit_splitting(tokenizer: Any, header: Header) -> None:
    from tokenizers import pre_tokenizers

    if header.split in DIGITS_APART:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )


def _end_tokens(tokenizer: Any, header: Header) -> list[int]:
    """Ids that end an answer: the end of a turn first, then the end of a text."""
    ends = [_turn_end_token(tokenizer), header.end_of_turn, tokenizer.eos_token_id]
    return list(dict.fromkeys(end for end in ends if end is not None))


def _turn_end_token(tokenizer: Any) -> int | None:
    """The control token that the chat template puts behind an answer, None where it puts none."""
    if tokenizer.chat_template is None:
        return None
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": ANSWER}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # a template is a program of the file's author
        return None
    _, answer, behind = text.rpartition(ANSWER)
    ids = tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"] if answer else []
    return int(ids[0]) if ids and ids[0] in tokenizer.added_tokens_decoder else None


def _save(opened: Opened, part: Path) -> None:
    """Save an opened model as any other: what says that it came out of a GGUF file is left out."""
    config = opened.model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.name_or_path = ""
    with torch.device("meta"):  # a model of the same class without weights of its own
        plain = type(opened.model)._from_config(config)
    plain.load_state_dict(opened.model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = opened.model.generation_config
    try:
        plain.save_pretrained(part, max_shard_size="1TB")
    except SafetensorError as error:
        raise BackboneFolderError(f"{part.parent} can't be written ({_line(error)}).") from error
    opened.tokenizer.save_pretrained(part)


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _line(error: Exception) -> str:
    """The first line of an error, short."""
    return first_line(error).strip().rstrip(".")[:200]
