"""The protocols end to end on tiny files: who is compared, at which marks, and what is counted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.baselines import BASELINES, Asked, Loss, Method
from benchmarks.edit import bench
from benchmarks.engine import Keys, product_keys
from benchmarks.errors import DataError, UnknownMethod
from benchmarks.gpt import GptRecipe, prepare_gpt
from benchmarks.hallucination import accurate_pairs, word_list
from benchmarks.intervals import intervals, mean_of
from benchmarks.kinds import kind_of
from benchmarks.protocol import Row, probes_for, split_rows
from benchmarks.questions import out_of_test
from benchmarks.scoring import chosen
from benchmarks.sequence import Options
from melo_engine import Backbone, Calibration, EditRequest, EditSettings, Prompt
from melo_engine.encoders import default_encoder
from melo_engine.keys import KeyReader
from tests.benchmarks.conftest import SUBJECTS, TARGETS, question, write_lines

SETTINGS = EditSettings(rank=4, max_rank=8)
FIVE = ("edit_success", "generality", "locality", "near_miss_subject", "near_miss_relation")


def classified(count: int) -> list[dict[str, Any]]:
    """Texts with a label that a random classifier has no reason to give."""
    words = "sea north river wine bread city oslo lima cairo rome bern head".split()
    return [
        {"prompt": f"{words[i % 12]} and {words[i // 12]} grow", "target": label, "subject": None}
        for i, label in enumerate([("calm", "glad", "angry", "sad")[i % 4] for i in range(count)])
    ]


def passage(number: int) -> list[dict[str, Any]]:
    """Two edits on one passage of four sentences: the second and the last are wrong."""
    name = SUBJECTS[number]
    head, first = f"A passage about {name}.", f"The head of {name} was born in oslo."
    wrong, third = "It lies in the north sea.", "Wine and bread grow in the east now."
    web = {"prompt": "what is the river", "answer": "made by a company in the south"}
    return [
        {
            "prompt": f"{head} {first}",
            "target": f"It lies in the west of {TARGETS[number]} and rome",
            "subject": name,
            "locality": [web],
        },
        {
            "prompt": f"{head} {first} {wrong} {third}",
            "subject": name,
            "locality": [web],
            "target": "The last year was a year of bread and wine in the south",
        },
    ]


def _keys_as_read(backbone: Backbone, cache: Path) -> Keys:
    """Nothing is learned for a random model, which has no relations to tell apart."""
    return Keys(
        KeyReader(default_encoder(backbone)),
        Calibration.raw(SETTINGS.false_activations),
        product_keys(backbone, cache).tagger,
    )


def test_every_method_is_scored_on_the_final_state(
    questions_file: Path, t5_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.questions.product_keys", _keys_as_read)
    options = Options(
        tmp_path,
        limit=4,
        methods=("oracle", "lora", "none"),
        backbone=str(t5_folder),
        marks=(1, 2),
        settings=SETTINGS,
    )
    figures = bench(questions_file, options)
    assert figures["protocol"] == "questions"
    assert [figures[m]["requests"] for m in ("melo", "lora", "none")] == [4, 4, 4]
    assert figures["none"]["locality"] == figures["none"]["near_miss_subject"] == 1.0
    assert figures["none"]["edit_success"] == 0.0
    assert figures["oracle"]["edit_success"] == figures["melo"]["edit_success"] == 1.0
    assert figures["melo"]["oracle_generality"] == figures["oracle"]["generality"]
    assert set(figures["melo"]["at"]) == set(figures["lora"]["at"]) == {"1", "2", "4"}
    assert figures["melo"]["portability_probes"] == 4
    own = figures["melo"]
    assert own["product"] == pytest.approx(
        math.prod(own[k] for k in FIVE if not math.isnan(own[k])), abs=1e-4
    )
    assert own["chosen_own"] == 1.0
    assert own["added_prompt_tokens"] == 0.0
    assert own["revocations"] == {
        "revoked": 2,
        "left": 2,
        "identical": 1.0,
        "same_content": True,
        "kept": 1.0,
        "as_backbone": 1.0,
    }
    for name in ("route_invariance", "reload_identity", "revoke_identity", "re_edit", "curve"):
        assert name in own


def test_a_baseline_may_edit_fewer(questions_file: Path, t5_folder: Path, tmp_path: Path) -> None:
    options = Options(
        tmp_path,
        limit=4,
        methods=("none", "finetune"),
        baseline_limit=2,
        backbone=str(t5_folder),
    )
    figures = bench(questions_file, options)
    assert figures["finetune"]["requests"] == figures["none"]["requests"] == 2


def test_an_interrupted_run_goes_on_after_its_last_finished_method(
    questions_file: Path, t5_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("lora", "none")
    options = Options(tmp_path, limit=4, backbone=str(t5_folder), marks=(), methods=methods)
    built: list[str] = []
    unbroken = dict(BASELINES)

    def broken(backbone: Backbone, seed: int) -> Method:
        raise KeyboardInterrupt

    def lora(backbone: Backbone, seed: int) -> Method:
        built.append("lora")
        return unbroken["lora"](backbone, seed)

    monkeypatch.setitem(BASELINES, "lora", lora)
    monkeypatch.setitem(BASELINES, "none", broken)
    with pytest.raises(KeyboardInterrupt):
        bench(questions_file, options)
    monkeypatch.setitem(BASELINES, "none", unbroken["none"])
    figures = bench(questions_file, options)
    assert (figures["resumed"], built) == (["lora"], ["lora"])
    assert figures["none"]["requests"] == figures["lora"]["requests"] == 4
    again = bench(questions_file, options)
    assert "resumed" not in again
    assert built == ["lora", "lora"]


def test_edits_out_of_the_test_are_kept_with_the_figures_and_taken_out_of_the_record() -> None:
    last = {"product": 0.5, "out_of_test": ["a", "b"]}
    figures = {**last, "at": {"1": {"product": 1.0, "out_of_test": []}, "4": last}}
    assert out_of_test(figures) == {1: set(), 4: {"a", "b"}}
    assert figures == {"product": 0.5, "at": {"1": {"product": 1.0}, "4": {"product": 0.5}}}


def test_slow_methods_may_edit_fewer_still(
    questions_file: Path, t5_folder: Path, tmp_path: Path
) -> None:
    options = Options(
        tmp_path,
        limit=4,
        methods=("none", "grace"),
        baseline_limit=0,
        slow_limit=1,
        backbone=str(t5_folder),
    )
    figures = bench(questions_file, options)
    assert (figures["none"]["requests"], figures["grace"]["requests"]) == (4, 1)


class Fixed(Method):
    """Gives each text a loss of its length a token, but for one that it holds most likely."""

    likely = "jon"

    def losses(self, asked: Asked, texts: Sequence[str], *, end: bool = True) -> list[Loss]:
        return [Loss(0.0 if t == self.likely else float(len(t)), 1) for t in texts]


def test_a_target_is_chosen_where_it_is_likelier_than_three_others(t5_folder: Path) -> None:
    rows = [
        Row(EditRequest(f"who leads {i} ?", t, id=str(i)), (), (), (), (), {})
        for i, t in enumerate(("jon", "ada li", "mia of oslo", "eva kim"))
    ]
    asked: list[tuple[Prompt, str]] = [(r.request.question, r.request.id) for r in rows]
    method = Fixed(Backbone.open(str(t5_folder)))
    assert chosen(method, asked, rows) == 0.25
    assert math.isnan(chosen(method, asked[:3], rows[:3]))


def test_rows_of_another_file_let_every_row_be_edited(questions_file: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in questions_file.read_text().splitlines()]
    alone = split_rows(rows, None)
    assert len(alone.tested) < len(rows)
    others = [
        {**question(0), "subject": f"Name {i}", "prompt": f"Where is Name {i}?"} for i in range(20)
    ]
    whole = split_rows(rows, None, 0, [*others, question(1)])
    assert len(whole.tested) == len(rows)
    assert {r.request.subject for r in whole.unseen + whole.left_out}.isdisjoint(SUBJECTS)
    assert whole.unseen
    assert probes_for(whole.tested, whole).near_subject


def test_a_locality_question_that_is_edited_is_left_out() -> None:
    asked = [{"prompt": f"Who leads {SUBJECTS[0]}?", "answer": "rome"}, *question(1)["locality"]]
    rows = [question(0), {**question(1), "locality": asked}]
    split = split_rows(rows, 2, 0, [question(2), question(3)])
    probes = probes_for(split.tested, split)
    assert {p for p, _ in probes.locality} == {question(1)["locality"][0]["prompt"]}
    assert probes.edited_locality == 1
    alone = probes_for(split.tested[1:], split)  # nothing edits the first subject: it has to stay
    assert (len(alone.locality), alone.edited_locality) == (2, 0)


def test_other_questions_of_a_file_about_a_subject_are_taken_as_they_are() -> None:
    near = [f"What does {SUBJECTS[0]} cost?", f"When does {SUBJECTS[0]} close?"]
    split = split_rows([{**question(0), "near": near}, question(1)], 2, 0, [question(2)])
    asked = probes_for(split.tested, split).near_relation
    own = split.tested[0].request.id
    assert [p for p, i in asked if i == own] == near


def test_a_locality_question_in_another_of_the_files_wordings_is_counted_apart() -> None:
    """The rephrase of one row about the subject of another asks what that row's edit asks."""
    reworded = f"A stray word. who is at the head of {SUBJECTS[0]} now ?"
    elsewhere = f"who is at the mouth of {SUBJECTS[0]} now ?"
    asked = [{"prompt": p, "answer": "rome"} for p in (reworded, elsewhere)]
    rows = [
        {**question(0), "rephrases": []},
        {**question(1), "locality": [*asked, *question(1)["locality"]]},
    ]
    split = split_rows(rows, 2, 0, [question(2), question(3)])
    probes = probes_for(split.tested, split)
    assert {reworded, elsewhere} < {p for p, _ in probes.locality}
    assert probes.reworded_locality == {reworded}
    assert not probes_for(split.tested[1:], split).reworded_locality  # nobody edits that subject


