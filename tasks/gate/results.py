"""Results of very many probes, of which few are touched by an edit.

    stored     what an edit answered, what failed, what was asked in full    held
    all other  the answer is the backbone's own, so it passes                made when looked at

A suite of a million recorded prompts has a million results that say the same: holding them would take
more memory than the model.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import overload

from tasks.gate.types import ProbeResult


class ProbeResults(Sequence[ProbeResult]):
    """Results in the order of their probes. stored: by position; untouched: makes any other one.

    What `untouched` makes has passed.
    """

    def __init__(
        self, count: int, stored: Mapping[int, ProbeResult], untouched: Callable[[int], ProbeResult]
    ) -> None:
        self._count, self._stored, self._untouched = count, stored, untouched

    @classmethod
    def of(cls, rows: Sequence[ProbeResult]) -> ProbeResults:
        """Results that are all there."""
        return cls(len(rows), dict(enumerate(rows)), rows.__getitem__)

    @classmethod
    def chained(cls, parts: Sequence[ProbeResults]) -> ProbeResults:
        """The results of several suites, one after another."""
        ends = list(accumulate(map(len, parts)))
        begins = [0, *ends]
        stored = {
            begin + place: result
            for begin, part in zip(begins, parts, strict=False)
            for place, result in part._stored.items()
        }

        def untouched(place: int) -> ProbeResult:
            part = bisect_right(ends, place)
            return parts[part]._untouched(place - begins[part])

        return cls(begins[-1], stored, untouched)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> ProbeResult: ...
    @overload
    def __getitem__(self, place: slice) -> list[ProbeResult]: ...
    def __getitem__(self, place: int | slice) -> ProbeResult | list[ProbeResult]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self._count))]
        at = range(self._count)[place]
        return self._stored.get(at) or self._untouched(at)

    def __iter__(self) -> Iterator[ProbeResult]:
        for place in range(self._count):
            yield self._stored.get(place) or self._untouched(place)

    @property
    def stored(self) -> list[ProbeResult]:
        """Those that are stored, in their order."""
        return list(self._stored.values())

    @property
    def failing(self) -> list[ProbeResult]:
        """Those that did not pass."""
        return [r for r in self._stored.values() if not r.passed]

    def replaced(self, instead: Mapping[int, ProbeResult]) -> ProbeResults:
        """With others in the place of some. instead: by the `id()` of the result that goes."""
        stored = {place: instead.get(id(r), r) for place, r in self._stored.items()}
        return ProbeResults(self._count, stored, self._untouched)
