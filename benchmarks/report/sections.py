"""A section of the page for each kind of record: its lines, and its plots by file name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.baselines import METHODS
from benchmarks.records import Record
from benchmarks.report import plots
from benchmarks.report.tables import measured, number, source, table
from benchmarks.report.targets import (
    LARGEST,
    THROUGHPUT,
    against_targets,
    product_against_targets,
)

Plot = Callable[[Path], None]
Section = tuple[list[str], dict[str, Plot]]

COLUMNS = {
    "questions": {
        "edit_success": "success",
        "generality": "generality",
        "locality": "locality",
        "near_miss_subject": "near-miss, other subject",
        "near_miss_relation": "near-miss, same subject",
        "system_prompt": "under a system prompt",
        "after_turns": "after turns",
        "behind_text": "behind text",
        "traffic": "traffic",
        "product": "product",
        "portability": "portability",
    },
    "hallucination": {
        "edit_perplexity": "perplexity of edits",
        "edit_success": "decoded exactly",
        "web_ratio": "web text / before",
        "accurate_ratio": "accurate text / before",
    },
    "classification": {
        "corrected": "mistakes corrected",
        "kept": "right answers kept",
        "accuracy_after": "accuracy after",
    },
}
PARTS = {"left_out": "left out", "practice": "left out"}  # the second in older records
LOCALIZED_SINCE = "2026-11-28T21:00:00Z"  # records of before tuned all weights as `finetune`
LEADING = {"questions": "product", "hallucination": "edit_perplexity", "classification": "kept"}


def edit(name: str, record: Record) -> Section:
    """Quality: targets, every method's final state, the way there, and the curve of routing."""
    figures = record["figures"]
    protocol, slug = figures["protocol"], _slug(name)
    columns = {
        k: v
        for k, v in COLUMNS[protocol].items()
        if any(figures.get(m, {}).get(k) is not None for m in METHODS)
    }
    methods = [m for m in METHODS if m in figures]
    rows = figures["rows"]
    lines = [
        f"### {figures['data']}, {rows['tested']:,} edits",
        "",
        *source(name, record),
        _summary(figures),
        "",
        # Targets are set for whole files; of a chat model, for its first 100 rows.
        *(
            against_targets(figures)
            if not record["settings"].get("limit") or "system_prompt" in figures.get("melo", {})
            else []
        ),
        *table(
            ["method", "edits", *columns.values(), "edits/s"],
            [
                [
                    _method_label(m, record),
                    number(figures[m]["requests"]),
                    *(measured(figures[m], k) for k in columns),
                    measured(figures[m], "edits_per_second"),
                ]
                for m in methods
            ],
        ),
    ]
    drawings: dict[str, Plot] = {}
    leading = LEADING[protocol]
    marks = sorted({int(k) for m in methods for k in figures[m].get("at", {})})
    if len(marks) > 1:
        shown = {m: [(k, _figure_at(figures[m], k, leading)) for k in marks] for m in methods}
        lines += [f"{columns.get(leading, leading).capitalize()} after so many edits:", ""]
        lines += table(
            ["method", *(f"{k:,}" for k in marks)],
            [[f"`{m}`", *(number(v) for _, v in points)] for m, points in shown.items()],
        )
        drawings[f"{slug}-edits.svg"] = lambda path: plots.lines(
            path,
            shown,
            x="edits",
            y=columns.get(leading, leading),
            log_x=True,
            log_y=leading.endswith("perplexity"),
        )
    melo = figures.get("melo", {})
    if melo.get("curve"):
        points = [(c["false_activation"], c["generality"]) for c in melo["curve"]]
        drawings[f"{slug}-curve.svg"] = lambda path: plots.lines(
            path,
            {"routing": points},
            x="near-misses of the same subject that are caught",
            y="rephrases that are found",
            bounds=(0.0, 1.02),
        )
    if "route_invariance" in melo:
        held = melo["route_invariance"]
        lines += [
            "What must hold of the final state: same route and text in any batch and padding "
            f"{number(held['value'])}; after save and load {number(melo['reload_identity'])}; "
            f"after revoking all, as the backbone {number(melo['revoke_identity'])}; edited to A, B, "
            f"C, A, A holds {number(melo['re_edit'])}. Parameters per edit: "
            f"{number(melo['parameters_per_edit'])}.",
            "",
        ]
    return lines, drawings


