"""The step: every path's records into the ledger, each once, whatever dies when.

A path is a file, a folder, a glob, or `mlflow:EXPERIMENT` (tasks/ingest/mlflow_store.py).
"""

from __future__ import annotations

import glob
import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config import IngestSettings, Settings, SourceSettings
from execution.context import Context
from ledger import (
    ChunkResult,
    FileMoved,
    FileRecord,
    IntakeRules,
    Ledger,
    Limits,
    SourceRule,
)
from ledger import Mapping as LedgerMapping
from tasks.ingest import formats, presets
from tasks.ingest.columns import columns_of
from tasks.ingest.errors import IngestError
from tasks.ingest.lines import Chunk, content_hash
from tasks.ingest.reading import Reader
from tasks.ingest.shapes import Shape, shape_named
from tasks.ingest.shapes.adapt import adapted

MLFLOW = "mlflow:"
ABOUT_A_DATASET = (
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "README.md",
)
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
    passed_over: int = 0  # of the quarantined ones those that name no error, as a thumbs-up
    first_problem: str | None = None
    known_before: bool = False  # all of it had been read by an earlier run

    def add(self, part: ChunkResult) -> None:
        """Count one chunk in."""
        self.lines += part.lines
        self.accepted += part.accepted
        self.duplicates += part.duplicates
        self.quarantined += part.quarantined
        self.contradictions += part.contradictions
        self.passed_over += part.passed_over
        self.first_problem = self.first_problem or part.first_problem


@dataclass
class IngestOutcome:
    """What became of all of them."""

    files: list[FileOutcome] = field(default_factory=list)

    def total(self, name: str) -> int:
        """The sum of one count over all inputs."""
        return sum(int(getattr(file, name)) for file in self.files)


class Taker:
    """Hands chunks to the ledger under one set of rules."""

    def __init__(self, ledger: Ledger, settings: Settings, preset: str | None) -> None:
        self.ledger, self.settings = ledger, settings
        self.rules = rules_from(settings)
        self.mapping = presets.mapping(preset or settings.ingest.preset, settings)
        self.templates = presets.relation_templates(settings)
        self.columns = columns_of(self.mapping)

    def take(
        self, record: FileRecord, chunk: Chunk, result: FileOutcome, *, adapted: bool = False
    ) -> FileRecord:
        """Commit one chunk and count it. adapted: a shape has made its records reports."""
        record, part = self.ledger.intake.commit_chunk(
            record,
            chunk.table,
            next_offset=chunk.offset,
            done=chunk.last,
            rules=self.rules,
            mapping=LedgerMapping() if adapted else self.mapping,
            templates=self.templates,
        )
        result.add(part)
        return record


def ingest_paths(
    context: Context,
    paths: Iterable[str | Path],
    progress: Progress | None = None,
    *,
    source: str | None = None,
    preset: str | None = None,
    shape: str | None = None,
    again: bool = False,
    encoding: str | None = None,
) -> IngestOutcome:
    """Read files, folders, globs and experiments of MLflow into the ledger.

    `source` overrides the source that lines name themselves. The same content is read once, unless
    `again`. shape: the adapter of all files; None: a file's first row tells it, unless a preset is
    chosen. encoding: of texts that are no UTF-8 and tell no other; None: what the settings say.
    Raises IngestError before anything is read where a path, the preset or the shape is missing; and
    where a tracking server fails, after what it gave before is taken.
    """
    encoding = code_page(encoding) or context.settings.ingest.encoding
    inputs = [str(path) for path in paths]
    experiments = [path.removeprefix(MLFLOW) for path in inputs if path.startswith(MLFLOW)]
    local_files = find_files(path for path in inputs if not path.startswith(MLFLOW))
    taker = Taker(context.ledger, context.settings, preset)
    reader = Reader(context.settings.ingest, taker.columns, encoding)
    files = _with_shapes(local_files, reader, context.settings, preset, shape)
    about = reader.about(files)
    outcome = IngestOutcome()
    for path, adapter in files:
        content = content_hash(path)
        record = context.ledger.intake.begin_file(path.name, content, source=source, again=again)
        result = FileOutcome(str(path), known_before=record.done)
        outcome.files.append(result)
        size = path.stat().st_size
        while not record.done:
            try:
                for chunk in reader.reports(
                    path, adapter, about, first_line=record.lines, offset=record.offset
                ):
                    record = taker.take(record, chunk, result, adapted=adapter is not None)
                    if progress:
                        progress(path.name, size if chunk.last else min(chunk.offset, size), size)
            except FileMoved:  # another process reads the same file: go on behind it
                record = context.ledger.intake.begin_file(path.name, content, source=source)
    for experiment in experiments:
        from tasks.ingest.mlflow_store import take_experiment

        result = FileOutcome(f"{MLFLOW}{experiment}")
        outcome.files.append(result)
        take_experiment(taker, experiment, result, progress, source=source, again=again)
    context.ledger.store.publish()
    return outcome


