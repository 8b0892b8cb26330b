from __future__ import annotations

from pathlib import Path

import pytest

from config import ConfigError, load


def test_a_home_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.plan.max_edits_per_job, settings.edit.rank) == (50, 4)
    assert settings.edit.false_activation_rate == 0.005
    assert settings.paths.ledger == tmp_path / "ledger.duckdb"
    assert settings.paths.read_ledger == tmp_path / "read" / "ledger.duckdb"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_environment_is_stronger_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "melo.toml").write_text(
        "[plan]\nmax_edits_per_job = 20\nmax_attempts = 5\n[sources.web]\ntrust = 10\n"
    )
    monkeypatch.setenv("MELO_PLAN__MAX_EDITS_PER_JOB", "7")
    settings = load(tmp_path)
    assert (settings.plan.max_edits_per_job, settings.plan.max_attempts) == (7, 5)
    assert settings.sources["web"].trust == 10
    assert settings.sources["web"].policy == "auto"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plan]\nmax_edits = 3\n", "setting plan.max_edits"),
        ("[plan]\nmax_edits_per_job = 0\n", "greater than or equal to 1"),
        ("[sources.web]\npolicy = 'trust me'\n", "'auto', 'quorum' or 'review'"),
        ("[nothing]\nx = 1\n", "setting nothing"),
        ("[plan\n", "can't be read"),
        ("[backbone]\ntask = 'image'\n", "seq2seq-lm"),
        ("[edit]\nrank = 32\n", "max_rank must be at least rank, which is 32"),
        ("[serve]\nchat = 'last'\n", "chat is gone"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "melo.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "database = 'postgresql://melo:HIDDEN@db/melo'\n",
        "[database]\nurll = 'postgresql://melo:HIDDEN@db/melo'\n",
        "[database]\nurl = 'mysql://melo:HIDDEN@db/melo'\n",
        "[alerts]\nwebhook = 'https://HIDDEN'\n",
    ],
)
def test_a_secret_is_not_shown_in_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "melo.toml").write_text(text)
    with pytest.raises(ConfigError, match="a value that is kept secret") as caught:
        load(tmp_path)
    assert "HIDDEN" not in str(caught.value)


def test_a_section_in_the_environment_that_is_no_json_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELO_BACKBONE", "/models/mine")
    with pytest.raises(ConfigError, match=r"backbone.*MELO_PLAN__MAX_EDITS_PER_JOB"):
        load(tmp_path)


def test_the_home_is_absolute_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MELO_HOME", "elsewhere")
    assert load().home == tmp_path / "elsewhere"
    assert load("here").home == tmp_path / "here"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")],
)
def test_settings_are_read_with_the_mark_that_an_editor_put_before_them(
    tmp_path: Path, mark: bytes, encoding: str
) -> None:
    text = '[backbone]\r\ntask = "causal-lm"\r\n[relations]\r\n"ähnlich" = ["Was gleicht {subject}?"]\r\n'
    (tmp_path / "melo.toml").write_bytes(mark + text.encode(encoding))
    settings = load(tmp_path)
    assert settings.backbone.task == "causal-lm"
    assert list(settings.relations) == ["ähnlich"]
