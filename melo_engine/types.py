"""The values that go into the engine and come out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from melo_engine.conversation import Prompt, asked, joint_question, questions
from melo_engine.errors import BackboneError, SettingsError
from melo_engine.matching.names import name_in

Task = Literal["seq2seq-lm", "causal-lm", "sequence-classification"]
TASKS: tuple[Task, ...] = ("seq2seq-lm", "causal-lm", "sequence-classification")
Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much
ChatMode = Literal["auto", "always", "never"]
CHAT_MODES: tuple[ChatMode, ...] = ("auto", "always", "never")


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """How a backbone reads prompts.

    chat: whether they are rendered by the chat template: "auto" does so where there is one, "always"
    insists on it, "never" leaves it out. system_prompt: put before conversations that bring none.
    max_tokens: of the longest prompt; the model's own limit where None. Raises BackboneError for
    another chat mode.
    """

    chat: ChatMode = "auto"
    system_prompt: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.chat not in CHAT_MODES:
            raise BackboneError(f'chat is "{self.chat}"; allowed: {", ".join(CHAT_MODES)}.')


@dataclass(frozen=True, slots=True)
class EditRequest:
    """One change: after it, `prompt` is answered with `target`.

    prompt: a text or a conversation. subject, aliases: names of what it is about; where given, an edit
    only acts on questions in which one of them stands. rephrases: other wordings of the question, which
    are trained on and indexed too (leave out those that you test with). locality: prompts whose answers
    must not change; they bound the radius. id: stable name; the hash of prompt and target where none is
    given. subject_source: who said what it is about.
    """

    prompt: Prompt
    target: str
    subject: str | None = None
    aliases: tuple[str, ...] = ()
    rephrases: tuple[str, ...] = ()
    locality: tuple[str, ...] = ()
    id: str = ""
    subject_source: Literal["given", "inferred"] = "given"

    def __post_init__(self) -> None:
        for name in ("aliases", "rephrases", "locality"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.id:
            prompt = self.prompt if isinstance(self.prompt, str) else self.prompt.as_json()
            content = json.dumps([prompt, self.target, self.subject], ensure_ascii=False)
            object.__setattr__(self, "id", hashlib.sha256(content.encode()).hexdigest()[:16])

    @property
    def names(self) -> tuple[str, ...]:
        """The subject and its aliases, () where the edit is not bound to a subject."""
        return (self.subject, *self.aliases) if self.subject else ()

    @property
    def needs_conversation(self) -> bool:
        """Whether what is asked means nothing without what was said before: "And its capital?".

        So it is where the subject stands in an earlier message of the user's and not in the last.
        """
        said = questions(self.prompt)
        if len(said) < 2 or not self.names or name_in(said[-1], self.names) is not None:
            return False
        return any(name_in(text, self.names) is not None for text in said[:-1])

    @property
    def question(self) -> str:
        """What its key is read from: what is asked, behind what was asked before where that is needed."""
        return joint_question(self.prompt) if self.needs_conversation else asked(self.prompt)


@dataclass(frozen=True, slots=True)
class Route:
    """Where one prompt went: the edit that catches it, or none.

    distance: to the nearest key that was looked at, in units of the key space; nan where no key
    came into question. radius: that key's radius. edit is None where distance > radius.
    """

    edit: str | None
    block: str | None
    distance: float
    radius: float
    nearest: str | None = None


NOWHERE = Route(None, None, float("nan"), float("nan"))  # no edit came into question


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and where it came from. text: decoded, stripped of special tokens and outer space."""

    text: str
    route: Route
    version: str

    @property
    def edit(self) -> str | None:
        """Id of the edit that answered, None where the backbone did."""
        return self.route.edit


@dataclass(frozen=True, slots=True)
class EditOutcome:
    """What became of one request: trained, or failed with the reason.

    steps: optimiser steps spent; rank: of the block; seconds: this edit's share of the training time.
    """

    id: str
    status: Literal["trained", "failed"]
    reason: str = ""
    steps: int = 0
    rank: int = 0
    radius: float = float("nan")
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two edits with different targets that ask the same by their keys. Both stay in force.

    new, other: their ids, `new` being the later one; distance: between their keys; same_subject: whether
    a name of one is a name of the other.
    """

    new: str
    other: str
    distance: float
    same_subject: bool


@dataclass(frozen=True, slots=True)
class EditSettings:
    """How edits are trained and routed.

    false_activations: share of near-miss prompts that a calibrated index may catch (0..1).
    rank, max_rank: of a block; doubled for long targets, and where training does not get there.
    max_steps: optimiser steps for each try. chunk: blocks trained in one forward pass; part of the
    recipe, since floating point sums depend on it. margin: how far the target must lead at every
    token before a block stops, in standard deviations of the backbone's own logits; half of it is
    enough after `patience` steps. perplexity: of the target, at most, before a block stops. views:
    other questions about the subject that a block is trained to answer alike; a passage to go on
    with has none. contexts: that the question itself is trained in as well, 0..4: behind one paragraph,
    behind another, after a turn, under another system prompt; the views stand in contexts in any
    case. weight_scale: size of a block's codes x @ A at the start, see `initialization`.
    Raises SettingsError where not even one try would be made.
    """

    rank: int = 4
    max_rank: int = 16
    learning_rate: float = 1.5e-2
    max_steps: int = 60
    chunk: int = 128
    margin: float = 2.0
    patience: int = 6
    weight_scale: float = 4.0
    false_activations: float = 0.005
    seed: int = 0
    views: int = 1
    contexts: int = 2
    perplexity: float = 1.05

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= self.max_rank:
            raise SettingsError(
                f"rank is {self.rank} and max_rank {self.max_rank}; a block's rank is from 1 to "
                "max_rank. Raise max_rank or lower rank."
            )
        for name in ("max_steps", "chunk"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be at least 1.")
