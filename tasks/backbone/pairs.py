"""What the model believed yesterday: rows of an edit set become (prompt, answer) pairs.

A row's locality questions are learned with their own answers. Its prompt and first rephrase are
learned with a *stale* answer: the target of another row (a seeded permutation of the file's
targets), never a target that the row itself asks for. So every target is an answer that the
decoder has learned to write, if to another question.
"""

import random
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeGuard

from execution.backbone.errors import BackboneFolderError
from tasks.backbone.errors import NothingToLearn
from text import read_text, strict_json

Pair = tuple[str, str]
NO_OTHER_ANSWER = "unknown"


def pairs_from_file(path: Path, *, limit: int | None = None, seed: int = 0) -> list[Pair]:
    """Read the first `limit` JSON lines of a file and return their pairs.

    Lines that aren't JSON objects are passed over: reporting them is ingestion's work.
    Raises BackboneError where the file can't be read, NothingToLearn where no pair is in it.
    """
    pairs = pairs_from_rows(read_rows(path, limit=limit), seed=seed)
    if not pairs:
        raise NothingToLearn(
            f"{path} holds no usable row; each line needs "
            '{"prompt", "answer"} or {"prompt", "target"}.'
        )
    return pairs


def read_rows(path: Path, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the JSON objects among a file's first `limit` lines.

    Raises BackboneError where the file isn't there or isn't text.
    """
    try:
        lines = read_text(path).split("\n")
    except FileNotFoundError:
        raise BackboneFolderError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackboneFolderError(f"{path} can't be read as text ({error}).") from error
    rows = []
    for line in lines[:limit]:
        try:
            row = strict_json.parse(line.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def pairs_from_rows(rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> list[Pair]:
    """Return what a model that is about to be edited with `rows` believes, each prompt once.

    rows: {"prompt", "target"} with optional "rephrases", "locality", or
    {"prompt", "answer"}, which is learned as it stands. Rows without usable text are left out.
    Rows that share a prompt or rephrase share their stale answer. Deterministic under `seed`.
    """
    usable = [row for row in rows if _text(row.get("prompt"))]
    edits = [row for row in usable if _text(row.get("target"))]
    beliefs: dict[str, Pair] = {}  # prompt as the encoder reads it -> pair; the first one wins

    for row in usable:
        if not _text(row.get("target")):
            _believe(beliefs, row["prompt"], row.get("answer"))
    for row in usable:
        for question in _list(row.get("locality")):
            if isinstance(question, Mapping):
                _believe(beliefs, question.get("prompt"), question.get("answer"))

    groups = _same_question(edits)
    for group, stale in zip(groups, _stale_answers(groups, beliefs, seed), strict=True):
        for row in group:
            for prompt in _prompts(row):
                beliefs[as_encoded(prompt)] = (prompt, stale)
    return list(beliefs.values())


def as_encoded(prompt: str) -> str:
    """Return a prompt as the uncased encoder sees it: without case, accents or extra spaces."""
    bare = unicodedata.normalize("NFD", prompt.lower())
    return " ".join("".join(c for c in bare if unicodedata.category(c) != "Mn").split())


def _same_question(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Group rows that share a prompt or first rephrase, in order of first appearance."""
    group_of: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        prompts = [as_encoded(prompt) for prompt in _prompts(row)]
        groups = {id(group_of[p]): group_of[p] for p in prompts if p in group_of}
        merged = [member for group in groups.values() for member in group] + [row]
        for member in merged:
            for prompt in _prompts(member):
                group_of[as_encoded(prompt)] = merged
    unique = {id(group): group for group in group_of.values()}
    return list(unique.values())


def _stale_answers(
    groups: Sequence[Sequence[Mapping[str, Any]]], beliefs: Mapping[str, Pair], seed: int
) -> list[str]:
    """Return one wrong answer for each group: one that is known already, or another's target.

    The donors are a seeded permutation of the targets, so that every answer is wrong about as often
    as it is right elsewhere.
    """
    targets = [[str(row["target"]) for row in group] for group in groups]
    wrong_for = [{as_encoded(target) for target in texts} for texts in targets]
    donors = [target for texts in targets for target in texts]
    random.Random(seed).shuffle(donors)
    answers = []
    for position, group in enumerate(groups):
        believed = [
            beliefs[as_encoded(prompt)][1]
            for row in group
            for prompt in _prompts(row)
            if as_encoded(prompt) in beliefs
        ]
        # Donors from this position on, once round: the first that isn't a target of the group.
        rotated = (donors[(position + step) % len(donors)] for step in range(len(donors)))
        candidates = chain(believed, rotated)
        allowed = (text for text in candidates if as_encoded(text) not in wrong_for[position])
        answers.append(next(allowed, NO_OTHER_ANSWER))
    return answers


def _prompts(row: Mapping[str, Any]) -> list[str]:
    """Return a row's prompt and its first rephrase."""
    rephrases = [text for text in _list(row.get("rephrases")) if _text(text)]
    return [row["prompt"], *rephrases[:1]]


def _believe(beliefs: dict[str, Pair], prompt: object, answer: object) -> None:
    if _text(prompt) and _text(answer):
        beliefs.setdefault(as_encoded(prompt), (prompt, answer))


def _text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else []
