"""A fresh home for the demo: what an earlier demo left goes, its caches stay.

kept      cache/ (backbone, key projection, answers), prefect/ (its database)
renewed   everything else, where `demo.json` says that a demo made it
"""

from __future__ import annotations

import shutil
from pathlib import Path

from config import Settings, load
from config.template import TEMPLATE
from console.errors import UsageProblem
from text import read_text

MARK = "demo.json"
KEPT = {"cache", "prefect"}
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PREPARED = "cache/backbones/demo"  # of a backbone that the demo makes itself
SETTINGS = """\
# The demo's home. It is made anew by each `melo demo`; caches stay.

[backbone]
path = "{backbone}"

[plan]
max_edits_per_job = 18        # so that the demo's reports become two jobs
"""


def fresh_home(home: Path, backbone: str) -> Settings:
    """Make the demo's home. Raises UsageProblem where it holds something that no demo made."""
    if not (EXAMPLES / "reports.jsonl").is_file():
        raise UsageProblem(f"{EXAMPLES} is not there; the demo runs from a clone of the project.")
    home.mkdir(parents=True, exist_ok=True)
    _refuse_another_home(home)
    for entry in home.iterdir():
        if entry.name in KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (home / MARK).write_text("{}\n", encoding="utf-8")
    (home / "melo.toml").write_text(SETTINGS.format(backbone=backbone), encoding="utf-8")
    shutil.copytree(EXAMPLES / "suites", home / "suites")
    return load(home)


def _refuse_another_home(home: Path) -> None:
    if (home / MARK).is_file():
        return
    settings = home / "melo.toml"
    custom = settings.is_file() and read_text(settings) != TEMPLATE
    if custom or any((home / name).exists() for name in ("versions", "mlflow.db")) or _lines(home):
        raise UsageProblem(
            f"{home} holds state that no demo made. Give the demo a folder of its own: "
            "melo demo --home DIR."
        )


def _lines(home: Path) -> int:
    from ledger import Ledger

    path = home / "ledger.duckdb"
    if not path.exists():
        return 0
    with Ledger.open(path, read_only=True) as ledger:
        return ledger.counts().lines
