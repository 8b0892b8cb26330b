"""The page on the engine is true: its code runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from melo_engine import metrics
from tests.melo_engine import models

PAGE = Path(__file__).parents[2] / "docs" / "engine.md"


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_the_code_on_the_page_runs(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for line in code.splitlines() if line and not line.startswith(("from", "import"))]
    assert len(lines) <= 15
    names = {
        "model": models.model(kind),
        "tokenizer": models.tokenizer(),
        "folder": tmp_path / "version",
        "adapter": tmp_path / "adapter",
    }
    exec(compile(code, str(PAGE), "exec"), names)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said[:2]] == ["trained", "trained"]
    assert said[2].startswith("ada li ")
    assert (names["adapter"] / "adapter_config.json").is_file()
    editor = names["editor"]
    again, other = editor.answer(["who leads velandor ?", "who leads toriquet ?"])
    assert again.edit is None
    assert again.text == editor.answer(["who leads velandor ?"], base=True)[0].text
    assert other.text == "jon"


def test_the_page_names_every_metric() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in metrics.NAMES)
