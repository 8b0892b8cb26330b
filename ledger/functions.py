"""What SQL calls of the rules for texts: one piece of code for ledger and engine (`text/`).

normalize_question(text)                    the form in which questions are compared
subject_may_stand_in(prompt, name, names)   whether a subject can be found in its prompt
strict_json(text)                           JSON by the standard: "{..." , or "!" and what is wrong
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from text import normalize_question, subject_may_stand_in
from text.strict_json import AmbiguousJSON, without_nan


def register(con: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to a connection. Values go in and out in batches."""
    for name, function, parameters in (
        ("normalize_question", _questions, ["VARCHAR"]),
        ("subject_may_stand_in", _subjects, ["VARCHAR", "VARCHAR", "VARCHAR[]"]),
        ("strict_json", _strict, ["VARCHAR"]),
    ):
        con.create_function(
            name, function, parameters, "BOOLEAN" if function is _subjects else "VARCHAR",
            type="arrow", null_handling="special",
        )  # fmt: skip


def _questions(texts: pa.Array) -> pa.Array:
    normal = [None if text is None else normalize_question(text) for text in texts.to_pylist()]
    return pa.array(normal, pa.string())


def _subjects(prompts: pa.Array, names: pa.Array, aliases: pa.Array) -> pa.Array:
    rows = zip(prompts.to_pylist(), names.to_pylist(), aliases.to_pylist(), strict=True)
    return pa.array(
        [
            prompt is not None
            and subject_may_stand_in(prompt, [n for n in (name, *(others or ())) if n])
            for prompt, name, others in rows
        ],
        pa.bool_(),
    )


def _strict(texts: pa.Array) -> pa.Array:
    return pa.array([strict_json(text) for text in texts.to_pylist()], pa.string())


def strict_json(text: str) -> str:
    """JSON text with NaN as null; "!" and the reason where it is no JSON or says a key twice."""
    try:
        return without_nan(text)
    except AmbiguousJSON as error:
        return f"!{error}"
    except (ValueError, RecursionError):
        return "!not a JSON object"
