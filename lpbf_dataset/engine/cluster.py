"""Dask clusters: one of this machine's processes, or one that is running already."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import dask
from dask.utils import parse_bytes
from distributed import Client, LocalCluster
from distributed.utils import silence_logging_cmgr
from tornado.ioloop import IOLoop

from lpbf_dataset.engine.base import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT = 5.0
"""Seconds that a scheduler has to answer."""

END_TIMEOUT = 10.0
"""Seconds that the event loop has to end, before it is left to the end of this process."""

KILL_TIMEOUT = 1.0
"""Seconds that worker processes have to end when the cluster is closed, before they are killed."""

IGNORE_INTERRUPTS = """
import signal, threading
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
"""

LOCAL_SETTINGS = {
    # Set before the process starts, as NumPy and Numba read it on import; Dask adds OpenMP, MKL and OpenBLAS.
    "distributed.nanny.pre-spawn-environ.NUMBA_NUM_THREADS": 1,
    # Dask has glibc return memory at once, which the next case takes page by page: a fifth of the time.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
    # Results are fetched at once, so there is nothing to spill, and a paused worker would never go on.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Compiled code may hold the interpreter, and with it the heartbeat, for longer than the usual 5 minutes.
    "distributed.scheduler.worker-ttl": None,
    # Or a process that happens to be down 15 s after it last was would never be started again.
    "distributed.deploy.lost-worker-timeout": "1000 days",
    # Ctrl-C reaches the whole process group; the workers are ended from here, without a traceback of each.
    "distributed.worker.preload": [IGNORE_INTERRUPTS],
}


@contextmanager
def local_cluster(workers: int, memory_limit: str) -> Iterator[Client]:
    """Start worker processes on this machine, and kill them on leaving.

    Parameters
    ----------
    workers : int
        Number of processes, of one thread each.
    memory_limit : str
        Memory of each, as in "4 GiB"; empty for no limit.

    Yields
    ------
    Client
        Of the cluster.

    Raises
    ------
    EngineError
        If the memory limit is not an amount of memory.
    """
    try:
        limit = parse_bytes(memory_limit or 0)
    except ValueError as error:
        raise EngineError(f"memory limit {memory_limit!r}: an amount such as '4 GiB' is wanted") from error
    # The settings are read again whenever a process is replaced.
    with _event_loop() as loop, _kept_environment(), dask.config.set(LOCAL_SETTINGS):
        cluster = LocalCluster(
            loop=loop,
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=limit,
            silence_logs=logging.CRITICAL,
            dashboard_address=None,
            # Dask serves its health over HTTP even so: on any free port, as the usual one may be taken.
            scheduler_kwargs={"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
        )
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client
        finally:
            cluster.sync(_kill_workers, cluster)
            cluster.close()


async def _kill_workers(cluster: LocalCluster) -> None:
    """End the processes whatever they are doing; `LocalCluster.close` alone waits 4 s for a busy one."""
    nannies = list(cluster.workers.values())
    for nanny in nannies:
        nanny.close_gracefully()  # or it would start the process again
    await asyncio.gather(*(nanny.kill(timeout=KILL_TIMEOUT) for nanny in nannies), return_exceptions=True)


@contextmanager
def _event_loop() -> Iterator[IOLoop]:
    """Run an event loop in a thread.

    Dask starts one by itself, but takes it for a bug if that lasts 10 s, as it may on a busy machine.
    """
    started: Future[tuple[IOLoop, asyncio.Event]] = Future()

    async def wait_for_end() -> None:
        ended = asyncio.Event()
        started.set_result((IOLoop.current(), ended))
        await ended.wait()

    thread = Thread(target=asyncio.run, args=(wait_for_end(),), name="event loop of Dask", daemon=True)
    thread.start()
    loop, ended = started.result()
    try:
        yield loop
    finally:
        loop.add_callback(ended.set)
        thread.join(END_TIMEOUT)


@contextmanager
def _kept_environment() -> Iterator[None]:
    """Take back what Dask sets in this process for its children to inherit."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """Connect to a running scheduler.

    Parameters
    ----------
    scheduler : str
        Its address, as in ``"tcp://node7:8786"``.

    Yields
    ------
    Client
        Of the cluster.

    Raises
    ------
    EngineError
        If nothing answers there within 5 seconds.
    """
    with silence_logging_cmgr(logging.CRITICAL):
        try:
            client = Client(scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineError(
                f"no Dask scheduler answers at {scheduler}; 'dask scheduler' starts one and tells its address"
            ) from error
        with client:
            yield client
