"""The values that go into a gate and come out of it: plain, frozen, without a model in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

from melo_engine import Prompt, Version
from melo_engine.conversation import joint_question

Kind = Literal["exact", "contains", "regex", "unchanged", "metric", "absent", "agrees"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Purpose = Literal["answers", "perplexity", "fluency", "consistency"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
NO_SLICES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an answer must be.

    exact, contains, regex: `value`. unchanged: the backbone's own text. absent: `value` must not
    turn up, unless the backbone says it too. agrees: the text that the prompt `value` is answered
    with. metric: `metric(answer, value)` must be at least `at_least`.
    """

    kind: Kind = "unchanged"
    value: str = ""
    metric: str = ""
    at_least: float = 0.0


UNCHANGED = Expectation()


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt of a suite, a text or a conversation.

    edit: the edit that it was made for; it goes when that edit goes. slices: source,
    relation or whatever else its results are to be broken down by.
    """

    id: str
    prompt: Prompt
    expect: Expectation = UNCHANGED
    edit: str | None = None
    slices: Mapping[str, str] = field(default_factory=lambda: NO_SLICES)


@dataclass(frozen=True, slots=True)
class Suite:
    """Probes with one purpose. problem: why it can't be used, which fails the gate.

    purpose: answers are compared with expectations; the others have measures of their own.
    """

    name: str
    probes: tuple[Probe, ...] = ()
    purpose: Purpose = "answers"
    problem: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe's outcome. before: the champion's answer, or the backbone's where there is none.

    edit: the edit that answered, None where the backbone did. value: of a metric, nan where none.
    passed_before: whether the champion passes; None where there is none, or it lacks the edit.
    """

    suite: str
    probe_id: str
    prompt: Prompt
    expected: str | None
    before: str | None
    after: str | None
    passed: bool
    edit: str | None
    cached: bool
    distance: float = float("nan")
    value: float = float("nan")
    passed_before: bool | None = None
    slices: Mapping[str, str] = field(default_factory=lambda: NO_SLICES)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict. bound: which side of the value's confidence interval was judged."""

    suite: str
    metric: str
    value: float
    bound: str
    threshold: float
    n: int
    passed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An edit that was taken out, with the probe as evidence.

    retry: it fails by what it answers itself, so training it again may help. wordings: those of its
    question that it failed, which the second training takes up.
    """

    edit: str
    reason: str
    suite: str
    probe: str
    before: str
    after: str
    retry: bool = False
    wordings: tuple[str, ...] = ()

    @classmethod
    def by(
        cls,
        result: ProbeResult,
        edit: str,
        reason: str,
        *,
        retry: bool = False,
        wordings: tuple[str, ...] = (),
    ) -> Rejection:
        """With a probe's result as the evidence."""
        return cls(
            edit,
            reason,
            result.suite,
            text_of(result.prompt),
            result.before or "",
            result.after or "",
            retry,
            wordings,
        )


@dataclass(frozen=True, slots=True)
class Unproven:
    """A measure that the bound on tokens left open. edit: whose; None where nobody's."""

    suite: str
    edit: str | None
    prompt: Prompt
    reason: str


@dataclass(frozen=True, slots=True)
class Repair:
    """An edit whose radius was shrunk to leave a probe outside."""

    edit: str
    radius_before: float
    radius_after: float
    suite: str
    probe: str


@dataclass(frozen=True)
class GateResult:
    """What a gate found. version: after repair; the candidate itself where none was needed.

    narrow: edits that are right on their own question, with the wordings of it in which they are not
    found. regenerated: texts made; tokens: of all of them. unproven: what the bound on tokens left open.
    """

    passed: bool
    version: Version
    rejected: tuple[Rejection, ...]
    checks: tuple[Check, ...]
    probes: Sequence[ProbeResult]
    regenerated: int
    cached: int
    seconds: float
    repairs: tuple[Repair, ...] = ()
    candidate: str = ""
    champion: str | None = None
    full: bool = False
    rounds: int = 0
    narrow: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unproven: tuple[Unproven, ...] = ()
    tokens: int = 0

    @property
    def reason(self) -> str:
        """One line: why it failed, or that it passed."""
        failed = [c for c in self.checks if not c.passed]
        if not failed:
            return f"passed {len(self.checks)} checks on {len(self.probes):,} probes"
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"{first.suite}, {first.metric}: {first.reason}{more}"


@lru_cache(maxsize=131_072)
def probe_hash(prompt: Prompt) -> bytes:
    """16 bytes that name a prompt: what keys and answers are kept under."""
    text = prompt if isinstance(prompt, str) else json.dumps(prompt.as_json())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def text_of(prompt: Prompt) -> str:
    """What a prompt's user says in it, as one text: for people, and to be searched."""
    return joint_question(prompt)
