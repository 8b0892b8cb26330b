"""`melo bench keys`: how well keys alone tell rephrases from near-misses, by what reads them.

    rows ─► questions, rephrases, near-misses about the same subject ─► keys ─► distances

For each reader, raw and with the product's learned projection: the share of rephrases that lie within
the distance at which 1, 5, 10 and 13% of the near-misses lie. No block is trained. What lies on the
wrong side at the last of these can be written to a file, to be read: not every pair that a file calls
a rephrase asks the same, nor does every other pair ask something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.protocol import probes_for, read_rows, split_rows
from config import Settings
from execution.versions import Versions
from melo_engine import Backbone, EditRequest
from melo_engine.encoders import HiddenStates, SentenceEncoder, encoder_named
from melo_engine.keys import KeyReader, relation_text
from melo_engine.matching import name_in

SHARES = (0.01, 0.05, 0.10, 0.13)
READERS = (SentenceEncoder.name, HiddenStates.name)


def bench(
    data: Path,
    backbone: str,
    cache: Path,
    *,
    first: int = 0,
    limit: int = 100,
    learned: Sequence[str] = (SentenceEncoder.name,),
    pairs: Path | None = None,
) -> dict[str, Any]:
    """Figures by reader. first: rows passed over. learned: readers whose projection is learned.

    pairs: a file for the texts that the last reader puts on the wrong side, farthest from right last.
    """
    split = split_rows(read_rows(data)[first:], limit)
    probes = probes_for(split.tested, split)
    requests = {r.request.id: r.request for r in split.tested}
    opened = Backbone.open(backbone)
    figures: dict[str, Any] = {"data": data.name, "first": first, "limit": limit}
    for name in READERS:
        encoder = encoder_named(name, opened)
        readers = {f"{name}, raw": KeyReader(encoder)}
        if name in learned:
            settings = Settings(home=cache, edit={"key_reader": name})  # type: ignore[arg-type]
            projection = Versions(settings, opened).projection
            readers[f"{name}, learned"] = KeyReader(encoder, projection)
        for label, reader in readers.items():
            same, same_texts = _distances(reader, requests, probes.rephrase)
            other, other_texts = _distances(reader, requests, probes.near_relation)
            figures[label] = {
                f"{share:.0%}": round(float((same <= np.quantile(other, share)).mean()), 4)
                for share in SHARES
            }
            if pairs is not None and name in learned:
                bound = np.quantile(other, SHARES[-1])
                missed = [same_texts[i] for i in np.argsort(same) if same[i] > bound]
                caught = [other_texts[i] for i in np.argsort(-other) if other[i] <= bound]
                lines = [
                    f"{which}: {question} | {prompt}"
                    for which, listed in (("missed rephrase", missed), ("caught near-miss", caught))
                    for question, prompt in listed
                ]
                pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return figures


def _distances(
    reader: KeyReader, requests: dict[str, EditRequest], pairs: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Distances (N,) of prompts to their edits, by the relation part of the keys, and both texts.

    Prompts in which the subject does not stand are left out.
    """
    named = [(p, i, n) for p, i in pairs if (n := name_in(p, requests[i].names)) is not None]
    edits = {i: (r.question, name_in(r.question, r.names)) for i, r in requests.items()}
    split = reader.projection.relation_size
    read = reader.read([q for q, _ in edits.values()], [n for _, n in edits.values()])
    keys = reader.projection.as_edits(read)[:, :split]
    place = {i: row for row, i in enumerate(edits)}
    queries = reader.read([p for p, _, _ in named], [n for _, _, n in named])[:, :split]
    own = keys[[place[i] for _, i, _ in named]]
    distances = reader.projection.distances(own, queries)
    texts = [(relation_text(*edits[i]), relation_text(p, n)) for p, i, n in named]
    return distances, texts
