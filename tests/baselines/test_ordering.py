import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.ordering import CURVE_BITS, curve_order, node_counts, take_nodes


def interleave(cells: list[int]) -> int:
    """Morton code, one bit at a time."""
    code = 0
    for bit in range(CURVE_BITS):
        for axis, cell in enumerate(cells):
            code |= ((cell >> bit) & 1) << (3 * bit + axis)
    return code


def order_slowly(points: torch.Tensor) -> list[int]:
    low, side = points[:, :3].amin(dim=0), (points[:, :3].amax(dim=0) - points[:, :3].amin(dim=0)).max()
    cells = ((points[:, :3] - low) / side.clamp_min(1e-30) * (2**CURVE_BITS - 1)).long().tolist()
    keys = [(interleave(cell), *point.tolist()) for cell, point in zip(cells, points, strict=True)]
    return sorted(range(len(points)), key=keys.__getitem__)


def test_order_agrees_with_loops() -> None:
    torch.manual_seed(0)
    x_BNC = torch.randn(2, 50, 5)
    order_BN = curve_order(x_BNC)
    for b in range(2):
        assert order_BN[b].tolist() == order_slowly(x_BNC[b])


def test_visits_the_octants_one_after_another() -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    x_BNC = torch.cat([corners, corners + 2])[None]
    assert (curve_order(x_BNC)[0, :8] < 8).all()


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=30, unique=True),
    seed=st.integers(0, 2**16),
    extra=st.integers(0, 4),
)
def test_neither_storage_nor_padding_matters(points: list[tuple[int, ...]], seed: int, extra: int) -> None:
    """On a grid, where many nodes differ in features that are no position alone."""
    x_NC = torch.tensor(points, dtype=torch.float32)
    expected = x_NC[curve_order(x_NC[None])[0]]
    shuffle = torch.randperm(len(points) + extra, generator=torch.Generator().manual_seed(seed))
    padded_NC = torch.cat([x_NC, torch.zeros(extra, 4)])[shuffle]
    mask_N = shuffle < len(points)
    order_N = curve_order(padded_NC[None], mask_N[None])[0]
    assert torch.equal(padded_NC[order_N][: len(points)], expected)
    assert not mask_N[order_N][len(points) :].any()


def test_nodes_in_one_place() -> None:
    assert curve_order(torch.ones(1, 4, 3)).tolist() == [[0, 1, 2, 3]]
    assert curve_order(torch.tensor([[[5.0, 2.0], [5.0, 1.0]]])).tolist() == [[1, 0]]


def test_takes_nodes_of_each_case() -> None:
    x_BNC = torch.randn(2, 5, 3)
    nodes_BK = torch.tensor([[4, 0], [1, 1]])
    assert torch.equal(take_nodes(x_BNC, nodes_BK)[1], x_BNC[1, [1, 1]])
    assert torch.equal(take_nodes(x_BNC, nodes_BK)[0], x_BNC[0, [4, 0]])


def test_counts_nodes() -> None:
    x_BNC = torch.zeros(2, 3, 1)
    assert node_counts(x_BNC).tolist() == [3, 3]
    assert node_counts(x_BNC, torch.tensor([[True, False, False], [True, True, True]])).tolist() == [1, 3]
