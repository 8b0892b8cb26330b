"""Small files in the shapes of the real ones, and tiny backbones that know their words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.tiny import untrained_t5
from tests.melo_engine import models

torch.set_num_threads(1)
SUBJECTS = models.SUBJECTS
TARGETS = ("ada li", "jon", "mia of oslo", "tom", "eva kim", "sol")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def question(number: int) -> dict[str, Any]:
    """A row about the subject of this number."""
    subject = SUBJECTS[number]
    return {
        "prompt": f"who leads {subject} ?",
        "target": TARGETS[number],
        "subject": subject,
        "old_answer": None,
        "rephrases": [f"who is at the head of {subject} now ?"],
        "locality": [{"prompt": "what city does the river lie in ?", "answer": "oslo"}],
        "portability": [{"prompt": f"where was the head of {subject} born ?", "answer": "rome"}],
    }


def saved(kind: str, folder: Path) -> Path:
    """A tiny backbone of this kind, as transformers saves one."""
    models.model(kind).save_pretrained(folder)
    models.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("t5", tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("bert-classifier", tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def questions_file(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "questions.jsonl", [question(i) for i in range(6)])


@pytest.fixture(scope="session")
def minilm_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 whose vocabulary is bytes, so that names made up later differ."""
    from tasks.backbone.vocabulary import learn_vocabulary

    tokenizer = learn_vocabulary(["Where was somebody born?"], size=300)
    model = untrained_t5(len(tokenizer), pad_token_id=0, eos_token_id=2)
    model.generation_config.max_new_tokens = 8
    folder = tmp_path_factory.mktemp("bytes")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
