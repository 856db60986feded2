from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from pipelines.training.batching import BatchPlan, TrainingBatches, validation_batches

node_counts = st.lists(st.integers(1, 50_000), min_size=1, max_size=60).map(lambda n: np.array(n, np.int64))
budgets = st.integers(1, 120_000)
ranks = st.integers(1, 5)


def flat(steps):
    return [int(case) for step in steps for batch in step for case in batch]


def repeats(steps, cases, ranks):
    """Count the cases that are there once more; every case is there, and every rank has one in each step."""
    assert all(len(step) == ranks and all(len(batch) for batch in step) for step in steps)
    seen = Counter(flat(steps))
    assert set(seen) == set(range(cases))
    return seen.total() - cases


@settings(deadline=None)
@given(node_counts, budgets, ranks, st.integers(0, 3), st.integers(0, 10))
def test_batches_by_nodes(counts, budget, ranks, seed, epoch):
    plan = BatchPlan.of_nodes(counts, budget, ranks)
    steps = plan.epoch(seed, epoch)
    assert len(steps) == len(plan)
    assert repeats(steps, len(counts), ranks) == max(0, len(steps) * ranks - len(counts))
    for step in steps:
        for batch in step:
            assert len(batch) == 1 or len(batch) * counts[batch].max() <= budget
    again = BatchPlan.of_nodes(counts, budget, ranks).epoch(seed, epoch)
    assert flat(again) == flat(steps)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), ranks, st.integers(0, 10))
def test_batches_by_cases(cases, batch_size, ranks, epoch):
    counts = np.ones(cases, np.int64)
    steps = BatchPlan.of_cases(counts, batch_size, ranks).epoch(0, epoch)
    assert len(steps) == -(-cases // (batch_size * ranks))
    last = cases % (batch_size * ranks)
    assert repeats(steps, cases, ranks) == (max(0, ranks - last) if last else 0)
    assert max(len(batch) for step in steps for batch in step) <= batch_size
    # One rank with batches of all of them together sees the same cases in each step.
    (alone,) = zip(*BatchPlan.of_cases(counts, batch_size * ranks, 1).epoch(0, epoch), strict=True)
    for step, together in zip(steps, alone, strict=True):
        assert set(np.concatenate(step)) == set(together)


@settings(deadline=None)
@given(node_counts, st.integers(0, 120_000), st.integers(1, 4), ranks)
def test_validation_has_each_case_on_one_rank(counts, budget, batch_size, ranks):
    shares = [validation_batches(counts, batch_size, budget, rank, ranks) for rank in range(ranks)]
    cases = [case for share in shares for batch in share for case in batch]
    assert sorted(cases) == list(range(len(counts)))
    for batch in (batch for share in shares for batch in share):
        if budget:
            assert len(batch) == 1 or len(batch) * counts[batch].max() <= budget
        else:
            assert len(batch) <= batch_size


def test_a_lone_case_is_given_to_ranks_without_one():
    steps = BatchPlan.of_cases(np.ones(4, np.int64), batch_size=1, ranks=3).epoch(0, 0)
    assert [batch.tolist() for batch in steps[1]] == [steps[1][0].tolist()] * 3


@pytest.fixture
def population():
    """Node counts like those of the published cases: mean 21 thousand, largest 47 thousand."""
    return np.random.default_rng(0).gamma(3.0, 7000.0, 600).clip(500, 47_542).astype(np.int64)


@pytest.mark.parametrize("budget", [50_000, 200_000])
@pytest.mark.parametrize("ranks", [1, 4])
def test_budgets_are_used_and_little_is_padding(population, budget, ranks):
    steps = BatchPlan.of_nodes(population, budget, ranks).epoch(0, 0)
    batches = [population[batch] for step in steps for batch in step]
    padded = sum(len(batch) * batch.max() for batch in batches)
    assert padded < 1.25 * population.sum()
    assert padded > 0.7 * budget * len(batches)
    # The ranks of a step wait for the slowest.
    slowest = sum(max(len(batch) * population[batch].max() for batch in step) for step in steps)
    assert slowest * ranks < 1.15 * padded


def test_compositions_differ_between_epochs(population):
    plan = BatchPlan.of_nodes(population, 100_000, 2)
    first, second = (
        {frozenset(batch.tolist()) for step in plan.epoch(0, epoch) for batch in step if len(batch) > 1}
        for epoch in (0, 1)
    )
    assert len(first & second) < 0.05 * len(first)
    assert [len(step[0]) for step in plan.epoch(0, 0)] != [len(step[0]) for step in plan.epoch(0, 1)]


def test_equal_sizes_are_shuffled():
    counts = np.full(12, 100)
    plan = BatchPlan.of_nodes(counts, 400, 1)
    assert plan.case_counts.tolist() == [[4], [4], [4]]
    assert len({tuple(flat(plan.epoch(0, epoch))) for epoch in range(5)}) == 5


def test_the_sampler_of_a_rank(population):
    plan = BatchPlan.of_nodes(population, 100_000, 2)
    samplers = [TrainingBatches(plan, 7, rank) for rank in (0, 1)]
    for epoch in (0, 3):
        expected = plan.epoch(7, epoch)
        for rank, sampler in enumerate(samplers):
            sampler.sampler.set_epoch(epoch)
            batches = list(sampler)
            assert len(batches) == len(sampler) == len(expected)
            assert [[draw.position for draw in batch] for batch in batches] == [
                step[rank].tolist() for step in expected
            ]
            assert {draw.epoch for batch in batches for draw in batch} == {epoch}


def test_an_epoch_may_start_later(population):
    plan = BatchPlan.of_cases(population, 7, 1)
    whole, resumed = TrainingBatches(plan, 0, 0), TrainingBatches(plan, 0, 0)
    for sampler in (whole, resumed):
        sampler.set_epoch(2)
    expected = list(whole)
    resumed.start_at(5)
    # A loader with workers begins an iteration that it does not use, and the trainer another.
    iter(resumed)
    next(iter(resumed))
    assert list(resumed) == expected[5:]
    assert len(resumed) == len(whole)
    for sampler in (whole, resumed):
        sampler.set_epoch(3)
    assert list(resumed) == list(whole)


def test_it_stands_in_for_the_batch_sampler_of_torch(population):
    """Which has `sampler` too, where the trainer looks for ``set_epoch``."""
    assert hasattr(BatchSampler(range(3), 1, drop_last=False), "sampler")
    sampler = TrainingBatches(BatchPlan.of_cases(population, 1, 1), 0, 0)
    assert callable(sampler.sampler.set_epoch)
