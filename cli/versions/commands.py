"""`melo versions`: list, show, compare, promote, and who did what when."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.printing import Columns, print_columns, print_records
from cli.versions.rollback import rollback, tell
from cli.versions.storage import compact, delete
from console.context import Json, Why, new_app, state, user
from console.output import print_json, print_table, short

if TYPE_CHECKING:
    from ledger import Champion, ProbeRecord, SuiteVerdict, VersionRecord

SUITE_CHANGE = ("suite", "metric", "before", "after")
PROBE_CHANGE = ("suite", "prompt", "before", "after")
app = new_app(no_args_is_help=True)
app.command()(rollback)
app.command()(compact)
app.command()(delete)


@app.callback()
def _versions() -> None:
    """Versions of the edited model: verdicts, differences, promotion."""


@app.command("list")
def list_versions(ctx: typer.Context, as_json: Json = False) -> None:
    """All versions, oldest first."""
    with state(ctx).ledger(create=False) as ledger:
        versions = ledger.versions.all()
        champion = ledger.champions.current()
    serving = champion.version if champion else None
    deleted = {version.id for version in versions if version.info.get("deleted")}
    columns: Columns[VersionRecord] = {
        "version": lambda v: v.id[:12],
        "MLflow": lambda v: v.registry_version,
        "gate": lambda v: v.verdict,
        "edits": lambda v: v.info.get("edits"),
        "added": lambda v: len(v.edits_added),
        "removed": lambda v: len(v.edits_removed),
        "made": lambda v: v.created_at,
        "": lambda v: "champion" if v.id == serving else "deleted" if v.id in deleted else "",
    }
    print_records(
        versions, columns, as_json, of=lambda v: {**asdict(v), "champion": v.id == serving}
    )


@app.command()
def show(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="An id, its prefix, champion or previous.")],
    probes: Annotated[bool, typer.Option("--probes", help="Also the probes that failed.")] = False,
    as_json: Json = False,
) -> None:
    """A version, its verdict table and what it changed."""
    from execution.lineage import resolve

    with state(ctx).ledger(create=False) as ledger:
        record = ledger.versions.get(resolve(ledger, version))
        suites = ledger.versions.suite_verdicts(record.id)
        failed = ledger.versions.probe_results(record.id, failed_only=True)
        added = ledger.edits.find(ids=record.edits_added) if record.edits_added else []
    if as_json:
        print_json({**asdict(record), "suites": suites, "failed_probes": failed})
        return
    print_table(
        ("version", record.id),
        [
            ("gate", f"{record.verdict}: {record.reason}"),
            ("parent", record.parent or "base"),
            ("job", record.job_id),
            ("MLflow version", record.registry_version),
            ("made", record.created_at),
            ("edits", record.info.get("edits")),
            ("removed", ", ".join(edit[:12] for edit in record.edits_removed) or "none"),
        ],
    )
    typer.echo()
    columns: Columns[SuiteVerdict] = {
        "suite": lambda suite: suite.suite,
        "metric": lambda suite: suite.metric,
        "value": lambda suite: _value(suite.value),
        "threshold": lambda suite: suite.threshold,
        "probes": lambda suite: suite.probes,
        "failed": lambda suite: suite.failed,
        "passed": lambda suite: "yes" if suite.passed else "NO",
    }
    print_columns(suites, columns)
    if added:
        typer.echo("\nadded")
        print_table(
            ("edit", "prompt", "target"),
            [(edit.id[:12], short(edit.prompt), short(edit.target, 40)) for edit in added],
        )
    if probes:
        typer.echo("\nprobes that failed")
        probe_columns: Columns[ProbeRecord] = {
            "suite": lambda probe: probe.suite,
            "prompt": lambda probe: short(probe.prompt),
            "before": lambda probe: short(probe.answer_before, 30),
            "after": lambda probe: short(probe.answer_after, 30),
            "edit": lambda probe: (probe.edit_id or "-")[:12],
        }
        print_columns(failed, probe_columns)


@app.command()
def diff(
    ctx: typer.Context,
    one: Annotated[str, typer.Argument(help="A version.")],
    other: Annotated[str, typer.Argument(help="Another version.")],
    as_json: Json = False,
) -> None:
    """Which edits, suites and probes differ between two versions."""
    from execution.lineage import resolve
    from execution.versions import Versions

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        ids = [resolve(ledger, name) for name in (one, other)]
        a, b = (Versions(here.settings).edits_of(name) for name in ids)
        edits = {e.id: e for e in ledger.edits.find(ids=sorted(a ^ b))} if a ^ b else {}
        suites = [{(s.suite, s.metric): s for s in ledger.versions.suite_verdicts(i)} for i in ids]
        probes = [{(p.suite, p.prompt): p for p in ledger.versions.probe_results(i)} for i in ids]
    changed = [
        (*key, probe.answer_after, probes[1][key].answer_after)
        for key, probe in probes[0].items()
        if key in probes[1] and probe.answer_after != probes[1][key].answer_after
    ]
    added, removed = sorted(b - a), sorted(a - b)
    measured = [
        (*key, _number(suites[0].get(key)), _number(suites[1].get(key)))
        for key in dict.fromkeys([*suites[0], *suites[1]])
    ]
    if as_json:
        print_json(
            {
                "added": added,
                "removed": removed,
                "probes": [dict(zip(PROBE_CHANGE, row, strict=True)) for row in changed],
                "suites": [dict(zip(SUITE_CHANGE, row, strict=True)) for row in measured],
            }
        )
        return
    print_table(
        ("edit", "", "prompt", "target"),
        [
            (
                e[:12],
                "added" if e in b else "removed",
                short(edits[e].prompt),
                short(edits[e].target, 40),
            )
            for e in (*added, *removed)
        ],
    )
    typer.echo()
    print_table(
        SUITE_CHANGE,
        [(suite, metric, _value(a), _value(b)) for suite, metric, a, b in measured],
    )
    typer.echo()
    print_table(
        PROBE_CHANGE,
        [(suite, short(prompt), short(a, 40), short(b, 40)) for suite, prompt, a, b in changed],
    )


@app.command()
def promote(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="A version that passed its gate.")],
    reason: Why = "promoted by hand",
    as_json: Json = False,
) -> None:
    """Let a version serve. Refused without a passed gate for its very content."""
    from execution.lineage import resolve
    from tasks.register import promote as promote_version

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        champion = ledger.champions.current()
        serving = champion.version if champion else None
        wanted = resolve(ledger, version)
        done = promote_version(
            here.context(ledger), wanted, expected=serving, actor=user(), reason=reason
        )
    tell(done, as_json)


@app.command()
def log(ctx: typer.Context, as_json: Json = False) -> None:
    """Every change of champion: when, by whom and why. The latest first."""
    with state(ctx).ledger(create=False) as ledger:
        champions = ledger.champions.history(limit=1000)
    columns: Columns[Champion] = {
        "time": lambda champion: champion.at,
        "champion": lambda champion: champion.version[:12],
        "before": lambda champion: (champion.previous or "-")[:12],
        "who": lambda champion: champion.actor,
        "why": lambda champion: champion.reason,
    }
    print_records(champions, columns, as_json)


def _number(suite: Any) -> float | None:
    return None if suite is None else suite.value


def _value(number: float | None) -> str:
    return "-" if number is None else f"{number:.4f}"
