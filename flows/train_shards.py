"""Shards of one job, trained by whichever worker runs this; each leaves its file in the home."""

from __future__ import annotations

from prefect import flow
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from execution.context import opened
from tasks.steps import bring_shard


@flow(name="train-shards", description=__doc__, task_runner=ThreadPoolTaskRunner(max_workers=1))
def train_shards(home: str, job: str, shards: list[int]) -> int:
    """Train these shards of a job; how many."""
    with opened(home):
        futures = [bring_shard.submit(home, job, number) for number in shards]
        wait(futures)
        return sum(future.result() for future in futures)
