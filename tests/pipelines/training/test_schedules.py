from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.options import TrainOptions
from pipelines.training.schedules import EXPONENTIAL_DIVISOR, FINAL_DIVISOR, SCHEDULES, make_schedule


def learning_rates(schedule, steps, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    options = TrainOptions(data="s.zarr", schedule=schedule, **options)
    scheduler = make_schedule(optimizer, options, steps, lambda step: min(step / max(steps - 1, 2), 1))
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [3, 4, 10, 997])
@pytest.mark.parametrize(("warmup_fraction", "divisor"), [(0.1, 1e4), (0.2, 1e4), (0.3, 25.0), (0.1, 25.0)])
def test_one_cycle_is_that_of_pytorch(steps, warmup_fraction, divisor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=2.0,
        total_steps=steps,
        pct_start=max(warmup_fraction, 2 / steps),
        div_factor=divisor,
        final_div_factor=FINAL_DIVISOR,
        cycle_momentum=False,
    )
    expected = []
    for _ in range(steps):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    rates = learning_rates("one_cycle", steps, warmup_fraction=warmup_fraction, initial_divisor=divisor)
    assert rates == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_values_in_closed_form():
    # 100 steps with the peak at step 20 - 1.
    options = {"steps": 101, "warmup_fraction": 21 / 101, "initial_divisor": 10.0}
    cosine, constant, exponential = (
        learning_rates(name, **options) for name in ("cosine", "constant", "exponential")
    )
    for rates in (cosine, constant, exponential):
        assert rates[0] == pytest.approx(2 / 10)
        assert rates[10] == pytest.approx(2 * (0.1 + 0.9 / 2))
        assert rates[20] == pytest.approx(2)
    assert cosine[40] == pytest.approx(1 + math.cos(math.pi / 4))
    assert cosine[60] == pytest.approx(1)
    assert cosine[100] == pytest.approx(0, abs=1e-12)
    assert constant[60] == constant[100] == 2
    assert exponential[60] == pytest.approx(2 / math.sqrt(EXPONENTIAL_DIVISOR))
    assert exponential[100] == pytest.approx(2 / EXPONENTIAL_DIVISOR)


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(1, 1e5),
)
def test_the_peak_is_the_largest(name, share, warmup, divisor):
    schedule = SCHEDULES[name]
    assert 0 <= schedule(share, warmup, divisor) <= 1 + 1e-12
    assert schedule(warmup, warmup, divisor) == pytest.approx(1) or warmup == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_warm_up_the_peak_is_the_start(name):
    assert learning_rates(name, 10, warmup_fraction=0.0)[0] == pytest.approx(2)
