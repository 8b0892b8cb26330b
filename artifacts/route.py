"""A route as JSON: which edit a prompt fell to, its block, and how far its key lay from the edit's."""

from __future__ import annotations

import math
from typing import Protocol


class RouteLike(Protocol):
    """What `melo_engine.types.Route` has. distance, radius: NaN where no edit was compared."""

    @property
    def edit(self) -> str | None: ...
    @property
    def block(self) -> str | None: ...
    @property
    def distance(self) -> float: ...
    @property
    def radius(self) -> float: ...


def route_as_json(route: RouteLike) -> dict[str, str | float | None]:
    """Return edit, block, distance and radius; what is not a number is None, as JSON has no NaN."""
    return {
        "edit": route.edit,
        "block": route.block,
        "distance": _number(route.distance),
        "radius": _number(route.radius),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
