"""Running thousands of independent tasks: in this process, on the cores of a machine, or on a cluster.

>>> with open_engine(workers=1) as engine:
...     sorted(engine.map(abs, [-3, 4]))
[(0, 3), (1, 4)]
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lpbf_dataset.engine.base import Engine, EngineError, SerialEngine, TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Engine", "EngineError", "TaskError", "open_engine"]


@contextmanager
def open_engine(
    workers: int = 1, scheduler: str = "", timeout: float | None = None, memory_limit: str = ""
) -> Iterator[Engine]:
    """Start what runs tasks; leaving the context stops every task and process it started.

    One worker runs the tasks in this process and needs no Dask, unless a time or memory limit asks
    for a process that can be killed.  Worker processes import the main module anew, so a script
    that opens an engine needs the ``if __name__ == "__main__":`` guard.

    Parameters
    ----------
    workers : int
        Processes on this machine, with one thread each unless ``OMP_NUM_THREADS`` and its like say
        otherwise.
    scheduler : str
        Address of a running Dask scheduler, as in ``"tcp://node7:8786"``, whose workers are used
        instead.  They import this package, and get one task a process at a time: start them with
        ``dask worker ADDRESS --nworkers N --nthreads 1``.  A task that is overdue, or left running at
        the end, is stopped by restarting its process, so share the cluster with nobody.
    timeout : float, optional
        Seconds that one task may run, from when a free worker takes it up, imports included.
    memory_limit : str
        Memory of each worker process, as in ``"4 GiB"``; at 95 % of it the process is killed.  None by
        default: a fair share for each would kill a large task that fits beside small ones.

    Yields
    ------
    Engine
        Maps a function over items.

    Raises
    ------
    EngineError
        If Dask is not installed, the scheduler cannot be reached, or options contradict each other.
    """
    if scheduler and (workers > 1 or memory_limit):
        raise EngineError(
            f"workers and their memory limits are set where the workers of {scheduler} are started, not here"
        )
    if not scheduler and workers <= 1 and timeout is None and not memory_limit:
        yield SerialEngine()
        return
    try:
        from lpbf_dataset.engine.cluster import connected, local_cluster
        from lpbf_dataset.engine.distributed import DistributedEngine
    except ModuleNotFoundError as error:
        if error.name != "distributed":
            raise
        raise EngineError(
            "more than one worker, time and memory limits need Dask: pip install 'lpbf-toolkit[distributed]'"
        ) from error
    with connected(scheduler) if scheduler else local_cluster(max(workers, 1), memory_limit) as client:
        engine = DistributedEngine(client, timeout)
        try:
            yield engine
        finally:
            # Processes of this machine are killed anyway; those of others would go on with what they do.
            if scheduler:
                engine.stop()
