"""What training makes of a case in an epoch, and that it does not matter who reads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lpbf_dataset as lpbf
from pipelines.runs.checkpoint import Description
from pipelines.runs.scaling import Scaling
from pipelines.training.augmentation import SYMMETRIES, symmetry_group, turn
from pipelines.training.batching import Draw
from pipelines.training.data import Samples, collate, training_loader, validation_loader
from pipelines.training.variation import Variation

ALL = tuple(SYMMETRIES)
SMALL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


@pytest.fixture
def dataset(store):
    return lpbf.open_dataset(store)


@pytest.fixture
def description(dataset):
    scaling = Scaling.of_store(dataset, ("displacement_x", "von_mises_stress"), (30.0, 30.0, 60.0))
    return Description("flare", {}, scaling)


def test_elements_of_the_group_are_equally_likely(dataset):
    case, variation = dataset["b"], Variation(0, ALL)
    expected = {turn(case, matrix).displacement.tobytes(): 0 for matrix in symmetry_group(ALL)}
    assert len(expected) == 8
    for epoch in range(400):
        expected[variation.of(case, Draw(1, epoch)).displacement.tobytes()] += 1
    # Each 50 on average with a standard deviation of 6.6.
    assert min(expected.values()) > 25
    assert max(expected.values()) < 75


def test_a_draw_depends_on_seed_epoch_and_position_alone(dataset):
    case = dataset["b"]

    def nodes(seed, position, epoch):
        return Variation(seed, ALL, 9).of(case, Draw(position, epoch)).points.tobytes()

    assert nodes(0, 1, 2) == nodes(0, 1, 2)
    assert len({nodes(0, 1, 2), nodes(1, 1, 2), nodes(0, 2, 2), nodes(0, 1, 3), nodes(0, 2, 1)}) == 5


def test_a_subset_of_nodes_keeps_their_order(dataset):
    case = dataset["b"]
    varied = Variation(0, subsample=11).of(case, Draw(0, 0))
    rows = [int(np.flatnonzero((case.points == point).all(axis=1))[0]) for point in varied.points]
    assert len(rows) == 11
    assert rows == sorted(set(rows))
    for name in ("displacement", "von_mises_stress"):
        np.testing.assert_array_equal(varied.variables[name], case.variables[name][rows])
    assert "edges" not in varied.variables
    assert Variation(0, subsample=case.node_count).of(case, Draw(0, 0)) is case


def test_a_single_component_turns_with_the_vector(dataset, description):
    """The x of a turned displacement comes from y, though the targets name x alone."""
    samples = Samples(dataset, description, Variation(0, ("rotate_z",)))
    case, scaling = dataset["b"], description.scaling
    turned = [turn(case, matrix) for matrix in symmetry_group(("rotate_z",))]
    for epoch in range(8):
        sample = samples[Draw(1, epoch)]
        (match,) = (t for t in turned if np.array_equal(description.inputs(t), sample.inputs))
        np.testing.assert_array_equal(sample.targets, scaling.encode(scaling.truth(match)))


def test_cases_by_position_are_as_they_are(dataset, description):
    plain, varied = Samples(dataset, description), Samples(dataset, description, Variation(0, ALL, 5))
    assert torch.equal(plain[1].inputs, varied[1].inputs)
    assert len(varied[Draw(1, 0)].inputs) == 5
    assert plain.node_counts.tolist() == [case.node_count for case in dataset]
    assert varied.node_counts.tolist() == [5] * 5


def test_a_turned_mesh_has_its_edges_and_the_coarser_graphs_of_the_stored_one(dataset, description, store):
    options = {"in_channels": 3, "out_channels": 2, "channels": 4, "num_levels": 2}
    multiscale = Description("bsms", options, description.scaling)
    plain, varied = Samples(dataset, multiscale), Samples(dataset, multiscale, Variation(0, ("rotate_z",)))
    expected = collate([plain[1]])
    folder = store.parent / f"{store.name}.levels"
    kept = sorted(folder.iterdir())
    group = symmetry_group(("rotate_z",))
    for epoch in range(4):
        mesh = collate([varied[Draw(1, epoch)]]).mesh
        pairs = zip(
            (mesh["edges"], *(level.edges for level in mesh["levels"])),
            (expected.mesh["edges"], *(level.edges for level in expected.mesh["levels"])),
            strict=True,
        )
        for found, stored in pairs:
            assert torch.equal(found.endpoints, stored.endpoints)
            relative = [stored.features[:, :3].numpy() @ matrix.T for matrix in group]
            assert any(np.allclose(found.features[:, :3], way, atol=1e-5) for way in relative)
    assert sorted(folder.iterdir()) == kept


def test_reading_processes_change_nothing(dataset, description):
    """Two epochs of a loader with two workers, which outlive the first, bit for bit."""
    sizes = {"batch_size": 2, "node_budget": 60, "rank": 0, "ranks": 1}
    loaders = [
        training_loader(Samples(dataset, description, Variation(3, ALL, 15)), seed=3, num_workers=n, **sizes)
        for n in (0, 2)
    ]
    for epoch in (0, 1):
        here, there = [], []
        for loader, batches in zip(loaders, (here, there), strict=True):
            loader.batch_sampler.sampler.set_epoch(epoch)
            batches += list(loader)
        for expected, batch in zip(here, there, strict=True):
            assert batch.case_ids == expected.case_ids
            assert torch.equal(batch.inputs, expected.inputs)
            assert torch.equal(batch.targets, expected.targets)


def test_budgeted_validation_reads_each_case_once(dataset, description):
    samples = Samples(dataset, description)
    sizes = {"batch_size": 1, "node_budget": 60, "num_workers": 0, "ranks": 2}
    loaders = [validation_loader(samples, rank=rank, **sizes) for rank in (0, 1)]
    batches = [batch for loader in loaders for batch in loader]
    assert sorted(case_id for batch in batches for case_id in batch.case_ids) == list("abcde")
    assert all(len(b.case_ids) == 1 or b.inputs.shape[0] * b.inputs.shape[1] <= 60 for b in batches)


def test_the_padding_of_buckets_counts_in_the_budget(dataset, description):
    sizes = {"batch_size": 1, "node_budget": 60, "num_workers": 0, "rank": 0, "ranks": 1}
    for loader in (
        training_loader(Samples(dataset, description), seed=0, in_buckets=True, **sizes),
        validation_loader(Samples(dataset, description), in_buckets=True, **sizes),
    ):
        batches = list(loader)
        assert sorted(case_id for batch in batches for case_id in batch.case_ids) == list("abcde")
        assert any(len(batch.case_ids) > 1 for batch in batches)
        for batch in batches:
            assert len(batch.case_ids) == 1 or batch.inputs.shape[0] * batch.inputs.shape[1] <= 60


def test_training_with_everything(command, store, tmp_path):
    options = ("--augment", *ALL, "--subsample=20", "--node_budget=60", "--min_steps=5", "--epochs=2", "-q")
    run = tmp_path / "run"
    outcome = command("flare", f"--data={store}", "-o", run, *options, *SMALL)
    assert outcome.code == 0, outcome.err
    # Three training cases of 20 nodes in one batch.
    steps = [int(row.split(",")[1]) for row in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == [1, 2, 3, 4, 5]


def test_the_trainer_shuffles_every_epoch_anew(command, store, tmp_path, monkeypatch):
    epochs = []
    of = Variation.of

    def noted(self, case, draw):
        epochs.append((draw.epoch, case.case_id))
        return of(self, case, draw)

    monkeypatch.setattr(Variation, "of", noted)
    arguments = ("flare", f"--data={store}", "-o", tmp_path / "run", "--epochs=4", "-q", *SMALL)
    assert command(*arguments).code == 0
    orders = {tuple(case_id for e, case_id in epochs if e == epoch) for epoch in range(4)}
    assert len(epochs) == 12
    assert len(orders) > 1
    assert all(sorted(order) == list("abc") for order in orders)


def test_a_model_of_edges_needs_every_node(command, store, tmp_path):
    outcome = command("gat", f"--data={store}", "-o", tmp_path / "run", "--subsample=10")
    assert outcome.code == 2
    assert "--subsample: gat needs every node" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--augment", "mirror_z"), "--augment: no symmetry named 'mirror_z'"),
        (("--subsample=-1",), "--subsample must not be negative"),
        (("--node_budget=-1",), "--node_budget must not be negative"),
        (("--feature_scale=0",), "--feature_scale must be positive"),
        (("--features", "warp"), "--features: no geometry feature named 'warp'"),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, option, message):
    outcome = command("flare", "--data=s", "-o", tmp_path / "run", *option)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
