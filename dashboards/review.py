"""The review queue as a card: one edit after the other, decided by keyboard, each change shown first.

    the card ── A E D W S G U, 1-9 ──► what would change ── Y ──► made, on record, undone by Z
                                          └───────────── X ──► back to the card

It is drawn by itself (a fragment), so that a decision redraws no chart of the page. Without a key it
only reads. The key stays in this session's memory: it is in no address, cookie or log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from dashboards import parts, session
from dashboards.errors import DashboardError, Refused
from dashboards.words import count, duration, short
from ledger.functions import messages_in

WAITS_FOR = {
    "answer": "nobody has said the right answer",
    "review": "its source asks for a review",
    "contradiction": "it contradicts another, and no rule decides",
}
TYPED = {  # actions with a value: what is asked for
    "answer": "The right answer",
    "subject": "Subject, as it is written in the question",
    "wording": "The question in other words",
}
NAMES = {
    "approve": "Approve",
    "both": "Both are right",
    "reject": "Reject",
    "answer": "Answer",
    "subject": "Subject",
    "wording": "Wording",
    "urgent": "Urgent",
    "not-urgent": "Not urgent",
}
SHOWN = 8  # comments, rivals and proposals on a card
# The value is typed at once: the box has the keyboard as soon as it is there.
_focus = st.components.v2.component(
    "focus",
    html="",
    js="""export default ({data}) => {
        const box = [...document.querySelectorAll('input')].find(i => i.ariaLabel === data);
        if (box && document.activeElement !== box) box.focus();
    }""",
)


@dataclass
class ReviewSession:
    """Where a reviewer stands, for the time of a session.

    chosen: (action, edit, value) whose change is shown or asked for. log: what was decided, the latest
    last.
    """

    key: str | None = None
    who: str | None = None
    place: int = 0
    chosen: tuple[str, str, str | None] | None = None
    changes: list[dict[str, Any]] | None = None
    problem: str | None = None
    gone: set[str] = field(default_factory=set)
    log: list[dict[str, Any]] = field(default_factory=list)
    decided: int = 0

    def reset(self) -> None:
        """Back to the card."""
        self.chosen = self.changes = self.problem = None


def _review_state() -> ReviewSession:
    """The review of this browser session."""
    if "review_state" not in st.session_state:
        st.session_state.review_state = ReviewSession()
    return st.session_state.review_state


@st.fragment
def review() -> None:
    """The card with its key, actions and log."""
    state = _review_state()
    with parts.guarded():
        waiting = session.ask("to_decide", now=session.now())
        state.gone &= {item["edit"] for item in waiting} | {e["edit"] for e in state.log[-1:]}
        left = [item for item in waiting if item["edit"] not in state.gone]
        _head(state, len(left), len(waiting) >= 100)
        if not left:
            parts.nothing("Nothing waits for a person.")
            _log(state)
            return
        item = left[state.place % len(left)]
        with st.container(border=True, key="card"):
            _card(item)
            if state.who is None:
                _commands(item)
            elif state.chosen is not None and state.chosen[1] in _edits_on(item):
                _value_or_preview(state, item)
            else:
                _actions(state, item)
            if state.problem:
                st.markdown(f":material/error: {_plain(state.problem)}")
        _log(state)


def _edits_on(item: dict[str, Any]) -> set[str]:
    """The edits that can be decided on a card: its own and those that contradict it."""
    return {item["edit"], *(rival["edit"] for rival in item["rivals"])}


def _head(state: ReviewSession, left: int, more: bool) -> None:
    title = f"{count(left, 'edit')}{' or more' if more else ''} to decide, the most reported first"
    st.markdown(f"#### {title if left else 'The review queue is empty'}")
    if state.who is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Deciding as **{_plain(state.who)}** · {state.decided} decided here")
            st.button("Forget the key", on_click=_forget_key, type="tertiary", key="forget-key")
        return
    if not session.decider().process.possible:
        st.caption("These pages were started to be read only; decide with `melo review`.")
        return
    with st.form("key", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Key with the scope review, to decide here",
            type="password",
            key="review-key",
            width=420,
            help="melo keys add NAME --scope review",
            autocomplete="off",
        )
        st.form_submit_button("Use it", on_click=_take_key)
    if state.problem:
        st.markdown(f":material/error: {_plain(state.problem)}")


def _take_key() -> None:
    state, key = _review_state(), str(st.session_state.get("review-key", "")).strip()
    state.reset()
    try:
        state.who = session.decider().who(key)
        state.key = key
    except DashboardError as error:
        state.problem = str(error)
    st.session_state["review-key"] = ""


def _forget_key() -> None:
    state = _review_state()
    state.reset()
    state.key = state.who = None


def _card(item: dict[str, Any]) -> None:
    details = [
        WAITS_FOR.get(item["hold"], item["hold"]),
        f"from {item['source']}",
        f"reported {count(item['reports'], 'time')} by {count(item['sources'], 'source')}",
        f"waits {duration(item['hours'] * 3600)}",
    ]
    urgent = ":material/priority_high: **urgent** · " if item["urgent"] else ""
    st.caption(urgent + _plain(" · ".join(details)))
    # What was said before the question, where the prompt is a conversation.
    for role, text in messages_in(item["messages"])[:-1] if item["messages"] else ():
        st.caption(f"{_plain(role)}: {_plain(text)}")
    st.markdown(f"**{_plain(item['prompt'])}**")
    if item["target"]:
        st.markdown(f"→ **{_plain(item['target'])}**")
    triage = item["triage"] or {}
    answers = [(a["answer"], a["reports"]) for a in triage.get("answers", ())]
    if not answers and item["old_answer"]:
        answers = [(item["old_answer"], item["reports"])]
    lines = [f"the model said: {_plain(text)} ({number})" for text, number in answers[:SHOWN]]
    if triage.get("in_use"):
        lines.append(f"an edit in use answers: {_plain(triage['in_use']['answer'])}")
    lines += [
        f"another answer: **{_plain(rival['target'])}**{_asked(item, rival)}, {rival['state']}, from "
        f"{_plain(rival['source'])}, {count(rival['reports'], 'report')}"
        for rival in item["rivals"][:SHOWN]
    ]
    lines += [
        f":material/comment: {_plain(comment['source'] or '')}: {_plain(comment['text'])}"
        for comment in triage.get("comments", ())[:SHOWN]
    ]
    if lines:
        st.markdown("  \n".join(f":small[{line}]" for line in lines))
    facts = [("subject", item["subject"]), ("also asked as", " | ".join(item["rephrases"] or ()))]
    about = " · ".join(f"{name}: {text}" for name, text in facts if text)
    if about:
        st.caption(_plain(about))


def _asked(item: dict[str, Any], rival: dict[str, Any]) -> str:
    """To what, where a rival is asked otherwise: the two may be right both."""
    return "" if rival["prompt"] == item["prompt"] else f" to “{_plain(rival['prompt'])}”"


def _plain(text: str) -> str:
    """A text as it is, on one line; a word joiner keeps addresses in it from becoming links."""
    unlinked = re.sub(r"(?i)(://|\bwww(?=\.)|@)", "\\1\u2060", " ".join(text.split()))
    return parts.escape(unlinked)


def _commands(item: dict[str, Any]) -> None:
    if item["hold"] == "answer":
        parts.commands(f'melo review answer {item["edit"]} "..." --reason "..."')
    else:
        parts.commands(f'melo review approve {item["edit"]} --reason "..."')
    parts.commands(f'melo review reject {item["edit"]} --reason "..."')
    with st.container(horizontal=True):
        _walk_buttons()
        parts.link("edit", "See its whole life", edit=item["edit"])


def _actions(state: ReviewSession, item: dict[str, Any]) -> None:
    """A button for each action, with its key; proposed answers and rival answers have numbers."""
    edit = item["edit"]
    numbered = [
        (f"Answer “{proposal['answer']}”", ("answer", edit, proposal["answer"]))
        for proposal in (item["triage"] or {}).get("proposals", ())[:SHOWN]
    ]
    numbered += [
        (f"Choose “{rival['target']}”", _choosing(item, rival)) for rival in item["rivals"][:SHOWN]
    ]
    if numbered and item["target"]:
        numbered.insert(0, (f"Choose “{item['target']}”", ("approve", edit, None)))
    if numbered:
        with st.container(horizontal=True):
            for number, (label, choice) in enumerate(numbered[:9], 1):
                _button(label[:80], str(number), choice, f"choice-{number}")
    with st.container(horizontal=True):
        rivals = item["rivals"] if item["hold"] == "contradiction" else []
        if len(rivals) == 1 and rivals[0]["prompt"] != item["prompt"]:
            _button(NAMES["both"], "E", ("both", edit, rivals[0]["edit"]), "both")
        if item["target"]:
            _button("Approve", "A", ("approve", edit, None), "approve", kind="primary")
        else:
            _button("Write the answer", "W", ("answer", edit, None), "answer", kind="primary")
        _button("Reject", "D", ("reject", edit, None), "reject")
        _button("Subject", "S", ("subject", edit, None), "subject")
        _button("Wording", "G", ("wording", edit, None), "wording")
        urgency = "not-urgent" if item["urgent"] else "urgent"
        _button(NAMES[urgency], "U", (urgency, edit, None), "urgent")
        _walk_buttons()
        if state.log and state.log[-1]["undoable"]:
            st.button("Undo the last", on_click=_undo, shortcut="Z", key="undo", type="tertiary")
        parts.link("edit", "Its whole life", edit=edit)


def _choosing(item: dict[str, Any], rival: dict[str, Any]) -> tuple[str, str, str | None]:
    """The decision that lets a rival win: approve it where it is held, else reject this edit."""
    if rival["state"] == "held":
        return "approve", rival["edit"], None
    return "reject", item["edit"], None


def _walk_buttons() -> None:
    st.button("Next", on_click=_walk, args=(1,), shortcut="N", key="next", type="tertiary")
    st.button("Back", on_click=_walk, args=(-1,), shortcut="B", key="back", type="tertiary")


def _button(
    label: str,
    shortcut: str,
    choice: tuple[str, str, str | None],
    key: str,
    kind: Any = "secondary",
) -> None:
    st.button(
        _plain(label),
        on_click=_choose,
        args=choice,
        shortcut=shortcut,
        key=f"do-{key}",
        type=kind,
    )


def _choose(action: str, edit: str, value: str | None) -> None:
    state = _review_state()
    state.reset()
    state.chosen = (action, edit, value)
    if action not in TYPED or value is not None:
        _preview()


def _submit_value() -> None:
    state = _review_state()
    if state.chosen is not None:
        action, edit, _ = state.chosen
        value = str(st.session_state.get("review-value", "")).strip()
        state.chosen = (action, edit, value or None)
        _preview()


def _preview() -> None:
    state = _review_state()
    assert state.chosen is not None
    action, edit, value = state.chosen
    try:
        state.changes = session.decider().preview(state.key or "", action, edit, value, _reason())
        state.problem = None
    except DashboardError as error:
        state.problem = str(error)
        state.chosen = (action, edit, None) if action in TYPED else None


def _value_or_preview(state: ReviewSession, item: dict[str, Any]) -> None:
    assert state.chosen is not None
    action, _, _ = state.chosen
    if state.changes is None:
        with st.form("value", border=False):
            first = item["subject"] if action == "subject" else ""
            st.text_input(TYPED[action], first or "", key="review-value", autocomplete="off")
            with st.container(horizontal=True):
                st.form_submit_button("Show the change", on_click=_submit_value, type="primary")
                st.form_submit_button("Cancel", on_click=_review_state().reset, shortcut="Escape")
        _focus(data=TYPED[action], key=f"focus-{action}-{item['edit']}")
        return
    st.markdown(f"**{NAMES[action]}** would change:")
    for change in state.changes:
        target = f" → {_plain(change['target'])}" if change["target"] else ""
        before = f"{_plain(change['before'])} ⟶ " if change["before"] else ""
        st.markdown(
            f"- {_plain(change['prompt'])}{target}: {before}**{_plain(change['after'])}** "
            f":small[{_plain(change['why'])}]"
        )
    st.text_input("Reason, for the record", "as the card shows", key="review-reason")
    with st.container(horizontal=True):
        st.button("Yes, do it", on_click=_confirm, shortcut="Y", key="make", type="primary")
        st.button("No", on_click=_review_state().reset, shortcut="X", key="cancel")


def _reason() -> str:
    return str(st.session_state.get("review-reason") or "as the card shows")


def _confirm() -> None:
    state = _review_state()
    if state.chosen is None:
        return
    action, edit, value = state.chosen
    try:
        decision = session.decider().decide(state.key or "", action, edit, value, _reason())
    except DashboardError as error:
        if isinstance(error, Refused):
            state.reset()
        state.problem = str(error)
        return
    gone = {change["edit"] for change in state.changes or () if _ends_here(change["after"])}
    state.gone |= gone
    state.log.append(decision | {"gone": sorted(gone)})
    state.decided += 1
    state.reset()


def _ends_here(after: str) -> bool:
    """Whether an edit leaves the queue with this state."""
    return after.split(" ")[0] in ("ready", "rejected", "superseded", "expired")


def _undo() -> None:
    state = _review_state()
    state.reset()
    last = state.log[-1]
    try:
        session.decider().undo(state.key or "", last["id"], "undone in the page")
    except DashboardError as error:
        state.problem = str(error)
        return
    state.log[-1] = last | {"undoable": False, "undone": True}
    state.gone -= set(last["gone"])
    state.place = 0


def _walk(step: int) -> None:
    state = _review_state()
    state.reset()
    state.place = max(0, state.place + step)


def _log(state: ReviewSession) -> None:
    for entry in reversed(state.log[-3:]):
        undone = ", undone" if entry.get("undone") else ""
        value = f" “{entry['value']}”" if entry["value"] else ""
        line = f"{NAMES[entry['action']]}{value} · edit {short(entry['edit'])} · {entry['reason']}"
        st.caption(f":material/history: {_plain(line + undone)}")