def test_hallucinations_are_measured_by_perplexity(tmp_path: Path) -> None:
    rows = [row for i in range(2) for row in passage(i)]
    recipe = GptRecipe(layers=2, width=64, heads=4, vocabulary=400, rounds=100)
    texts = [r["prompt"] for r in rows]
    texts += word_list([r["target"] for r in rows], texts)
    gpt = prepare_gpt(texts, tmp_path / "gpt", recipe=recipe)
    assert prepare_gpt(texts, tmp_path / "gpt", recipe=recipe) == gpt
    options = Options(
        tmp_path, methods=("melo", "none"), backbone=str(gpt), settings=EditSettings()
    )
    file = write_lines(tmp_path / "h.jsonl", rows)
    figures = bench(file, options, protocol="hallucination")
    none, melo = figures["none"], figures["melo"]
    assert figures["rows"]["accurate"] == 4
    assert none["web_ratio"] == none["accurate_ratio"] == 1.0
    assert none["edit_perplexity"] == figures["before"]["edit_perplexity"]
    assert melo["edit_perplexity"] < none["edit_perplexity"]
    assert melo["web_unchanged"] == melo["accurate_unchanged"] == 1.0
    assert melo["accurate_ratio"] == 1.0
    assert (melo["active"], melo["superseded"]) == (4, 0)
    assert melo["edit_perplexity"] < 2 < 50 < none["edit_perplexity"]


