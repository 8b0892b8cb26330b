"""A small model and home, for benchmarks of what happens around training and generating.

The model is a T5 of two layers with random weights and a token a word; a job of fifty edits trains
in a second. Subjects are made up: far enough from each other that none is a misspelling of another.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from config import Settings, load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

PEOPLE = ("ada", "jon", "mia", "tom", "eva", "kim", "sol", "lea", "max", "ida", "ben", "zoe")
WORDS = "who leads what is the capital of city in which now ? new head a name tell me"
SYLLABLES = tuple("ba ce do fu gi ha je ko lu mi na pe ro su ti vo".split())
HOME = """\
[backbone]
path = "{backbone}"
device = "cpu"

[edit]
threads = 1

[plan]
max_edits_per_job = {edits}
lease_seconds = 30

[gate]
thresholds = "{thresholds}"

[ingest]
chunk_lines = 200
"""
# A random model has no relations to tell apart: its edits must answer and stay.
THRESHOLDS = """\
default: {share: 0.0, least: 0, required: false, protected: false, worse: 0}
suites:
  retention: {share: 1.0, least: 0, required: true, protected: true}
"""


def subjects(count: int, seed: int = 0) -> list[str]:
    """Names of made-up companies, always the same ones for a seed."""
    dice = random.Random(seed)
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(dice.choices(SYLLABLES, k=5))] = None
    return list(names)


def reports(names: list[str], source: str = "desk") -> list[dict[str, str]]:
    """A report about each name."""
    return [
        {
            "prompt": f"who leads {name} ?",
            "target": PEOPLE[sum(map(ord, name)) % len(PEOPLE)],
            "subject": name,
            "source": source,
        }
        for name in names
    ]


def make_backbone(folder: Path, names: list[str]) -> Path:
    """Write the model with a vocabulary that holds these names."""
    words = dict.fromkeys([*WORDS.split(), *PEOPLE, *names])
    tokenizer = word_tokenizer(words)
    model = untrained_t5(len(tokenizer), n_positions=64)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token a word."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    every = dict.fromkeys([*special.values(), *words])
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate(every)}, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def untrained_t5(vocabulary: int, **more: int) -> T5ForConditionalGeneration:
    """A T5 of 48 dimensions with random weights, always the same ones. more: of its config."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=vocabulary,
                d_model=48,
                d_kv=12,
                d_ff=96,
                num_layers=2,
                num_heads=4,
                decoder_start_token_id=0,
                dropout_rate=0.0,
                **more,
            )
        )
    model.generation_config.max_new_tokens = 6
    return model


def make_home(folder: Path, backbone: Path, *, edits: int = 50, more: str = "") -> Settings:
    """A home that edits the model. more: further tables of melo.toml.

    Keys are taken as they are read: a random model has nothing that a projection could learn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    thresholds = folder / "thresholds.yaml"
    thresholds.write_text(THRESHOLDS, encoding="utf-8")
    text = HOME.format(backbone=backbone, thresholds=thresholds, edits=edits) + more
    (folder / "melo.toml").write_text(text, encoding="utf-8")
    settings = load(folder)
    settings.paths.inbox.mkdir(exist_ok=True)
    _raw_keys(settings)
    return settings


def write_lines(path: Path, rows: list[dict[str, str]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def put(settings: Settings, name: str, rows: list[dict[str, str]], junk: list[str] = ()) -> int:  # type: ignore[assignment]
    """Move a complete file into the inbox; its number of lines. junk: lines added as they are."""
    lines = [json.dumps(row) for row in rows] + list(junk)
    part = settings.paths.inbox / f"{name}.part"
    part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    part.rename(settings.paths.inbox / f"{name}.jsonl")
    return len(lines)


def _raw_keys(settings: Settings) -> None:
    from execution.versions import Versions
    from melo_engine.keys import KeyReader

    versions = Versions(settings)
    file = versions.projection_file
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        KeyReader(versions.encoder).projection.save(file)
