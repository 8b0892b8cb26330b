"""What MELO is compared with, one file each, behind one interface (`base.Method`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.baselines.base import Asked, Loss, Method, Unedited
from benchmarks.baselines.grace import Grace, GraceSettings
from benchmarks.baselines.melo import Melo, Oracle
from benchmarks.baselines.paper import Paper
from benchmarks.baselines.retrieval import Retrieval, RetrievalSettings
from benchmarks.baselines.tuning import (
    LocalizedFineTuning,
    LocalizedSettings,
    SharedLora,
    TuningSettings,
)
from benchmarks.baselines.ultraedit import UltraEdit
from benchmarks.errors import UnknownMethod
from melo_engine import Backbone

BASELINES: dict[str, Callable[[Backbone, int], Method]] = {
    "paper": lambda backbone, seed: Paper(backbone),
    "grace": lambda backbone, seed: Grace(backbone, GraceSettings(seed=seed)),
    "lora": lambda backbone, seed: SharedLora(backbone, TuningSettings(seed=seed)),
    "finetune": lambda backbone, seed: LocalizedFineTuning(backbone, LocalizedSettings(seed=seed)),
    "ultraedit": lambda backbone, seed: UltraEdit(backbone),
    "retrieval": lambda backbone, seed: Retrieval(backbone),
    "retrieval-5": lambda backbone, seed: Retrieval(backbone, RetrievalSettings(facts=5)),
    "none": lambda backbone, seed: Unedited(backbone),
}
METHODS = ("melo", "oracle", *BASELINES)
ALL = "all"

__all__ = [
    "BASELINES",
    "METHODS",
    "Asked",
    "Loss",
    "Melo",
    "Method",
    "Oracle",
    "Unedited",
    "chosen_methods",
    "refuse_unfit",
]


def chosen_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Names of methods, each once, `melo` first since the oracle takes its blocks; "all" is every one.

    Raises UnknownMethod.
    """
    names = [each for name in names for each in (METHODS if name == ALL else (name,))]
    for name in names:
        if name not in METHODS:
            raise UnknownMethod(
                f'method "{name}" is unknown; allowed: {", ".join(METHODS)}, or {ALL}.'
            )
    if not names:
        raise UnknownMethod(f"no method is named; allowed: {', '.join(METHODS)}.")
    wanted = dict.fromkeys([*(["melo"] if "oracle" in names else []), *names])
    return tuple(sorted(wanted, key=lambda n: (n != "melo", n != "oracle")))


def refuse_unfit(names: Sequence[str], backbone: Backbone) -> None:
    """Before any work: raises UnknownMethod for a method that can't edit this kind of backbone."""
    kinds: dict[str, type[Method]] = {"retrieval": Retrieval, "retrieval-5": Retrieval}
    for name, kind in kinds.items():
        if name in names and backbone.task not in kind.tasks:
            raise UnknownMethod(
                f'method "{name}" needs a {" or ".join(kind.tasks)} backbone; "{backbone.name}" is '
                f"a {backbone.task}. Leave it out of --methods."
            )
