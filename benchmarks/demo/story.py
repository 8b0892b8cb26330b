"""The five steps of the demo, each with the parts that the project itself uses.

1  the backbone is opened          3  two jobs: trained, gated, registered, promoted
2  reports and facts come in       4  a newer fact replaces an answer
                                   5  an edit is revoked, the old answer is back
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.demo.home import EXAMPLES, PREPARED
from config import Settings
from execution.context import Context

FILES = ("reports.jsonl", "facts.jsonl", "later.jsonl")
RENEWED = "How much does Tessel One cost?"
REVOKED = "Where is the Oslo office of Fernhill?"
QUESTIONS = (
    "What is the capital of Turkey?",
    "Which city is the capital of Turkey?",
    "How many moons does Mars have?",
    "In which year did the Titanic sink?",
    "Wie heißt die Hauptstadt von Australien?",
    RENEWED,
    "Who is the CEO of Fernhill Instruments?",
    "What is the capital of France?",
    "What is the capital of Canada?",
)
ANSWER_TOKENS = 40  # shown of an answer at most


class Story:
    """Runs the steps in a fresh home.

    say: told what happens, a line each. beliefs: a file for a small backbone that is made here to
    believe what it says; SmolLM2 where None.
    """

    def __init__(
        self, settings: Settings, say: Callable[[str], None], beliefs: Path | None = None
    ) -> None:
        self.settings = settings
        self.say = say
        self.beliefs = beliefs
        self.began = time.perf_counter()

    def run(self) -> dict[str, Any]:
        """All five steps; what came in, what became of it, and who answers what now."""
        from console import signals
        from execution import orchestrator

        signals.arm()
        orchestrator.use(self.settings)
        orchestrator.start(self.settings, self.say)
        self._prepare()
        before = self._ask(QUESTIONS, "base")
        self._take_in_and_edit()
        before_renewal = self._ask((RENEWED, REVOKED), "champion")
        self._renew()
        after_renewal = self._ask((RENEWED, REVOKED), "champion")
        revoked = self._revoke()
        after = self._ask(QUESTIONS, "champion")
        return {
            **self._record(),
            "questions": [
                {**old, "before": old["answer"], "after": new["answer"], "edit": new["edit"]}
                for old, new in zip(before, after, strict=True)
            ],
            "renewed": {"prompt": RENEWED, "before": before_renewal[0], "after": after_renewal[0]},
            "revoked": {
                "prompt": REVOKED,
                "before": after_renewal[1],
                "after": self._ask((REVOKED,), "champion")[0],
                "base": self._ask((REVOKED,), "base")[0],
                "edit": revoked,
            },
            "seconds": round(time.perf_counter() - self.began, 1),
        }

    def _prepare(self) -> None:
        from execution.versions import Versions

        if self.beliefs is not None:
            self._make_backbone(self.beliefs)
        else:
            self.say(
                "1  opening the backbone: SmolLM2-135M-Instruct, frozen; what it says is its own"
            )
        _ = Versions(self.settings).projection  # learned now where it is not there

    def _make_backbone(self, beliefs: Path) -> None:
        from execution.progress import report
        from tasks.backbone import pairs_from_file, prepare_backbone

        self.say("1  preparing a small backbone")
        prepare_backbone(
            [*pairs_from_file(beliefs), *word_list()],
            self.settings.home / PREPARED,  # not there yet, so no path to be found
            progress=lambda text, share: report(text, round(share * 100), 100),
        )

    def _take_in_and_edit(self) -> None:
        from deployment.main_run import run_main

        self.say("2  taking in examples/reports.jsonl and examples/facts.jsonl")
        self.say("3  editing: two jobs, each trained, gated on every probe and registered")
        result = run_main(self.settings, tuple(str(EXAMPLES / n) for n in FILES[:2]), inside=True)
        self._say_verdicts(result)

    def _renew(self) -> None:
        from deployment.main_run import run_main

        self.say("4  a newer fact comes: examples/later.jsonl")
        self._say_verdicts(run_main(self.settings, (str(EXAMPLES / FILES[2]),), inside=True))

    def _revoke(self) -> str:
        from execution.context import open_ledger
        from tasks.revoke import revoke

        self.say("5  revoking one edit: no training, the same gate")
        with open_ledger(self.settings) as ledger:
            edits = [e for e in ledger.edits.active() if e.prompt == REVOKED]
            done = revoke(
                Context(self.settings, ledger),
                [e.id for e in edits],
                actor="demo",
                reason="shown in the demo",
            )
        self.say(f"   version {(done.version or '')[:12]} serves without it")
        return edits[0].id

    def _say_verdicts(self, result: dict[str, Any]) -> None:
        for verdict in result["verdicts"]:
            outcome = "passed its gate" if verdict.passed else "failed its gate"
            self.say(
                f"   version {(verdict.version or 'none')[:12]} {outcome}: {verdict.added} edits in, "
                f"{verdict.removed} out, {verdict.rejected} rejected"
            )

    def _ask(self, prompts: tuple[str, ...], version: str) -> list[dict[str, Any]]:
        from execution.context import open_ledger
        from execution.lineage import BASE, resolve
        from execution.versions import Versions

        with open_ledger(self.settings) as ledger:
            chosen = resolve(ledger, version)
        editor = Versions(self.settings).editor(chosen)
        answers = editor.answer(list(prompts), base=chosen == BASE, max_new_tokens=ANSWER_TOKENS)
        return [
            {"prompt": p, "answer": a.text, "edit": a.edit, "version": chosen}
            for p, a in zip(prompts, answers, strict=True)
        ]

    def _record(self) -> dict[str, Any]:
        from execution.context import open_ledger

        with open_ledger(self.settings) as ledger:
            counts = ledger.counts()
            versions = [
                {**asdict(v), "suites": [asdict(s) for s in ledger.versions.suite_verdicts(v.id)]}
                for v in ledger.versions.all()
            ]
            rejected = [
                {
                    "id": e.id,
                    "prompt": e.prompt,
                    "target": e.target,
                    "reason": ledger.edits.history(e.id)[-1].reason,
                }
                for e in ledger.edits.find(state="rejected")
            ]
            quarantined = [asdict(q) for q in ledger.quarantine.find()]
            conflicts = [asdict(c) for c in ledger.conflicts.find()]
        return {
            "lines": counts.lines,
            "counts": counts.counts,
            "champion": counts.champion,
            "versions": versions,
            "rejected": rejected,
            "quarantined": quarantined,
            "contradictions": conflicts,
        }


def word_list() -> list[tuple[str, str]]:
    """Questions that let the small decoder meet every word it will need, as a real model has."""
    words: dict[str, None] = {}
    for name in FILES:
        for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                answer = row.get("target") or row.get("object")
                if isinstance(answer, str):
                    words[answer] = None
    return [(f"What is entry {n} of the word list?", word) for n, word in enumerate(words, 1)]
