from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import lpbf_dataset as lpbf
from flare import FLARE, FLAREConfig
from pipelines.console import UserError
from pipelines.runs.checkpoint import Description
from pipelines.runs.scaling import Scaling, scalar_targets
from pipelines.training.data import Samples, collate, training_loader, validation_loader
from pipelines.training.module import relative_l2_loss


@pytest.fixture
def dataset(store):
    return lpbf.open_dataset(store)


@pytest.fixture
def scaling(dataset):
    return Scaling.of_store(dataset, ("displacement_z", "von_mises_stress"), (30.0, 30.0, 60.0))


@pytest.fixture
def description(scaling):
    return Description("flare", {}, scaling)


def test_targets_are_standardised_over_the_nodes_of_the_training_split(dataset, scaling):
    encoded = np.concatenate([scaling.encode(scaling.truth(case)) for case in dataset.train])
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(axis=0), 1, atol=1e-6)


def test_decoding_restores_physical_units(dataset, scaling):
    truth = scaling.truth(dataset.test[0])
    np.testing.assert_allclose(scaling.decode(scaling.encode(truth)), truth, rtol=1e-5, atol=1e-7)


def test_inputs_are_positions_over_the_scale(dataset, scaling):
    case = dataset["b"]
    inputs = scaling.inputs(case)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, case.points / [30, 30, 60], rtol=1e-6)


def test_vectors_are_spelt_out():
    assert scalar_targets(["von_mises_stress", "displacement"]) == (
        "von_mises_stress",
        "displacement_x",
        "displacement_y",
        "displacement_z",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["displacment_z"], "no field named 'displacment_z'"),
        (["points"], "part of the geometry"),
        (["edges"], "part of the geometry"),
        (["displacement", "displacement_z"], "displacement_z is named twice"),
        ([], "name one field"),
    ],
)
def test_targets_that_cannot_be(names, message):
    with pytest.raises(UserError, match=message):
        scalar_targets(names)


@pytest.mark.parametrize(
    ("target", "message"),
    [("temperature", "the same on every training node"), ("cauchy_stress_xx", "holds no 'cauchy_stress'")],
)
def test_targets_that_the_store_does_not_allow(dataset, target, message):
    with pytest.raises(UserError, match=message):
        Scaling.of_store(dataset, (target,), (1.0, 1.0, 1.0))


def test_a_padded_batch_has_the_loss_of_its_cases(dataset, description):
    torch.manual_seed(0)
    model = FLARE(FLAREConfig(3, 2, channels=8, num_blocks=1, num_heads=2, num_latents=4)).double()
    samples = [
        sample._replace(inputs=sample.inputs.double(), targets=sample.targets.double())
        for sample in Samples(dataset, description)
    ]
    batch = collate(samples)
    assert batch.mask is not None
    assert batch.mask.sum(dim=1).tolist() == [len(sample.inputs) for sample in samples]
    together = relative_l2_loss(model(batch.inputs, batch.mask), batch.targets)
    alone = [relative_l2_loss(model(s.inputs[None]), s.targets[None])[0] for s in samples]
    assert_close(together, torch.stack(alone), rtol=1e-10, atol=0)


def test_a_batch_of_equal_sizes_needs_no_mask(dataset, description):
    samples = Samples(dataset, description)
    assert collate([samples[0]]).mask is None
    assert collate([samples[0], samples[0]]).mask is None


def test_loss_in_closed_form():
    target = torch.tensor([[[3.0], [4.0]], [[1.0], [0.0]]])
    prediction = torch.tensor([[[3.0], [3.0]], [[1.0], [0.0]]])
    assert relative_l2_loss(prediction, target).tolist() == pytest.approx([0.2, 0.0])


def order(loader, epoch):
    loader.batch_sampler.sampler.set_epoch(epoch)
    return [case_id for batch in loader for case_id in batch.case_ids]


def test_order_depends_on_seed_and_epoch_alone(dataset, description):
    def make(seed):
        return training_loader(
            Samples(dataset, description), batch_size=2, seed=seed, num_workers=0, rank=0, ranks=1
        )

    loader = make(0)
    orders = [order(loader, epoch) for epoch in range(6)]
    assert all(sorted(cases) == list("abcde") for cases in orders)
    assert len({tuple(cases) for cases in orders}) > 3
    assert order(make(0), 4) == orders[4]
    assert [order(make(1), epoch) for epoch in range(6)] != orders


def test_ranks_share_the_cases(dataset, description):
    samples = Samples(dataset, description)
    sizes = {"batch_size": 1, "num_workers": 0, "ranks": 2}
    trained = [order(training_loader(samples, seed=0, rank=rank, **sizes), 0) for rank in (0, 1)]
    assert set(trained[0] + trained[1]) == set("abcde")
    assert len(trained[0]) == len(trained[1])
    validated = [
        [case_id for batch in validation_loader(samples, rank=rank, **sizes) for case_id in batch.case_ids]
        for rank in (0, 1)
    ]
    assert sorted(validated[0] + validated[1]) == list("abcde")
