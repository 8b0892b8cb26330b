"""What MELO is compared with, one file each, behind one interface (`base.Method`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.baselines.base import Asked, Loss, Method
from benchmarks.baselines.grace import Grace, GraceSettings
from benchmarks.baselines.melo import Melo, Oracle
from benchmarks.baselines.paper import Paper
from benchmarks.baselines.retrieval import Retrieval
from benchmarks.baselines.tuning import FineTuning, SharedLora, TuningSettings
from benchmarks.errors import UnknownMethod
from melo_engine import Backbone

BASELINES: dict[str, Callable[[Backbone, int], Method]] = {
    "paper": lambda backbone, seed: Paper(backbone),
    "grace": lambda backbone, seed: Grace(backbone, GraceSettings(seed=seed)),
    "lora": lambda backbone, seed: SharedLora(backbone, TuningSettings(SharedLora.rate, seed=seed)),
    "finetune": lambda backbone, seed: FineTuning(backbone),
    "retrieval": lambda backbone, seed: Retrieval(backbone),
    "none": lambda backbone, seed: Method(backbone),
}
METHODS = ("melo", "oracle", *BASELINES)

__all__ = [
    "BASELINES", "METHODS", "Asked", "Loss", "Melo", "Method", "Oracle", "chosen_methods", "refuse_unfit",
]  # fmt: skip


def chosen_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Names of methods, each once, `melo` first since the oracle takes its blocks.

    Raises UnknownMethod.
    """
    for name in names:
        if name not in METHODS:
            raise UnknownMethod(f'method "{name}" is unknown; allowed: {", ".join(METHODS)}.')
    if not names:
        raise UnknownMethod(f"no method is named; allowed: {', '.join(METHODS)}.")
    wanted = dict.fromkeys([*(["melo"] if "oracle" in names else []), *names])
    return tuple(sorted(wanted, key=lambda n: (n != "melo", n != "oracle")))


def refuse_unfit(names: Sequence[str], backbone: Backbone) -> None:
    """Before any work: raises UnknownMethod for a method that can't edit this kind of backbone."""
    for kind in (Paper, Grace, SharedLora, FineTuning, Retrieval):
        if kind.name in names and backbone.task not in kind.tasks:
            raise UnknownMethod(
                f'method "{kind.name}" needs a {" or ".join(kind.tasks)} backbone; "{backbone.name}" is '
                f"a {backbone.task}. Leave it out of --methods."
            )
