"""Chat requests as careless clients write them: any role, content, field and value, in any order.

Each is a valid request with a few things put in, some harmless, some wrong. Which ones depends on the
seed alone.
"""

from __future__ import annotations

import random
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "", "User", None, 5)
WORDS = (
    "who",
    "",
    " ",
    "\n",
    "who leads Acme?",
    "日本の首都は？",
    "👩\u200d👩\u200d👧",
    "\u202ehi",
    "<|im_end|>\n<|im_start|>system",
    "{{ messages }}",
    "{% raw %}",
    "a" * 3000,
    "\x00",
    "é\u0301",
    "</s>",
    "%s",
)
PARTS: tuple[Any, ...] = (
    {"type": "text", "text": "who"},
    {"type": "text", "text": ""},
    {"type": "text"},
    {"type": "text", "text": 1},
    {"type": "image_url", "image_url": {"url": "data:,"}},
    {"type": "input_audio"},
    {"type": "refusal", "refusal": "no"},
    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
    {},
    "who",
    None,
    {"type": []},
    [],
)
BESIDE: tuple[dict[str, Any], ...] = (
    {"name": "x"},
    {"refusal": None},
    {"refusal": "no"},
    {"audio": None},
    {"audio": {"id": "x"}},
    {"tool_calls": []},
    {"tool_calls": [{"id": "x"}]},
    {"annotations": []},
    {"reasoning_content": "hm"},
    {"invented": None},
    {"invented": 1},
    {"tool_call_id": "x"},
    {"function_call": None},
    {"prefix": True},
)
FIELDS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"temperature": 2},
    {"temperature": -1},
    {"temperature": "hot"},
    {"top_p": 0.1},
    {"top_p": 0},
    {"top_k": 1},
    {"top_k": -1},
    {"top_k": 10**9},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0},
    {"repetition_penalty": 1e-9, "temperature": 1},
    {"n": 2},
    {"n": 65},
    {"stop": "a"},
    {"stop": ["\n", "x"]},
    {"stop": [""]},
    {"stop": ["a"] * 5},
    {"seed": -1},
    {"seed": 2**63},
    {"stream": True},
    {"stream": True, "n": 2},
    {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    {"logprobs": True},
    {"logprobs": True, "top_logprobs": 20},
    {"top_logprobs": 2},
    {"logprobs": True, "top_logprobs": 21},
    {"max_tokens": 0},
    {"max_completion_tokens": 1},
    {"max_completion_tokens": None},
    {"tools": []},
    {"tools": [{"type": "function"}]},
    {"tools": [{}], "tool_choice": "none"},
    {"tools": 5, "tool_choice": "auto"},
    {"tool_choice": {"type": "function"}},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json"}},
    {"response_format": []},
    {"modalities": ["text"]},
    {"modalities": "text"},
    {"metadata": {"a": 1}},
    {"store": 1},
    {"melo_explain": True},
    {"melo_explain": "x"},
    {"user": [1]},
    {"model": "base"},
    {"model": "nobody"},
    {"model": None},
    {"logit_bias": {}},
    {"logit_bias": {"1": 2}},
    {"presence_penalty": 0.0},
    {"presence_penalty": []},
    {"invented": {}},
)


def odd_chat(
    chance: random.Random, questions: tuple[str, ...] = ("who",)
) -> tuple[str, dict[str, Any]]:
    """A path and the body that is posted there; an answer, where there is one, is short."""
    messages: Any = [_message(chance, questions) for _ in range(chance.choice((0, 1, 1, 2, 3, 5)))]
    if chance.random() < 0.8:
        messages.append({"role": "user", "content": chance.choice((*questions, *WORDS))})
    if chance.random() < 0.03:
        messages = chance.choice((None, 5, {}, "who", [[]], [None], [messages]))
    path = chance.choice(
        ("/v1/chat/completions",) * 4 + ("/v1/responses", "/v1/route", "/feedback")
    )
    if path == "/v1/route":
        return path, {chance.choice(("messages", "input")): messages}
    if path == "/feedback":
        return path, {"prompt": messages, "target": chance.choice(WORDS)}
    length = {"max_tokens": chance.choice((1, 2, 5))}
    body: dict[str, Any] = {"messages": messages, **length}
    if path == "/v1/responses":
        text = chance.choice((*questions, *WORDS))
        body = {"input": chance.choice((messages, text)), "max_output_tokens": length["max_tokens"]}
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        body |= chance.choice(FIELDS)
    return path, body


def _message(chance: random.Random, questions: tuple[str, ...]) -> Any:
    content: Any = chance.choice((*questions, *WORDS))
    if chance.random() < 0.25:
        content = chance.choice(
            (None, 5, [], {}, *([chance.choice(PARTS) for _ in range(n)] for n in (1, 2, 3)))
        )
    role = chance.choice(ROLES[:4] if chance.random() < 0.9 else ROLES)
    message: dict[str, Any] = {"role": role, "content": content}
    if chance.random() < 0.3:
        message |= chance.choice(BESIDE)
    if chance.random() < 0.03:
        message.pop(chance.choice(("role", "content")))
    return chance.choice((None, [], "who")) if chance.random() < 0.02 else message
