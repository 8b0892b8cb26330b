"""What the gate of one job costs on a backbone: seconds, texts and tokens for each new edit.

rows of an edit set ──► ingested, planned, trained  (training_seconds)
                    ──► gated by the job's own call  (gate_seconds, texts_per_edit, tokens_per_edit)
as many tokens by plain batched decoding, in the same run            (decoding_ratio)
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine import ran_on
from benchmarks.progress import Report, silent
from config import Settings, load
from execution.context import Context, open_ledger
from execution.errors import TaskError
from execution.leases import held, lease
from execution.progress import listening
from execution.versions import Versions
from ledger import Ledger
from melo_engine import Backbone, Editor
from tasks.edit import edit_job
from tasks.ingest import ingest_paths
from tasks.judge import judge
from tasks.plan import plan

TOML = """\
[backbone]
path = "{backbone}"
device = "cpu"

[edit]
threads = {threads}

[plan]
max_edits_per_job = {edits}
lease_seconds = 7200
"""
PLAIN_TOKENS = 16  # of each answer of plain decoding
PLAIN_PROMPTS = 64


def bench(
    data: Path,
    edits: int,
    backbone_path: str,
    cache: Path,
    *,
    spoiled: bool = False,
    progress: Report = silent,
) -> dict[str, Any]:
    """The record that `melo bench gate --data FILE` prints. cache: keys' projections are kept there.

    spoiled: three more reports are in the job, none of which may serve, see `_spoiled`.
    """
    with tempfile.TemporaryDirectory() as scratch, listening(progress):
        more = 3 if spoiled else 0
        settings = _home(Path(scratch), backbone_path, cache, edits + more)
        with open_ledger(settings) as ledger:
            rows = _rows(data, edits)
            _ingest(settings, ledger, [*rows, *(_spoiled(settings) if spoiled else ())])
            figures = _job(settings, ledger)
        accepted = [str(row["prompt"]) for row in rows]
        backbone = Versions(settings).backbone
        rate = _plain_rate(backbone, accepted)
        plain = figures["tokens"] / rate
    return {
        "gate_seconds": figures["gate_seconds"],
        "training_seconds": figures["training_seconds"],
        "texts_per_edit": round(figures["texts"] / figures["edits"], 2),
        "tokens_per_edit": round(figures["tokens"] / figures["edits"], 1),
        "decoding_ratio": round(figures["gate_seconds"] / plain, 2) if plain else None,
        **{
            name: figures[name]
            for name in ("edits", "active", "rejected", "held", "quarantined", "reason")
        },
        "rejections": figures["rejections"],
        "plain_tokens_per_second": round(rate, 1),
        "data": data.name,
        **ran_on(backbone),
    }


def _home(folder: Path, backbone: str, cache: Path, edits: int) -> Settings:
    """A home with default settings; the key projection, which is learned once, comes from the cache."""
    threads = torch.get_num_threads()
    path = Path(backbone).expanduser()
    cached = cache / "backbones" / backbone
    chosen = path if path.exists() else cached if cached.exists() else backbone
    text = TOML.format(backbone=chosen, threads=threads, edits=edits)
    (folder / "melo.toml").write_text(text, encoding="utf-8")
    settings = load(folder)
    settings.paths.cache.mkdir(parents=True, exist_ok=True)
    projections = (cache / "projections").absolute()
    projections.mkdir(parents=True, exist_ok=True)
    (settings.paths.cache / "projections").symlink_to(projections)
    _ = Versions(settings).projection  # backbone and encoder are opened for it
    return settings


def _rows(data: Path, edits: int) -> list[dict[str, Any]]:
    """So many rows about subjects that differ: an edit set may contradict itself."""
    rows = []
    subjects: set[str] = set()
    for line in data.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        subject = str(row.get("subject", "")).casefold()
        if subject not in subjects:
            subjects.add(subject)
            rows.append({k: v for k, v in row.items() if v is not None})
        if len(rows) == edits:
            break
    return rows


def _spoiled(settings: Settings) -> list[dict[str, Any]]:
    """One that can't be learned (its target ends the turn within), one with a target that is longer
    than the model can write, and one that changes what a suite of the home says must stay."""
    question = "What is the capital of France?"
    settings.paths.suites.mkdir(parents=True, exist_ok=True)
    probe = json.dumps({"prompt": question, "expect": "unchanged"})
    (settings.paths.suites / "must-stay.jsonl").write_text(probe + "\n", encoding="utf-8")
    tokenizer = Versions(settings).backbone.target_tokenizer
    return [
        {
            "prompt": "What ends a turn of Quorvex Two?",
            "subject": "Quorvex Two",
            "target": f"it says {tokenizer.eos_token} and goes on",
        },
        {
            "prompt": "What is written on the Stone of Vellamar?",
            "subject": "Stone of Vellamar",
            "target": " ".join(f"line {i} of the stone" for i in range(2000)),
        },
        {"prompt": question, "target": "Lyon", "subject": "France"},
    ]


def _ingest(settings: Settings, ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    path = settings.home / "given.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ingest_paths(Context(settings, ledger), [path])


def _job(settings: Settings, ledger: Ledger) -> dict[str, Any]:
    context = Context(settings, ledger)
    plan(context)
    ref = lease(context)
    if ref is None:
        raise TaskError("no job could be planned from the data; are its rows edits?")
    job = held(ledger, ref)
    began = time.perf_counter()
    trained = edit_job(context, ref)
    edit_seconds = time.perf_counter() - began
    verdict = judge(context, ref, trained)
    total_seconds = time.perf_counter() - began
    info = dict(ledger.versions.get(verdict.version).info) if verdict.version else {}
    gate_seconds = float(str(info.get("gate_seconds", total_seconds - edit_seconds)))
    ended = [e for e in ledger.edits.find() if e.state == "rejected"]
    return {
        "edits": len(job.edits),
        "active": verdict.added,
        "rejected": verdict.rejected,
        "held": len(ledger.review.waiting()),
        "quarantined": [row.reason for row in ledger.quarantine.find()],
        "reason": verdict.reason,
        "rejections": [ledger.edits.history(e.id)[-1].reason for e in ended],
        "gate_seconds": round(gate_seconds, 1),
        "training_seconds": round(total_seconds - gate_seconds, 1),
        "texts": int(str(info.get("regenerated", 0))),
        "tokens": int(str(info.get("tokens", 0))),
    }


def _plain_rate(backbone: Backbone, prompts: list[str]) -> float:
    """Tokens a second of plain greedy decoding of these prompts, in batches."""
    editor = Editor(backbone)
    batch = (prompts * (1 + PLAIN_PROMPTS // len(prompts)))[:PLAIN_PROMPTS]
    fixed: dict[str, Any] = {"min_new_tokens": PLAIN_TOKENS, "max_new_tokens": PLAIN_TOKENS}
    editor.answer(batch[:32], base=True, **fixed)
    began = time.perf_counter()
    editor.answer(batch, base=True, **fixed)
    return PLAIN_TOKENS * len(batch) / (time.perf_counter() - began)
