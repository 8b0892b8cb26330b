"""What a worker no longer uses goes back to the system."""

from __future__ import annotations

import subprocess
import sys

FRAGMENTED = """
import ctypes, psutil
from deployment.worker import give_back
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(8192) for _ in range(8000)]
for block in blocks:
    ctypes.memset(block, 1, 8192)
for at, block in enumerate(blocks):
    if at % 50:
        libc.free(block)
before = psutil.Process().memory_info().rss
give_back()
print(before - psutil.Process().memory_info().rss)
"""


CYCLES = """
import gc, psutil
from deployment.worker import give_back
gc.disable()
for _ in range(60):
    cycle = [bytearray(b"x" * 2**20)]
    cycle.append(cycle)
del cycle
before = psutil.Process().memory_info().rss
give_back()
print(before - psutil.Process().memory_info().rss)
"""


def given_back(program: str) -> int:
    """Bytes, as the program prints them."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_free_pages_between_blocks_in_use_go_back_to_the_system() -> None:
    assert given_back(FRAGMENTED) > 20 * 2**20  # of the 61 MiB that were freed


def test_what_hangs_together_in_cycles_goes_back() -> None:
    assert given_back(CYCLES) > 40 * 2**20  # of 60 MiB
