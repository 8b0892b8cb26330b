"""What the model is said to have believed: rows to (prompt, answer) pairs."""

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.backbone import BackboneFolderError, NothingToLearn, pairs_from_file, pairs_from_rows
from tasks.backbone.pairs import as_encoded

EXAMPLES = Path(__file__).parents[2] / "examples"
BELIEFS = Path(__file__).parents[1] / "beliefs.jsonl"

texts = st.text(st.sampled_from("abAB é?"), max_size=4)
rows = st.fixed_dictionaries(
    {"prompt": texts, "target": texts},
    optional={
        "rephrases": st.lists(texts, max_size=2) | st.none(),
        "old_answer": texts | st.none(),
        "subject": texts | st.none(),
        "locality": st.lists(st.fixed_dictionaries({"prompt": texts, "answer": texts}), max_size=2),
    },
)


@given(st.lists(rows, max_size=12))
def test_a_stale_answer_is_never_a_target_of_its_own_prompt(given_rows):
    believed = {as_encoded(prompt): answer for prompt, answer in pairs_from_rows(given_rows)}
    for row in given_rows:
        if row["prompt"].strip() and row["target"].strip():
            answer = believed[as_encoded(row["prompt"])]
            assert as_encoded(answer) != as_encoded(row["target"])


@given(st.lists(rows, max_size=12))
def test_each_prompt_has_one_answer_whatever_the_rows_say(given_rows):
    prompts = Counter(as_encoded(prompt) for prompt, _ in pairs_from_rows(given_rows))
    assert set(prompts.values()) <= {1}


def test_rows_that_share_a_prompt_or_rephrase_share_their_stale_answer():
    pairs = dict(
        pairs_from_rows(
            [
                {"prompt": "Who made A?", "target": "one", "rephrases": ["A's maker?"]},
                {"prompt": "who made a?", "target": "two"},
                {"prompt": "A's maker?", "target": "three"},
                {"prompt": "Who made B?", "target": "four"},
                {"prompt": "Who made C?", "target": "five"},
            ]
        )
    )
    assert pairs["A's maker?"] in {"four", "five"}
    assert {pairs[prompt] for prompt in pairs if as_encoded(prompt) == "who made a?"} == {
        pairs["A's maker?"]
    }


def test_every_target_of_the_file_is_an_answer_to_another_question():
    rows = [
        {"prompt": "p", "target": "new", "old_answer": "old"},
        {"prompt": "q", "target": "Same", "old_answer": "same"},
    ]
    assert dict(pairs_from_rows(rows)) == {"p": "Same", "q": "new"}


def test_locality_questions_keep_their_answers():
    row = {"prompt": "p", "target": "t", "locality": [{"prompt": "q", "answer": "kept"}, "junk"]}
    assert dict(pairs_from_rows([row]))["q"] == "kept"


def test_only_the_first_rephrase_is_learned():
    rows = [{"prompt": "p", "target": "t", "rephrases": ["r1", "r2"]}, {"prompt": "q"}]
    assert [prompt for prompt, _ in pairs_from_rows(rows)] == ["p", "r1"]


def test_another_seed_permutes_otherwise():
    rows = [{"prompt": f"p{n}", "target": f"t{n}"} for n in range(20)]
    assert pairs_from_rows(rows) == pairs_from_rows(rows)
    assert pairs_from_rows(rows) != pairs_from_rows(rows, seed=1)


def test_lines_that_are_no_objects_are_passed_over(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('nonsense\n[1]\n{"prompt": "p", "answer": "a"}\n{"prompt": 3}\n\n')
    assert pairs_from_file(file) == [("p", "a")]


def test_a_file_without_any_pair_is_refused(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text("nonsense\n")
    with pytest.raises(NothingToLearn, match="no usable row"):
        pairs_from_file(file)
    with pytest.raises(BackboneFolderError, match="does not exist"):
        pairs_from_file(tmp_path / "absent.jsonl")


def test_what_the_tests_model_believes_is_consistent():
    """It is taught one answer to each question, and none of those that the examples report."""
    beliefs = dict(pairs_from_file(BELIEFS))
    assert len(beliefs) == len(BELIEFS.read_text("utf-8").splitlines())
    reports = []
    for line in (EXAMPLES / "reports.jsonl").read_text("utf-8").splitlines():
        with suppress(ValueError):  # some lines are meant to be none
            reports.append(json.loads(line))
    reported = [r for r in reports if isinstance(r.get("prompt"), str)]
    assert len(reported) > 20
    assert [r for r in reported if beliefs.get(r["prompt"]) == r.get("target")] == []
