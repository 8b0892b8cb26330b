"""Results of very many probes, of which few are touched by an edit.

    kept       what an edit answered, what failed, what was asked in full    held
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
    """Results in the order of their probes. kept: by place; untouched: makes that of any other place.

    What `untouched` makes has passed.
    """

    def __init__(
        self, count: int, kept: Mapping[int, ProbeResult], untouched: Callable[[int], ProbeResult]
    ) -> None:
        self._count, self._kept, self._untouched = count, kept, untouched

    @classmethod
    def of(cls, rows: Sequence[ProbeResult]) -> ProbeResults:
        """Results that are all there."""
        return cls(len(rows), dict(enumerate(rows)), rows.__getitem__)

    @classmethod
    def chained(cls, parts: Sequence[ProbeResults]) -> ProbeResults:
        """The results of several suites, one after another."""
        ends = list(accumulate(map(len, parts)))
        begins = [0, *ends]
        kept = {
            begin + place: result
            for begin, part in zip(begins, parts, strict=False)
            for place, result in part._kept.items()
        }

        def untouched(place: int) -> ProbeResult:
            part = bisect_right(ends, place)
            return parts[part]._untouched(place - begins[part])

        return cls(begins[-1], kept, untouched)

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
        return self._kept.get(at) or self._untouched(at)

    def __iter__(self) -> Iterator[ProbeResult]:
        for place in range(self._count):
            yield self._kept.get(place) or self._untouched(place)

    @property
    def kept(self) -> list[ProbeResult]:
        """Those that are held, in their order."""
        return list(self._kept.values())

    @property
    def failing(self) -> list[ProbeResult]:
        """Those that did not pass."""
        return [r for r in self._kept.values() if not r.passed]

    def replaced(self, instead: Mapping[int, ProbeResult]) -> ProbeResults:
        """With others in the place of some. instead: by the `id()` of the result that goes."""
        kept = {place: instead.get(id(r), r) for place, r in self._kept.items()}
        return ProbeResults(self._count, kept, self._untouched)