def _with_shapes(
    files: Iterable[Path], reader: Reader, settings: Settings, preset: str | None, shape: str | None
) -> list[tuple[Path, Shape | None]]:
    """Each file with the adapter that reads it; None where its rows are read by a preset."""
    if shape is not None:
        if preset is not None:
            raise IngestError("give --shape or --preset: either says how rows are read.")
        chosen = shape_named(shape)
        return [(path, chosen) for path in files]
    if preset is not None or settings.ingest.preset != IngestSettings().preset:
        return [(path, None) for path in files]
    return [(path, reader.shape_of(path)) for path in files]


def code_page(name: str | None) -> str | None:
    """The encoding of this name. Raises IngestError, as the settings do."""
    try:
        return name and IngestSettings(encoding=name).encoding
    except ValueError:
        raise IngestError(
            f"encoding {name!r} is no code page that Python knows. Give one as cp1252 or latin-1; "
            "UTF-8, UTF-16 and UTF-32 need not be named."
        ) from None


def ingest_rows(
    context: Context,
    rows: Iterable[Mapping[str, object]],
    *,
    source: str,
    preset: str | None = None,
    shape: str | None = None,
) -> IngestOutcome:
    """Take rows from any Python iterable, under one record named after their source."""
    taker = Taker(context.ledger, context.settings, preset)
    unique = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
    record = context.ledger.intake.begin_file(source, unique, source=source)
    result = FileOutcome(source)
    texts = ((formats.to_json(row), None) for row in rows)
    limit = context.settings.ingest.max_line_bytes
    chunks = formats.chunks(texts, 0, formats.RECORDS_AT_ONCE, limit)
    if shape is not None:
        chunks = adapted(chunks, shape_named(shape))
    for chunk in chunks:
        record = taker.take(record, chunk, result, adapted=shape is not None)
    context.ledger.store.publish()
    return IngestOutcome([result])


def retry_quarantined(context: Context, *, preset: str | None = None) -> int:
    """Judge quarantined lines once more, under today's settings; returns how many left."""
    taker = Taker(context.ledger, context.settings, preset)
    released = context.ledger.quarantine.retry(
        rules=taker.rules, mapping=taker.mapping, templates=taker.templates
    )
    context.ledger.store.publish()
    return released


def rules_from(settings: Settings) -> IntakeRules:
    """The ledger's rules, from the settings."""

    def rule(name: str, source: SourceSettings) -> SourceRule:
        return SourceRule(name, source.trust, source.policy, source.quorum, source.max_per_hour)

    return IntakeRules(
        sources=tuple(rule(name, source) for name, source in settings.sources.items()),
        default=rule("*", settings.default_source),
        limits=Limits(
            settings.ingest.max_prompt_chars,
            settings.ingest.max_target_chars,
            settings.ingest.max_list_items,
            settings.ingest.max_line_bytes,
        ),
        tie=settings.contradictions.tie,
        same_subject=settings.contradictions.same_subject,
    )


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that paths, folders and globs name, in order; nothing else is opened.

    In a folder hidden files and links are passed over, so that it can't point outside itself, and so
    are the descriptions of a data set of Hugging Face `datasets`.
    Raises IngestError for a path that names none.
    """
    files: dict[Path, None] = {}
    for entry in paths:
        path = Path(entry)
        try:
            is_file, is_folder = path.is_file(), path.is_dir()
        except (OSError, ValueError):
            is_file = is_folder = False
        if is_file:
            files[path] = None
        elif is_folder:
            files.update(dict.fromkeys(_inside(path)))
        else:
            matches = [
                name
                for name in map(Path, sorted(glob.glob(str(entry), recursive=True)))
                if name.is_file()
            ]
            if not matches:
                raise IngestError(f"{entry} is not there. Give a file, a folder or a glob.")
            files.update(dict.fromkeys(matches))
    return list(files)


def _inside(folder: Path) -> list[Path]:
    root = folder.resolve()
    files = sorted(
        entry
        for entry in folder.rglob("*")
        if not entry.name.startswith(".")
        and not entry.is_symlink()
        and entry.is_file()
        and entry.resolve().is_relative_to(root)
    )
    if any(file.suffix in (".arrow", ".parquet") for file in files):
        return [file for file in files if file.name not in ABOUT_A_DATASET]
    return files
