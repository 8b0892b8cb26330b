"""Paths into a JSON document, in DuckDB's form: $.name, $."a name, with dots", $.list[0], $.list[-1].

A wildcard is no path of one value, and `..` none either.
"""

from __future__ import annotations

import re

_STEP = r'\.(?:"(?:[^"\\]|\\.)+"|[^."\[\]*]+)(?:\[(?:#?-)?\d+\])*'
_STEPS = re.compile(_STEP)
_PATH = re.compile(rf"\$(?:{_STEP})+")


def is_path(text: str) -> bool:
    """Whether a text is a path."""
    return _PATH.fullmatch(text) is not None


def quoted(name: str) -> str:
    """The path of a key at the top, whatever its name holds."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'$."{escaped}"'


def top(path: str) -> str:
    """The key at the top of a document through which a path leads."""
    step = re.sub(r"(\[[^\]\"]*\])+$", "", _STEPS.findall(path)[0][1:])
    return re.sub(r"\\(.)", r"\1", step[1:-1]) if step.startswith('"') else step


def inner_objects(path: str) -> list[str]:
    """The paths of the objects inside a document through which a path leads."""
    steps = _STEPS.findall(path)
    return ["$" + "".join(steps[:size]) for size in range(1, len(steps))]
