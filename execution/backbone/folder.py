"""A prepared model's folder: known by its content, written whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.utils import logging

from artifacts.atomic import process_runs
from artifacts.hashing import file_hash
from execution.backbone.errors import BackboneFolderError, OutputTaken
from execution.backbone.record import RECORD, SCHEMA, WEIGHTS


def refuse_taken(out: Path) -> None:
    """Raise OutputTaken where `out` holds something that was not prepared here."""
    if out.is_file():
        raise OutputTaken(f"{out} is a file; give a folder.")
    if out.is_dir() and not (out / RECORD).is_file() and any(out.iterdir()):
        raise OutputTaken(f"{out} is not empty and holds no {RECORD}; give another folder.")


def publish(
    out: Path, key: str, save: Callable[[Path], None], record: Mapping[str, object]
) -> Path:
    """Let `save` fill a new folder beside `out`, then put it in the place of `out`.

    A process that dies meanwhile leaves only hidden `.NAME.PID.part` folders, which the next one
    clears away. Raises OutputTaken as `refuse_taken` does, BackboneError where it can't write.
    """
    refuse_taken(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(out)
        part = out.with_name(f".{out.name}.{os.getpid()}.part")
        part.mkdir()
        save(part)
        text = {
            "schema": SCHEMA,
            "content_key": key,
            **record,
            "weights_bytes": (part / WEIGHTS).stat().st_size,
            "weights_sha256": file_hash(part / WEIGHTS),
        }
        (part / RECORD).write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        if out.exists():
            # A folder that has files can't be replaced in one call.
            os.replace(out, out.with_name(f".{out.name}.{os.getpid()}.old.part"))
        os.replace(part, out)
        _clear_leftovers(out)
    except OSError as error:
        raise BackboneFolderError(f"{out} can't be written ({error.strerror or error}).") from error
    return out


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """Compute with this many threads and without the library's own progress bars.

    Sums are taken in another order with another number of threads, which changes the last bits.
    """
    before, bars = torch.get_num_threads(), logging.is_progress_bar_enabled()
    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if bars:
            logging.enable_progress_bar()


def _clear_leftovers(out: Path) -> None:
    for part in out.parent.glob(f".{out.name}.*.part"):
        owner = part.name.removeprefix(f".{out.name}.").split(".")[0]
        if owner.isdigit() and (int(owner) == os.getpid() or not process_runs(int(owner))):
            shutil.rmtree(part, ignore_errors=True)
