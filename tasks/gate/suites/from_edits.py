"""Suites made from the edits of a version and what the ledger has on them.

    edit-success         each new edit's own prompt, in its conversation  -> its target
    retention            every active edit's own prompt                   -> its target
    generality           rephrases that no block was trained on           -> the target
    locality             prompts that came with the edits, and a general handful -> unchanged
    near-miss-subject    an edit's wording about other and invented subjects     -> unchanged
    near-miss-relation   an edit's subject in the wordings of other relations    -> unchanged
                         a conversation's last question alone, another in its place
    retired              prompts of edits that were taken back            -> their target is gone

    hallucination-unasked      wordings about invented names        -> the edit's target stays away
    hallucination-agreement    wordings of one fact                 -> answered as the first one is
    hallucination-fluency      own prompts, left to run on          -> no loops, no others' targets
    hallucination-consistency  own prompts, answers sampled         -> bear the greedy answer out

What is picked for an edit depends on the edit and hardly on the others (`_Ring`), so a version with
a few more edits asks almost the same probes, and almost all answers are known already.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from melo_engine import Conversation, Edit, EditRequest, Message, Prompt, Version
from melo_engine.conversation import asked, messages_of
from melo_engine.matching.names import SubjectIndex, joined
from melo_engine.near_misses import template_of
from tasks.gate.suites.wordings import SuiteWordings, own_template, says, swap
from tasks.gate.types import UNCHANGED, Expectation, Probe, Suite

PER_EDIT = 2  # near-misses of each sort
MOST_TRIES = 24


@dataclass(frozen=True)
class SuiteInputs:
    """What suites are made from beside the version.

    retired: edits that were revoked or superseded. known_subjects: names that the ledger knows
    beside the active ones. held_out: by edit id, rephrases that were not trained on. targets: by
    edit id, the answer that the ledger wants, where it is not to be taken from the version.
    slices: by edit id, what to break results down by, such as source and relation.
    """

    retired: Sequence[EditRequest] = ()
    known_subjects: Sequence[str] = ()
    held_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def suites_for(
    version: Version,
    inputs: SuiteInputs | None = None,
    *,
    champion: Version | None = None,
    seed: int = 0,
) -> list[Suite]:
    """The suites that a version brings with it.

    champion: what it has already is no new edit. Same version, inputs and seed, same probes.
    """
    inputs = inputs or SuiteInputs()
    builder = _Builder(version, inputs, seed)
    every = list(version.edits.values())
    # A question that means something only behind an earlier one can't be asked alone.
    edits = [e for e in every if not e.request.needs_conversation]
    behind = [e for e in every if e.request.needs_conversation]
    new = [e for e in every if champion is None or not _unchanged_in(e, champion)]
    return [
        Suite("edit-success", tuple(builder.own_prompt(e) for e in new)),
        Suite("retention", tuple(builder.own_prompt(e) for e in every)),
        Suite("generality", tuple(p for e in edits for p in builder.generality(e))),
        Suite("locality", tuple(builder.locality(edits))),
        Suite(
            "near-miss-subject",
            builder.near(edits, builder.other_subjects)
            + builder.near(behind, builder.other_conversations),
        ),
        Suite(
            "near-miss-relation",
            builder.near(edits, builder.other_relations)
            + builder.near(behind, builder.other_turns),
        ),
        Suite("retired", tuple(builder.retired(inputs.retired))),
        Suite("hallucination-unasked", tuple(p for e in edits for p in builder.unasked(e))),
        Suite("hallucination-agreement", tuple(p for e in edits for p in builder.agreement(e))),
        Suite("hallucination-fluency", tuple(map(builder.measured, every)), "fluency"),
        Suite("hallucination-consistency", tuple(map(builder.measured, every)), "consistency"),
    ]


def own_questions(
    version: Version, held_out: Mapping[str, Sequence[str]]
) -> Callable[[str], list[str]]:
    """Tells of a prompt which active edits' own question it is."""
    return _Builder(version, SuiteInputs(held_out=held_out), 0).owners


