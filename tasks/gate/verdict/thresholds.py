"""What a version must meet, as data: read from YAML, checked, and handed on as plain values.

The built-in file is config/thresholds.yaml, which also says what every entry means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

import config
from tasks.gate.errors import ThresholdError
from text import read_text

Bound = Literal["none", "lower", "upper"]
Judged = Literal["version", "edit"]
CHOICES = {"bound": get_args(Bound), "judges": get_args(Judged)}
BUILT_IN = Path(config.__file__).parent / "thresholds.yaml"


@dataclass(frozen=True, slots=True)
class SuiteThreshold:
    """What one suite must meet; config/thresholds.yaml says what each entry means."""

    judges: Judged = "version"
    share: float = 1.0
    bound: Bound = "none"
    proof_from: int = 0
    least: int = 1
    required: bool = False
    protected: bool = True
    worse: float = 0.01
    slice_least: int = 30
    limit: float = 0.0  # of a suite's own measure: perplexity ratio, entropy, inconsistency


@dataclass(frozen=True, slots=True)
class Audit:
    """How many cached answers are generated again at each gate."""

    share: float = 0.01
    least: int = 32
    most: int = 256

    def size(self, cached: int) -> int:
        """How many of so many."""
        return min(cached, self.most, max(self.least, round(self.share * cached)))


@dataclass(frozen=True, slots=True)
class RepairRules:
    """How long to go on, and how far a shrunk radius stays away from the probe."""

    rounds: int = 8
    clearance: float = 0.98


@dataclass(frozen=True)
class Thresholds:
    """All of them. Open with `Thresholds.load`."""

    confidence: float = 0.95
    slice_confidence: float = 0.999
    audit: Audit = Audit()
    repair: RepairRules = RepairRules()
    default: SuiteThreshold = SuiteThreshold()
    suites: Mapping[str, SuiteThreshold] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path | None = None) -> Thresholds:
        """Read a file, the built-in one where None. Raises ThresholdError, naming the entry."""
        path = Path(path) if path is not None else BUILT_IN
        try:
            data = yaml.safe_load(read_text(path))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ThresholdError(f'thresholds "{path}" can\'t be read: {reason}') from None
        if not isinstance(data, dict):
            raise ThresholdError(f'thresholds "{path}" hold no table; see {BUILT_IN.name}.')
        default = _validated(SuiteThreshold(), data.pop("default", {}), "default")
        suites = data.pop("suites", {})
        if not isinstance(suites, dict):
            raise ThresholdError("suites must be a table of suite names.")
        former = data.pop("surgery", None)  # what files of earlier releases call it
        parts = {
            "audit": _validated(Audit(), data.pop("audit", {}), "audit"),
            "repair": _validated(RepairRules(), data.pop("repair", former or {}), "repair"),
            "default": default,
            "suites": {
                str(name): _validated(default, entry, f"suites.{name}")
                for name, entry in suites.items()
            },
        }
        loaded: Thresholds = _validated(cls(**parts), data, "the file")
        return loaded

    @classmethod
    def of_home(cls, settings: config.Settings) -> Thresholds:
        """Those that a home names, with its share of answers to be asked again."""
        loaded = cls.load(settings.gate.thresholds)
        if settings.gate.sample is None:
            return loaded
        return replace(loaded, audit=replace(loaded.audit, share=settings.gate.sample))

    def of(self, suite: str) -> SuiteThreshold:
        """What a suite must meet."""
        return self.suites.get(suite, self.default)

    @property
    def required(self) -> list[str]:
        """Names of the suites that must be there."""
        return [name for name, entry in self.suites.items() if entry.required]


def _validated(start: Any, entry: Any, where: str) -> Any:
    """`start` with what `entry` says, each value checked for name, type and range."""
    if entry is None:
        return start
    if not isinstance(entry, dict):
        raise ThresholdError(f"{where} must be a table, not {entry!r}.")
    allowed = {f.name: getattr(start, f.name) for f in fields(start)}
    for name, value in entry.items():
        if name not in allowed:
            raise ThresholdError(f'{where} has "{name}"; allowed: {", ".join(allowed)}.')
        _check(f"{where}: {name}", name, allowed[name], value)
    return replace(start, **entry)


def _check(what: str, name: str, default: object, value: object) -> None:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ThresholdError(f"{what} is {value!r}; allowed: {', '.join(CHOICES[name])}.")
        return
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ThresholdError(f"{what} is {value!r}; allowed: true, false.")
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ThresholdError(f"{what} is {value!r}; it must be a number.")
    if not 0 <= value < float("inf"):
        raise ThresholdError(f"{what} is {value}; it must be 0 or more.")
    if name in ("share", "worse", "confidence", "slice_confidence", "clearance") and value > 1:
        raise ThresholdError(f"{what} is {value}; it must lie between 0 and 1.")
    if isinstance(default, int) and not isinstance(value, int):
        raise ThresholdError(f"{what} is {value}; it must be a whole number.")
