"""The browser that drives pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.browser import browser_path, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; where it can't be had, these tests are left out, but never in CI."""
    if browser_path() is None and not os.environ.get("CI"):
        pytest.skip("chromium is not installed; run `make browser`")
    with chromium() as found:
        yield found