def product(name: str, record: Record) -> Section:
    """What a user gets: lines in, answers out."""
    figures = record["figures"]
    results = figures["product"]
    subjects = ", without subjects" if figures.get("no_subject") else ""
    states = ", ".join(
        f"{results[state]:,} {state}" for state in ("active", "rejected", "held", "superseded")
    )
    seconds = {name: number(took) for name, took in results["seconds"].items()}
    lines = [
        f"### {figures['data']} on {figures['backbone']}{subjects}",
        "",
        *source(name, record),
        f"{results['lines']:,} lines: {states}; {results['narrow']:,} of those in use are narrow. "
        f"`ingest` took {seconds['ingest']} s, `run` {seconds['run']} s. Shares count all "
        f"{results['judged']:,} lines that no other line contradicts.",
        "",
        *product_against_targets(figures),
    ]
    return lines, {}


def keys(name: str, record: Record) -> Section:
    """Recall of rephrases at each share of caught near-misses, for each key reader."""
    figures = record["figures"]
    readers = {k: v for k, v in figures.items() if isinstance(v, Mapping)}
    shares = list(next(iter(readers.values())))
    first, last = figures["first"] + 1, figures["first"] + figures["limit"]
    lines = [
        f"### {figures['data']}, rows {first:,} to {last:,}",
        "",
        *source(name, record),
        *table(
            ["keys", *(f"{share} of near-misses caught" for share in shares)],
            [[reader, *(number(recall[s]) for s in shares)] for reader, recall in readers.items()],
        ),
    ]
    return lines, {}


def matching(name: str, record: Record) -> Section:
    """What falls to an edit with all rules on strings, and the difference that leaving one out makes."""
    figures = record["figures"]
    first, last = figures["first"] + 1, figures["first"] + figures["limit"]
    shares: Mapping[str, Mapping[str, float]] = figures["without"]
    with_all = next(iter(shares.values()))
    kinds = {
        "found": "rephrases that fall to an edit about their subject",
        "near_miss_subject": "near-misses, other subject",
        "near_miss_relation": "same subject",
        "locality": "locality",
        "traffic": "traffic",
    }
    measured = {kind: title for kind, title in kinds.items() if kind in with_all}
    rows = [
        [
            f"without {rule}" if row else rule,
            *(
                f"{100 * (found[kind] - with_all[kind]):+.2f}" if row else f"{found[kind]:.4f}"
                for kind in measured
            ),
        ]
        for row, (rule, found) in enumerate(shares.items())
    ]
    lines = [
        f"### {figures['data']}, rows {first:,} to {last:,}",
        "",
        *source(name, record),
        f"{figures['edits']:,} edits; without a rule: the difference in points. Of the other columns "
        "nothing should fall to any edit.",
        "",
        *table(["", *measured.values()], rows),
    ]
    return lines, {}


def scale(name: str, record: Record) -> Section:
    """Cost against the number of edits."""
    rows, slug = record["figures"]["scale"], _slug(name)
    names = {
        "unrouted_ratio": "throughput, none routed / bare",
        "routed_ratio": "throughput, all routed / bare",
        "route_ms": "routing a prompt, ms",
        "open_seconds": "opening, s",
        "register_seconds": "registering, s",
        "gate_seconds": "gating one edit more, s",
        "peak_mb": "peak memory, MB",
        "bytes_per_edit": "bytes an edit",
    }
    shown = {k: v for k, v in names.items() if any(r.get(k) is not None for r in rows)}
    lines = [
        f"### {rows[0]['edits']:,} to {rows[-1]['edits']:,} edits",
        "",
        *source(name, record),
        *table(
            ["edits", *shown.values()],
            [[number(r["edits"]), *(number(r.get(k)) for k in shown)] for r in rows],
        ),
    ]
    largest = rows[-1]
    if largest["edits"] >= LARGEST:
        met = largest["routed_ratio"] >= THROUGHPUT
        lines += [
            f"Target at {LARGEST:,} edits: routed throughput at least {THROUGHPUT:.2f} of the bare "
            f"backbone's; {'reached' if met else '**short**'} with {largest['routed_ratio']:.3f}.",
            "",
        ]
    ratios = {shown[k]: [(r["edits"], r[k]) for r in rows] for k in shown if k.endswith("_ratio")}
    costs = {
        shown[k]: [(r["edits"], r.get(k)) for r in rows] for k in shown if not k.endswith("_ratio")
    }
    return lines, {
        f"{slug}-throughput.svg": lambda path: plots.lines(
            path,
            ratios,
            x="edits",
            y="of the bare backbone",
            log_x=True,
            bounds=(0.0, 1.15),
            level=1.0,
        ),
        f"{slug}-cost.svg": lambda path: plots.lines(
            path, costs, x="edits", y="cost", log_x=True, log_y=True
        ),
    }


