"""docs/reference.md is what the code says: everything is documented, and nothing that is not there."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from config import Settings

ROOT = Path(__file__).parents[1]
FILES = {"py", "duckdb", "html", "json", "yaml", "md"}  # `gate.html` is no setting


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_says(reference: ModuleType) -> None:
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == reference.page(), "run `make docs`"


def test_every_setting_says_what_it_is_for(reference: ModuleType) -> None:
    silent = [
        f"{name}.{key}"
        for name, field in Settings.model_fields.items()
        if (section := reference._section(field.annotation)) is not None
        for key, entry in section.model_fields.items()
        if not entry.description
    ]
    assert issubclass(reference._section(Settings.model_fields["edit"].annotation), BaseModel)
    assert silent == []


def test_every_error_says_what_it_is(reference: ModuleType) -> None:
    found = reference.errors()
    assert len(found) > 40
    assert [name for name, said in found.items() if not said] == []


def test_settings_named_in_the_docs_exist() -> None:
    """Wherever a page names `section.name`, there is such a setting."""
    sections = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel)
    }
    named = re.compile(rf"`({'|'.join(sections)})\.([a-z_]+)( = [^`]*)?`")
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    unknown = [
        f"{path.name}: {section}.{name}"
        for path in pages
        for section, name, _ in named.findall(path.read_text(encoding="utf-8"))
        if name not in sections[section].model_fields and name not in FILES
    ]
    assert unknown == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_every_page_is_reached_from_the_first() -> None:
    first = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in ROOT.glob("docs/**/*.md")}
    assert {p for p in pages if f"({p})" not in first} - {"index.md"} == set()


def test_the_command_that_writes_it_runs_alone() -> None:
    done = subprocess.run(
        [sys.executable, "docs/reference.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("# Reference")


def test_the_glossary_names_what_there_is() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    named = [
        (name, package)
        for names, package in re.findall(r"((?:`\w+`(?:, | or )?)+) \[([\w.]+)\]", text)
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert len(named) > 20
    assert [n for n, package in named if n not in importlib.import_module(package).__all__] == []
    words = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]
    assert words == sorted(words, key=str.casefold)
