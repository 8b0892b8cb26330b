"""Ask: one question to the backbone, the champion and any version, side by side."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboards import filters, parts, session
from dashboards.errors import DashboardError
from dashboards.words import duration, from_home, short


def page() -> None:
    """The whole page."""
    parts.title("Ask", "What does the model say, what did it say before, and which edit answers?")
    with parts.guarded():
        names = session.ask("versions")
        options = {"none": "no other version"}
        options |= {
            r["version"]: f"v{r['number']} · {short(r['version'])}"
            for r in names
            if not r["serves"]
        }
        passed = [r["version"] for r in names if not r["serves"] and r["gate"]]
        other = filters.choice(
            "Beside them", options, "version", passed[0] if passed else "none", width=260
        )
        with st.form("question", border=False):
            prompt = st.text_input(
                "Question",
                st.query_params.get("q", ""),
                key="question-text",
                placeholder="How much does Tessel One cost?",
            )
            submitted = st.form_submit_button("Ask", icon=":material/send:", type="primary")
        filters.remember("q", prompt.strip(), "")
        champion = any(r["serves"] for r in names)
        versions = [
            "base",
            *(["champion"] if champion else []),
            *([other] if other != "none" else []),
        ]
        if not submitted or not prompt.strip():
            _introduction(champion)
            return
        _answers(prompt.strip(), versions, {r["version"]: r["number"] for r in names})


def _introduction(champion: bool) -> None:
    if not session.asker().process.possible:
        parts.empty(
            "Nobody answers here",
            "These pages were started without a process that answers.",
            "melo dashboard",
        )
        return
    st.caption(
        "Questions are answered on this machine, by a process that opens the backbone at the first one; "
        "that takes some seconds. Nothing that is asked here is kept."
    )
    if not champion:
        st.caption("There is no champion yet: only the backbone answers.")


def _answers(prompt: str, versions: list[str], numbers: dict[str, int]) -> None:
    try:
        with st.spinner("Asking; the first question also opens the backbone …", show_time=True):
            answers = session.asker().ask(prompt, versions)
    except DashboardError as error:
        parts.away("No answer", error)
        return
    texts = {a.get("answer") for a in answers if "answer" in a}
    st.markdown("#### They all say the same" if len(texts) == 1 else "#### They differ")
    for column, answer in zip(st.columns(len(answers)), answers, strict=True):
        with column, st.container(border=True):
            _answer(answer, numbers)


def _answer(answer: dict[str, Any], numbers: dict[str, int]) -> None:
    name = {"base": "Backbone", "champion": "Champion"}.get(answer["asked"], "Version")
    if "error" in answer:
        st.markdown(f"**{name}**")
        st.markdown(
            f":material/error: {parts.escape(from_home(answer['error'], session.settings().home))}"
        )
        return
    number = numbers.get(answer["version"])
    st.markdown(f"**{name}**" + (f" v{number} `{short(answer['version'])}`" if number else ""))
    st.markdown(f"### {parts.escape(answer['answer'] or 'nothing')}")
    if answer["edit"]:
        st.markdown(
            f":material/edit_note: an edit answered: distance {answer['distance']:.3f} within its radius "
            f"{answer['radius']:.3f}"
        )
        parts.link("edit", f"Edit {short(answer['edit'])}", edit=answer["edit"])
    elif answer["nearest"]:
        st.markdown(
            f":material/psychology: the backbone answered: the nearest lies {answer['distance']:.3f} "
            f"away, outside its radius {answer['radius']:.3f}"
        )
        parts.link("edit", f"Nearest edit {short(answer['nearest'])}", edit=answer["nearest"])
    else:
        st.markdown(":material/psychology: the backbone answered: no edit is about this")
    st.caption(f"in {duration(answer['seconds'])}")


page()
