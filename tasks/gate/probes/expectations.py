"""Does an answer meet its probe's expectation?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import entry_points

from melo_engine.matching.names import words
from melo_engine.metrics.text import f1
from tasks.gate.errors import SuiteError
from tasks.gate.suites.wordings import says
from tasks.gate.types import KINDS, Expectation

Metric = Callable[[str, str], float]  # (answer, reference) -> value


def met(expect: Expectation, after: str, base: str | None, reference: str) -> tuple[bool, float]:
    """Whether `after` is what was expected, and the metric's value (nan where there is none).

    base: the backbone's own answer, for unchanged and absent. reference: what `after` is compared
    with: the expected value as the backbone writes it, or the other wording's answer for agrees.
    """
    kind = expect.kind
    if kind == "unchanged":
        return after == base, math.nan
    if kind in ("exact", "agrees"):
        return after == reference or (kind == "exact" and after == expect.value.strip()), math.nan
    if kind == "contains":
        return reference.casefold() in after.casefold(), math.nan
    if kind == "regex":
        return _pattern(expect.value).search(after) is not None, math.nan
    if kind == "absent":
        return not says(after, expect.value) or says(base or "", expect.value), math.nan
    value = measured(expect, after)
    return value >= expect.at_least, value  # nan is never >= anything


def measured(expect: Expectation, answer: str) -> float:
    """The metric's value, nan where it breaks down: a user's metric must not stop the gate."""
    try:
        return float(metric(expect.metric)(answer, expect.value))
    except Exception:  # code of a user's own; no number fails the probe and the gate goes on
        return math.nan


def register_metric(name: str, function: Metric) -> None:
    """Make a metric known to suites by name. Packages can by an entry point in "melo.metrics"."""
    _METRICS[name] = function


def metric(name: str) -> Metric:
    """A metric by name. Raises SuiteError, naming those that there are."""
    if name not in _METRICS:
        for entry in entry_points(group="melo.metrics"):
            _METRICS.setdefault(entry.name, entry.load())
    try:
        return _METRICS[name]
    except KeyError:
        raise SuiteError(
            f'no metric "{name}"; known: {", ".join(sorted(_METRICS))}. '
            'Register one with register_metric or the entry point "melo.metrics".'
        ) from None


def problem_of(expect: Expectation) -> str:
    """What is wrong with an expectation as written, "" where nothing is."""
    if expect.kind not in KINDS:
        return f'expects "{expect.kind}"; allowed: {", ".join(KINDS)}'
    if expect.kind in ("exact", "contains", "regex", "absent") and not expect.value.strip():
        return f'expects "{expect.kind}" of nothing; give a value'
    if expect.kind == "regex":
        try:
            _pattern(expect.value)
        except re.error as error:
            return f'regex "{expect.value}" is no regular expression: {error}'
    if expect.kind == "metric":
        try:
            metric(expect.metric)
        except SuiteError as error:
            return str(error)
        if not math.isfinite(expect.at_least):
            return f"at_least is {expect.at_least}; give a number"
    return ""


def brevity(answer: str, reference: str) -> float:
    """1 for an answer no longer than the reference, less the longer it is."""
    length, allowed = len(words(answer)), max(1, len(words(reference)))
    return min(1.0, allowed / length) if length else 0.0


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


_METRICS: dict[str, Metric] = {"token_f1": f1, "brevity": brevity}
