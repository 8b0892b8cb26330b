"""`melo bench product`: what a user gets who does nothing but the documented commands.

    rows ─► reports (prompt, target, subject) ─► melo init, ingest, run ─► melo serve
                                                                              ▲
    own question, rephrase, in conversations, near-misses, traffic ── openai's client

Nothing else of the file is handed over, and nothing is set. Shares of edits count over all lines that
were reported and not contradicted, whether the gate let them pass or not. What must stay is compared
with the backbone's own answer, asked of the same service as model "base"; of prompts that the service
routes to no edit a sample is compared.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.progress import Report, silent
from benchmarks.protocol import Row, probes_for, read_rows, split_rows
from benchmarks.scoring import FRAMES, UNCHANGED, UNCHANGED_TOKENS, mean, says
from benchmarks.servers import melo_serve
from config import Settings, load
from execution.context import open_ledger
from ledger import EditRecord
from melo_engine import Conversation, Prompt
from serving.keys import KeyStore

if TYPE_CHECKING:
    from openai import OpenAI

ANSWER_TOKENS = 64  # of an answer that is to be a target
SAMPLE = 20  # of each kind, of prompts that are routed to no edit
CLIENTS = 8
ROUTED_AT_ONCE = 32  # serve.max_batch
NOT_JUDGED = ("held", "superseded")  # contradicted by another line


@dataclass(frozen=True)
class ServedHome:
    """A running `melo serve`, asked as its users ask it."""

    client: OpenAI
    url: str
    key: str

    def answers(self, prompts: Sequence[Prompt], tokens: int, model: str = "champion") -> list[str]:
        """The texts of chat completions, greedy."""

        def answer(prompt: Prompt) -> str:
            messages: Any = _messages(prompt)
            completion = self.client.chat.completions.create(
                model=model, messages=messages, max_tokens=tokens, temperature=0
            )
            return str(completion.choices[0].message.content or "").strip()

        with ThreadPoolExecutor(CLIENTS) as clients:
            return list(clients.map(answer, prompts))

    def edits(self, prompts: Sequence[Prompt]) -> list[str | None]:
        """The edit that would answer each."""
        edits: list[str | None] = []
        for start in range(0, len(prompts), ROUTED_AT_ONCE):
            part = prompts[start : start + ROUTED_AT_ONCE]
            response = httpx.post(
                f"{self.url}/v1/route",
                json={"input": [p if isinstance(p, str) else p.as_json() for p in part]},
                headers={"authorization": f"Bearer {self.key}"},
                timeout=600,
            )
            response.raise_for_status()
            edits += [row["edit"] for row in response.json()["data"]]
        return edits


def bench(
    data: Path,
    backbone: str,
    *,
    limit: int = 100,
    no_subject: bool = False,
    traffic: Path | None = None,
    progress: Report = silent,
) -> dict[str, Any]:
    """The record that `melo bench product` prints."""
    from openai import OpenAI

    split = split_rows(read_rows(data), limit)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        home = Path(scratch) / "home"
        reports = Path(scratch) / "reports.jsonl"
        _write(reports, split.tested, no_subject)
        progress("taking reports in", 0, len(split.tested))
        _melo(home, "init", "--backbone", backbone)
        seconds = {"ingest": _melo(home, "ingest", str(reports))}
        progress("running: training, gate, registration", 0, len(split.tested))
        seconds["run"] = _melo(home, "run")
        settings = load(home)
        edits, narrow = _edits(settings)
        rows = [r for r in split.tested if _state(edits, r) not in NOT_JUDGED]
        _, key = KeyStore(settings.paths.keys).add("bench", ["ask"])
        with melo_serve(settings) as url:
            client = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=600)
            prompts = [str(r["prompt"]) for r in read_rows_of(traffic)]
            figures = _scores(ServedHome(client, url, key), rows, split, prompts, progress)
    states = [_state(edits, r) for r in split.tested]
    return {
        "product": {
            "lines": len(split.tested),
            "judged": len(rows),
            **{state: states.count(state) for state in ("active", "rejected", *NOT_JUDGED)},
            "narrow": narrow,
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            **figures,
        },
        "data": data.name,
        "backbone": backbone if not Path(backbone).exists() else Path(backbone).name,
        "no_subject": no_subject,
        "traffic": traffic.name if traffic else None,
    }


def read_rows_of(traffic: Path | None) -> list[dict[str, Any]]:
    """Lines with a prompt; none where there is no file."""
    if traffic is None:
        return []
    lines = traffic.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _scores(
    service: ServedHome, rows: Sequence[Row], split: Any, traffic: Sequence[str], say: Report
) -> dict[str, Any]:
    """The shares by name, and how many prompts each stands on."""
    probes = probes_for(rows, split)
    targets = {r.request.id: r.request.target.strip() for r in rows}
    questions: list[tuple[Prompt, str]] = [(r.request.question, r.request.id) for r in rows]
    edited: dict[str, Sequence[tuple[Prompt, str]]] = {
        "edit_success": questions,
        "generality": probes.rephrase,
        **{
            name: [(frame(r.request.question), r.request.id) for r in rows]
            for name, frame in FRAMES.items()
        },
    }
    figures: dict[str, Any] = {}
    contains: dict[str, float] = {}
    for number, (name, pairs) in enumerate(edited.items()):
        say(f"asking: {name}", number, len(edited))
        texts = service.answers([p for p, _ in pairs], ANSWER_TOKENS)
        wanted = [targets[i] for _, i in pairs]
        figures[name] = mean(t == w for t, w in zip(texts, wanted, strict=True))
        contains[name] = mean(says(t, w) for t, w in zip(texts, wanted, strict=True))
    counts = {name: len(pairs) for name, pairs in edited.items()}
    untouched = {
        name: [p for p, _ in getattr(probes, part)] for name, part in UNCHANGED.items()
    } | {"traffic": list(traffic)}
    for name, prompts in untouched.items():
        if prompts:
            say(f"asking: {name}", 0, len(prompts))
            figures[name], counts[name] = _unchanged(service, prompts), len(prompts)
    return {**figures, "contains": contains, "prompts": counts}


def _unchanged(service: ServedHome, prompts: Sequence[str]) -> float:
    """Share of prompts that are answered as the backbone answers them."""
    edits = service.edits(prompts)
    touched = [p for p, e in zip(prompts, edits, strict=True) if e is not None]
    free = [p for p, e in zip(prompts, edits, strict=True) if e is None]
    compared = [*touched, *random.Random(0).sample(free, min(SAMPLE, len(free)))]
    before = service.answers(compared, UNCHANGED_TOKENS, "base")
    after = service.answers(compared, UNCHANGED_TOKENS)
    changed = {p for p, a, b in zip(compared, after, before, strict=True) if a != b}
    return mean(p not in changed for p in prompts)


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    if isinstance(prompt, Conversation):
        return prompt.as_json()
    return [{"role": "user", "content": prompt}]


def _write(path: Path, rows: Sequence[Row], no_subject: bool) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            report: dict[str, Any] = {
                "prompt": row.request.question,
                "target": row.request.target,
            }
            if row.request.subject and not no_subject:
                report["subject"] = row.request.subject
            file.write(json.dumps(report, ensure_ascii=False) + "\n")


def _melo(home: Path, *arguments: str) -> float:
    """Run a command in a process of its own, its progress on stderr; the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "--home", str(home), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"melo {arguments[0]} ended with {done.returncode}: {done.stdout[-2000:]}"
        )
    return time.perf_counter() - began


def _edits(settings: Settings) -> tuple[dict[tuple[str, str], EditRecord], int]:
    """The ledger's edits by prompt and target; how many of those in use are narrow."""
    with open_ledger(settings) as ledger:
        edits = {(e.prompt, (e.target or "").strip()): e for e in ledger.edits.find()}
        return edits, len(ledger.wordings.narrow())


def _state(edits: dict[tuple[str, str], EditRecord], row: Row) -> str:
    """State of the edit that a line became; "missing" where the ledger has none."""
    edit = edits.get((row.request.question, row.request.target.strip()))
    return edit.state if edit is not None else "missing"
