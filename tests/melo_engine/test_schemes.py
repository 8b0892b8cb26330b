"""What is kept under a scheme's number is found again only while the engine does as it did.

Where one of these fails, behaviour has changed: raise the number in `melo_engine.schemes` (`SCHEME` in
`projection` for keys), and write the new digest beside it.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch

from melo_engine import Conversation
from melo_engine.encoders import HiddenStates
from melo_engine.index import Member, NeuronIndex
from melo_engine.keys import KeyReader, last_sentence, relation_text
from melo_engine.matching.names import name_in
from melo_engine.projection import CLEARLY, KeyProjection
from melo_engine.schemes import ANSWERING, KEYS, ROUTING
from melo_engine.subwords import _bag
from tests.melo_engine import models
from tests.melo_engine.reports import REPORTS

TEXTS = [
    text
    for reports in REPORTS.values()
    for report in reports
    for text in (report.prompt, *report.rephrases, *report.others, report.renamed)
] + ["It rained. Who wrote as J. K. Rowling?", "Where did Mr. Smith live?", "the oldest bridge ?"]
SUBJECTS = [report.subject for reports in REPORTS.values() for report in reports]
SUBJECTS += ["Rowling", "Smith", "oldest stone bridge of the country", ""]


def digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]


def test_routing_is_of_this_scheme() -> None:
    """Whom a text names, partly or whole, and whom a key falls to."""
    chooser = np.random.default_rng(0)
    index = NeuronIndex(8, 4)
    for i, subject in enumerate(SUBJECTS):
        key = chooser.integers(-2, 3, 8).astype(np.float32)
        index.add([Member(f"e{i}", key, 4.0, (subject,) if subject else (), i, 3.0)])
    readings = index.readings(TEXTS)
    keys = chooser.integers(-2, 3, (len(readings), 8)).astype(np.float32)
    hits = index.search(keys, readings, len(TEXTS))
    found = [
        [(r.row, r.text, r.name, list(r.mention.members) if r.mention else None) for r in readings],
        [(h.member.edit if h.member else None, h.inside) for h in hits],
    ]
    assert (ROUTING, digest(found)) == (3, "f85a1656c5e7")


def test_keys_are_of_this_scheme() -> None:
    """Which text is read, and what a projection makes of states."""
    read = [
        (relation_text(t, name_in(t, [s])), last_sentence(t)) for t in TEXTS for s in SUBJECTS if s
    ]
    torch.manual_seed(0)
    projection = KeyProjection(8)
    torch.nn.init.normal_(projection.mixed.weight)
    projection.requires_grad_(False)
    states, mask = torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    relation, content = projection.eval()(states, mask)
    sizes = (projection.relation_size, projection.size)
    assert (KEYS, digest([read, sizes])) == (8, "d259f399f9b6")
    assert np.allclose(
        relation[:, [0, 1, 64, -1]],
        [[0.0468, 0.0465, 0.0669, 0.1794], [0.0165, 0.0535, 0.1415, 0.0994]],
        atol=1e-3,
    )
    assert np.allclose(content[:, :2], [[-0.2379, -0.2133], [0.0306, 0.0328]], atol=1e-3)
    letters = [_bag(text) for text in ("Was kostet it im Monat?", "itの料金は", "é É ｅ")]
    assert (KEYS, CLEARLY, digest(letters)) == (8, 0.16, "a9d706a03d73")
    backbone = models.backbone("t5")
    reader = KeyReader(HiddenStates(backbone))
    assert reader.read(["who ?"]).shape == (1, 96)


def test_answering_is_of_this_scheme() -> None:
    """What a model reads for a prompt."""
    chat = models.chat_backbone(system_prompt="what is new ?")
    messages = [
        {"role": "developer", "content": "a name"},
        {"role": "user", "content": "who leads velandor ?"},
        {"role": "assistant", "content": "ada li"},
        {"role": "user", "content": "and toriquet ?"},
    ]
    prompts = [Conversation.of(messages), Conversation.of(messages[1:]), "who leads velandor ?"]
    found = []
    for backbone in (chat, *(models.backbone(kind) for kind in ("gpt2", "t5"))):
        for side in ("left", "right"):
            encoded = backbone.encode(prompts, padding_side=side)
            found.append([encoded["input_ids"].tolist(), encoded["attention_mask"].tolist()])
        found.append(backbone.encode_target("ada li"))
    assert (ANSWERING, digest(found)) == (2, "48e18bca115d")
