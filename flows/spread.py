"""A job's training on several workers at once: Prefect's work pool, or its Dask or Ray task runner.

    pool         a run of train-shards for every other worker of the pool; the worker that has the job
                 trains its own share, and then what nobody has begun
    dask, ray    one run of train-shards, whose tasks the cluster takes

What does not arrive is trained by whoever merges: a worker that dies costs time and nothing else.
"""

from __future__ import annotations

from typing import Any

from prefect.deployments import run_deployment
from prefect.runtime import deployment

from config import Settings, WorkerSettings
from execution.context import Context
from execution.leases import JobRef, heartbeat
from execution.spreading import await_shards, take_back
from flows.train_shards import train_shards
from tasks.steps import cut_job

DEPLOYMENT = "train-shards/train-shards"


def spread(context: Context, job: JobRef) -> None:
    """Have the shards of a job trained, where it is not trained at once."""
    with context.step():
        settings = context.settings
    workers = settings.workers
    if workers.runner == "pool" and (workers.gpu == 1 or deployment.id is None):
        return  # nobody is beside this one
    shards = cut_job(context, job)
    if not shards:
        return
    with heartbeat(context, job):
        if workers.runner == "pool":
            _by_pool(settings, job.id, shards)
        else:
            spread_out = train_shards.with_options(task_runner=_runner(workers))
            home = str(settings.home)
            spread_out(home, job.id, list(range(shards)), return_state=True)


def _by_pool(settings: Settings, job: str, shards: int) -> None:
    home = str(settings.home)
    workers = min(settings.workers.gpu, shards)
    runs = [
        run_deployment(
            DEPLOYMENT,
            timeout=0,
            parameters={"home": home, "job": job, "shards": list(range(at, shards, workers))},
        ).id
        for at in range(1, workers)
    ]
    train_shards(home, job, list(range(0, shards, workers)))
    await_shards(settings, job, take_back(settings, runs))


def _runner(workers: WorkerSettings) -> Any:
    """Prefect's task runner on a cluster, or on processes of this machine."""
    if workers.runner == "dask":
        from prefect_dask import DaskTaskRunner

        if workers.address:
            return DaskTaskRunner(address=workers.address)
        cluster = {"n_workers": workers.gpu, "threads_per_worker": 1, "dashboard_address": None}
        return DaskTaskRunner(cluster_kwargs=cluster)
    from prefect_ray import RayTaskRunner

    if workers.address:
        return RayTaskRunner(address=workers.address)
    return RayTaskRunner(init_kwargs={"num_cpus": workers.gpu})
