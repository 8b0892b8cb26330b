"""What intake would quarantine of a report, so that its sender hears of it at once.

The rules are the ledger's (`ledger/staging.py`), those that a report sent to the service can break and
that need nothing but the report: the service asks no ledger. Texts are compared as intake compares them,
without what is not seen and in Unicode's composed form.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from config.sections import IngestSettings
from melo_engine import Prompt
from melo_engine.conversation import asked, joint_question
from serving.errors import RequestRefused
from text import subject_may_stand_in

_UNSEEN = re.compile("[\u200b\ufeff\x00-\x08]")
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def refuse_unusable(line: dict[str, Any], prompt: Prompt, limits: IngestSettings) -> None:
    """Raise RequestRefused (400) with intake's reason where it would quarantine a report.

    line: what is written into the inbox; prompt: its question.
    """
    subject = _cleaned(line.get("subject"))
    target = _cleaned(line.get("target"))
    question = _cleaned(asked(prompt))
    if question is None:
        raise _unusable("prompt", "prompt is missing or empty")
    if subject is not None:
        question = question.replace("{}", subject)
    for name, text, most in (
        ("prompt", question, limits.max_prompt_chars),
        ("target", target or "", limits.max_target_chars),
    ):
        if len(text) > most:
            why = f"{name} has {len(text)} characters; at most {most} are taken"
            raise _unusable(name, why)
    rephrases = {cleaned for text in line.get("rephrases", ()) if (cleaned := _cleaned(text))}
    if len(rephrases) > limits.max_list_items:
        raise _unusable("rephrases", f"a list has more than {limits.max_list_items} items")
    if any(len(text) > limits.max_prompt_chars for text in rephrases):
        raise _unusable(
            "rephrases", f"a rephrase has more than {limits.max_prompt_chars} characters"
        )
    if target is not None and target == _cleaned(line.get("old_answer")):
        raise _unusable("target", "target and old_answer are the same")
    if target in ("inf", "-inf"):
        raise _unusable("target", f"target is {target}, which is no answer")
    if subject is not None and subject not in question:
        whole = question if isinstance(prompt, str) else joint_question(prompt)
        if not subject_may_stand_in(whole, [subject]):
            raise _unusable(
                "subject",
                f'subject "{subject[:80]}" is not in the prompt; correct it, or leave the subject out',
            )
    if len(json.dumps(line, ensure_ascii=False).encode()) > limits.max_line_bytes:
        raise _unusable("prompt", f"the report has more than {limits.max_line_bytes} bytes")


def _cleaned(text: str | None) -> str | None:
    """A text as intake reads it; None where nothing is left."""
    if text is None or text in ("NaN", "nan"):
        return None
    cleaned = unicodedata.normalize("NFC", _UNSEEN.sub("", text)).strip(_WHITE)
    return None if cleaned in ("", "NaN", "nan") else cleaned


def _unusable(param: str, why: str) -> RequestRefused:
    return RequestRefused(400, "unusable_report", f"{why}.", param=param)
