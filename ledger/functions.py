"""What SQL calls of the rules for texts: one piece of code for ledger and engine (`text/`).

normalize_question(text)                    the form in which questions are compared
subject_may_stand_in(prompt, name, names)   whether a subject can be found in its prompt
asked_in(messages)                          of a conversation as JSON "=" and the last user message, or
                                            "!" and what is wrong with it
said_in(messages)                           all that its user said, as one text
strict_json(text)                           JSON by the standard: "{..." , or "!" and what is wrong
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from text import normalize_question, subject_may_stand_in
from text.question import ASCII_END, PLAIN
from text.strict_json import AmbiguousJSON, parse_leniently, without_nan

ROLES = ("system", "developer", "user", "assistant")


def register(con: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to a connection. Values go in and out in batches."""
    for name, function, parameters, result in (
        ("normalize_question", questions, ["VARCHAR"], "VARCHAR"),
        ("subject_may_stand_in", _subjects, ["VARCHAR", "VARCHAR", "VARCHAR[]"], "BOOLEAN"),
        ("asked_in", _each(asked_in), ["VARCHAR"], "VARCHAR"),
        ("said_in", _each(said_in), ["VARCHAR"], "VARCHAR"),
        ("strict_json", _each(strict_json), ["VARCHAR"], "VARCHAR"),
    ):
        con.create_function(
            name, function, parameters, result, type="arrow", null_handling="special"
        )


def questions(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """`normalize_question` of each; plain ones all at once, which is nearly every one of English."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    trimmed = pc.ascii_rtrim(pc.ascii_lower(texts), characters=ASCII_END)
    done = pc.and_(pc.match_substring_regex(texts, PLAIN), pc.not_equal(trimmed, ""))
    remaining = pc.invert(pc.fill_null(done, True))
    if not pc.any(remaining).as_py():
        return trimmed
    normal = [normalize_question(text) for text in texts.filter(remaining).to_pylist()]
    return pc.replace_with_mask(trimmed, remaining, pa.array(normal, trimmed.type))


def _subjects(prompts: pa.Array, names: pa.Array, aliases: pa.Array) -> pa.Array:
    rows = zip(prompts.to_pylist(), names.to_pylist(), aliases.to_pylist(), strict=True)
    return pa.array(
        [
            prompt is not None
            and subject_may_stand_in(prompt, [n for n in (name, *(further or ())) if n])
            for prompt, name, further in rows
        ],
        pa.bool_(),
    )


def _each(function: Callable[[str], str]) -> Callable[[pa.Array], pa.Array]:
    """A function of one text, for a batch of them; NULL stays NULL."""

    def batch(texts: pa.Array) -> pa.Array:
        results = [None if text is None else function(text) for text in texts.to_pylist()]
        return pa.array(results, pa.string())

    return batch


def asked_in(conversation: str) -> str:
    """ "=" and what a conversation asks, its last user message; "!" and the reason where it is none.

    A message is {"role", "content"}, the content a text or a list of parts of type text.
    """
    question = ""
    for number, message in enumerate(parse_leniently(conversation)):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            return f"!message {number} of the prompt has role {role!r}; allowed: {', '.join(ROLES)}"
        text = _content(message)
        if text is None:
            return f"!message {number} of the prompt has no text as its content"
        if role == "user" and text.strip():
            question = text
    return (
        f"={question}" if question else "!the prompt has no message of role user with a word in it"
    )


def said_in(conversation: str) -> str:
    """All that a conversation's user said, as one text; "" where it is no conversation."""
    messages = [m for m in parse_leniently(conversation) if isinstance(m, dict)]
    texts = (_content(m) or "" for m in messages if m.get("role") == "user")
    return " ".join(text for text in texts if text.strip())


def messages_in(conversation: str) -> tuple[tuple[str, str], ...]:
    """Role and text of each message of a conversation that `asked_in` takes."""
    return tuple((str(m["role"]), _content(m) or "") for m in parse_leniently(conversation))


def _content(message: dict[str, object]) -> str | None:
    content = message.get("content")
    if isinstance(content, list):
        parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
        if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
            return None
        return "".join(str(part) for part in parts)
    if content is None and message.get("role") == "assistant":
        return ""
    return content if isinstance(content, str) else None


def strict_json(text: str) -> str:
    """JSON text with NaN as null; "!" and the reason where it is no JSON or says a key twice."""
    try:
        return without_nan(text)
    except AmbiguousJSON as error:
        return f"!{error}"
    except (ValueError, RecursionError):
        return "!not a JSON object"
