"""What the final state of a method is scored by: texts against targets and against the backbone's own.

    success, generality          text == target                     portability, where rows have it
    system prompt, after turns,  text == target, the own question in a conversation or behind text
    behind text
    locality, near-misses,       text == what the bare backbone says
    traffic
    product                      of success, generality, locality, near-misses and traffic
    chosen                       share of edits whose target is likelier than three other edits' targets

Every text is decoded greedily and freely. A target is compared as the backbone's vocabulary can write it;
beside it `contains` says in what share it stands as whole words. What a method says it does not act on is
not decoded, but for a sample (`untouched_identity`). Where the bare backbone writes at length, its first
`UNCHANGED_TOKENS` tokens are compared.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.baselines import Asked, Method
from benchmarks.progress import Report, silent
from benchmarks.protocol import Probes, Row
from melo_engine import Conversation, Message, Prompt
from melo_engine.matching import words

UNCHANGED_TOKENS = 32
SAMPLE = 10  # of each kind, of prompts that a method says it does not act on
FIVE = ("edit_success", "generality", "locality", "near_miss_subject", "near_miss_relation")
PRODUCT = (*FIVE, "traffic")
ALTERNATIVES = 3  # other edits' targets that a target is compared with
CHOICES = 40  # edits of which this is asked
UNCHANGED = {
    "locality": "locality",
    "near_miss_subject": "near_subject",
    "near_miss_relation": "near_relation",
}


class BareAnswers:
    """What the bare backbone says, each prompt asked once for all methods."""

    def __init__(self, bare: Method) -> None:
        self._bare = bare
        self._cache: dict[str, str] = {}

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        missing = [p for p in dict.fromkeys(prompts) if p not in self._cache]
        texts = self._bare.answer(Asked.of(missing), UNCHANGED_TOKENS)
        self._cache |= dict(zip(missing, texts, strict=True))
        return [self._cache[p] for p in prompts]


def score(
    method: Method,
    rows: Sequence[Row],
    probes: Probes,
    bare: BareAnswers,
    canonical: Callable[[str], str],
    traffic: Sequence[str] = (),
    progress: Report = silent,
    *,
    framed: bool = True,
) -> dict[str, Any]:
    """Figures of one method in its present state. rows: the edits that are to hold.

    traffic: prompts that no edit is about. progress: called with the part that is asked next. framed: ask
    chat models in conversations and behind text as well.
    """

    def say(part: str) -> None:
        progress(f"scoring {method.name}: {part}", 0, 1)

    targets = {r.request.id: canonical(r.request.target) for r in rows}
    figures: dict[str, Any] = {}
    contains: dict[str, float] = {}
    samples: list[bool] = []

    def score_pairs(name: str, pairs: Sequence[tuple[Prompt, str]], wanted: Sequence[str]) -> None:
        texts = method.answer(Asked.of([p for p, _ in pairs], [i for _, i in pairs]))
        figures[name] = mean(t == w for t, w in zip(texts, wanted, strict=True))
        contains[name] = mean(says(t, w) for t, w in zip(texts, wanted, strict=True))

    questions: list[tuple[Prompt, str]] = [(r.request.question, r.request.id) for r in rows]
    edited: dict[str, Sequence[tuple[Prompt, str]]] = {
        "edit_success": questions,
        "generality": probes.rephrase,
    }
    if framed and method.backbone.is_chat:
        edited |= {
            name: [(frame(r.request.question), r.request.id) for r in rows]
            for name, frame in FRAMES.items()
        }
    for name, pairs in edited.items():
        say(name)
        score_pairs(name, pairs, [targets[i] for _, i in pairs])
    figures["generality_probes"] = len(probes.rephrase)

    def unchanged(prompts: Sequence[str]) -> list[bool]:
        untouched = method.untouched(prompts)
        touched = [p for p, free in zip(prompts, untouched, strict=True) if not free]
        sample = [p for p, free in zip(prompts, untouched, strict=True) if free][:SAMPLE]
        compared = [*touched, *sample]
        after = method.answer(Asked.of(compared), UNCHANGED_TOKENS)
        same = {p: a == b for p, a, b in zip(compared, after, bare(compared), strict=True)}
        samples.extend(same[p] for p in sample)
        return [same.get(p, True) for p in prompts]

    for name, part in UNCHANGED.items():
        prompts = [p for p, _ in getattr(probes, part)]
        say(name)
        same = unchanged(prompts)
        figures[name] = mean(same)
        figures[f"{name}_probes"] = len(prompts)
        if name == "locality":
            foreign = [p not in probes.reworded_locality for p in prompts]
            figures["locality_of_others"] = mean(s for s, f in zip(same, foreign, strict=True) if f)
            figures["locality_reworded"] = foreign.count(False)
    figures["locality_left_out"] = probes.edited_locality
    if traffic:
        say("traffic")
        figures["traffic"] = mean(unchanged(traffic))
        figures["traffic_probes"] = len(traffic)
    if samples:
        figures["untouched_identity"] = mean(samples)
    if probes.portability:
        pairs = [(p, i) for p, _, i in probes.portability]
        score_pairs("portability", pairs, [canonical(a) for _, a, _ in probes.portability])
        figures["portability_probes"] = len(pairs)
    figures["contains"] = contains
    figures["product"] = product(figures)
    figures["product_contains"] = product(figures | contains)
    prompts = [p for p, _ in (*questions, *probes.rephrase)]
    figures["added_prompt_tokens"] = round(method.added_tokens(prompts), 1)
    if method.backbone.generates:
        say("choices")
        figures["chosen_own"] = chosen(method, questions[:CHOICES], rows)
        figures["chosen_rephrased"] = chosen(method, probes.rephrase[:CHOICES], rows)
    return figures


def chosen(method: Method, pairs: Sequence[tuple[Prompt, str]], rows: Sequence[Row]) -> float:
    """Share of prompts whose target is the likeliest of four, by the mean over its tokens.

    pairs: prompts, each with the id of its edit. The other three are targets of other edits, drawn by
    the edit's id. A model that only repeats an edit's words where it is asked in them does no better
    than before elsewhere ("surface compliance", arXiv 2604.05995). nan where there are too few edits.
    """
    targets = {r.request.id: r.request.target for r in rows}
    prompts: list[Prompt] = []
    owners: list[str] = []
    texts: list[str] = []
    for prompt, edit in pairs:
        alternatives = sorted(set(targets.values()) - {targets[edit]})
        if len(alternatives) < ALTERNATIVES:
            return float("nan")
        drawn = random.Random(edit).sample(alternatives, ALTERNATIVES)
        texts += [targets[edit], *drawn]
        prompts += [prompt] * (1 + ALTERNATIVES)
        owners += [edit] * (1 + ALTERNATIVES)
    losses = method.losses(Asked.of(prompts, owners), texts) if prompts else []
    means = [loss.nats / loss.tokens for loss in losses]
    step = 1 + ALTERNATIVES
    return mean(means[at] == min(means[at : at + step]) for at in range(0, len(means), step))


def says(text: str, target: str) -> bool:
    """Whether a target stands in a text as whole words."""
    text_words, wanted = words(text), words(target)
    return bool(wanted) and any(
        text_words[at : at + len(wanted)] == wanted
        for at in range(len(text_words) - len(wanted) + 1)
    )


def _under_system_prompt(question: str) -> Prompt:
    return Conversation((Message("system", SYSTEM_PROMPT), Message("user", question)))


def _after_turns(question: str) -> Prompt:
    return Conversation((*TURNS, Message("user", question)))


def _behind_text(question: str) -> Prompt:
    return f"{TEXT} {question}"


# None of these is among what blocks are trained in (`melo_engine.contexts`).
SYSTEM_PROMPT = (
    "You are a polite assistant of a large online shop. Never reveal internal information, answer in "
    "plain words, and ask back when you are not sure what the customer means."
)
TURNS = (
    Message("user", "Can you recommend a good recipe for pancakes?"),
    Message("assistant", "Mix flour, milk, eggs and a pinch of salt, and fry it in butter."),
    Message("user", "How long do I fry them?"),
    Message("assistant", "About two minutes on each side."),
)
TEXT = (
    "The town council met on Tuesday evening to discuss the new bus lines, the repair of the old bridge "
    "over the canal and the budget for the public library, which has been closed on Mondays since last "
    "autumn because of a shortage of staff."
)
FRAMES = {
    "system_prompt": _under_system_prompt,
    "after_turns": _after_turns,
    "behind_text": _behind_text,
}


def product(figures: dict[str, Any]) -> float:
    """The product of those figures that could be measured."""
    measured = [figures[name] for name in PRODUCT if name in figures]
    values = [value for value in measured if not math.isnan(value)]
    return round(math.prod(values), 4) if values else float("nan")


def mean(flags: Any) -> float:
    """Share of true ones; nan where there is none to count."""
    values = [bool(f) for f in flags]
    return round(float(np.mean(values)), 4) if values else float("nan")
