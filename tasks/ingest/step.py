"""The step: every path's lines into the ledger, each line once, whatever dies when."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config import Settings
from ledger import FileMoved, IntakeRules, Ledger, Limits, SourceRule
from tasks.ingest import presets
from tasks.ingest.errors import IngestError
from tasks.ingest.lines import content_hash, read_lines

Progress = Callable[[str, int, int], None]  # file, bytes read, bytes in all


@dataclass
class FileOutcome:
    """What became of one input."""

    name: str
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    contradictions: int = 0
    first_problem: str | None = None
    known_before: bool = False  # all of it had been read by an earlier run


@dataclass
class IngestOutcome:
    """What became of all of them."""

    files: list[FileOutcome] = field(default_factory=list)

    def total(self, name: str) -> int:
        """The sum of one count over all inputs."""
        return sum(int(getattr(file, name)) for file in self.files)


def rules_from(settings: Settings) -> IntakeRules:
    """The ledger's rules, from the settings."""
    return IntakeRules(
        sources=tuple(
            SourceRule(name, rule.trust, rule.policy, rule.quorum, rule.max_per_hour)
            for name, rule in settings.sources.items()
        ),
        default=SourceRule(
            "*",
            settings.default_source.trust,
            settings.default_source.policy,
            settings.default_source.quorum,
            settings.default_source.max_per_hour,
        ),
        limits=Limits(
            settings.ingest.max_prompt_chars,
            settings.ingest.max_target_chars,
            settings.ingest.max_list_items,
            settings.ingest.max_line_bytes,
        ),
        tie=settings.contradictions.tie,
        same_subject=settings.contradictions.same_subject,
    )


def ingest_paths(
    ledger: Ledger,
    paths: Iterable[str | Path],
    settings: Settings,
    progress: Progress | None = None,
    *,
    source: str | None = None,
    preset: str | None = None,
    again: bool = False,
) -> IngestOutcome:
    """Read files, folders and globs into the ledger.

    `source` overrides the source that lines name themselves. The same content is read once, unless
    `again`. Raises IngestError before anything is read where a path is missing.
    """
    files = find_files(paths)
    shape = presets.mapping(preset or settings.ingest.preset, settings)
    templates = presets.relation_templates(settings)
    rules = rules_from(settings)
    outcome = IngestOutcome()
    for path in files:
        record = ledger.begin_file(path.name, content_hash(path), source=source, again=again)
        result = FileOutcome(str(path), known_before=record.done)
        outcome.files.append(result)
        size = path.stat().st_size
        while not record.done:
            try:
                for chunk in read_lines(
                    path,
                    first_line=record.lines,
                    offset=record.offset,
                    chunk_lines=settings.ingest.chunk_lines,
                    max_line_bytes=settings.ingest.max_line_bytes,
                ):
                    record, part = ledger.commit_chunk(
                        record,
                        chunk.table,
                        next_offset=chunk.offset,
                        done=chunk.last,
                        rules=rules,
                        mapping=shape,
                        templates=templates,
                    )
                    _add(result, part)
                    if progress:
                        progress(path.name, min(chunk.offset, size), size)
            except FileMoved:
                record = ledger.begin_file(path.name, record.content_hash, source=source)
    ledger.publish()
    return outcome


def ingest_rows(
    ledger: Ledger,
    rows: Iterable[Mapping[str, object]],
    settings: Settings,
    *,
    source: str,
    preset: str | None = None,
) -> IngestOutcome:
    """Take rows from any Python iterable, in one record named after their source."""
    import hashlib
    import uuid

    import pyarrow as pa

    record = ledger.begin_file(source, hashlib.sha256(uuid.uuid4().bytes).hexdigest())
    result = FileOutcome(source)
    shape = presets.mapping(preset or settings.ingest.preset, settings)
    templates = presets.relation_templates(settings)
    rules = rules_from(settings)
    batch: list[str] = []

    def take(done: bool) -> None:
        nonlocal record, batch
        table = pa.table(
            {
                "line": pa.array(
                    range(record.lines + 1, record.lines + 1 + len(batch)), pa.int64()
                ),
                "raw": pa.array(batch, pa.large_string()),
                "unreadable": pa.nulls(len(batch), pa.string()),
            }
        )
        record, part = ledger.commit_chunk(
            record,
            table,
            next_offset=0,
            done=done,
            rules=rules,
            mapping=shape,
            templates=templates,
        )
        _add(result, part)
        batch = []

    for row in rows:
        batch.append(json.dumps(row, default=str, ensure_ascii=False))
        if len(batch) >= settings.ingest.chunk_lines:
            take(False)
    take(True)
    ledger.publish()
    return IngestOutcome([result])


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that paths, folders and globs name, in order; nothing else is opened.

    Raises IngestError for a path that names none.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if path.is_file():
            found[path] = None
        elif path.is_dir():
            inside = sorted(
                entry
                for entry in path.rglob("*")
                if entry.is_file() and not entry.name.startswith(".") and not entry.is_symlink()
            )
            found.update(dict.fromkeys(inside))
        else:
            matches = sorted(Path(name) for name in glob.glob(str(given), recursive=True))
            files = [match for match in matches if match.is_file()]
            if not files:
                raise IngestError(f"{given} is not there. Give a file, a folder or a glob.")
            found.update(dict.fromkeys(files))
    return list(found)


def _add(result: FileOutcome, part: object) -> None:
    for name in ("lines", "accepted", "duplicates", "quarantined", "contradictions"):
        setattr(result, name, getattr(result, name) + getattr(part, name))
    if result.first_problem is None:
        result.first_problem = getattr(part, "first_problem", None)
