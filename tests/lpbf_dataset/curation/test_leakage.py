from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lpbf_dataset.curation.leakage import DEFAULT_THRESHOLD, compare_splits, find_leakage
from lpbf_dataset.curation.shape import shape_descriptor
from lpbf_dataset.curation.splits import split_cases


def made_up(count, bodies=1, seed=0):
    """Return a table of designs with so many bodies each, and unlike descriptors."""
    random = np.random.default_rng(seed)
    cases = np.arange(count)
    table = pd.DataFrame(
        {
            "case_id": [f"case{i}" for i in cases],
            "design_id": [f"design{i // bodies}" for i in cases],
            "nodes": random.integers(1000, 50_000, count),
            "max_z": random.uniform(1, 60, count),
            "max_displacement": random.uniform(0, 1, count),
        }
    )
    return table, random.normal(size=(count, 52))


def slow_leakage(table, splits, descriptors, threshold):
    """Compare each case for validation and testing with each for training."""
    siblings, duplicates = set(), {}
    designs = dict(zip(table["case_id"], table["design_id"], strict=True))
    shapes = dict(zip(table["case_id"], descriptors, strict=True))
    for case in designs:
        for other in designs:
            if splits[case] == "train" or splits[other] != "train":
                continue
            if designs[case] == designs[other]:
                siblings.add((case, other))
            distance = np.sqrt(((shapes[case] - shapes[other]) ** 2).sum())
            if distance <= min(threshold, duplicates.get(case, ("", np.inf))[1]):
                duplicates[case] = (other, distance)
    return siblings, duplicates


@pytest.mark.parametrize("seed", range(3))
def test_every_pair_is_found(seed):
    table, descriptors = made_up(60, bodies=3, seed=seed)
    splits = split_cases(table, "random", seed)
    found = find_leakage(table, splits, descriptors, threshold=8.0)
    siblings, duplicates = slow_leakage(table, splits, descriptors, 8.0)
    assert set(zip(found.siblings["case_id"], found.siblings["other"], strict=True)) == siblings
    assert 0 < len(duplicates) < found.evaluated
    assert dict(zip(found.duplicates["case_id"], found.duplicates["other"], strict=True)) == {
        case: other for case, (other, _) in duplicates.items()
    }
    distances = [duplicates[case][1] for case in found.duplicates["case_id"]]
    np.testing.assert_allclose(found.duplicates["distance"], distances, rtol=1e-6)
    assert set(found.siblings["other_split"]) | set(found.duplicates["other_split"]) == {"train"}


def test_planted_siblings_and_turned_copies_are_found(synthetic_case):
    shapes = [(2, 3, 7), (3, 2, 7), (5, 5, 2), (9, 2, 2), (4, 4, 4)]
    meshes = [synthetic_case(*shape) for shape in shapes]
    table = pd.DataFrame(
        {"case_id": list("abcde"), "design_id": ["one", "other", "plate", "rod", "plate"], "nodes": 0}
    )
    splits = {"a": "train", "b": "test", "c": "train", "d": "val", "e": "val"}
    descriptors = {
        case: shape_descriptor(mesh.points, mesh.cells)
        for case, mesh in zip(table["case_id"], meshes, strict=True)
    }
    leakage = find_leakage(table, splits, descriptors)
    assert leakage.evaluated == 3
    assert leakage.siblings.to_dict("records") == [
        {"case_id": "e", "split": "val", "other": "c", "other_split": "train", "design_id": "plate"}
    ]
    (duplicate,) = leakage.duplicates.to_dict("records")
    assert duplicate["distance"] < DEFAULT_THRESHOLD / 2
    assert (duplicate["case_id"], duplicate["split"], duplicate["other"]) == ("b", "test", "a")
    assert leakage.sibling_share == pytest.approx(1 / 3)
    assert leakage.duplicate_share == pytest.approx(1 / 3)
    assert leakage.warnings() == [
        "1 of 3 cases for validation and testing (33%) have a body of the same design in training, "
        "first e and c; split by design to keep them together",
        "1 of 3 cases for validation and testing (33%) have a near-duplicate by shape in training, "
        "nearest b and a",
    ]
    stored = json.loads(json.dumps(leakage.to_json()))
    assert stored["with_sibling_in_training"] == stored["with_near_duplicate_in_training"] == 1
    assert stored["duplicate_threshold"] == DEFAULT_THRESHOLD


def test_a_sibling_counts_once_however_many_bodies_are_in_training():
    table, descriptors = made_up(4, bodies=4)
    splits = {"case0": "train", "case1": "train", "case2": "train", "case3": "test"}
    leakage = find_leakage(table, splits, descriptors)
    assert len(leakage.siblings) == 3
    assert leakage.sibling_share == 1.0


def test_a_copy_within_training_or_within_testing_is_no_leakage():
    table, descriptors = made_up(4)
    descriptors[1], descriptors[3] = descriptors[0], descriptors[2]
    splits = {"case0": "train", "case1": "train", "case2": "val", "case3": "test"}
    assert find_leakage(table, splits, descriptors).duplicates.empty


def test_a_split_by_design_has_no_siblings():
    table, descriptors = made_up(90, bodies=3)
    leakage = find_leakage(table, split_cases(table), descriptors)
    assert leakage.evaluated == 18
    assert leakage.warnings() == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_cases_in_one_split(split):
    table, descriptors = made_up(5, bodies=5)
    leakage = find_leakage(table, dict.fromkeys(table["case_id"], split), descriptors)
    assert leakage.evaluated == (0 if split == "train" else 5)
    assert leakage.sibling_share == leakage.duplicate_share == 0.0
    assert list(leakage.duplicates) == ["case_id", "split", "other", "other_split", "distance"]
    assert leakage.warnings() == []


def test_splits_side_by_side():
    table, descriptors = made_up(100, bodies=2)
    descriptors[::2] = descriptors[1::2]
    compared = compare_splits(table, ["design", "random", "tallest"], descriptors)
    assert list(compared["method"].unique()) == ["design", "random", "tallest"]
    compared = compared.set_index(["method", "split"])
    assert compared["cases"].groupby("method").sum().eq(100).all()
    assert compared.loc[("design", "test"), ["sibling_share", "duplicate_share"]].tolist() == [0.0, 0.0]
    assert compared.loc[("random", "test"), "sibling_share"] > 0.5
    assert compared.loc[("random", "val"), "duplicate_share"] > 0.5
    assert np.isnan(compared.loc[("random", "train"), "sibling_share"])
    heights = compared["mean_max_z"]["tallest"]
    assert heights["test"] > 1.5 * heights["train"]
    everything = (compared["cases"] * compared["mean_nodes"]).groupby("method").sum() / 100
    np.testing.assert_allclose(everything, table["nodes"].mean())