def gpu(name: str, record: Record) -> Section:
    """Editing and serving speed on random weights of real shapes."""
    lines: list[str] = []
    for shape in record["figures"]["shapes"]:
        lines += [f"### {shape['shape']}, {shape['parameters'] / 1e9:.2f}B parameters", ""]
        lines += source(name, record)
        lines += table(
            ["", "melo", "`paper`", "bare"],
            [
                [row["what"], *(number(row.get(m)) for m in ("melo", "paper", "bare"))]
                for row in shape["rows"]
            ],
        )
    return lines, {}


def profile(name: str, record: Record) -> Section:
    """Where the time goes, and how far from the floor."""
    figures, slug = record["figures"], _slug(name)
    machine = figures["peaks"]
    lines = [
        f"### {figures['backbone']}",
        "",
        *source(name, record),
        f"Measured peaks of this machine in the same run: {number(machine['gflops'])} GFLOP/s, "
        f"{number(machine['gb_per_second'])} GB/s. A floor is the larger of operations / peak and "
        "bytes / peak, each tensor an operation touches counted once.",
        "",
    ]
    drawings: dict[str, Plot] = {}
    for part in ("editing", "serving"):
        rows = figures[part]["places"]
        lines += [f"{part.capitalize()}: {figures[part]['said']}", ""]
        lines += table(
            ["place", "share", "ms", "floor, ms", "gap, ms"],
            [
                [
                    f"`{r['place']}`",
                    f"{100 * r['share']:.1f}%",
                    number(r["ms"]),
                    number(r["floor_ms"]),
                    number(r["ms"] - r["floor_ms"]),
                ]
                for r in rows
            ],
        )
        shown = [(r["place"], r["ms"], r["floor_ms"]) for r in rows[:8]]
        drawings[f"{slug}-{part}.svg"] = partial(plots.bars, values=shown, x="ms")
        widest = sorted(rows, key=lambda r: r["floor_ms"] - r["ms"])[:3]
        lines += [
            "Largest gaps: "
            + "; ".join(f"`{r['place']}` {number(r['ms'] - r['floor_ms'])} ms" for r in widest)
            + ".",
            "",
        ]
    return lines, drawings


def other(name: str, record: Record) -> Section:
    """Any other benchmark: its plain figures."""
    plain = {k: v for k, v in record["figures"].items() if isinstance(v, int | float | str | bool)}
    lines = [f"### {record['bench']}", "", *source(name, record)]
    return lines + table(["figure", ""], [[k, number(v)] for k, v in plain.items()]), {}


def _method_label(method: str, record: Record) -> str:
    """A method's name, with what it meant when the record was made."""
    old = method == "finetune" and record["when"] < LOCALIZED_SINCE
    return f"`{method}`, all weights" if old else f"`{method}`"


def _summary(figures: Mapping[str, Any]) -> str:
    """One line about what was edited."""
    rows, melo = figures["rows"], figures.get("melo", {})
    counts = [f"{round(count):,} {PARTS.get(part, part)}" for part, count in rows.items()]
    parts = [f"Backbone `{figures['backbone']}`", *counts]
    if melo.get("superseded"):
        parts.append(f"{round(melo['superseded']):,} superseded by a later edit")
    if melo.get("locality_left_out"):
        parts.append(
            f"{melo['locality_left_out']:,} locality questions left out, being those of edits"
        )
    if melo.get("locality_reworded"):
        parts.append(
            f"{melo['locality_reworded']:,} locality questions ask what an edit asks, in another of the "
            f"file's wordings; without them locality is {number(melo['locality_of_others'], 4)}"
        )
    if figures.get("accuracy_before") is not None:
        parts.append(f"accuracy before {number(figures['accuracy_before'])}")
    for what, value in (figures.get("before") or {}).items():
        parts.append(f"{what.replace('_', ' ')} before {number(value)}")
    if figures.get("speedup"):
        parts.append(f"edits/s of `melo` over `paper` {number(figures['speedup'])}")
    if melo.get("oracle_generality") is not None and melo.get("generality") is not None:
        parts.append(
            f"oracle gap (generality with the right block forced, less generality) "
            f"{number(melo['oracle_generality'] - melo['generality'])}"
        )
    return "; ".join(parts) + "."


def _figure_at(figures: Mapping[str, Any], mark: int, name: str) -> Any:
    return figures.get("at", {}).get(str(mark), {}).get(name)


def _slug(name: str) -> str:
    return name.removesuffix(".json").replace("/", "-")
