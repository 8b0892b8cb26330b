"""What a gate costs when it reads the index, against generating every answer anew.

    1,000 edits and some spare ──► gated once: what is left of 1,000 is the champion, and keys,
                                  routes and answers of all probes are known
    candidate, 50 edits more  ──► gated on N/10 and on N probes      timed: growth_10x
                              ──► every answer anew, on a sample      timed: speedup
                              ──► both ways on a part of the probes   compared: identical

The probes are every edit's own question and near-misses of the new edits, filled up to N with
locality questions of the data and with its wordings about names that no edit has. What no block acts
on costs a look-up and no text; `speedup` is against answering every probe anew.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.engine import product_editor, ran_on
from benchmarks.progress import Report, silent
from execution.progress import listening
from melo_engine import Backbone, Editor, EditRequest, Version
from melo_engine.matching.names import joined
from melo_engine.near_misses import template_of
from melo_engine.projection import SCHEME
from tasks.gate import (
    AnswerCache,
    GateOptions,
    GateResult,
    Probe,
    Suite,
    Thresholds,
    gate_candidate,
    suites_for,
)
from tasks.gate.suites.wordings import swap
from tasks.gate.types import text_of
from tasks.gate.verdict.thresholds import Audit

SAMPLE = 384  # answers generated to measure the rate
COMPARED = 1500  # probes gated both ways
TEMPLATES = (
    "Who founded [X]?",
    "In which city is [X]?",
    "What does [X] produce?",
    "Who wrote [X]?",
    "What colour is [X]?",
    "In what year was [X] begun?",
    "Who owns [X]?",
    "What is [X] made of?",
    "Which river flows past [X]?",
    "Who painted [X]?",
    "What language is used at [X]?",
)
ANSWERS = ("Ingrid", "Oslo", "steel", "blue", "Volvo", "Latin", "Paris", "wood", "Jonas", "salt")
FIRST = ("Vel", "Tor", "Quin", "Zap", "Mub", "Osk", "Bryn", "Fid", "Lyx", "Gwy", "Chu", "Sno")
LAST = ("andor", "iquet", "omire", "ustra", "elban", "ovic", "arweth", "issant", "unmoor", "eddle")


@dataclass(frozen=True)
class Material:
    """What edits and probes are made of."""

    requests: list[EditRequest]
    locality: list[str]
    templates: list[str]
    names: list[str]


@dataclass(frozen=True)
class Gating:
    """A champion, the candidate upon it, and the editor that is asked for both."""

    editor: Editor
    champion: Version
    candidate: Version

    def gate_champion(self, suites: Sequence[Suite], cache: AnswerCache) -> None:
        """So that its keys and answers are known."""
        gate_candidate(
            self.editor,
            self.champion,
            None,
            suites=_restricted(suites, self.champion),
            cache=cache,
            options=GateOptions(without_floors(audited=True)),
        )

    def gate_candidate(
        self, suites: Sequence[Suite], cache: AnswerCache, *, full: bool = False
    ) -> GateResult:
        """full: generate every answer anew."""
        return gate_candidate(
            self.editor,
            self.candidate,
            self.champion,
            suites=suites,
            cache=cache,
            options=GateOptions(without_floors(audited=True), full=full),
        )

    def is_new(self, probe: Probe) -> bool:
        """Whether a probe is about an edit that the champion lacks."""
        return (
            probe.edit is not None
            and probe.edit in self.candidate
            and probe.edit not in self.champion
        )


def bench(
    probes: int,
    *,
    edits: int = 1000,
    new: int = 50,
    data: Sequence[Path] = (),
    backbone_path: Path | str,
    cache: Path,
    seed: int = 0,
    progress: Report = silent,
) -> dict[str, Any]:
    """The record that `melo bench gate` prints.

    data: edit sets as JSON lines; made-up facts where there is none. cache: versions are kept there
    for the next run.
    """
    backbone = Backbone.open(backbone_path)
    material = read_material(data, seed)
    spare = max(2, edits // 20)
    editor, wide = _wide(backbone, material, edits + spare, new, cache, progress)
    bulk = _bulk(material, edits + spare + new, probes, seed)
    rate = _rate(editor, [text_of(p.prompt) for p in bulk[:SAMPLE]])
    with tempfile.TemporaryDirectory() as scratch:
        warm_cache = Path(scratch) / "known"
        with listening(progress):
            champion = _champion(editor, wide, edits, bulk, warm_cache)
        trainer = Editor(backbone, champion)
        trainer.edit(material.requests[edits + spare :][:new], progress=progress)
        gating = Gating(editor, champion, trainer.version)
        edit_suites = _edit_suites(champion, trainer.version, seed)
        edit_probes = sum(len(s.probes) for s in edit_suites)
        bulk, few = bulk[: max(0, probes - edit_probes)], max(0, probes // 10 - edit_probes)
        with AnswerCache.open(warm_cache / "answers.sqlite") as known, listening(progress):
            gating.gate_champion([*edit_suites, _suite(bulk)], known)
        runs = []
        for name, count in (("few", few), ("all", len(bulk))):
            folder = _copied(warm_cache, Path(scratch) / name)
            runs.append(_timed(gating, [*edit_suites, _suite(bulk[:count])], folder))
        folder = _copied(warm_cache, Path(scratch) / "both")
        with listening(progress):
            identical, compared = _compare(gating, edit_suites, bulk, folder, seed)
    (small, _, small_seconds), (large, large_pairs, large_seconds) = runs
    full_seconds = large_seconds - large.regenerated / rate + large_pairs / rate
    return {
        "speedup": round(full_seconds / large_seconds, 1),
        "growth_10x": round(large_seconds / small_seconds, 2),
        "identical": identical,
        "probes": len(large.probes),
        "probes_small": len(small.probes),
        "edits": len(gating.candidate),
        "new_edits": len([e for e in gating.candidate.edits if e not in champion]),
        "generated": large.regenerated,
        "generated_small": small.regenerated,
        "seconds": round(large_seconds, 2),
        "seconds_small": round(small_seconds, 2),
        "clock": "CPU seconds" if backbone.device.type == "cpu" else "seconds",
        "full": {
            "seconds": round(full_seconds, 1),
            "answers": large_pairs,
            "answers_per_second": round(rate, 1),
            "measured_on_a_sample_of": min(SAMPLE, len(bulk)),
        },
        "compared": compared,
        "verdict": large.reason,
        "data": [p.name for p in data] or "made up",
        **ran_on(backbone),
    }


def read_material(data: Sequence[Path], seed: int = 0) -> Material:
    """Edits, locality questions, wordings and names out of edit sets, or made up."""
    names = [f"{a}{b} {c}{d}" for a, b, c, d in product(FIRST, LAST, FIRST, LAST)]
    random.Random(seed).shuffle(names)
    if not data:
        requests = [
            EditRequest(swap(TEMPLATES[i % len(TEMPLATES)], name), ANSWERS[i % 10], name)
            for i, name in enumerate(names[: len(names) // 3])
        ]
        return Material(requests, [], list(TEMPLATES), names[len(names) // 3 :])
    facts: dict[str, EditRequest] = {}
    locality: dict[str, None] = {}
    for path in data:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            subject = row.get("subject")
            if subject and template_of(row["prompt"], subject):
                request = EditRequest(row["prompt"], row["target"], subject)
                facts.setdefault(joined(subject), request)  # one fact a subject: no conflicts
            for probe in row.get("locality", ()):
                locality[probe["prompt"]] = None
    templates = {template_of(r.question, str(r.subject)): None for r in facts.values()}
    return Material(list(facts.values()), list(locality), [t for t in templates if t], names)


def _wide(
    backbone: Backbone,
    material: Material,
    edits: int,
    new: int,
    cache: Path,
    progress: Report,
) -> tuple[Editor, Version]:
    """The version that becomes the champion, trained once and kept."""
    if len(material.requests) < edits + new:
        raise ValueError(
            f"the data gives {len(material.requests):,} edits; {edits + new:,} are needed. "
            "Name more files, or ask for fewer with --edits."
        )
    wanted = material.requests[:edits]
    folder = cache / "gate" / f"{SCHEME}-{backbone.weights_hash[:12]}-{edits}-{wanted[-1].id}"
    if not (folder / "champion").exists():
        editor = product_editor(backbone, cache)
        editor.edit(wanted, progress=progress)
        editor.save(folder / "champion", folder / "shards")
    wide = Version.load(folder / "champion", backbone, folder / "shards")
    return Editor(backbone, wide), wide


def _champion(
    editor: Editor, wide: Version, edits: int, bulk: Sequence[Probe], folder: Path
) -> Version:
    """What a gate leaves of a version, cut to so many edits."""
    suites = [*_edit_suites(wide, wide, 0), _suite(bulk)]
    with AnswerCache.open(folder / "answers.sqlite") as cache:
        thresholds = without_floors(audited=False)
        result = gate_candidate(
            editor, wide, None, suites=suites, cache=cache, options=GateOptions(thresholds)
        )
    gated = result.version
    latest = sorted(gated.edits, key=lambda e: gated[e].order)[edits:]
    return gated.without(latest)


def _bulk(material: Material, edits: int, count: int, seed: int) -> list[Probe]:
    """Locality questions, then wordings about names that none of the first edits has."""
    taken = {joined(n) for request in material.requests[:edits] for n in request.names}
    names = [n for n in material.names if joined(n) not in taken]
    prompts = dict.fromkeys(material.locality)
    chooser = random.Random(seed)
    while len(prompts) < count:
        prompts[swap(chooser.choice(material.templates), chooser.choice(names))] = None
    chosen = list(prompts)
    chooser.shuffle(chosen)
    return [Probe(f"bulk:{i}", prompt) for i, prompt in enumerate(chosen[:count])]


def _suite(probes: Sequence[Probe]) -> Suite:
    return Suite("bulk", tuple(probes))


def _rate(editor: Editor, prompts: Sequence[str]) -> float:
    """Answers a second."""
    editor.answer(prompts[:32], base=True)
    began = _now(editor)
    editor.answer(prompts, base=True)
    return len(prompts) / (_now(editor) - began)


def _now(editor: Editor) -> float:
    """Seconds: on a CPU of this process's own work, so that what else runs there does not count."""
    cpu = editor.backbone.device.type == "cpu"
    return time.process_time() if cpu else time.perf_counter()


