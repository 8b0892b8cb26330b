"""Tasks of one home that run side by side share what is open, and none closes it for the others."""

from __future__ import annotations

import threading
from pathlib import Path

from execution.context import opened


def test_threads_that_open_a_home_together_all_get_through(tmp_path: Path) -> None:
    start, failed = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        try:
            for _ in range(200):
                with opened(tmp_path) as context:
                    assert context.paths.home == tmp_path
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
