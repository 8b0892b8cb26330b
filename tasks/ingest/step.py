"""The step: every path's records into the ledger, each once, whatever dies when.

A path is a file, a folder, a glob, or `mlflow:EXPERIMENT` (tasks/ingest/mlflow_store.py).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts.hashing import file_hash
from config import IngestSettings
from execution.context import Context
from execution.progress import Progress
from ledger import FileMoved
from tasks.ingest import formats
from tasks.ingest.errors import IngestError
from tasks.ingest.files import find_files
from tasks.ingest.mlflow_store import take_experiment
from tasks.ingest.reading import Reader
from tasks.ingest.shapes import Shape, shape_named
from tasks.ingest.shapes.adapt import adapted
from tasks.ingest.taking import FileOutcome, IngestOutcome, Taker

MLFLOW = "mlflow:"


@dataclass(frozen=True)
class IngestOptions:
    """How inputs are read, where that is not as the settings say.

    source: overrides the source that lines name themselves. preset: says where the fields of a line
    stand. shape: the adapter of all files; None: a file's first row tells it, unless a preset is chosen.
    again: read what was read before once more. encoding: of texts that are no UTF-8 and tell no other.
    """

    source: str | None = None
    preset: str | None = None
    shape: str | None = None
    again: bool = False
    encoding: str | None = None


def ingest_paths(
    context: Context,
    paths: Iterable[str | Path],
    options: IngestOptions | None = None,
    *,
    progress: Progress | None = None,
) -> IngestOutcome:
    """Read files, folders, globs and experiments of MLflow into the ledger; the same content once.

    Raises IngestError before anything is read where a path, the preset or the shape is missing; and
    where a tracking server fails, after what it gave before is taken.
    """
    options = options or IngestOptions()
    source, again = options.source, options.again
    settings = _in_code_page(context.settings.ingest, options.encoding)
    inputs = [str(path) for path in paths]
    experiments = [path.removeprefix(MLFLOW) for path in inputs if path.startswith(MLFLOW)]
    local_files = find_files(path for path in inputs if not path.startswith(MLFLOW))
    taker = Taker(context.ledger, context.settings, options.preset)
    reader = Reader(settings, taker.columns)
    files = _with_shapes(local_files, reader, options)
    about = reader.about(files)
    outcome = IngestOutcome()
    for path, adapter in files:
        content = file_hash(path)
        record = context.ledger.intake.begin_file(path.name, content, source=source, again=again)
        result = FileOutcome(str(path), known_before=record.done)
        outcome.files.append(result)
        size = path.stat().st_size
        while not record.done:
            try:
                for chunk in reader.reports(
                    path, adapter, about, first_line=record.lines, offset=record.offset
                ):
                    record = taker.take(record, chunk, result, adapter)
                    if progress:
                        progress(path.name, size if chunk.last else min(chunk.offset, size), size)
            except FileMoved:  # another process reads the same file: go on behind it
                record = context.ledger.intake.begin_file(path.name, content, source=source)
    for experiment in experiments:
        result = FileOutcome(f"{MLFLOW}{experiment}")
        outcome.files.append(result)
        take_experiment(taker, experiment, result, progress, source=source, again=again)
    context.ledger.store.publish()
    return outcome


def _with_shapes(
    files: Iterable[Path], reader: Reader, options: IngestOptions
) -> list[tuple[Path, Shape | None]]:
    """Each file with the adapter that reads it; None where its rows are read by a preset."""
    if options.shape is not None:
        if options.preset is not None:
            raise IngestError("give --shape or --preset: either says how rows are read.")
        chosen = shape_named(options.shape)
        return [(path, chosen) for path in files]
    if options.preset is not None or reader.settings.preset != IngestSettings().preset:
        return [(path, None) for path in files]
    return [(path, reader.shape_of(path)) for path in files]


def _in_code_page(settings: IngestSettings, name: str | None) -> IngestSettings:
    """The settings with the encoding of this name. Raises IngestError, as the settings do."""
    if not name:
        return settings
    try:
        return settings.model_copy(update={"encoding": IngestSettings(encoding=name).encoding})
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
    limit, adapter = context.settings.ingest.max_line_bytes, shape_named(shape) if shape else None
    chunks = formats.chunks(texts, 0, formats.RECORDS_AT_ONCE, limit)
    if adapter is not None:
        chunks = adapted(chunks, adapter)
    for chunk in chunks:
        record = taker.take(record, chunk, result, adapter)
    context.ledger.store.publish()
    return IngestOutcome([result])


def retry_quarantined(context: Context, *, preset: str | None = None) -> int:
    """Judge quarantined lines once more, under today's settings; returns how many left."""
    taker = Taker(context.ledger, context.settings, preset)
    released = context.ledger.quarantine.retry(taker.rules)
    context.ledger.store.publish()
    return released
