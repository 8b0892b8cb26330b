"""A process that answers one question after the other, for the dashboards: JSON lines in and out.

    in    {"prompt": "Who leads Acme?" or [{"role", "content"}, ...], "versions": ["base", "9f2c"]}
    out   {"answers": [{"asked", "version", "answer", "edit", "block", "distance", "radius", "nearest",
                        "seconds"} or {"asked", "error"}]}

It ends when its input does. Backbone and versions stay open between questions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from artifacts.route import route_as_json
from config import Settings, load
from console.errors import line_for_page


def answer(settings: Settings, question: str | list[Any], name: str) -> dict[str, Any]:
    """One version's answer with its route; an error that the user can mend as a text.

    question: a text, or messages.
    """
    from execution.context import open_ledger
    from execution.lineage import BASE, resolve
    from execution.versions import Versions
    from melo_engine import Conversation

    began = time.perf_counter()
    try:
        with open_ledger(settings) as ledger:
            version = resolve(ledger, name)
        prompt = question if isinstance(question, str) else Conversation.of(question)
        with Versions(settings).editor(version) as editor:
            reply = editor.answer([prompt], base=version == BASE)[0]
    except Exception as error:
        return {"asked": name, "error": line_for_page(error)}
    route = reply.route
    return {
        "asked": name,
        "version": version,
        "answer": reply.text,
        **route_as_json(route),
        "nearest": route.nearest,
        "seconds": round(time.perf_counter() - began, 4),
    }


def main(home: str) -> None:
    """Answer what comes on stdin. Whatever else is printed in this process goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    settings = load(Path(home))
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            prompt, versions = request["prompt"], [str(v) for v in request["versions"]]
            prompt = prompt if isinstance(prompt, list) else str(prompt)
            answers = [answer(settings, prompt, version) for version in versions]
        except (ValueError, KeyError, TypeError) as error:
            answers = [{"asked": "", "error": f"not a question: {error}"}]
        print(json.dumps({"answers": answers}), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
