"""The page: fixed words, and a section a record.

all methods on one chat model ─ what a user gets ─ scale, serving, gate, reliability
                              ─ published by others ─ quality on other files, keys, profiles
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.records import Record
from benchmarks.report import sections
from benchmarks.report.comparison import chosen, comparison, published
from benchmarks.report.sections import Plot, Section

HEAD = """\
# How good is it, against what else there is?

`melo bench report` writes this page from the records in `benchmarks/results/`, the last one of each
command. Every figure comes from a record, which names the command, the machine and the commit. How
things are measured and what the words mean: [protocol.md](protocol.md). Figures of others stand apart,
under [Published by others](#published-by-others).
"""
PIPELINE = {
    "Serving": ("serve", "fuzz"),
    "The gate": ("gate",),
    "Reliability": ("faults", "kill", "situations", "day", "overhead", "ingest", "dashboards"),
}
PARTS: tuple[tuple[str, str, Callable[[str, Record], Section], str], ...] = (
    ("product", "What a user gets", sections.product, "`melo bench product --data FILE`"),
    ("scale", "Scale", sections.scale, "`melo bench scale --backbone DIR`"),
    ("gpu", "GPU", sections.gpu, "`melo bench gpu` on a machine with CUDA"),
)
MORE: tuple[tuple[str, str, Callable[[str, Record], Section], str], ...] = (
    ("edit", "Quality", sections.edit, "`melo bench edit --data FILE --seeds 3`"),
    ("keys", "What tells wordings apart", sections.keys, "`melo bench keys --data FILE`"),
    (
        "matching",
        "What each rule on strings is worth",
        sections.matching,
        "`melo bench matching --data FILE`",
    ),
    ("profile", "Where the time goes", sections.profile, "`melo bench profile --data FILE`"),
)
NONE = {"gpu": "No GPU figure exists yet. The script runs within ten minutes: "}


def render(records: Mapping[str, Record], folder: str) -> tuple[str, dict[str, Plot]]:
    """The page's text, and what draws each plot. folder: where the plots lie, as the page says it."""
    lines = [HEAD]
    plots: dict[str, Plot] = {}
    compared = chosen(records)
    if compared:
        lines += ["## All methods on one chat model", ""]
        for name in compared.values():
            lines += comparison(name, records[name])
    for bench, title, section, command in PARTS:
        lines += [f"## {title}", "", *_sections(records, bench, section, command, plots, folder)]
    named = {bench for bench, *_ in (*PARTS, *MORE)}
    placed = {bench for benches in PIPELINE.values() for bench in benches} | named
    rest = tuple(dict.fromkeys(r["bench"] for r in records.values() if r["bench"] not in placed))
    for title, benches in {**PIPELINE, "Others": rest}.items():
        selected = {n: r for n, r in records.items() if r["bench"] in benches}
        if selected:
            lines += [f"## {title}", ""]
        for name, record in selected.items():
            lines += _with_plots(sections.other(name, record), plots, folder)
    lines += published()
    left = {n: r for n, r in records.items() if n not in compared.values()}
    for bench, title, section, command in MORE:
        lines += [f"## {title}", "", *_sections(left, bench, section, command, plots, folder)]
    return "\n".join(lines).rstrip() + "\n", plots


def _sections(
    records: Mapping[str, Record],
    bench: str,
    section: Callable[[str, Record], Section],
    command: str,
    plots: dict[str, Plot],
    folder: str,
) -> list[str]:
    """A section for each record of one benchmark, or a line that says there is none."""
    selected = {n: r for n, r in records.items() if r["bench"] == bench and _fit_to_show(r)}
    if not selected:
        return [NONE.get(bench, "No record yet: ") + command + ".", ""]
    lines: list[str] = []
    for name, record in sorted(selected.items(), key=lambda item: item[1]["command"]):
        lines += _with_plots(section(name, record), plots, folder)
    return lines


def write_page(page: Path, records: Mapping[str, Record]) -> None:
    """Write the page and its plots. Plots of before are taken away."""
    folder = page.with_suffix("")
    text, plots = render(records, folder.name)
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    for name, draw in plots.items():
        draw(folder / name)
    page.write_text(text, encoding="utf-8")


def _with_plots(section: Section, plots: dict[str, Plot], folder: str) -> list[str]:
    lines, drawings = section
    plots |= drawings
    pictures = [f"![{name.removesuffix('.svg')}]({folder}/{name})" for name in drawings]
    return [*lines, *pictures, *([""] if pictures else [])]


def _fit_to_show(record: Record) -> bool:
    """A GPU's page shows what ran on one: the script also runs, for a trial, on a CPU."""
    return bool(record["bench"] != "gpu" or record["device"] != "cpu")
