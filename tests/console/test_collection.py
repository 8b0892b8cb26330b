"""Garbage is left alone while a command imports, and looked for again afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import gc
from console.collection import paused

before = gc.get_objects()

class Node:
    gone = 0
    def __init__(self):
        self.itself = self
    def __del__(self):
        Node.gone += 1

kept = []
for _ in range(2):
    with paused():
        assert not gc.isenabled()
        kept.append([[] for _ in range(10_000)])
    assert gc.isenabled()
    assert 10_000 < gc.get_freeze_count() < 20_000 + len(before)
Node()
gc.collect()
assert Node.gone == 1
gc.disable()
with paused():
    pass
assert not gc.isenabled()
"""


def test_garbage_is_left_alone_while_a_command_imports_and_looked_for_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
