import numpy as np
import pytest
import torch
from torch.testing import assert_close

from baselines.floors import FLOORS, BoostedTreesConfig, Floor, MeanFieldConfig, NearestNeighborsConfig

IN_CHANNELS, OUT_CHANNELS = 4, 2


def make_floor(name: str, **options: object) -> Floor:
    entry = FLOORS[name]
    floor = entry.build(entry.config_type(IN_CHANNELS, OUT_CHANNELS, **options))
    assert isinstance(floor, Floor)
    return floor


def nodes(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of different units, and a smooth function of them."""
    rng = np.random.default_rng(seed)
    inputs = (rng.random((count, IN_CHANNELS)) * [1, 100, 0.01, 10]).astype(np.float32)
    scaled = inputs / np.float32([1, 100, 0.01, 10])
    targets = np.stack([scaled[:, 0] + scaled[:, 1] ** 2, np.sin(3 * scaled[:, 2])], axis=1)
    return inputs, targets.astype(np.float32)


@pytest.fixture(params=FLOORS)
def floor(request: pytest.FixtureRequest) -> Floor:
    return make_floor(request.param).fit(*nodes())


def test_mean_field_is_the_mean_of_each_target() -> None:
    inputs, targets = nodes()
    predicted = make_floor("mean_field").fit(inputs, targets).predict(inputs[:3])
    np.testing.assert_allclose(predicted, [targets.mean(axis=0)] * 3, rtol=1e-6)


def test_nearest_neighbors_are_those_of_a_search_through_all() -> None:
    inputs, targets = nodes()
    asked, _ = nodes(20, seed=1)
    spread = inputs.std(axis=0, dtype=np.float64)
    expected = []
    for point in asked:
        distances = np.sqrt((((inputs - point) / spread) ** 2).sum(axis=1))
        nearest = np.argsort(distances)[:3]
        expected.append(np.average(targets[nearest], axis=0, weights=1 / distances[nearest]))
    predicted = make_floor("knn", neighbors=3).fit(inputs, targets).predict(asked)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4)


def test_a_training_node_is_its_own_nearest() -> None:
    inputs, targets = nodes()
    predicted = make_floor("knn").fit(inputs, targets).predict(inputs)
    np.testing.assert_allclose(predicted, targets, rtol=1e-6)


def test_two_leaves_are_the_means_on_the_two_sides_of_a_step() -> None:
    inputs, _ = nodes()
    high = inputs[:, 1] > np.median(inputs[:, 1])
    targets = np.stack([np.where(high, 5.0, 1.0), np.where(high, -2.0, 2.0)], axis=1).astype(np.float32)
    floor = make_floor("boosted_trees", trees=1, leaves=2, learning_rate=1.0).fit(inputs, targets)
    np.testing.assert_allclose(floor.predict(inputs), targets, atol=0.05)


@pytest.mark.parametrize("name", ["knn", "boosted_trees"])
def test_learns_more_than_the_mean(name: str) -> None:
    asked, expected = nodes(100, seed=1)
    errors = {
        kind: np.abs(make_floor(kind).fit(*nodes(2000)).predict(asked) - expected).mean()
        for kind in (name, "mean_field")
    }
    assert errors[name] < 0.3 * errors["mean_field"]


def test_fitting_again_gives_the_same(floor: Floor) -> None:
    asked, _ = nodes(50, seed=1)
    before = floor.predict(asked)
    np.testing.assert_array_equal(floor.fit(*nodes()).predict(asked), before)


def test_follows_the_calling_convention(floor: Floor) -> None:
    """Padding, of whatever, changes nothing and gets zero."""
    inputs, _ = nodes(12, seed=1)
    cases = torch.from_numpy(inputs[:7]), torch.from_numpy(inputs[7:])
    x_BNC = torch.full((2, 8, IN_CHANNELS), float("nan"))
    mask_BN = torch.zeros(2, 8, dtype=torch.bool)
    for row, case in enumerate(cases):
        x_BNC[row, 1 : 1 + len(case)], mask_BN[row, 1 : 1 + len(case)] = case, True
    y_BNO = floor(x_BNC, mask_BN)
    assert y_BNO.dtype == torch.float32
    assert not y_BNO[~mask_BN].any()
    for row, case in enumerate(cases):
        assert_close(y_BNO[row, mask_BN[row]], floor(case[None])[0])
        np.testing.assert_allclose(floor(case[None])[0], floor.predict(case.numpy()), rtol=1e-6)


def test_rejects_a_batch_that_does_not_fit(floor: Floor) -> None:
    with pytest.raises(ValueError, match=r"expected \(cases, nodes, 4\)"):
        floor(torch.zeros(1, 5, 3))


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros((5, 3)), np.zeros((5, 2)), r"expected \(5, 4\) and \(5, 2\)"),
        (np.zeros((5, 4)), np.zeros((4, 2)), r"expected \(5, 4\) and \(5, 2\)"),
        (np.zeros((0, 4)), np.zeros((0, 2)), "at least one node"),
        (np.full((9, 4), np.nan), np.zeros((9, 2)), "finite"),
        (np.zeros((9, 4)), np.full((9, 2), np.inf), "finite"),
    ],
)
def test_rejects_nodes_that_do_not_fit(
    floor: Floor, inputs: np.ndarray, targets: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        floor.fit(inputs.astype(np.float32), targets.astype(np.float32))


def test_too_few_nodes_for_the_neighbors() -> None:
    with pytest.raises(ValueError, match="neighbors=5, but there are only 3 nodes"):
        make_floor("knn").fit(*nodes(3))


@pytest.mark.parametrize(
    ("config_type", "options", "message"),
    [
        (MeanFieldConfig, {"in_channels": 0}, "in_channels must be a positive integer, not 0"),
        (NearestNeighborsConfig, {"neighbors": 0}, "neighbors must be a positive integer, not 0"),
        (NearestNeighborsConfig, {"neighbors": "many"}, "not 'many'"),
        (BoostedTreesConfig, {"trees": -1}, "trees must be a positive integer, not -1"),
        (BoostedTreesConfig, {"leaves": 1}, "leaves must be at least 2"),
        (BoostedTreesConfig, {"learning_rate": 0.0}, "learning_rate must be over 0"),
        (BoostedTreesConfig, {"learning_rate": float("nan")}, "learning_rate must be over 0"),
    ],
)
def test_rejects_bad_options(config_type: type, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_type(**{"in_channels": 3, "out_channels": 1, **options})
