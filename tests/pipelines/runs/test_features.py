"""Geometry features as inputs, from the command line to the prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

import lpbf_dataset as lpbf
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.schema import FEATURE_VARIABLES
from lpbf_dataset.store.writer import StoreWriter
from pipelines.console import UserError
from pipelines.runs.checkpoint import Description
from pipelines.runs.features import check_features, check_stored_features, input_channels
from pipelines.runs.run import Run, RunError
from pipelines.runs.scaling import Scaling

ALL_FEATURES = ("--features", *FEATURE_VARIABLES)
SMALL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def with_features(case):
    features = geometry_features(case.points, case.cells, mesh_surface(case.points, case.cells))
    temperature = 25 + case.points[:, 2]
    return replace(case, variables={**case.variables, **features, "temperature": temperature})


@pytest.fixture(scope="module")
def featured(store, tmp_path_factory):
    """Return `store` with geometry features, and temperatures that differ."""
    path = tmp_path_factory.mktemp("features") / "featured.zarr"
    bars = lpbf.open_dataset(store)
    splits = dict(zip(bars.case_ids, bars.case_table["split"], strict=True))
    with StoreWriter(path, ("displacement", "von_mises_stress", "temperature", *FEATURE_VARIABLES)) as writer:
        for case in bars:
            writer.append(with_features(case))
        writer.finish(splits, pd.DataFrame({"case_id": list(splits)}))
    return path


def test_inputs_are_positions_and_features_over_their_scale(featured):
    dataset = lpbf.open_dataset(featured)
    case = dataset["b"]
    scaling = Scaling.of_store(dataset, ("displacement_z",), (30.0, 30.0, 60.0))
    description = Description("flare", {}, scaling, FEATURE_VARIABLES, feature_scale=5.0)
    inputs = description.inputs(dataset.read("b", description.variables))
    assert inputs.dtype == np.float32
    assert inputs.shape == (case.node_count, input_channels(FEATURE_VARIABLES)) == (case.node_count, 14)
    np.testing.assert_array_equal(inputs[:, :3], scaling.inputs(case))
    np.testing.assert_allclose(inputs[:, 3], case.sdf / 5)
    np.testing.assert_array_equal(inputs[:, 4:7], case.sdf_direction)
    np.testing.assert_allclose(inputs[:, 7:13], case.axis_distance / 5)
    np.testing.assert_array_equal(inputs[:, 13], case.on_surface)


def test_features_and_all_targets_from_training_to_prediction(command, featured, tmp_path):
    run = tmp_path / "run"
    options = (
        "--epochs=1",
        "--feature_scale=4",
        "--targets",
        "displacement",
        "von_mises_stress",
        "temperature",
        "-q",
    )
    outcome = command("flare", f"--data={featured}", "-o", run, *options, *ALL_FEATURES, *SMALL)
    assert outcome.code == 0, outcome.err
    trained = Run.open(run)
    assert trained.description.features == FEATURE_VARIABLES
    assert trained.description.feature_scale == 4
    assert trained.config["features"] == list(FEATURE_VARIABLES)
    targets = trained.metrics["targets"]
    units = dict.fromkeys(("displacement_x", "displacement_y", "displacement_z", "displacement"), "mm")
    units |= {"von_mises_stress": "MPa", "temperature": "degC"}
    assert {name: values["unit"] for name, values in targets.items()} == units
    case = trained.dataset()["e"]
    with torch.inference_mode():
        outputs = trained.model(torch.from_numpy(trained.description.inputs(case))[None])[0].numpy()
    np.testing.assert_array_equal(trained.predict(case), trained.scaling.decode(outputs))
    points_alone = lpbf.Case("x", "x", "stl", {"points": case.points})
    with pytest.raises(RunError, match="has no sdf, sdf_direction, axis_distance, on_surface, which flare"):
        trained.predict(points_alone)


def test_a_store_without_features(command, store, tmp_path):
    run = tmp_path / "run"
    outcome = command("flare", f"--data={store}", "-o", run, "--features", "sdf", *SMALL)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: --features: {store} holds no sdf")
    assert f"lpbf-build --recompute sdf {store}" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not run.exists()


def test_the_remedy_for_missing_features_helps(make_store, tmp_path):
    from pipelines import build

    path = make_store(tmp_path / "bars.zarr")
    with pytest.raises(UserError, match="--recompute sdf"):
        check_stored_features(FEATURE_VARIABLES, lpbf.open_dataset(path))
    assert build.run(["--recompute", "sdf", str(path), "-q"]) == 0
    check_stored_features(FEATURE_VARIABLES, lpbf.open_dataset(path))


def test_a_store_without_edges(command, make_store, tmp_path):
    path = make_store(tmp_path / "bars.zarr")
    group = zarr.open_group(path, mode="r+")
    del group["edges"]
    outcome = command("gat", f"--data={path}", "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "has no array 'edges'" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("displacement",), "no geometry feature named 'displacement'; there are sdf, sdf_direction"),
        (("sdf", "sdf"), "sdf is named twice"),
    ],
)
def test_features_that_cannot_be(names, message):
    with pytest.raises(UserError, match=message):
        check_features(names)
