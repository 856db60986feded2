"""Tasks on the processes of a Dask cluster, where one that dies or hangs harms no other.

Dask alone would retry what was on a dead worker, and blame every task that waited there.  So each
process is given one task at a time, by address: when it dies, it is known whose fault it was.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Generic, NoReturn

from distributed import KilledWorker
from distributed.scheduler import NoValidWorkerError

from lpbf_dataset.engine.base import EngineError, R, T, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future

POLL_INTERVAL = 0.5
"""Seconds between looks at which workers live and which tasks are overdue."""

NO_WORKER_TIMEOUT = 30.0
"""Seconds that a cluster may be without any worker; a dead one is back within a few."""

FETCH_TIMEOUT = 60.0
"""Seconds that the transfer of a result may take, before it counts as lost with its worker."""


class DistributedEngine:
    """Runs tasks on the workers of a Dask cluster, one map at a time.

    Parameters
    ----------
    client : Client
        Of the cluster.
    timeout : float, optional
        Seconds that one task may run.
    """

    def __init__(self, client: Client, timeout: float | None) -> None:
        self._workers = _Workers(client)
        self._timeout = inf if timeout is None else timeout
        self._stop: Callable[[], None] = lambda: None

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R | TaskError]]:
        """Apply a function to each item; see `Engine.map`.  What an earlier map left running is stopped."""
        self.stop()
        run = _Run(self._workers, self._timeout, function, items)
        self._stop = run.stop
        return run.results()

    def stop(self) -> None:
        """Stop the tasks of a map that was left before its end."""
        self._stop()


class _Workers:
    """The worker processes that are alive, by address."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.alive: frozenset[str] = frozenset()
        self._restarting: set[str] = set()
        self._restarted: set[str] = set()
        self._has_no_nanny = False
        self._last_alive = monotonic()

    def refresh(self) -> None:
        """Ask the scheduler who is alive.

        Raises
        ------
        EngineError
            If the scheduler does not answer, or has had no worker for a while, or a worker cannot be
            stopped.
        """
        if self._has_no_nanny:
            raise EngineError(
                "a task cannot be stopped, as its worker has no nanny: start workers without --no-nanny"
            )
        restarted = set(self._restarted)
        try:
            self.alive = frozenset(self.client.nthreads())
        except OSError:
            self.raise_lost()
        # Only now, for what was known of a worker until its restart ended is not true any more.
        self._restarting -= restarted
        self._restarted -= restarted
        if self.alive:
            self._last_alive = monotonic()
        elif monotonic() - self._last_alive > NO_WORKER_TIMEOUT:
            address = self.client.scheduler.address
            raise EngineError(
                f"the Dask scheduler at {address} has no workers: start some with 'dask worker {address}'"
            )

    def raise_lost(self) -> NoReturn:
        """Raise the error that the scheduler is gone."""
        raise EngineError(
            f"the Dask scheduler at {self.client.scheduler.address} does not answer any more: look at its log"
        ) from None

    def forget(self, worker: str) -> None:
        """Leave out a worker that is known to be dead, until the scheduler says otherwise."""
        self.alive -= {worker}

    def idle(self, busy: frozenset[str]) -> frozenset[str]:
        """Return the workers that can take a task."""
        return self.alive - busy - self._restarting

    def restart(self, workers: Sequence[str]) -> None:
        """Replace processes, which ends what they run, and wait until that is done."""
        self._restarting.update(workers)
        self.client.sync(self._restart, workers)

    def restart_soon(self, worker: str) -> None:
        """Replace a process in the background, which ends what it runs within seconds."""
        self._restarting.add(worker)
        loop = self.client.loop
        assert loop is not None, "the client is open"
        loop.add_callback(self._restart, [worker])

    async def _restart(self, workers: Sequence[str]) -> None:
        # A worker that has gone meanwhile is a KeyError; a scheduler that has gone shows in `refresh`.
        try:
            with suppress(KeyError, OSError):
                await self.client.restart_workers(list(workers), raise_for_error=False)
        except ValueError:
            self._has_no_nanny = True
        finally:
            self._restarted.update(workers)