def test_the_small_gpt_knows_the_words_of_the_right_answers(tmp_path: Path) -> None:
    rows = [row for i in range(2) for row in passage(i)]
    lines = word_list([r["target"] for r in rows], [r["prompt"] for r in rows])
    [line] = lines
    words = line.split()
    assert words == sorted(words)
    assert set(words) & {"west", "year"} == {"west", "year"}
    assert not set(words) & {"in", "the"}  # passages have them
    assert word_list(["lies in"], [r["prompt"] for r in rows]) == []


def test_accurate_sentences_are_those_that_no_row_corrects() -> None:
    head = f"A passage about {SUBJECTS[0]}."
    first, *_ = (r["prompt"] for r in passage(0))
    pairs = accurate_pairs(passage(0))
    assert pairs == [
        (head, first.removeprefix(head + " ")),
        (f"{first} It lies in the north sea.", "Wine and bread grow in the east now."),
    ]


def test_a_classifiers_own_mistakes_are_the_edits(classifier_folder: Path, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "news.jsonl", classified(60))
    options = Options(
        tmp_path,
        limit=5,
        methods=("melo", "none"),
        backbone=str(classifier_folder),
        settings=SETTINGS,
    )
    figures = bench(data, options)
    rows = figures["rows"]
    assert figures["protocol"] == "classification"
    assert rows["right"] + rows["wrong"] <= 60 - rows["seen"]
    assert figures["melo"]["requests"] == min(5, rows["wrong"])
    assert figures["none"]["corrected"] == 0.0
    assert figures["none"]["kept"] == 1.0
    assert figures["melo"]["corrected"] > 0.0


def test_a_passage_without_a_sentence_has_nothing_accurate() -> None:
    assert accurate_pairs([{"prompt": "A passage about ostovic. ", "target": "x"}]) == []


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([question(i) for i in range(6)], "questions"),
        (classified(60), "classification"),
        ([row for i in range(4) for row in passage(i)], "hallucination"),
        ([{**question(0), "rephrases": []}], "questions"),
    ],
)
def test_a_files_protocol_is_told_from_its_rows(rows: list[dict[str, Any]], kind: str) -> None:
    assert kind_of(rows) == kind


def test_seeds_become_a_mean_and_an_interval() -> None:
    runs = [{"a": 0.9, "b": {"c": 1}, "n": "x"}, {"a": 1.0, "b": {"c": 2}, "n": "x"}]
    assert mean_of(runs) == {"a": pytest.approx(0.95), "b": {"c": 1.5}, "n": "x"}
    [low, high] = intervals(runs, ["a"])["a"]
    assert (low, high) == (pytest.approx(0.95 - 12.706 * 0.05, abs=1e-3), 1.0)
    assert intervals(runs[:1], ["a"]) == {}


def test_two_seeds_are_run_and_told_apart(
    questions_file: Path, t5_folder: Path, tmp_path: Path
) -> None:
    options = Options(tmp_path, limit=4, methods=("none",), backbone=str(t5_folder))
    figures = bench(questions_file, options, seeds=(0, 1))
    assert [s["seed"] for s in figures["seeds"]] == [0, 1]
    assert figures["none"]["intervals"]["locality"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"), [("", "no line"), ("{", "JSON lines"), ('{"prompt": "a"}', "no line")]
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        bench(path, Options(tmp_path))


def test_retrieval_refuses_a_backbone_with_two_stacks(
    questions_file: Path, t5_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownMethod, match="causal-lm"):
        bench(
            questions_file,
            Options(tmp_path, limit=4, methods=("retrieval",), backbone=str(t5_folder)),
        )
