"""`melo suites`: the home's own regression suites."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.printing import Columns, print_outcome, print_records
from console.context import Json, new_app, state
from console.output import print_json, print_table

app = new_app(no_args_is_help=True)


@app.callback()
def _suites() -> None:
    """Regression suites of your own, beside those that are made for every version."""


@app.command("list")
def list_suites(ctx: typer.Context, as_json: Json = False) -> None:
    """The suites in the home's folder `suites/`."""
    from tasks.gate import load_suites

    suites = load_suites(state(ctx).settings.paths.suites)
    rows: list[dict[str, Any]] = [
        {
            "suite": s.name,
            "purpose": s.purpose,
            "probes": len(s.probes),
            "expect": sorted({p.expect.kind for p in s.probes}),
            "source": s.source,
            "problem": s.problem,
        }
        for s in suites
    ]
    names = ("suite", "purpose", "probes", "expect", "source", "problem")
    columns: Columns[dict[str, Any]] = {
        **{name: itemgetter(name) for name in names},
        "expect": lambda row: ", ".join(row["expect"]),
    }
    print_records(rows, columns, as_json)


@app.command()
def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON lines or Parquet, a probe a row.")],
    name: Annotated[str | None, typer.Option(help="None: the file's.")] = None,
    expect: Annotated[
        str, typer.Option(help="unchanged, exact, contains, regex, absent, agrees or metric.")
    ] = "unchanged",
    purpose: Annotated[
        str, typer.Option(help="answers, perplexity, fluency or consistency.")
    ] = "answers",
    metric: Annotated[str | None, typer.Option(help="With --expect metric.")] = None,
    at_least: Annotated[float | None, typer.Option(help="With --expect metric.")] = None,
    source: Annotated[str, typer.Option(help="Where the probes come from.")] = "",
    as_json: Json = False,
) -> None:
    """Take probes into the home: rows with "prompt", and "value" or "answer" if one is expected."""
    from tasks.gate import add_suite
    from tasks.gate.suites.files import read_rows

    header = {
        "purpose": purpose,
        "expect": expect,
        "metric": metric,
        "at_least": at_least,
        "source": source,
    }
    folder = state(ctx).settings.paths.suites
    suite = add_suite(folder, name or file.stem, list(read_rows(file)), header)
    print_outcome(
        {"suite": suite.name, "probes": len(suite.probes), "folder": folder},
        f"{suite.name}: {len(suite.probes):,} probes in {folder}. Every gate asks them.",
        as_json,
    )


@app.command("from-traffic")
def from_traffic(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Rows with a prompt; none: what serve.record_prompts has recorded."),
    ] = None,
    held_back: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share that only the nightly audit asks.")
    ] = 0.2,
    most: Annotated[int | None, typer.Option(min=1, help="Questions at most.")] = None,
    as_json: Json = False,
) -> None:
    """A locality suite of what people ask: their answers must not change, whatever is edited.

    Takes the place of what an earlier call has made. Doubled questions are asked once.
    """
    from tasks.gate.suites.traffic import suite_from_traffic

    settings = state(ctx).settings
    paths = files or sorted(settings.paths.traffic.glob("*.jsonl"))
    taken = suite_from_traffic(settings.paths.suites, paths, held_back=held_back, most=most)
    print_outcome(
        taken,
        f"{taken.asked:,} questions that every gate asks, {taken.held_back:,} that only audits ask; "
        f"{taken.left_out:,} rows left out.",
        as_json,
    )


@app.command()
def check(ctx: typer.Context, as_json: Json = False) -> None:
    """Read every suite; exit code 1 where one can't be used, since it would fail every gate."""
    from tasks.gate import load_suites

    suites = load_suites(state(ctx).settings.paths.suites)
    problems = [{"suite": s.name, "problem": s.problem} for s in suites if s.problem]
    if as_json:
        print_json({"suites": len(suites), "problems": problems})
    elif problems:
        print_table(("suite", "problem"), [(p["suite"], p["problem"]) for p in problems])
    else:
        typer.echo(f"{len(suites)} suites, all in order.")
    if problems:
        raise typer.Exit(1)
