from __future__ import annotations

import numpy as np
import pytest
import torch

import lpbf_dataset as lpbf
from lpbf_dataset.schema import STEP_KINDS
from lpbf_dataset.step_table import StepTable
from pipelines.console import UserError
from pipelines.runs.checkpoint import Description, read_description
from pipelines.runs.features import input_channels
from pipelines.steps.description import describe_steps
from pipelines.steps.encoding import state_after
from pipelines.steps.samples import make_samples
from pipelines.steps.surrogate import one_on_nodes, pushed
from pipelines.steps.tasks import task_channels
from pipelines.steps.transitions import carried, known_steps, transitions
from pipelines.training.batching import Draw
from pipelines.training.data import collate
from pipelines.training.module import relative_l2_loss
from pipelines.training.options import TrainOptions
from pipelines.training.variation import Variation

TARGETS = ("displacement_z", "von_mises_stress")


def described(path, task, features=(), targets=TARGETS, **options):
    store = lpbf.open_dataset(path)
    scaling, of_steps = describe_steps(store, targets, TrainOptions("", targets, task, **options), task)
    return store, Description("flare", {}, scaling, features, 1.0, of_steps)


@pytest.fixture
def next_step(builds):
    return described(builds, "next-step")


def state_of(description, sample):
    """State before, in its units, among the inputs of a sample."""
    task = description.task
    columns = sample.inputs[:, 3 : 3 + len(TARGETS)].numpy()
    return columns * np.array(task.state_std) + task.state_mean


def test_steps_end_before_the_removal_unless_asked_for(builds):
    cases = lpbf.open_dataset(builds).train
    kept = [(pair.case, pair.before, pair.step) for pair in transitions(cases, across_removal=False)]
    assert kept[:5] == [(0, None, 0), (0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 3, 4)]
    assert len(kept) == 5 + 7
    across = list(transitions(cases, across_removal=True))
    assert len(across) == 6 + 8
    assert across[5][:3] == (0, 4, 5)


def test_a_missing_step_is_passed_over(make_builds, make_bar, tmp_path):
    path = make_builds(tmp_path / "b.zarr", make_bar("t1", layers=2, missing=(2,)))
    pairs = transitions(lpbf.open_dataset(path).train, across_removal=False)
    assert [(pair.before, pair.step) for pair in pairs] == [(None, 0), (0, 1), (1, 3), (3, 4)]


def test_samples_have_the_nodes_of_their_step_alone(next_step):
    store, description = next_step
    samples = make_samples(store.train, description)
    nodes = [len(samples[index].inputs) for index in range(len(samples))]
    assert nodes == samples.node_counts.tolist()
    assert nodes[:5] == [16, 16, 24, 24, 24]


def test_inputs_are_position_state_and_conditions(next_step):
    store, description = next_step
    samples = make_samples(store.train, description)
    sample = samples[2]
    assert sample.inputs.shape[1] == input_channels(()) + task_channels("next-step", len(TARGETS))
    step = store.train[0].steps[2]
    np.testing.assert_allclose(state_of(description, sample)[:, 0], 0.02 * (1 + step.points[:, 0]), rtol=1e-4)
    np.testing.assert_array_equal(sample.inputs[:, 5], step.points[:, 2] > 1)
    # Only just deposited, of five kinds.
    assert sample.inputs[0, -5:].tolist() == [1, 0, 0, 0, 0]
    time_step, growth = (sample.inputs[0, 8:10].numpy() * description.task.condition_std[2:]) + (
        description.task.condition_mean[2:]
    )
    assert (time_step, growth) == pytest.approx((10, 1), abs=1e-5)


def test_before_the_first_step_nothing_is_deformed(next_step):
    store, description = next_step
    sample = make_samples(store.train, description)[0]
    np.testing.assert_allclose(state_of(description, sample), 0, atol=1e-4)
    assert (sample.inputs[:, 5] == 1).all()


@pytest.mark.parametrize("increments", [True, False])
def test_state_and_prediction_give_the_true_state(builds, increments):
    store, description = described(builds, "next-step", increments=increments)
    samples = make_samples(store.train, description, Variation(0), state_noise=0.5)
    noisy = samples[Draw(2, 7)]
    state = state_of(description, noisy).astype(np.float32)
    clean = state_of(description, samples[2])
    assert np.abs(state - clean).max() > 0.1 * description.task.state_std[0]
    truth = description.scaling.truth(store.train[0].steps[2])
    np.testing.assert_allclose(state_after(description, noisy.targets.numpy(), state), truth, rtol=1e-4)


def test_noise_follows_from_seed_epoch_and_position(next_step):
    store, description = next_step

    def inputs(seed, epoch):
        return make_samples(store.train, description, Variation(seed), state_noise=0.1)[Draw(3, epoch)].inputs

    assert torch.equal(inputs(0, 1), inputs(0, 1))
    assert not torch.equal(inputs(0, 1), inputs(0, 2))
    assert not torch.equal(inputs(0, 1), inputs(1, 1))


