"""The official client works as it is."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.serving.support import ANSWERS, EDITED, UNEDITED, Running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as found:
        yield found


def test_completions(client: openai.OpenAI) -> None:
    got = client.completions.create(model="champion", prompt=[*EDITED, UNEDITED[0]])
    assert [c.text for c in got.choices[:2]] == list(ANSWERS.values())
    assert got.choices[0].melo["edit"]  # type: ignore[attr-defined]
    assert got.choices[2].melo["edit"] is None  # type: ignore[attr-defined]
    assert got.usage is not None
    assert got.usage.total_tokens > 0


def test_chat(client: openai.OpenAI) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": EDITED[0]}]},
    ]
    got = client.chat.completions.create(model="champion", messages=messages)  # type: ignore[arg-type]
    assert got.choices[0].message.content == ANSWERS[EDITED[0]]
    assert got.choices[0].finish_reason == "stop"
    assert got.system_fingerprint == got.choices[0].melo["version"]  # type: ignore[attr-defined]


def test_streams(client: openai.OpenAI) -> None:
    pieces = client.chat.completions.create(
        model="champion", messages=[{"role": "user", "content": EDITED[1]}], stream=True
    )
    text, origin = "", None
    for piece in pieces:
        text += piece.choices[0].delta.content or ""
        origin = getattr(piece.choices[0], "melo", origin)
    assert text == ANSWERS[EDITED[1]]
    assert origin is not None
    assert origin["edit"]
    words = client.completions.create(model="base", prompt=UNEDITED[0], stream=True)
    whole = client.completions.create(model="base", prompt=UNEDITED[0])
    assert "".join(w.choices[0].text for w in words) == whole.choices[0].text


def test_models(client: openai.OpenAI) -> None:
    names = [m.id for m in client.models.list()]
    assert {"base", "champion"} <= set(names)
    assert client.models.retrieve("champion").melo["version"]  # type: ignore[attr-defined]


def test_refusals_arrive_as_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nobody"):
        client.completions.create(model="nobody", prompt="who")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model="base", prompt="who", temperature=9)
