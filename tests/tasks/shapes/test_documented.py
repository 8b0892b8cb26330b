"""The examples of docs/feedback.md, taken as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from execution.context import Context
from tasks.ingest import ingest_rows
from tasks.ingest.shapes import Shape, Unusable, recognised, shapes
from tests.tasks.ingest_support import opened
from tests.tasks.shapes.shape_support import said, take

PAGE = (Path(__file__).parents[3] / "docs" / "feedback.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^### `([a-z-]+)`\n.*?```json\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_shape_is_documented() -> None:
    assert sorted(name for name, _ in EXAMPLES) == sorted(shape.name for shape in shapes())


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_an_example_is_told_and_taken(tmp_path: Path, name: str, text: str) -> None:
    shape = recognised(json.loads(text.splitlines()[0]))
    assert shape is not None
    assert shape.name == name
    path = tmp_path / "example.jsonl"
    path.write_text(text)
    ledger, outcome = take(tmp_path / "home", path)
    assert outcome.total("quarantined") == outcome.total("passed_over")
    answer = None if name == "open-webui" else "Oslo"
    old = None if name == "sharegpt" or name == "openai" else "Bergen"
    assert said(ledger)[0] == ("What is Norway's capital?", answer, old)


def test_the_shape_of_ones_own(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/feedback.md", "exec", flags=0, dont_inherit=True), names)
    shape = names["SHAPE"]
    assert isinstance(shape, Shape)
    row = {"complaint": "2+2?", "remedy": "4", "number": "n1", "solved": False}
    assert shape.recognises(row)
    ledger, settings = opened(tmp_path)
    ingest_rows(Context(settings, ledger), [shape.report(row)], source="desk")
    assert said(ledger) == [("2+2?", "4", None)]
    with pytest.raises(Unusable, match="nothing to correct: the complaint was withdrawn"):
        shape.report({**row, "solved": True})
