"""The demo's closing report: what came in, what became of it, the verdicts, who answers what."""

from __future__ import annotations

from typing import Any

import typer

from console.output import print_table, short
from ledger.insight.overview import MAIN_METRICS

SHOWN = 70  # characters of an answer


def print_report(result: dict[str, Any], home: str) -> None:
    """Print the report. home: as it was given, for the commands to try next."""
    typer.echo(f"\nWhat came in: {result['lines']} lines")
    print_table(
        ("became", "lines"), [(state, number) for state, number in result["counts"].items()]
    )
    _heading("Lines that can't be used, kept with the reason")
    print_table(
        ("line", "reason", "text"),
        [
            (f"{q['file']}:{q['line']}", q["reason"], short(q["raw"], 50))
            for q in result["quarantined"]
        ],
    )
    _heading("Contradictions, decided by rule")
    print_table(
        ("rule", "question", "won", "lost"),
        [
            (
                c["rule"],
                short(c["winner_prompt"] or c["loser_prompt"], 50),
                short(c["winner_target"], 24),
                short(c["loser_target"], 24),
            )
            for c in result["contradictions"]
        ],
    )
    _heading("Edits that did not pass the gate")
    print_table(
        ("question", "answer asked for", "why"),
        [(short(r["prompt"], 40), short(r["target"], 20), r["reason"]) for r in result["rejected"]],
    )
    _heading("Verdicts: share of probes that passed, by version; all must meet their thresholds")
    _verdicts(result["versions"])
    _heading("The same questions, before and after")
    for question in result["questions"]:
        _chat(question)
    renewed, revoked = result["renewed"], result["revoked"]
    typer.echo(
        f'A newer fact replaced "{renewed["before"]["answer"]}" by '
        f'"{renewed["after"]["answer"]}" ({renewed["prompt"]})'
        f'\nRevoking edit {revoked["edit"][:12]} brought "{revoked["after"]["answer"]}" back '
        f'in place of "{revoked["before"]["answer"]}" ({revoked["prompt"]})'
    )
    where = "" if home == ".melo" else f" --home {home}"
    typer.echo(
        f"\nDone in {result['seconds']:.0f} s. Next:\n"
        f"  melo{where} status\n"
        f'  melo{where} ask "{result["questions"][0]["prompt"]}" --explain\n'
        f"  melo{where} edits list --state active\n"
        f"  melo{where} versions show champion"
    )


def _chat(question: dict[str, Any]) -> None:
    """What a user asked, and who answered what."""
    edit = question["edit"]
    by = f"edit {edit[:12]}" if edit else "no edit: the backbone's own answer"
    typer.echo(f"  user      {question['prompt']}")
    typer.echo(f"  backbone  {short(question['before'], SHOWN)}")
    typer.echo(f"  champion  {short(question['after'], SHOWN)}   ({by})\n")


def _verdicts(versions: list[dict[str, Any]]) -> None:
    """One row a suite, one column a version."""
    rows: dict[str, list[str]] = {}
    for column, version in enumerate(versions):
        for suite in version["suites"]:
            if suite["metric"] not in MAIN_METRICS:
                continue
            cells = rows.setdefault(suite["suite"], ["-"] * len(versions))
            mark = "" if suite["passed"] else " FAILED"
            cells[column] = f"{suite['value']:.3f} of {suite['probes']}{mark}"
    version_rows = [
        ("edits", [str(v["info"].get("edits")) for v in versions]),
        ("gate", [str(v["verdict"]) for v in versions]),
        ("MLflow version", [str(v["registry_version"]) for v in versions]),
    ]
    print_table(
        ("suite", *(f"{v['id'][:8]}" for v in versions)),
        [(name, *cells) for name, cells in (*rows.items(), *version_rows)],
    )


def _heading(text: str) -> None:
    typer.echo(f"\n{text}")
