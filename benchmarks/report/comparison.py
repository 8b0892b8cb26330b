"""The page's first table: every method on one chat model, in one run. And what others have published.

Of the records of `melo bench edit` on that model each file has one table: the record with the most
methods, of these the one with the most edits, of these the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.baselines import METHODS
from benchmarks.records import Record
from benchmarks.report.tables import number, source, table

MODEL = "smollm2"
LEAST = 4  # methods of a comparison
COLUMNS = {
    "edit_success": "success",
    "generality": "generality",
    "near_miss_subject": "near-miss, other subject",
    "near_miss_relation": "near-miss, same subject",
    "locality": "locality",
    "traffic": "traffic",
    "product": "product",
}
BESIDE = {
    "success": "success",
    "generality": "generality",
    "system_prompt": "under a system prompt",
    "after_turns": "after turns",
    "behind_text": "behind text",
}
MORE = {
    "chosen_own": "likeliest of four, own question",
    "chosen_rephrased": "likeliest of four, rephrase",
    "added_prompt_tokens": "added prompt tokens",
    "edits_per_second": "edits/s",
}
PUBLISHED = (
    ("CrispEdit", "arXiv 2602.15823", "Llama-3-8B", "3,000 zsRE, decoded freely", "80.5 / 50.9"),
    ("AlphaEdit", "arXiv 2602.15823", "Llama-3-8B", "3,000 zsRE, decoded freely", "70.1 / 39.4"),
    ("UltraEdit", "arXiv 2602.15823", "Llama-3-8B", "3,000 zsRE, decoded freely", "20.0 / –"),
    (
        "MEMOIR",
        "arXiv 2506.07899",
        "Llama-3-8B, Mistral-7B",
        "zsRE, thousands of edits in sequence",
        "none taken over",
    ),
    (
        "NeuralDB",
        "arXiv 2507.18028",
        "Llama-3-8B, GPT-J, GPT2-XL",
        "zsRE, CounterFact, 10,000 to 100,000 facts",
        "none taken over",
    ),
    (
        "SCR",
        "arXiv 2503.05212",
        "three base models",
        "facts retrieved into the prompt where they apply",
        "none taken over",
    ),
    ("many LoRAs at once", "vLLM", "–", "throughput, of the base model's", "0.66 to 0.92"),
)


def chosen(records: Mapping[str, Record]) -> dict[str, str]:
    """Of each file the record to be compared in, by its name."""
    best: dict[str, tuple[tuple[int, int, str], str]] = {}
    for name, record in records.items():
        figures = record["figures"]
        compared = [m for m in METHODS if m in figures]
        if record["bench"] != "edit" or figures.get("backbone") != MODEL or len(compared) < LEAST:
            continue
        rank = (len(compared), int(figures["rows"]["tested"]), str(record["when"]))
        if rank > best.get(figures["data"], ((0, 0, ""), ""))[0]:
            best[figures["data"]] = (rank, name)
    return {data: name for data, (_, name) in sorted(best.items())}


def comparison(name: str, record: Record) -> list[str]:
    """What counts, what stands beside it, and how both came about edit by edit, as tables."""
    figures = record["figures"]
    methods = [m for m in METHODS if m in figures]
    return [
        f"### {figures['data']} on {figures['backbone']}, {figures['rows']['tested']:,} edits",
        "",
        *source(name, record),
        "Shares, decoded freely; a target counts where it is the whole text. The product is that of all "
        "columns before it. A method that edited fewer, since it takes seconds an edit, is measured on "
        "those.",
        "",
        *table(
            ["method", "edits", *COLUMNS.values()],
            [
                [
                    f"`{m}`",
                    number(figures[m]["requests"]),
                    *(number(figures[m].get(k)) for k in COLUMNS),
                ]
                for m in methods
            ],
        ),
        *_ahead(figures, methods),
        "Where the target need only stand among the words of the answer, and what else was measured:",
        "",
        *table(
            ["method", "product", *BESIDE.values(), *MORE.values()],
            [
                [
                    f"`{m}`",
                    number(figures[m].get("product_contains")),
                    *(number(_contained(figures[m], k)) for k in BESIDE),
                    *(number(figures[m].get(k)) for k in MORE),
                ]
                for m in methods
            ],
        ),
        *_way_there(figures, methods),
        *_revocations(figures.get("melo", {})),
    ]


def published() -> list[str]:
    """Figures of others, as theirs: another model, another protocol, not measured here."""
    return [
        "## Published by others",
        "",
        "Success / generality in percent, as published in the source, on another model and by another "
        "protocol: none of it was measured here. None is taken over where the source's protocol is not "
        "free decoding on a whole sequence of edits, or was not checked.",
        "",
        *table(
            ["method", "source", "model", "protocol", "figure"], [list(row) for row in PUBLISHED]
        ),
    ]


def _way_there(figures: Mapping[str, Any], methods: list[str]) -> list[str]:
    """After so many edits: success, generality and product, exactly and among the words."""
    marks = sorted({int(mark) for m in methods for mark in figures[m].get("at", {})})
    if len(marks) < 2:
        return []

    def cell(method: str, mark: int, *, contained: bool) -> str:
        then = figures[method].get("at", {}).get(str(mark))
        if then is None:
            return "–"
        shares = then["contains"] if contained else then
        product = then["product_contains" if contained else "product"]
        return " / ".join(
            number(v) for v in (shares["edit_success"], shares["generality"], product)
        )

    lines = [
        "Success / generality / product after so many edits, where the target is the whole text:"
    ]
    for contained in (False, True):
        if contained:
            lines.append("And where it need only stand among the words of the answer:")
        lines += [
            "",
            *table(
                ["method", *(f"{mark:,}" for mark in marks)],
                [[f"`{m}`", *(cell(m, k, contained=contained) for k in marks)] for m in methods],
            ),
        ]
    return lines


def _contained(figures: Mapping[str, Any], name: str) -> Any:
    key = "edit_success" if name == "success" else name
    return figures.get("contains", {}).get(key)


def _ahead(figures: Mapping[str, Any], methods: list[str]) -> list[str]:
    """A sentence that names the columns in which another method is ahead of this engine."""
    if "melo" not in methods:
        return []
    melo = figures["melo"]
    lines = []
    for key, called in COLUMNS.items():
        mine = melo.get(key)
        better = [
            m
            for m in methods
            if m not in ("melo", "oracle")
            and mine is not None
            and (figures[m].get(key) or 0.0) > mine
        ]
        if better:
            lines.append(f"{called}: {', '.join(f'`{m}`' for m in better)}")
    if not lines:
        return ["No method is ahead of `melo` in any column.", ""]
    return [
        f"Ahead of `melo`: {'; '.join(lines)}. A method that changes little keeps near-misses and "
        "locality by leaving the edits out as well: the product counts both.",
        "",
    ]


def _revocations(melo: Mapping[str, Any]) -> list[str]:
    undo = melo.get("revocations")
    if not undo:
        return []
    return [
        f"After the last edit {undo['revoked']:,} of `melo`'s were revoked one by one, out of order: the "
        f"{undo['left']:,} left are the same content as an index that never had the others "
        f"({number(undo['same_content'])}), with the same route and text for {number(undo['identical'])} "
        f"of all prompts; {number(undo['kept'])} of them answer as before, and no revoked edit answers "
        f"for {number(undo['as_backbone'])} of the questions of those. With all revoked the backbone "
        f"answers {number(melo['revoke_identity'])} of the prompts. No baseline but `retrieval` can take "
        "an edit back without training anew.",
        "",
    ]
