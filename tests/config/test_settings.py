from __future__ import annotations

import json
from pathlib import Path

import pytest

from config import ConfigError, load, user_cache


def test_a_home_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.plan.max_edits_per_job, settings.edit.rank) == (50, 4)
    assert settings.edit.false_activation_rate == 0.005
    assert (settings.backbone.task, settings.backbone.max_prompt_tokens) == (None, None)
    assert settings.paths.ledger == tmp_path / "ledger.duckdb"
    assert settings.paths.read_ledger == tmp_path / "read" / "ledger.duckdb"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_cache_is_the_users_wherever_the_home_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MELO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert user_cache() == tmp_path / ".cache" / "melo"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "melo"
    monkeypatch.setenv("MELO_CACHE", "~/models")
    assert user_cache() == tmp_path / "models"
    assert load(tmp_path).home == tmp_path  # it is no setting of a home


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
        *(
            (f"[registry]\nmodel_name = {json.dumps(name)}\n", "setting registry.model_name: ")
            for name in (
                "team/model",
                "a:b",
                ".",
                "..",
                "",
                " ",
                "it's",
                'a"b',
                "a\n",
                "-a",
                "a" * 101,
            )
        ),
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


@pytest.mark.parametrize(
    "name", ["melo", "team_model-2", "my model", "v1.2", "modèle", "模型", "a" * 100]
)
def test_a_name_that_mlflow_takes_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "melo.toml").write_text(
        f"[registry]\nmodel_name = {json.dumps(name)}\n", encoding="utf-8"
    )
    assert load(tmp_path).registry.model_name == name
    from mlflow.utils.validation import _validate_model_name

    _validate_model_name(f"{name}-backbone-12345678")


@pytest.mark.parametrize("place", ["what?", "a?b/home", "?"])
def test_a_question_mark_in_a_path_is_refused_and_nothing_is_made(
    tmp_path: Path, place: str
) -> None:
    with pytest.raises(ConfigError, match="question mark"):
        load(tmp_path / place)
    (tmp_path / "melo.toml").write_text(f'[ledger]\nurl = "{tmp_path / place}.duckdb"\n')
    with pytest.raises(ConfigError, match="question mark"):
        load(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["melo.toml"]
