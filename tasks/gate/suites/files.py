"""Suites on disk: a folder with a data file and a YAML header for each.

    suites/locality.yaml     purpose, expect, source, and how many probes there must be
    suites/locality.jsonl    one probe a line: {"prompt": ..., "answer": ...}   (or .parquet)

A header says what all its probes share; a probe may say otherwise for itself:

    purpose: answers          # or perplexity, fluency, consistency
    expect: unchanged         # or exact, contains, regex, metric, absent, agrees
    metric: token_f1          # with expect: metric
    at_least: 0.8
    probes: 24                # more or fewer in the data file fail the gate
    source: support desk

A data file without a header is a suite of `unchanged` answers, or of `exact` ones where its lines
say "expect": "exact". A suite that can't be read is kept with its problem: it fails the gate,
since a regression suite that has vanished must not pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from artifacts.atomic import write_atomically
from melo_engine import Conversation, Prompt
from melo_engine.errors import PromptError
from tasks.gate.errors import SuiteError
from tasks.gate.probes.expectations import problem_of
from tasks.gate.types import KINDS, NO_SLICES, PURPOSES, UNCHANGED, Expectation, Probe, Suite
from text import read_text, strict_json

DATA = (".jsonl", ".parquet")
HEADER_NAMES = ("purpose", "expect", "value", "metric", "at_least", "probes", "source", "about")
PROBE_NAMES = {"id", "prompt", "expect", "value", "answer", "metric", "at_least", "edit"}


def load_suites(folder: str | Path) -> list[Suite]:
    """Every suite of a folder, in the order of their names; [] where the folder isn't there.

    Never fails for a bad suite: it comes with its `problem`. Raises SuiteError where `folder` is a
    file.
    """
    folder = Path(folder)
    if folder.is_file():
        raise SuiteError(f'"{folder}" is a file; give the folder that suites lie in.')
    names = {p.stem for p in folder.glob("*") if p.suffix in (*DATA, ".yaml")}
    return [load_suite(folder, name) for name in sorted(names)]


def load_suite(folder: Path, name: str) -> Suite:
    """One suite by its name, with its problem where it can't be used."""
    try:
        header = _header(folder / f"{name}.yaml")
        path = _data(folder, name)
        purpose = str(header.get("purpose", "answers"))
        if purpose not in PURPOSES:
            problem = f'purpose is "{purpose}"; allowed: {", ".join(PURPOSES)}'
            return Suite(name, problem=f"{name}: {problem}")
        probes, problem = [], ""
        for number, row in enumerate(read_rows(path), 1):
            probe, wrong = _probe(row, number, header)
            if probe is not None:
                probes.append(probe)
            problem = problem or (wrong and f"{path.name}, probe {number}: {wrong}")
    except SuiteError as error:
        return Suite(name, problem=str(error))
    problem = problem or _count_problem(path, header, probes)
    source = str(header.get("source", ""))
    return Suite(name, tuple(probes), purpose, problem, source)


