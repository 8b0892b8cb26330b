"""The values that the ledger takes and gives: plain, frozen and typed, with no database in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

NOTHING_TO_CORRECT = "nothing to correct"  # how the reason begins of a line that names no error


@dataclass(frozen=True)
class LocalityProbe:
    """A question whose answer an edit must leave alone; `answer` is None where it is not known."""

    prompt: str
    answer: str | None = None


@dataclass(frozen=True)
class EditRecord:
    """One change request and where it stands."""

    id: str
    kind: str  # "report" or "fact"
    prompt: str
    target: str | None
    state: str
    subject: str | None = None
    relation: str | None = None
    old_answer: str | None = None
    aliases: tuple[str, ...] = ()
    rephrases: tuple[str, ...] = ()
    locality: tuple[LocalityProbe, ...] = ()
    source: str = ""
    external_id: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    urgent: bool = False
    hold: str | None = None  # why it is held
    since: datetime | None = None
    received_at: datetime | None = None
    reported: int = 1
    sources: int = 1
    job_id: str | None = None
    version: str | None = None
    group: str | None = None  # the near-duplicates it belongs with
    messages: tuple[tuple[str, str], ...] = ()  # role and text, where the prompt is a conversation
    supersedes: tuple[str, ...] = ()  # edits in use that give way once this one is active
    subject_source: str = "given"  # or "inferred": the engine inferred it from the question


@dataclass(frozen=True)
class Job:
    """A batch of edits for one worker. `attempt` is the fencing token of the lease."""

    id: str
    edits: tuple[EditRecord, ...]
    removals: tuple[str, ...]  # edits whose keys are to be taken out
    attempt: int = 0
    worker: str | None = None
    lease_until: datetime | None = None
    state: str = "open"
    priority: float = 0.0
    created_at: datetime | None = None
    error: str | None = None
    version: str | None = None  # what it ended with


@dataclass(frozen=True)
class Transition:
    """One step in the life of an edit."""

    edit_id: str
    from_state: str | None
    to_state: str
    at: datetime
    actor: str
    reason: str
    version: str | None = None
    job_id: str | None = None


@dataclass(frozen=True)
class ConflictRecord:
    """Two edits that contradict each other, and what was decided by which rule.

    winner: None while nobody has won; then rival is another live edit that answers the same question.
    """

    winner: str | None
    loser: str
    rule: str
    key: str
    decided_at: datetime
    settled: bool
    winner_prompt: str | None = None
    winner_target: str | None = None
    loser_prompt: str | None = None
    loser_target: str | None = None
    rival: str | None = None
    rival_target: str | None = None


@dataclass(frozen=True)
class SourceRule:
    """How far a source is trusted. `policy` is auto, quorum or review."""

    name: str
    trust: int = 50
    policy: str = "auto"
    quorum: int = 2
    max_per_hour: int | None = None


@dataclass(frozen=True)
class SourceState:
    """A source as the ledger knows it."""

    name: str
    trust: int
    policy: str
    quorum: int
    max_per_hour: int | None
    blocked: bool
    first_seen: datetime
    reports: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    active: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Limits:
    """Sizes beyond which a line is quarantined."""

    prompt_chars: int = 8_000
    target_chars: int = 2_000
    list_items: int = 64


@dataclass(frozen=True)
class RelationTemplates:
    """How a fact of one relation is asked: the first wording trains, the others are rephrases."""

    relation: str
    templates: tuple[str, ...]


@dataclass(frozen=True)
class Mapping:
    """Where in a document each field stands: JSON paths, the first that is there counts."""

    name: str = "melo"
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    locality_prompt: str = "prompt"  # names in each item of a list of objects
    locality_answer: str = "answer"
    # or paths of prompts and of answers
    side_by_side: tuple[tuple[str, ...], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class IntakeRules:
    """Everything that decides what becomes of a line: how it is read, and how it is judged."""

    sources: tuple[SourceRule, ...] = ()
    default: SourceRule = SourceRule("*")
    limits: Limits = Limits()
    tie: str = "newest"  # or "hold"
    same_subject: str = "alike"  # or "always", "never"
    mapping: Mapping = Mapping()
    templates: tuple[RelationTemplates, ...] = ()


@dataclass(frozen=True)
class FileRecord:
    """How far an input has been read."""

    id: int
    name: str
    content_hash: str
    source: str | None
    lines: int
    offset: int
    done: bool


@dataclass(frozen=True)
class ChunkResult:
    """What became of one chunk of lines.

    passed_over: quarantined ones that name no error. unanswered: lines without an answer that were
    taken all the same; names: the names at the top of them, of the first ones.
    """

    lines: int
    accepted: int
    duplicates: int
    quarantined: int
    first_problem: str | None = None
    contradictions: int = 0
    passed_over: int = 0
    unanswered: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quarantined:
    """A line that can't be used, and why."""

    file: str
    line: int
    reason: str
    raw: str
    source: str | None
    received_at: datetime


@dataclass(frozen=True)
class VersionRecord:
    """A version of the edited model as the ledger knows it."""

    id: str
    parent: str | None
    job_id: str | None
    hash: str
    created_at: datetime
    verdict: str | None  # passed, failed or None where no gate has spoken
    reason: str | None
    edits_added: tuple[str, ...] = ()
    edits_removed: tuple[str, ...] = ()
    registry_version: str | None = None
    info: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteVerdict:
    """One row of a version's verdict table."""

    suite: str
    metric: str
    value: float | None
    threshold: float | None
    passed: bool
    probes: int = 0
    failed: int = 0


@dataclass(frozen=True)
class ProbeRecord:
    """One probe asked of one version."""

    suite: str
    probe_id: str
    prompt: str
    expected: str | None
    answer_before: str | None
    answer_after: str | None
    passed: bool
    edit_id: str | None = None
    cached: bool = False
    distance: float | None = None


@dataclass(frozen=True)
class Backlog:
    """Edits that are accepted and don't serve yet. oldest: when the first of them came."""

    edits: int = 0
    urgent: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True)
class Champion:
    """The version that serves, and since when."""

    version: str
    at: datetime
    actor: str
    reason: str
    previous: str | None


@dataclass(frozen=True)
class Event:
    """Something that an operator should see."""

    at: datetime
    kind: str
    severity: str
    message: str
    version: str | None = None


@dataclass(frozen=True)
class Counts:
    """Every input line in exactly one count."""

    lines: int
    counts: dict[str, int]
    contradictions: dict[str, int]
    versions: int
    champion: str | None