class _Builder:
    def __init__(self, version: Version, inputs: SuiteInputs, seed: int) -> None:
        self.inputs, self.seed = inputs, seed
        self.requests = {e.id: e.request for e in version.edits.values()}
        self.wordings = {
            i: SuiteWordings(r, inputs.held_out.get(i, ())) for i, r in self.requests.items()
        }
        self._ids = sorted(self.requests)
        self._subjects = SubjectIndex()
        self._of_template: dict[str, set[str]] = defaultdict(set)  # template -> targets, casefold
        self._active: set[str] = set()
        for number, edit in enumerate(self._ids):
            request = self.requests[edit]
            self._subjects.add(request.names, number)
            self._active |= {joined(n) for n in request.names}
            template = own_template(request)
            if template is not None:
                self._of_template[template].add(self.target(edit).casefold())
        names = [*inputs.known_subjects, *(r.subject for r in self.requests.values() if r.subject)]
        self._names = _Ring(names, seed)
        self._templates = _Ring(self._of_template, seed)
        self._invented = _Ring(invented_names(), seed)

    def target(self, edit: str) -> str:
        return self.inputs.targets.get(edit, self.requests[edit].target)

    def own_prompt(self, edit: Edit) -> Probe:
        wanted = Expectation("exact", self.target(edit.id))
        return self._probe(edit, "own", _prompt_of(edit), wanted)

    def generality(self, edit: Edit) -> list[Probe]:
        trained = {edit.request.question, *edit.request.rephrases}
        wanted = Expectation("exact", self.target(edit.id))
        return [
            self._probe(edit, "rephrase", prompt, wanted, str(n))
            for n, prompt in enumerate(dict.fromkeys(self.inputs.held_out.get(edit.id, ())))
            if prompt not in trained
        ]

    def locality(self, edits: Sequence[Edit]) -> list[Probe]:
        # A locality prompt may have become some edit's own question since it was given.
        probes: dict[str, Probe] = {}
        for edit in edits:
            for prompt in edit.request.locality:
                if prompt not in probes and not self.owners(prompt):
                    probes[prompt] = Probe(
                        f"locality:{_digest(prompt)}", prompt, slices=self._slices(edit.id)
                    )
        for prompt in general_prompts():
            if prompt not in probes and not self.owners(prompt):
                probes[prompt] = Probe(f"general:{_digest(prompt)}", prompt)
        return list(probes.values())

    def near(
        self, edits: Sequence[Edit], make: Callable[[Edit], Sequence[Prompt]]
    ) -> tuple[Probe, ...]:
        probes: dict[Prompt, Probe] = {}
        for edit in edits:
            for prompt in make(edit):
                if prompt not in probes:
                    probes[prompt] = self._probe(edit, "near", prompt, UNCHANGED, _digest(prompt))
        return tuple(probes.values())

    def other_subjects(self, edit: Edit) -> list[str]:
        """The edit's wording about names that no active edit has, recorded and invented."""
        template = own_template(edit.request)
        if template is None:
            return []
        prompts = [swap(template, name) for name in self._other_names(edit)]
        return [p for p in prompts if not self._names_in(p)]

    def other_relations(self, edit: Edit) -> list[str]:
        """The edit's subject in wordings that ask something else and have no edit of their own."""
        edited, subject = own_template(edit.request), edit.request.subject
        if edited is None or subject is None:
            return []
        answers = self._of_template[edited] | {self.target(edit.id).casefold()}
        wordings = self.wordings[edit.id]

        def usable(template: str) -> bool:
            if wordings.alike(template) or self._of_template[template] & answers:
                return False
            return not self.owners(swap(template, subject))

        return [
            swap(t, subject) for t in self._templates.pick(f"{edit.id}|relation", PER_EDIT, usable)
        ]

    def other_conversations(self, edit: Edit) -> list[Prompt]:
        """The edit's conversation about names that no active edit has."""
        subject = edit.request.subject
        templates = [
            (m.role, m.content, template_of(m.content, subject) if subject else None)
            for m in messages_of(edit.request.prompt)
        ]
        if not any(template for _, _, template in templates):
            return []
        return [
            Conversation(
                tuple(
                    Message(role, swap(template, name) if template else content)
                    for role, content, template in templates
                )
            )
            for name in self._other_names(edit)
        ]

    def other_turns(self, edit: Edit) -> list[Prompt]:
        """The last question alone, and other questions in its place."""
        messages = messages_of(edit.request.prompt)
        last = max(i for i, m in enumerate(messages) if m.role == "user" and m.content.strip())
        general = _Ring(general_prompts(), self.seed).pick(f"{edit.id}|turn", PER_EDIT)
        turns = [Conversation((*messages[:last], Message("user", text))) for text in general]
        question = asked(edit.request.prompt)
        return [*([question] if not self.owners(question) else []), *turns]

    def unasked(self, edit: Edit) -> list[Probe]:
        """All wordings of the fact about an invented name."""
        gone = Expectation("absent", self.target(edit.id))
        name = self._invented.pick(f"{edit.id}|unasked", 1)[0]
        prompts = [swap(t, name) for t in sorted(self.wordings[edit.id].templates)]
        return [
            self._probe(edit, "unasked", prompt, gone, _digest(prompt))
            for prompt in prompts
            if not self._names_in(prompt)
        ]

    def agreement(self, edit: Edit) -> list[Probe]:
        """Each further wording of the fact must be answered like the first."""
        request = edit.request
        rephrases = [*request.rephrases, *self.inputs.held_out.get(edit.id, ())]
        alike = Expectation("agrees", request.question)
        return [
            self._probe(edit, "agrees", prompt, alike, _digest(prompt))
            for prompt in dict.fromkeys(rephrases)
            if prompt != request.question
        ]

    def measured(self, edit: Edit) -> Probe:
        """The edit's own prompt, for a measure."""
        return self._probe(edit, "asked", _prompt_of(edit), UNCHANGED)

    def retired(self, requests: Iterable[EditRequest]) -> list[Probe]:
        probes = []
        for request in requests:
            # What an edit in force says of the same subject is no relic, whichever wording caught it.
            about = self._names_in(request.question)
            if any(says(self.target(edit), request.target) for edit in about):
                continue
            probes.append(
                Probe(
                    f"retired:{request.id}",
                    request.question,
                    Expectation("absent", request.target),
                    slices=self._slices(request.id),
                )
            )
        return probes

    def owners(self, prompt: str) -> list[str]:
        """Active edits whose own question the prompt is."""
        return [e for e in self._names_in(prompt) if self.wordings[e].ask(prompt)]

    def _probe(
        self, edit: Edit, sort: str, prompt: Prompt, expect: Expectation, which: str = ""
    ) -> Probe:
        """which: tells the probe from the edit's others of its sort, where there are any."""
        name = f"{sort}:{edit.id}:{which}" if which else f"{sort}:{edit.id}"
        return Probe(name, prompt, expect, edit.id, self._slices(edit.id))

    def _other_names(self, edit: Edit) -> list[str]:
        """Names that no active edit has, recorded and invented."""
        recorded = self._names.pick(
            f"{edit.id}|subject", PER_EDIT, lambda n: joined(n) not in self._active
        )
        return [*recorded, *self._invented.pick(f"{edit.id}|invented", PER_EDIT)]

    def _names_in(self, prompt: str) -> list[str]:
        rows = {row for _, ids in self._subjects.find(prompt) for row in ids}
        return [self._ids[row] for row in sorted(rows)]

    def _slices(self, edit: str) -> Mapping[str, str]:
        return self.inputs.slices.get(edit, {})


