"""The page: fixed words, and a section a record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.records import Record
from benchmarks.report import sections
from benchmarks.report.sections import Plot, Section

HEAD = """\
# How good is it, against what else there is?

`melo bench report` writes this page from the records in `benchmarks/results/`, the last one of each
command. Every figure comes from a record, which names the command, the machine and the commit. How
things are measured and what the words mean: [protocol.md](protocol.md).
"""
PARTS: tuple[tuple[str, str, Callable[[str, Record], Section], str], ...] = (
    ("product", "What a user gets", sections.product, "`melo bench product --data FILE`"),
    ("edit", "Quality", sections.edit, "`melo bench edit --data FILE --seeds 3`"),
    ("keys", "What tells wordings apart", sections.keys, "`melo bench keys --data FILE`"),
    ("scale", "Scale", sections.scale, "`melo bench scale --backbone DIR`"),
    ("gpu", "GPU", sections.gpu, "`melo bench gpu` on a machine with CUDA"),
    ("profile", "Where the time goes", sections.profile, "`melo bench profile --data FILE`"),
)
NONE = {"gpu": "No GPU figure exists yet. The script runs within ten minutes: "}


def render(records: Mapping[str, Record], folder: str) -> tuple[str, dict[str, Plot]]:
    """The page's text, and what draws each plot. folder: where the plots lie, as the page says it."""
    lines = [HEAD]
    made: dict[str, Plot] = {}
    for bench, title, section, command in PARTS:
        lines += [f"## {title}", ""]
        own = {n: r for n, r in records.items() if r["bench"] == bench and _fit_to_show(r)}
        if not own:
            lines += [NONE.get(bench, "No record yet: ") + command + ".", ""]
        for name, record in sorted(own.items(), key=lambda item: item[1]["command"]):
            lines += _placed(section(name, record), made, folder)
    known = {bench for bench, *_ in PARTS}
    rest = {n: r for n, r in records.items() if r["bench"] not in known}
    if rest:
        lines += ["## The pipeline around it", ""]
        for name, record in rest.items():
            lines += _placed(sections.other(name, record), made, folder)
    return "\n".join(lines).rstrip() + "\n", made


def write_page(page: Path, records: Mapping[str, Record]) -> None:
    """Write the page and its plots. Plots of before are taken away."""
    folder = page.with_suffix("")
    text, made = render(records, folder.name)
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    for name, draw in made.items():
        draw(folder / name)
    page.write_text(text, encoding="utf-8")


def _placed(section: Section, made: dict[str, Plot], folder: str) -> list[str]:
    lines, plots = section
    made |= plots
    pictures = [f"![{name.removesuffix('.svg')}]({folder}/{name})" for name in plots]
    return [*lines, *pictures, *([""] if pictures else [])]


def _fit_to_show(record: Record) -> bool:
    """A GPU's page shows what ran on one: the script also runs, for a trial, on a CPU."""
    return bool(record["bench"] != "gpu" or record["device"] != "cpu")