def add_suite(
    folder: Path, name: str, rows: Sequence[Mapping[str, Any]], header: Mapping[str, Any]
) -> Suite:
    """Write a suite and its header, as Parquet where it is large. Raises SuiteError."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise SuiteError(f'suite name "{name}" may have letters, digits, "-" and "_" only.')
    if any((folder / f"{name}{end}").exists() for end in (*DATA, ".yaml")):
        raise SuiteError(f'suite "{name}" is there already in "{folder}". Remove it first.')
    filled = {k: v for k, v in header.items() if v not in (None, "")}
    for number, row in enumerate(rows, 1):
        _, wrong = _probe(row, number, filled)
        if wrong:
            raise SuiteError(f"probe {number}: {wrong}.")
    if not rows:
        raise SuiteError(f'suite "{name}" would hold no probe.')
    # The header first: without its data, or with half of it, the suite is known to be broken.
    text = yaml.safe_dump({**filled, "probes": len(rows)}, sort_keys=False, allow_unicode=True)
    write_atomically(folder / f"{name}.yaml", text)
    if len(rows) > 10_000:
        pq.write_table(pa.Table.from_pylist([dict(r) for r in rows]), folder / f"{name}.parquet")
    else:
        lines = (json.dumps(dict(r), ensure_ascii=False) for r in rows)
        write_atomically(folder / f"{name}.jsonl", "\n".join(lines) + "\n")
    return load_suite(folder, name)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL or Parquet file, one at a time: a suite of a million would not fit twice.

    Raises SuiteError, naming the line.
    """
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(8192):
                    yield from batch.to_pylist()
            return
        text = read_text(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise SuiteError(f'"{path}" can\'t be read: {" ".join(str(error).split())}') from None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\ufeff")
        if not line:
            continue
        try:
            row = strict_json.parse(line)
        except strict_json.AmbiguousJSON as error:
            raise SuiteError(f"{path.name}, line {number}: {error}") from None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise SuiteError(f"{path.name}, line {number}: no JSON object")
        yield row


def merged(suites: Iterable[Suite]) -> list[Suite]:
    """Suites of one name put together; the first problem stays."""
    by_name: dict[str, Suite] = {}
    for suite in suites:
        earlier = by_name.get(suite.name)
        if earlier is not None:
            ids = {p.id for p in earlier.probes}
            more = tuple(p for p in suite.probes if p.id not in ids)
            suite = replace(
                earlier,
                probes=earlier.probes + more,
                problem=earlier.problem or suite.problem,
                source=earlier.source or suite.source,
            )
        by_name[suite.name] = suite
    return list(by_name.values())


def _header(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        header = yaml.safe_load(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SuiteError(f"{path.name} can't be read: {' '.join(str(error).split())}") from None
    if header is None:
        return {}
    if not isinstance(header, dict):
        raise SuiteError(f"{path.name} holds no table")
    unknown = [str(k) for k in header if k not in HEADER_NAMES]
    if unknown:
        raise SuiteError(f'{path.name} has "{unknown[0]}"; allowed: {", ".join(HEADER_NAMES)}')
    return header


def _data(folder: Path, name: str) -> Path:
    for ending in DATA:
        path = folder / f"{name}{ending}"
        if path.exists():
            return path
    raise SuiteError(f"{name}: the header is there, but neither {name}.jsonl nor {name}.parquet")


def _count_problem(path: Path, header: Mapping[str, Any], probes: Sequence[Probe]) -> str:
    if not probes:
        return f"{path.name} holds no probe"
    wanted = header.get("probes")
    if wanted is not None and wanted != len(probes):
        return f"{path.name} holds {len(probes)} probes, its header says {wanted}"
    doubled = len(probes) - len({p.id for p in probes})
    return f"{path.name}: {doubled} probe ids come twice" if doubled else ""


def _probe(
    row: Mapping[str, Any], number: int, header: Mapping[str, Any]
) -> tuple[Probe | None, str]:
    """A probe of a row, or what is wrong with the row."""
    prompt, wrong = _prompt(row.get("prompt"))
    if prompt is None:
        return None, wrong
    kind = str(row.get("expect") or header.get("expect") or "unchanged")
    if kind not in KINDS:
        return None, f'it expects "{kind}"; allowed: {", ".join(KINDS)}'
    value = row.get("value", row.get("answer", header.get("value", "")))
    at_least = row.get("at_least", header.get("at_least", 0.0))
    try:
        expect = Expectation(
            kind,
            "" if value is None else str(value),
            str(row.get("metric") or header.get("metric") or ""),
            float(at_least),
        )
    except (TypeError, ValueError):
        return None, f"at_least is {at_least!r}; give a number"
    if wrong := problem_of(expect):
        return None, wrong
    expect = UNCHANGED if expect == UNCHANGED else expect
    slices = {k: v for k, v in row.items() if k not in PROBE_NAMES and isinstance(v, str)}
    return Probe(str(row.get("id") or number), prompt, expect, None, slices or NO_SLICES), ""


def _prompt(value: Any) -> tuple[Prompt | None, str]:
    """A text, or a conversation as a list of messages; None and why where it is neither."""
    if isinstance(value, str):
        return (value, "") if value.strip() else (None, "it has no prompt")
    if value is None:
        return None, "it has no prompt"
    try:
        return Conversation.of(value), ""
    except PromptError as error:
        return None, str(error)
