"""Predictions in files: every layout gives the arrays that were written, and mistakes are one line."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

import lpbf_dataset as lpbf
from lpbf_dataset.store.layout import StoreError
from pipelines.comparison.predictions import Predictions, PredictionsError

ARRAYS = {
    "a": {"displacement_z": np.linspace(-1, 1, 20).astype(np.float32), "von_mises_stress": np.arange(20.0)},
    "e": {"displacement_z": np.linspace(0, 2, 16).astype(np.float32), "von_mises_stress": np.arange(16.0)},
}


def write_npz(path, arrays):
    np.savez(path, **{f"{case_id}/{name}": v for case_id, of in arrays.items() for name, v in of.items()})
    return path


def write_folder(path, arrays):
    path.mkdir()
    for case_id, of_case in arrays.items():
        np.savez_compressed(path / f"{case_id}.npz", **of_case)
    return path


def write_zarr(path, arrays):
    root = zarr.open_group(path, mode="w")
    for case_id, of_case in arrays.items():
        for name, values in of_case.items():
            root.create_array(f"{case_id}/{name}", data=values)
    return path


WRITERS = {"p.npz": write_npz, "p": write_folder, "p.zarr": write_zarr}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """Return a function that writes predictions in one of the layouts, and gives their path."""

    def write(arrays):
        return str(WRITERS[request.param](tmp_path / request.param, arrays))

    return write


@pytest.fixture
def cases(store):
    return lpbf.open_dataset(store)


def test_every_layout_gives_what_was_written(write, cases):
    predictions = Predictions(write(ARRAYS), ["e", "a"])
    assert predictions.targets == ("displacement_z", "von_mises_stress")
    for case_id, of_case in ARRAYS.items():
        expected = np.stack([of_case["displacement_z"], of_case["von_mises_stress"]], axis=1)
        np.testing.assert_array_equal(predictions.predict_with_uncertainty(cases[case_id])[0], expected)


def test_a_vector_stands_for_its_components(write, cases):
    values = np.random.default_rng(0).normal(size=(16, 3))
    predictions = Predictions(write({"e": {"displacement": values}}), ["e"])
    assert predictions.targets == ("displacement_x", "displacement_y", "displacement_z")
    np.testing.assert_array_equal(predictions.predict_with_uncertainty(cases["e"])[0], values)


def test_a_scalar_may_be_a_column_of_an_npz(tmp_path, cases):
    path = write_npz(tmp_path / "p.npz", {"e": {"von_mises_stress": np.arange(16.0)[:, None]}})
    prediction, _ = Predictions(str(path), ["e"]).predict_with_uncertainty(cases["e"])
    np.testing.assert_array_equal(prediction[:, 0], np.arange(16.0))


def test_cases_that_are_missing_are_counted(write):
    path = write(ARRAYS)
    with pytest.raises(PredictionsError, match=r"no prediction of 2 of 4 cases, first 'b'") as raised:
        Predictions(path, ["a", "b", "c", "e"])
    assert path in str(raised.value)


def test_cases_must_have_the_same_fields(write):
    arrays = {"a": ARRAYS["a"], "e": {"displacement_z": ARRAYS["e"]["displacement_z"]}}
    with pytest.raises(
        PredictionsError, match="case 'e' has displacement_z, but 'a' has displacement_z, von"
    ):
        Predictions(write(arrays), ["a", "e"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["disp_z"], "no field named 'disp_z'; known fields: .*displacement_z"),
        (["points"], "'points' is part of the geometry"),
        (["sdf"], "'sdf' is part of the geometry"),
        (["displacement", "displacement_z"], "displacement_z twice, alone and in a vector"),
    ],
)
def test_fields_must_be_known(write, names, message):
    arrays = {"e": {name: np.zeros((16, 3) if name == "displacement" else 16) for name in names}}
    with pytest.raises(PredictionsError, match=message):
        Predictions(write(arrays), ["e"])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("displacement_z", np.zeros(15), r"shape \(15,\), not \(16,\): one row for each node"),
        ("displacement", np.zeros((15, 3)), r"shape \(15, 3\), not \(16, 3\)"),
        ("displacement", np.zeros((16, 2)), r"shape \(16, 2\), not"),
        (
            "displacement_z",
            np.array([0.0] * 13 + [np.nan, np.inf, -np.inf]),
            "3 of 16 values of .* not finite",
        ),
        ("displacement_z", np.zeros(16, complex), "complex128, not numbers"),
    ],
)
def test_arrays_must_fit_the_case(write, cases, name, values, message):
    predictions = Predictions(write({"e": {name: values}}), ["e"])
    with pytest.raises(PredictionsError, match=message) as raised:
        predictions.predict_with_uncertainty(cases["e"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no"),
        (lambda path: path.write_text("hello"), "is no NPZ file"),
        (lambda path: path.mkdir(), "no prediction of 1 of 1 cases"),
        (lambda path: zarr.open_group(path, mode="w", zarr_format=2), "Zarr format 2; write it with"),
        (lambda path: zarr.open_group(path, mode="w"), "no prediction of 1 of 1 cases"),
    ],
)
def test_what_is_no_predictions(make, message, tmp_path):
    make(tmp_path / "p")
    with pytest.raises(PredictionsError, match=message):
        Predictions(str(tmp_path / "p"), ["e"])


@pytest.mark.parametrize("keep", [0, 30, 200, -30])
def test_a_truncated_npz(keep, tmp_path):
    path = write_npz(tmp_path / "p.npz", ARRAYS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PredictionsError, match="not a zip archive, or a damaged one"):
        Predictions(str(path), ["e"])


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_pickles_in_an_npz_are_not_executed(tmp_path, cases):
    target = tmp_path / "executed"
    objects = np.empty(16, object)
    objects[:] = Malicious(target)
    np.savez(tmp_path / "p.npz", **{"e/displacement_z": objects}, allow_pickle=True)
    predictions = Predictions(str(tmp_path / "p.npz"), ["e"])
    with pytest.raises(PredictionsError, match="holds object, not numbers"):
        predictions.predict_with_uncertainty(cases["e"])
    assert not target.exists()


def test_an_npz_that_is_a_pickle(tmp_path):
    target = tmp_path / "executed"
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(PredictionsError, match="not a zip archive"):
        Predictions(str(tmp_path / "p.npz"), ["e"])
    assert not target.exists()


def test_an_array_that_lies_about_its_size_is_not_allocated(tmp_path, cases):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**12},)}}".ljust(117) + "\n"
    contents = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("e/displacement_z.npy", contents)
    with pytest.raises(PredictionsError, match="of 8000000000000 bytes"):
        Predictions(str(tmp_path / "p.npz"), ["e"]).predict_with_uncertainty(cases["e"])


def edit_metadata(path, change):
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**12]),
            "chunks of 4000000000000 byte",
        ),
        (lambda m: m.update(shape=[10**12]), r"not \(16,\)"),
        (lambda m: m["codecs"].append({"name": "pickle"}), "cannot read"),
        (lambda m: m.update(data_type="complex64", fill_value=[0, 0]), "complex64, not numbers"),
    ],
)
def test_zarr_metadata_is_not_believed(change, message, tmp_path, cases):
    path = write_zarr(tmp_path / "p.zarr", ARRAYS)
    edit_metadata(path / "e" / "displacement_z" / "zarr.json", change)
    with pytest.raises((PredictionsError, StoreError), match=message) as raised:
        Predictions(str(path), ["e"]).predict_with_uncertainty(cases["e"])
    assert "\n" not in str(raised.value)


def test_a_damaged_chunk_of_a_zarr_array(tmp_path, cases):
    path = write_zarr(tmp_path / "p.zarr", ARRAYS)
    (path / "e" / "displacement_z" / "c" / "0").write_bytes(b"damaged")
    with pytest.raises(PredictionsError, match="e/displacement_z: chunk c/0 is damaged"):
        Predictions(str(path), ["e"]).predict_with_uncertainty(cases["e"])


def test_the_id_of_a_case_leads_to_no_other_folder(tmp_path):
    write_folder(tmp_path / "p", {"e": ARRAYS["e"]})
    np.savez(tmp_path / "outside.npz", **ARRAYS["e"])
    with pytest.raises(PredictionsError, match="no prediction of 1 of 1 cases"):
        Predictions(str(tmp_path / "p"), ["../outside"])


def with_std(arrays, std):
    return {case_id: {**of_case, **std(of_case)} for case_id, of_case in arrays.items()}


def test_standard_deviations_stand_beside_their_fields(write, cases):
    std = with_std(ARRAYS, lambda fields: {f"{name}_std": 0.1 + np.abs(v) for name, v in fields.items()})
    predictions = Predictions(write(std), ["a", "e"])
    assert predictions.targets == ("displacement_z", "von_mises_stress")
    prediction, spread = predictions.predict_with_uncertainty(cases["e"])
    np.testing.assert_allclose(spread, 0.1 + np.abs(prediction), rtol=1e-6)


def test_the_standard_deviation_of_a_vector(write, cases):
    values = np.random.default_rng(0).uniform(size=(16, 3))
    predictions = Predictions(write({"e": {"displacement": values, "displacement_std": 2 * values}}), ["e"])
    assert predictions.targets == ("displacement_x", "displacement_y", "displacement_z")
    np.testing.assert_array_equal(predictions.predict_with_uncertainty(cases["e"])[1], 2 * values)


def test_no_standard_deviation(write, cases):
    assert Predictions(write(ARRAYS), ["e"]).predict_with_uncertainty(cases["e"])[1] is None


@pytest.mark.parametrize(
    ("std", "message"),
    [
        ({"displacement_z_std": np.ones(16)}, "has von_mises_stress but no von_mises_stress_std"),
        ({"temperature_std": np.ones(16)}, "has displacement_z but no displacement_z_std: standard"),
        (
            {"displacement_z_std": -np.ones(16), "von_mises_stress_std": np.ones(16)},
            "case 'e' has a negative standard deviation",
        ),
        (
            {"displacement_z_std": np.full(16, np.nan), "von_mises_stress_std": np.ones(16)},
            "16 of 16 values of displacement_z_std of case 'e' are not finite",
        ),
        (
            {"displacement_z_std": np.ones(15), "von_mises_stress_std": np.ones(16)},
            r"displacement_z_std.*shape \(15,\)",
        ),
    ],
)
def test_standard_deviations_must_fit(write, cases, std, message):
    with pytest.raises(PredictionsError, match=message):
        Predictions(write({"e": {**ARRAYS["e"], **std}}), ["e"]).predict_with_uncertainty(cases["e"])
