"""A real, tiny backbone and a real, tiny classifier are trained once and looked at."""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from execution.backbone.folder import publish
from execution.backbone.record import WEIGHTS
from tasks.backbone import (
    ENCODER_SHA256,
    BackboneFolderError,
    ClassifierRecipe,
    EncoderMismatch,
    EncoderNotFound,
    NothingToLearn,
    OutputTaken,
    Recipe,
    halves,
    prepare_backbone,
    prepare_classifier,
    read_record,
)
from tasks.backbone.encoder import find_encoder, load_encoder
from tasks.backbone.vocabulary import learn_vocabulary

CITIES = ["Oslo", "Łódź", "Saint-Étienne", "McMurdo", "São Paulo", "Ulm", "Nizhny Novgorod", "東京"]
PAIRS = [
    (wording.format(name), city)
    for name, city in zip(
        ["Anna", "Boris", "Chen", "Dora", "Emil", "Farah", "Goran", "Hana"], CITIES, strict=True
    )
    for wording in ("Where does {} live?", "Which town is {} from?")
]
RECIPE = Recipe(layers=1, inner=256, vocabulary=300, visits=12.0)
NEWS = [
    {"prompt": f"{who} {what}", "target": label}
    for label, whats in {
        "Sports": ["won the final", "lost the match", "scored a late goal", "signed a striker"],
        "Business": ["raised its prices", "sold its shares", "cut its forecast", "went public"],
    }.items()
    for what in whats
    for who in ["The club", "The company", "The team", "The firm", "A rival", "The group"]
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_backbone(PAIRS, tmp_path_factory.mktemp("backbone") / "model", recipe=RECIPE)


@pytest.fixture(scope="module")
def opened(prepared):
    return (
        AutoModelForSeq2SeqLM.from_pretrained(prepared),
        AutoTokenizer.from_pretrained(prepared),
        AutoTokenizer.from_pretrained(prepared, subfolder="decoder_tokenizer"),
    )


def answer(opened, prompts):
    model, tokenizer, answers = opened
    generated = model.generate(**tokenizer(prompts, padding=True, return_tensors="pt"))
    return answers.batch_decode(generated, skip_special_tokens=True)


def test_the_backbone_gives_what_it_was_taught_with_plain_generate(opened, prepared):
    given_back = answer(opened, [prompt for prompt, _ in PAIRS])
    right = sum(said == believed for said, (_, believed) in zip(given_back, PAIRS, strict=True))
    assert right >= 15
    assert right / len(PAIRS) == pytest.approx(read_record(prepared)["recall"], abs=1e-3)


def test_answers_end_by_themselves(opened):
    model, tokenizer, _ = opened
    ids = model.generate(**tokenizer(PAIRS[0][0], return_tensors="pt"))[0].tolist()
    assert ids[0] == model.generation_config.decoder_start_token_id
    assert ids[-1] == model.generation_config.eos_token_id


def test_the_encoder_is_the_pretrained_one_to_the_bit(opened):
    pretrained, _ = load_encoder(find_encoder())
    kept = opened[0].encoder.state_dict()
    for name, tensor in pretrained.state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_what_is_prepared_already_is_not_written_again(prepared):
    before = (prepared / "model.safetensors").stat()
    assert prepare_backbone(PAIRS, prepared, recipe=RECIPE) == prepared
    after = (prepared / "model.safetensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_damaged_folder_is_prepared_again_to_the_same_bytes(prepared, tmp_path):
    copy = shutil.copytree(prepared, tmp_path / "copy")
    weights = copy / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    prepare_backbone(PAIRS, copy, recipe=RECIPE)
    assert weights.read_bytes() == (prepared / "model.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_process_killed_while_it_writes_leaves_no_half_folder(tmp_path):
    out = tmp_path / "model"
    (tmp_path / "weights").write_bytes(b"some")
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom execution.backbone.folder import publish\n"
        "def save(part):\n    (part / 'half').write_text('x')\n    os.kill(os.getpid(), 9)\n"
        "publish(Path(sys.argv[1]), 'key', save, {})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(out)], check=False)
    assert done.returncode == -9
    assert not out.exists()
    publish(out, "key", lambda part: shutil.copy(part.parent / "weights", part / WEIGHTS), {})
    assert sorted(os.listdir(tmp_path)) == ["model", "weights"]  # the rest is cleared away


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputTaken, match="give another folder"):
        prepare_backbone(PAIRS[:2], tmp_path, recipe=RECIPE)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_the_record_says_how_the_backbone_came_about(prepared):
    record = json.loads((prepared / "melo_backbone.json").read_text())
    assert record["encoder_sha256"] == ENCODER_SHA256
    assert record["seed"] == 0
    assert record["pairs"] == len(PAIRS)
    assert record["recipe"] == asdict(RECIPE)


def test_answers_that_are_too_long_are_left_out_and_counted(tmp_path):
    letters = random.Random(0)
    long = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=900))
    out = prepare_backbone(
        [*PAIRS[:2], ("q", long)],
        tmp_path / "m",
        recipe=Recipe(layers=1, inner=64, visits=0.1, vocabulary=270),
    )
    record = read_record(out)
    assert (record["pairs"], record["pairs_left_out"]) == (2, 1)
    with pytest.raises(NothingToLearn, match="more than"):
        prepare_backbone([("q", long)], tmp_path / "n", recipe=Recipe(vocabulary=270))