class _Ring:
    """Items on a circle by their hash: adding one changes only the picks that fall on it."""

    def __init__(self, items: Iterable[str], seed: int) -> None:
        self._seed = seed
        self._positions = sorted({(_position(f"{seed}|{item}"), item) for item in items})

    def pick(
        self, key: str, count: int, accept: Callable[[str], bool] = lambda item: True
    ) -> list[str]:
        """Up to `count` different items: for each, the first acceptable one after its own start."""
        picked: list[str] = []
        size = len(self._positions)
        for n in range(count):
            start = bisect.bisect(self._positions, (_position(f"{self._seed}|{key}|{n}"), ""))
            for step in range(min(size, MOST_TRIES)):
                item = self._positions[(start + step) % size][1]
                if item not in picked and accept(item):
                    picked.append(item)
                    break
        return picked


def general_prompts() -> list[str]:
    """Common questions that any backbone answers somehow; none is about an edit."""
    return list(_material()["general"])


def invented_names() -> list[str]:
    """Names that nobody bears, made of syllables."""
    heads, tails, kinds = (list(_material()[k]) for k in ("heads", "tails", "kinds"))
    return [
        f"{head}{tail} {kind}".strip()
        for i, head in enumerate(heads)
        for j, tail in enumerate(tails)
        for k, kind in enumerate(kinds)
        if (i + j + k) % 3 == 0
    ]


@cache
def _material() -> dict[str, list[str]]:
    data: dict[str, list[str]] = yaml.safe_load(
        (Path(__file__).parent / "material.yaml").read_text(encoding="utf-8")
    )
    return data


def _position(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _digest(prompt: Prompt) -> str:
    text = prompt if isinstance(prompt, str) else json.dumps(prompt.as_json())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _prompt_of(edit: Edit) -> Prompt:
    """What an edit answers, as it is asked."""
    return edit.request.prompt if edit.request.needs_conversation else edit.request.question


def _unchanged_in(edit: Edit, version: Version) -> bool:
    return edit.id in version and version[edit.id].block == edit.block
