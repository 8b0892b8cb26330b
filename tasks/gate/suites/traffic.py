"""A locality suite out of what people ask: recorded prompts, or any file of prompts.

    HOME/traffic/*.jsonl, or FILE ──► each question once ──┬──► suites/traffic.jsonl        every gate
                                                           └──► suites/audit/traffic-held-back.jsonl
                                                                the share held back: nightly audits only

A prompt that an edit answered is left out: it may be that edit's own question. So is, at each gate, one
that has become an edit's own question since (`of_ledger`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.gate.errors import SuiteError
from tasks.gate.suites.files import DATA, add_suite, read_rows
from text import normalize_question

NAME = "traffic"
HELD_BACK = "traffic-held-back"
AUDIT = "audit"  # folder beside the suites, of those that only audits ask


@dataclass(frozen=True)
class Taken:
    """How many questions went where. left_out: empty, doubled, or answered by an edit."""

    asked: int
    held_back: int
    left_out: int


def suite_from_traffic(
    suites: Path, files: Sequence[Path], *, held_back: float = 0.2, most: int | None = None
) -> Taken:
    """Write both suites, in place of those of an earlier call. Raises SuiteError.

    files: JSON lines or Parquet with a "prompt" a row. held_back: share that only audits ask. most: so
    many questions at most, chosen by their hash.
    """
    rows = [row for path in files for row in read_rows(path)]
    prompts = _deduplicated(rows)
    if not prompts:
        raise SuiteError(
            "no prompts there. Set serve.record_prompts to record them, or name a file whose rows "
            'have a "prompt".'
        )
    chosen = sorted(prompts, key=_position)[:most]
    kept_back = {p for p in chosen if _position(f"held|{p}") < held_back}
    source = ", ".join(path.name for path in files[:3]) + (" ..." if len(files) > 3 else "")
    for folder, name, questions in (
        (suites, NAME, [p for p in chosen if p not in kept_back]),
        (suites / AUDIT, HELD_BACK, sorted(kept_back)),
    ):
        for end in (*DATA, ".yaml"):
            (folder / f"{name}{end}").unlink(missing_ok=True)
        if questions:
            header = {"expect": "unchanged", "source": source}
            add_suite(folder, name, [{"prompt": p} for p in questions], header)
    return Taken(len(chosen) - len(kept_back), len(kept_back), len(rows) - len(chosen))


def _deduplicated(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each question once, in the order that they came."""
    questions: dict[str, str] = {}
    for row in rows:
        prompt = row.get("prompt")
        if isinstance(prompt, str) and prompt.strip() and not row.get("edit"):
            questions.setdefault(normalize_question(prompt), prompt)
    return list(questions.values())


def _position(text: str) -> float:
    """A place in 0..1 that the text alone decides: the same questions are held back each time."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
