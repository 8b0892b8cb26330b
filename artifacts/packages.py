"""Files that come in an installed package whose own module is never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def installed(package: str, name: str) -> Path | None:
    """A file or folder of a package; None where it isn't there."""
    spec = importlib.util.find_spec(package)
    places = (Path(place) / name for place in (spec and spec.submodule_search_locations) or ())
    return next((place for place in places if place.exists()), None)
