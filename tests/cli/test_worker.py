"""What a worker freed goes back to the system, between blocks still in use as well."""

from __future__ import annotations

import subprocess
import sys

FRAGMENTED = """
import ctypes, psutil
from cli.worker import give_back
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(8192) for _ in range(8000)]
for block in blocks:
    ctypes.memset(block, 1, 8192)
for at, block in enumerate(blocks):
    if at % 50:
        libc.free(block)
before = psutil.Process().memory_info().rss
assert give_back()
print(before - psutil.Process().memory_info().rss)
"""


def test_free_pages_between_blocks_in_use_go_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 20 * 2**20  # of the 61 MiB that were freed
