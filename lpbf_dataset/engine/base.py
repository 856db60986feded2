"""What an engine is, and the one that needs nothing but this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")


class EngineError(ValueError):
    """Tasks cannot be run as asked for; reported in one line with exit code 2."""


@dataclass(frozen=True)
class TaskError:
    """Why an item has no result; the other items have theirs.

    Parameters
    ----------
    kind : {"worker_died", "timed_out"}
        The process that ran it was killed twice, by the system for lack of memory or by a fault in
        compiled code; or it ran longer than a task may.
    detail : str
        The same in words, with the figures.
    """

    kind: Literal["worker_died", "timed_out"]
    detail: str


class Engine(Protocol):
    """Runs independent tasks."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R | TaskError]]:
        """Apply a function to each item.

        A failure that is to be expected belongs into the return value of the function.  An exception
        that it raises is a bug, which ends the map.

        Parameters
        ----------
        function : callable
            Picklable, and cheap to pickle: it is sent with every item.  It may be called twice with an
            item whose process was killed.
        items : sequence
            Picklable.  No more of them are under way than there are workers.

        Yields
        ------
        index : int
            Position of the item.
        result : R or TaskError
            What the function returned, in order of completion.  No new item starts while as many results
            as there are workers wait to be taken.

        Raises
        ------
        EngineError
            If the workers go away for good.
        """


class SerialEngine:
    """Runs tasks in this process, one after the other, each when its result is asked for."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R | TaskError]]:
        """Apply a function to each item, in order; see `Engine.map`."""
        for index, item in enumerate(items):
            yield index, function(item)
