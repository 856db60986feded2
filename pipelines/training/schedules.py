"""How the learning rate follows the share of a training that is done.

Every schedule is a function ``(share, warmup, initial_divisor) -> factor`` of the peak learning rate:
``share`` goes from 0 at the first step to 1 at the last, ``warmup`` is the share at the peak,
``initial_divisor`` the peak over the initial learning rate.  Without a warm-up they start at the peak.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim import Optimizer

    from pipelines.training.options import TrainOptions

    Schedule = Callable[[float, float, float], float]

FINAL_DIVISOR = 1e4
"""Initial over final learning rate of OneCycle, in the published recipe of every model
(vpuri3/FLARE.py)."""

EXPONENTIAL_DIVISOR = 100.0
"""Peak over final learning rate of the exponential decay, as MeshGraphNet was trained: from 1e-4 towards
1e-6 (meshgraphnets/run_model.py of google-deepmind/deepmind-research)."""


def one_cycle(share: float, warmup: float, initial_divisor: float) -> float:
    """Rise and fall as a half cosine each, to `FINAL_DIVISOR` below the start, as `OneCycleLR` of PyTorch."""
    initial = 1 / initial_divisor
    if share < warmup:
        return _half_cosine(initial, 1, share / warmup)
    return _half_cosine(1, initial / FINAL_DIVISOR, _after(share, warmup))


def cosine(share: float, warmup: float, initial_divisor: float) -> float:
    """Rise linearly, then fall to zero as a half cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
    return _linear_or(share, warmup, initial_divisor, _half_cosine(1, 0, _after(share, warmup)))


def constant(share: float, warmup: float, initial_divisor: float) -> float:
    """Rise linearly, then stay."""
    return _linear_or(share, warmup, initial_divisor, 1)


def exponential(share: float, warmup: float, initial_divisor: float) -> float:
    """Rise linearly, then fall exponentially to `EXPONENTIAL_DIVISOR` below the peak."""
    return _linear_or(share, warmup, initial_divisor, EXPONENTIAL_DIVISOR ** -_after(share, warmup))


SCHEDULES: dict[str, Schedule] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "constant": constant,
    "exponential": exponential,
}
"""Every schedule by name."""


def make_schedule(
    optimizer: Optimizer, options: TrainOptions, steps: int, share: Callable[[int], float]
) -> LambdaLR:
    """Make the schedule that the options ask for.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate is the peak.
    options : TrainOptions
        Schedule, warm-up and initial divisor.
    steps : int
        Steps that are taken at most.
    share : callable
        Share of the training that is done after so many steps, as `pipelines.training.budget.Budget.share`.
    """
    schedule = SCHEDULES[options.schedule]
    # The peak of OneCycleLR, which counts steps from 0; a shorter warm-up than a step is none.
    peak = max(options.warmup_fraction * steps - 1, 1) / max(steps - 1, 2) if options.warmup_fraction else 0.0
    return LambdaLR(optimizer, lambda step: schedule(share(step), peak, options.initial_divisor))


def _linear_or(share: float, warmup: float, initial_divisor: float, factor: float) -> float:
    if share >= warmup:
        return factor
    initial = 1 / initial_divisor
    return initial + (1 - initial) * share / warmup


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _after(share: float, warmup: float) -> float:
    """Share of the time after the peak."""
    return (share - warmup) / (1 - warmup) if warmup < 1 else 1.0
