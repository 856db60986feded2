"""Coarse parallelism for chains of small operations on the CPU.

PyTorch divides each operation among its threads and waits for all of them at its end.  A chain over
a tile that fits a cache has thousands of such ends; where other programs use the cores as well, each
waits for a thread that is not running.  Here each thread takes a share of the work through the whole
chain, and all are waited for once.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Barrier
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    """Pool of `count` threads in each of which an operation of torch runs in that thread alone."""
    all_started = Barrier(count)

    def use_one_thread() -> None:
        # A thread takes over the common number at its first operation or enquiry, so the enquiry comes
        # first.  What is set holds for this thread, and for threads yet to start: see below.
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_started.wait()

    num_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="flare")
    for start in [pool.submit(use_one_thread) for _ in range(count)]:
        start.result()
    torch.set_num_threads(num_threads)
    return pool


# A forked process inherits the pool, but none of its threads.
os.register_at_fork(after_in_child=_workers.cache_clear)


def map_shares(function: Callable[[slice], Result], size: int) -> list[Result]:
    """Call `function` for contiguous shares of ``range(size)``, one in each thread that torch may use.

    Parameters
    ----------
    function : callable
        Takes a slice of ``range(size)``; runs without recording gradients.
    size : int
        Number of items, one at least.

    Returns
    -------
    list
        What `function` returned, in the order of the shares.
    """
    count = min(torch.get_num_threads(), size)
    if count == 1:
        return [function(slice(0, size))]
    inference = torch.is_inference_mode_enabled()

    def run(share: slice) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return function(share)

    bounds = [size * i // count for i in range(count + 1)]
    return list(_workers(count).map(run, [slice(start, stop) for start, stop in pairwise(bounds)]))