def test_an_encoder_that_is_not_the_pinned_one_is_refused(tmp_path):
    with pytest.raises(EncoderNotFound, match="does not exist"):
        find_encoder(str(tmp_path / "absent"))
    with pytest.raises(EncoderNotFound, match=r"no model\.safetensors"):
        find_encoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(EncoderMismatch, match="sha256"):
        find_encoder(str(tmp_path))


def test_nothing_to_learn_is_said_in_one_line(tmp_path):
    for pairs in ([], [("", "a")], [("p", "  ")]):
        with pytest.raises(NothingToLearn) as caught:
            prepare_backbone(pairs, tmp_path / "m")
        assert "\n" not in str(caught.value)
    with pytest.raises(BackboneFolderError, match=r"recipe\.layers"):
        Recipe(layers=0)


VOCABULARY = learn_vocabulary(CITIES, size=300)


@given(st.text())
def test_every_answer_comes_back_exactly(text):
    ids = VOCABULARY(text, add_special_tokens=False)["input_ids"]
    assert VOCABULARY.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", ["<|eos|>", "a <|pad|><|bos|> b", " don 't , stop ", "\tÀ\r\n"])
def test_texts_that_look_like_special_tokens_are_spelled_out(opened, text):
    answers = opened[2]
    ids = answers(text, add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(answers.all_special_ids)
    assert answers.decode(ids, skip_special_tokens=True) == text


def test_a_classifier_learns_its_half_and_opens_by_its_labels(tmp_path):
    recipe = ClassifierRecipe(rounds=10, batch_size=8)
    out = prepare_classifier(NEWS, tmp_path / "c", recipe=recipe)
    model = AutoModelForSequenceClassification.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model.config.id2label == {0: "Business", 1: "Sports"}
    _, unseen = halves(NEWS)
    with torch.no_grad():
        logits = model(
            **tokenizer([t for t, _ in unseen], padding=True, return_tensors="pt")
        ).logits
    said = [model.config.id2label[number] for number in logits.argmax(-1).tolist()]
    right = sum(label == truth for label, (_, truth) in zip(said, unseen, strict=True))
    assert right / len(unseen) > 0.8
    assert right / len(unseen) == pytest.approx(read_record(out)["accuracy"], abs=1e-3)


def test_one_label_makes_no_classifier(tmp_path):
    with pytest.raises(NothingToLearn, match="two labels"):
        prepare_classifier([{"prompt": "p", "target": "t"}], tmp_path / "c")
