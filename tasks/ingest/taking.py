"""From chunks of records to the ledger, under the settings' rules, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from config import Settings, SourceSettings
from ledger import ChunkResult, FileRecord, IntakeRules, Ledger, Limits, Mapping, SourceRule
from tasks.ingest import presets
from tasks.ingest.columns import columns_of
from tasks.ingest.lines import Chunk
from tasks.ingest.shapes import Shape

ABOUT_THE_LINE = ("answer", "comment", "origin", "raw")  # what our own lines have besides


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
    unanswered: int = 0  # lines that were taken without an answer
    unread: tuple[str, ...] = ()  # names that stand in those and that nobody reads
    known_before: bool = False  # all of it had been read by an earlier run

    def add(self, part: ChunkResult) -> None:
        """Count one chunk in."""
        self.lines += part.lines
        self.accepted += part.accepted
        self.duplicates += part.duplicates
        self.quarantined += part.quarantined
        self.contradictions += part.contradictions
        self.passed_over += part.passed_over
        self.unanswered += part.unanswered
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
        mapping = presets.mapping(preset or settings.ingest.preset, settings)
        templates = presets.relation_templates(settings)
        self.rules = replace(rules_from(settings), mapping=mapping, templates=templates)
        self.columns = columns_of(mapping)

    def take(
        self, record: FileRecord, chunk: Chunk, result: FileOutcome, shape: Shape | None = None
    ) -> FileRecord:
        """Commit one chunk and count it. shape: the one that has made its records reports."""
        record, part = self.ledger.intake.commit_chunk(
            record,
            chunk.table,
            next_offset=chunk.offset,
            done=chunk.last,
            rules=replace(self.rules, mapping=Mapping()) if shape else self.rules,
        )
        result.add(part)
        if shape is None or shape.flat:
            read = {*(shape.columns if shape else self.columns.names), *ABOUT_THE_LINE}
            unread = (name for name in part.names if name not in read)
            result.unread = tuple(dict.fromkeys([*result.unread, *unread]))
        return record


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
        ),
        tie=settings.contradictions.tie,
        same_subject=settings.contradictions.same_subject,
    )