@dataclass(frozen=True)
class _Task:
    """An item under way."""

    index: int
    worker: str
    deadline: float


class _Run(Generic[T, R]):
    """One map: the items that wait, those under way, and the results to be taken."""

    def __init__(
        self, workers: _Workers, timeout: float, function: Callable[[T], R], items: Sequence[T]
    ) -> None:
        self._workers = workers
        self._timeout = timeout
        self._function = function
        self._items = items
        self._waiting = deque(range(len(items)))
        self._running: dict[Future, _Task] = {}
        self._finished: SimpleQueue[Future] = SimpleQueue()
        self._killed_once: set[int] = set()
        self._results: deque[tuple[int, R | TaskError]] = deque()
        self._next_check = 0.0

    def results(self) -> Iterator[tuple[int, R | TaskError]]:
        """Yield the results as they come."""
        while self._waiting or self._running or self._results:
            self._check_workers()
            self._submit()
            self._collect()
            # Workers that are done get their next item before the caller turns to the results.
            self._submit()
            if self._results:
                yield self._results.popleft()

    def stop(self) -> None:
        """Stop what is running, and wait until it is."""
        if self._running:
            self._workers.client.cancel(list(self._running))
            self._workers.restart([task.worker for task in self._running.values()])
            self._running.clear()

    def _submit(self) -> None:
        """Give each idle worker an item, unless the caller is slower than the workers."""
        busy = frozenset(task.worker for task in self._running.values())
        for worker in self._workers.idle(busy):
            if not self._waiting or len(self._results) > len(self._workers.alive):
                return
            index = self._waiting.popleft()
            future = self._workers.client.submit(
                self._function, self._items[index], workers=[worker], pure=False
            )
            self._running[future] = _Task(index, worker, monotonic() + self._timeout)
            future.add_done_callback(self._finished.put)

    def _collect(self) -> None:
        """Take what has finished, waiting for the first where the caller has nothing to do."""
        try:
            future = self._finished.get(timeout=0.0 if self._results else POLL_INTERVAL)
            while True:
                # Those that are no longer under way were given up, and accounted for, before they finished.
                if task := self._running.pop(future, None):
                    self._take(future, task)
                future = self._finished.get_nowait()
        except Empty:
            return

    def _take(self, future: Future, task: _Task) -> None:
        """Fetch a result at once: the next task may kill the process that holds it."""
        if future.status == "error":
            if not isinstance(future.exception(), (KilledWorker, NoValidWorkerError)):
                future.result()  # raises what the function raised, with its traceback
            self._lose(task)
            return
        try:
            self._results.append((task.index, future.result(FETCH_TIMEOUT)))
        except TimeoutError:
            self._lose(task)
        except CancelledError:
            self._workers.raise_lost()

    def _check_workers(self) -> None:
        """Find new and dead workers and overdue tasks, now and then."""
        if monotonic() < self._next_check:
            return
        self._workers.refresh()
        self._next_check = monotonic() + POLL_INTERVAL
        for future, task in [*self._running.items()]:
            is_overdue = monotonic() > task.deadline
            if future.done() or (task.worker in self._workers.alive and not is_overdue):
                continue
            del self._running[future]
            future.cancel()
            if is_overdue:
                self._workers.restart_soon(task.worker)
                detail = f"it ran for longer than {self._timeout:g} s"
                self._results.append((task.index, TaskError("timed_out", detail)))
            else:
                self._lose(task)

    def _lose(self, task: _Task) -> None:
        """Try an item again whose process died, for that may have been the fault of another program."""
        self._workers.forget(task.worker)
        self._next_check = 0.0
        if task.index not in self._killed_once:
            self._killed_once.add(task.index)
            self._waiting.append(task.index)
            return
        detail = (
            f"its process was killed twice, the last time at {task.worker}: for lack of memory, most likely, "
            "or by a fault in compiled code"
        )
        self._results.append((task.index, TaskError("worker_died", detail)))