def _edit_suites(champion: Version, candidate: Version, seed: int) -> list[Suite]:
    """Every edit's own question, and near-misses of the new edits."""
    suites = suites_for(candidate, champion=champion, seed=seed)
    return [
        s if s.name == "retention" else _only_new(s, champion)
        for s in suites
        if s.name in ("edit-success", "retention", "locality") or s.name.startswith("near-miss")
    ]


def _only_new(suite: Suite, champion: Version) -> Suite:
    probes = tuple(p for p in suite.probes if p.edit is None or p.edit not in champion)
    return replace(suite, probes=probes)


def _copied(source: Path, folder: Path) -> Path:
    shutil.copytree(source, folder)
    return folder


def _timed(gating: Gating, suites: Sequence[Suite], folder: Path) -> tuple[GateResult, int, float]:
    """Gate the candidate; the result, how many answers it rests on, and its time."""
    with AnswerCache.open(folder / "answers.sqlite") as cache:
        began = _now(gating.editor)
        result = gating.gate_candidate(suites, cache)
        seconds = _now(gating.editor) - began
    prompts = {p.prompt for suite in suites for p in suite.probes}
    return result, len(prompts), seconds


def _compare(
    gating: Gating, edit_suites: Sequence[Suite], bulk: Sequence[Probe], folder: Path, seed: int
) -> tuple[bool, int]:
    """Gate a part of the probes both ways: are verdict and every answer the same?"""
    chooser = random.Random(seed)
    share = COMPARED / max(COMPARED, len(bulk) + sum(len(s.probes) for s in edit_suites))
    suites = []
    for suite in [*edit_suites, _suite(bulk)]:
        part = tuple(p for p in suite.probes if gating.is_new(p) or chooser.random() < share)
        suites.append(replace(suite, probes=part))
    with AnswerCache.open(folder / "answers.sqlite") as cache:
        gating.gate_champion(suites, cache)
        results = [gating.gate_candidate(suites, cache, full=full) for full in (False, True)]
    outcomes = [
        (
            r.passed,
            r.version.id,
            [(p.suite, p.probe_id, p.passed, p.edit) for p in r.probes],
        )
        for r in results
    ]
    return outcomes[0] == outcomes[1], len(results[0].probes)


def _restricted(suites: Sequence[Suite], version: Version) -> list[Suite]:
    """The suites without probes of edits that the version lacks."""
    return [
        replace(s, probes=tuple(p for p in s.probes if p.edit is None or p.edit in version))
        for s in suites
    ]


def without_floors(*, audited: bool) -> Thresholds:
    """The built-in ones, except that no suite has to be there or of a certain size."""
    loaded = Thresholds.load()
    suites = {k: replace(v, least=0, required=False) for k, v in loaded.suites.items()}
    loaded = replace(loaded, suites=suites)
    return loaded if audited else replace(loaded, audit=Audit(share=0, least=0, most=0))
