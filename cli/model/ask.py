"""`melo ask`: one question, or a conversation, to a version, the champion or the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.route import route_as_json
from console import collection
from console.context import Json, new_app, state
from console.errors import UsageProblem
from console.output import print_json

if TYPE_CHECKING:
    from melo_engine import Prompt

app = new_app()


@app.command()
def ask(
    ctx: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(help="The question; the last message of a conversation.")
    ] = None,
    version: Annotated[
        str, typer.Option(help="champion, candidate, previous, base, or an id.")
    ] = "champion",
    system: Annotated[
        str | None, typer.Option(help="A system message before the conversation.")
    ] = None,
    message: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE:TEXT", help="A message said before, in order; may come often."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which edit answered, or that none did.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask a version, the champion or the backbone.

    A conversation: `melo ask --system "Be brief." --message "user:Who leads Acme?" --message
    "assistant:Ada Li." "And since when?"`. Without a question the last user message is asked.
    """
    with collection.paused():
        from execution.lineage import BASE, resolve
        from execution.versions import Versions

    here = state(ctx)
    question = _question(prompt, system, message or ())
    chosen = BASE
    if version != BASE:
        with here.ledger(create=False) as ledger:
            chosen = resolve(ledger, version)
    with Versions(here.settings).editor(chosen) as editor:
        answer = editor.answer([question], base=chosen == BASE)[0]
    route = answer.route
    if as_json:
        print_json(
            {
                "prompt": question if isinstance(question, str) else question.as_json(),
                "answer": answer.text,
                "version": chosen,
                **route_as_json(route),
                "nearest": route.nearest,
            }
        )
        return
    typer.echo(answer.text)
    if not explain:
        return
    if answer.edit is not None:
        typer.echo(
            f"edit {answer.edit}, block {route.block}, "
            f"distance {route.distance:.4f} within radius {route.radius:.4f}"
        )
    elif route.nearest is not None:
        typer.echo(
            f"no edit: the nearest, {route.nearest}, lies {route.distance:.4f} away, "
            f"outside its radius {route.radius:.4f}; the backbone answered"
        )
    else:
        typer.echo("no edit is about it; the backbone answered")


def _question(prompt: str | None, system: str | None, messages: Sequence[str]) -> Prompt:
    """A text alone, or a conversation where anything stands before it. Raises UsageProblem."""
    from melo_engine import Conversation

    if prompt is not None and system is None and not messages:
        return prompt
    conversation = [{"role": "system", "content": system}] if system is not None else []
    for message in messages:
        role, colon, text = message.partition(":")
        if not colon:
            raise UsageProblem(
                f'--message is "{message}"; give a role and a text, as in "user:Who leads Acme?"'
            )
        conversation.append({"role": role.strip().lower(), "content": text.strip()})
    if prompt is not None:
        conversation.append({"role": "user", "content": prompt})
    if not conversation:
        raise UsageProblem("nothing is asked; give a question, or messages with --message.")
    return Conversation.of(conversation)
