"""A conversation is messages with roles; what is asked is its last user message."""

from __future__ import annotations

import pytest

from melo_engine import Conversation, EditRequest, Message
from melo_engine.conversation import asked, joint_question, messages_of, questions
from melo_engine.errors import PromptError


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


TALK = said(
    ("system", "Be brief."),
    ("user", "Tell me about Acme."),
    ("assistant", "It is a firm."),
    ("user", "And who leads it?"),
)


def test_what_is_asked_is_the_last_user_message() -> None:
    talk = Conversation.of(TALK)
    assert asked(talk) == talk.asked == "And who leads it?"
    assert questions(talk) == ("Tell me about Acme.", "And who leads it?")
    assert joint_question(talk) == "Tell me about Acme. And who leads it?"
    assert Conversation.of([*TALK, *said(("assistant", "Ada."))]).asked == "And who leads it?"
    assert Conversation.of([*TALK, *said(("user", "  "))]).asked == "And who leads it?"
    assert talk.as_json() == TALK


def test_a_text_is_a_conversation_of_one_user_message() -> None:
    assert asked("Who?") == joint_question("Who?") == "Who?"
    assert questions("Who?") == ("Who?",)
    assert messages_of("Who?") == (Message("user", "Who?"),)


def test_a_developer_is_a_system() -> None:
    talk = Conversation.of(said(("developer", "Be brief."), ("user", "Who?")))
    assert [m.role for m in talk.messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "no message of role user"),
        (said(("system", "Be brief.")), "no message of role user with a word in it"),
        (said(("user", " \n"), ("assistant", "Yes?")), "no message of role user"),
        (said(("tool", "4"), ("user", "Who?")), 'message 0 has role "tool"; allowed: system, user'),
        (said(("User", "Who?")), 'message 0 has role "User"; allowed'),
        ([{"role": "user"}], r'message 0 must have "role" and "content"'),
        ([{"role": "user", "content": None}], 'message 0 must have "role" and "content", both'),
        ([{"role": "user", "content": ["Who?"]}], 'must have "role" and "content", both texts'),
        ([{"role": 1, "content": "Who?"}], 'must have "role" and "content", both texts'),
        (["Who leads Acme?"], 'message 0 must have "role" and "content", both texts; got str'),
        ([None], 'message 0 must have "role" and "content", both texts; got NoneType'),
        ("Who leads Acme?", "messages must be a list of .*; got str"),
        ({"role": "user", "content": "Who?"}, "messages must be a list of .*; got dict"),
        (None, "messages must be a list of .*; got NoneType"),
    ],
)
def test_what_is_no_conversation_is_told_in_one_line(messages: object, message: str) -> None:
    with pytest.raises(PromptError, match=message) as error:
        Conversation.of(messages)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_question_that_means_nothing_alone_takes_in_what_the_user_said_before() -> None:
    follow_up = EditRequest(Conversation.of(TALK), "Ada", subject="Acme")
    assert follow_up.needs_conversation
    assert follow_up.question == "Tell me about Acme. And who leads it?"
    whole = [*TALK, *said(("user", "Who leads Acme?"))]
    alone = EditRequest(Conversation.of(whole), "Ada", subject="Acme")
    assert not alone.needs_conversation
    assert alone.question == "Who leads Acme?"
    for other in (
        EditRequest(Conversation.of(TALK), "Ada"),  # bound to no subject
        EditRequest(Conversation.of(TALK), "Ada", subject="Globex"),  # that stands nowhere
        EditRequest(Conversation.of(TALK[-1:]), "Ada", subject="Acme"),  # nothing came before
        EditRequest("And who leads it?", "Ada", subject="Acme"),
    ):
        assert not other.needs_conversation
        assert other.question == "And who leads it?"


def test_a_conversation_has_a_name_of_its_own() -> None:
    talk = EditRequest(Conversation.of(TALK), "Ada", subject="Acme")
    assert talk.id == EditRequest(Conversation.of(TALK), "Ada", subject="Acme").id
    assert talk.id != EditRequest("And who leads it?", "Ada", subject="Acme").id
