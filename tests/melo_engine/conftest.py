"""What the engine's tests stand on: every tiny backbone, edited once in the session.

edited      an edited backbone of each architecture in turn
edited_t5   the T5 alone, for what does not depend on the architecture
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from melo_engine import Answer, Backbone, Editor, EditRequest, EditResult
from tests.melo_engine import models

torch.set_num_threads(1)


@dataclass(frozen=True)
class Edited:
    """A backbone after its edits, and what was noted before them."""

    kind: str
    backbone: Backbone
    editor: Editor
    result: EditResult
    requests: list[EditRequest]
    asked: list[str]
    modules_before: dict[str, int]
    hash_before: str
    base_before: list[Answer]

    @property
    def prompts(self) -> list[str]:
        return [r.prompt for r in self.requests]


def probes(requests: list[EditRequest]) -> list[str]:
    """Edited prompts, prompts about other subjects, and prompts about none, of several lengths."""
    return [
        *(r.prompt for r in requests),
        f"who leads {models.SUBJECTS[5]} ?",
        "what is the capital city of north oslo and which river does it lie in ?",
        "wine and bread",
    ]


@pytest.fixture(scope="session")
def make_edited() -> Callable[[str], Edited]:
    """Edits the backbone of a kind, once."""
    return _edited


@cache
def _edited(kind: str) -> Edited:
    backbone = models.backbone(kind)
    modules = {name: id(module) for name, module in backbone.model.named_modules()}
    before = models.backbone(kind).weights_hash
    editor = Editor(backbone, settings=models.SETTINGS)
    requests = models.requests(kind)
    asked = probes(requests)
    base = editor.answer(asked)
    result = editor.edit(requests)
    return Edited(kind, backbone, editor, result, requests, asked, modules, before, base)


@pytest.fixture(params=models.KINDS)
def edited(request: pytest.FixtureRequest) -> Edited:
    """An edited backbone of each kind."""
    return _edited(request.param)


@pytest.fixture
def edited_t5() -> Edited:
    """The edited T5."""
    return _edited("t5")
