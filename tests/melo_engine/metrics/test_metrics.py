"""The metrics load without a network, count what they say, and never take nothing for a success."""

from __future__ import annotations

import math

import evaluate
import pytest

from melo_engine import metrics
from melo_engine.errors import MeloError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores under way are kept in the test's own folder."""
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path)


def compute(name: str, predictions: list, references: list, **more: object) -> dict:
    return metrics.load(name).compute(predictions=predictions, references=references, **more)


@pytest.mark.parametrize("name", metrics.NAMES)
def test_every_metric_loads_by_path_and_states_protocol_and_source(name: str) -> None:
    loaded = evaluate.load(str(metrics.FOLDER / name))
    assert "@inproceedings" in loaded.citation
    assert "Gives" in loaded.inputs_description
    script = (metrics.FOLDER / name / f"{name}.py").read_text()
    assert "Protocol:" in script.split('"""')[1]


def test_an_unknown_metric_is_named_with_those_allowed() -> None:
    with pytest.raises(MeloError, match=r'"bleu" is unknown.*edit_success'):
        metrics.load("bleu")


@pytest.mark.parametrize("name", ["exact_match", "edit_success", "generality", "retention"])
def test_words_are_compared_without_case_accents_and_punctuation(name: str) -> None:
    found = compute(name, ["José  NÚÑEZ.", "Jos Nunez", "+"], ["jose nunez", "jose nunez", "-"])
    assert found == {name: pytest.approx(1 / 3)}


def test_token_f1_counts_shared_words() -> None:
    found = compute("token_f1", ["ada li of oslo", "jon", ""], ["Ada Li", "tom", ""])
    assert found["token_f1"] == pytest.approx((2 * 2 / 6 + 0 + 1) / 3)


def test_locality_asks_for_the_very_same_text() -> None:
    assert compute("locality", ["Oslo", "oslo "], ["Oslo", "oslo"]) == {"locality": 0.5}


@pytest.mark.parametrize("name", ["generality", "retention"])
def test_an_edit_with_many_prompts_counts_once(name: str) -> None:
    found = compute(name, ["a", "a", "a", "b"], ["a", "a", "a", "a"], edits=["1", "1", "1", "2"])
    assert found == {name: 0.5}
    with pytest.raises(MeloError, match="1 edits for 2 predictions"):
        compute(name, ["a", "b"], ["a", "b"], edits=["1"])


def test_perplexity_is_over_all_tokens_and_compares_with_the_backbone() -> None:
    name = "accurate_retention_perplexity"
    found = compute(name, [math.log(4.0), 0.0], [1, 1], backbone=[0.0, 0.0])
    assert found[name] == pytest.approx(2.0)
    assert found["perplexity_ratio"] == pytest.approx(2.0)
    assert math.isnan(compute(name, [math.nan], [3])[name])
    assert math.isnan(compute(name, [0.0], [0])[name])
    assert math.isinf(compute(name, [1e9], [3])[name])
    with pytest.raises(ValueError, match="1 sums of the backbone for 2 texts"):
        compute(name, [0.0, 0.0], [1, 1], backbone=[0.0])


def test_metrics_can_be_combined() -> None:
    both = evaluate.combine([metrics.load("exact_match"), metrics.load("token_f1")])
    found = both.compute(predictions=["ada li"], references=["ada"])
    assert found == {"exact_match": 0.0, "token_f1": pytest.approx(2 / 3)}