def test_targets_are_standardised_over_the_steps(builds):
    store, description = described(builds, "any-step")
    samples = make_samples(store.train, description)
    targets = torch.cat([samples[index].targets for index in range(len(samples))])
    torch.testing.assert_close(targets.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.std(dim=0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert samples[2].inputs.shape[1] == input_channels(()) + task_channels("any-step", 2)


def test_the_state_turns_with_the_step(builds):
    store, description = described(builds, "next-step", targets=("displacement", "von_mises_stress"))
    samples = make_samples(store.train, description, Variation(0, ("rotate_z",)))
    turned = [samples[Draw(2, epoch)] for epoch in range(6)]
    plain = samples[2]
    for sample in turned:
        # Displacements in z and stresses stay with their nodes, whatever the angle.
        torch.testing.assert_close(sample.inputs[:, 5:7], plain.inputs[:, 5:7])
        torch.testing.assert_close(sample.targets[:, 2:], plain.targets[:, 2:])
    assert any(not torch.equal(sample.inputs[:, :2], plain.inputs[:, :2]) for sample in turned)


def test_features_come_from_the_finished_part(builds):
    store, description = described(builds, "any-step", features=("sdf", "on_surface"))
    step = make_samples(store.train, description)[0]
    case = store.train[0]
    nodes = case.points[:, 2] <= 1
    np.testing.assert_allclose(step.inputs[:, 3].numpy(), case.sdf[nodes], atol=1e-6)
    np.testing.assert_array_equal(step.inputs[:, 4].numpy(), case.on_surface[nodes])


def test_nodes_are_subsampled_alike(next_step):
    store, description = next_step
    sample = make_samples(store.train, description, Variation(0, (), 10))[Draw(2, 0)]
    x = sample.inputs[:, 0].numpy() * 30
    np.testing.assert_allclose(state_of(description, sample)[:, 0], 0.02 * (1 + x), rtol=1e-4)
    assert len(x) == 10


@pytest.mark.parametrize("increments", [True, False])
def test_a_pushed_batch_starts_from_the_prediction_and_leads_to_the_truth(builds, increments):
    store, description = described(builds, "next-step", increments=increments)
    samples = make_samples(store.train, description, Variation(0), pushforward=True)
    members = [samples[Draw(position, 0)] for position in (0, 2, 3)]
    batch = collate(members)
    earlier = batch.earlier.batch
    # One step of training each, wrong by 0.3 standard deviations of the outputs.
    wrong = pushed(batch, torch.full_like(earlier.targets, 0.3), description)
    right = pushed(batch, torch.zeros_like(earlier.targets), description)
    torch.testing.assert_close(right.inputs, batch.inputs)
    torch.testing.assert_close(right.targets, batch.targets)
    for row, (position, sample) in enumerate(zip((0, 2, 3), members, strict=True)):
        nodes = len(sample.inputs)
        of_row = sample._replace(inputs=wrong.inputs[row, :nodes], targets=wrong.targets[row, :nodes])
        offset = state_of(description, of_row) - state_of(description, sample)
        expected = 0.3 * np.array(description.scaling.std) if position else np.zeros(2)
        np.testing.assert_allclose(offset, np.broadcast_to(expected, offset.shape), rtol=1e-3, atol=1e-5)
        state = state_of(description, of_row).astype(np.float32)
        truth = description.scaling.truth(store.train[0].steps[position])
        np.testing.assert_allclose(
            state_after(description, of_row.targets.numpy(), state), truth, rtol=1e-3, atol=1e-4
        )
    assert (wrong.inputs[0, len(members[0].inputs) :] == 0).all()


def test_padding_adds_nothing_to_the_loss(next_step):
    store, description = next_step
    samples = make_samples(store.train, description)
    batch = collate([samples[0], samples[3]])
    together = relative_l2_loss(torch.zeros_like(batch.targets), batch.targets, one_on_nodes(batch))
    alone = [samples[index].targets.square().mean().sqrt() for index in (0, 3)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_a_description_survives_storage(next_step):
    from dataclasses import asdict

    _, description = next_step
    assert read_description(asdict(description)) == description


def test_constant_targets_cannot_be_learnt(builds):
    with pytest.raises(UserError, match="temperature"):
        described(builds, "any-step", targets=("temperature",))


def test_a_store_of_final_states_is_named_with_the_remedy(store):
    with pytest.raises(UserError, match="lpbf-build --steps all"):
        described(store, "next-step")


def test_before_the_build_nothing_is_deformed_and_all_is_as_warm_as_the_surroundings(builds):
    step = lpbf.open_dataset(builds)["t1"].steps[0]
    before = carried(None, step)
    assert (before.temperature == 25).all()
    assert (before.temperature.dtype, before.temperature.shape) == (np.float32, (step.node_count,))
    assert not before.displacement.any()
    assert not before.von_mises_stress.any()


def test_nothing_after_the_removal_is_reached_past_it():
    table = StepTable.from_json(
        {
            "kind": [STEP_KINDS.index(kind) for kind in ("deposited", "cooled", "removed", "cooled")],
            "mesh": [0, 0, -1, 0],
        }
    )
    assert known_steps(table, across_removal=False) == [0, 1]
    assert known_steps(table, across_removal=True) == [0, 1, 3]
