import pytest
import torch
from torch import Tensor

import baselines.supernodes
from baselines.ordering import curve_order
from baselines.supernodes import Supernodes, find_supernodes


def grid(side: int) -> Tensor:
    """Nodes of a cubic mesh of unit spacing, (1, side^3, 3)."""
    return torch.cartesian_prod(*[torch.arange(float(side))] * 3)[None]


def neighborhoods(x_NC: Tensor, supernodes: Supernodes, case: int) -> dict[tuple[float, ...], set[object]]:
    """Positions of the neighbours of each supernode, by its position."""
    mask_S = (
        torch.ones_like(supernodes.nodes, dtype=torch.bool) if supernodes.mask is None else supernodes.mask
    )
    return {
        tuple(x_NC[node].tolist()): {tuple(x_NC[n].tolist()) for n in near[real]}
        for node, near, real, kept in zip(
            supernodes.nodes[case],
            supernodes.neighbors[case],
            supernodes.is_neighbor[case],
            mask_S[case],
            strict=True,
        )
        if kept
    }


def test_neighbors_are_all_within_the_radius() -> None:
    x_BNC = grid(4)
    supernodes = find_supernodes(x_BNC, None, 64, radius=1.01, max_neighbors=27)
    for near_K, real_K, node in zip(
        supernodes.neighbors[0], supernodes.is_neighbor[0], supernodes.nodes[0], strict=True
    ):
        distance_N = torch.linalg.norm(x_BNC[0] - x_BNC[0, node], dim=-1)
        assert sorted(near_K[real_K].tolist()) == torch.nonzero(distance_N <= 1.01).flatten().tolist()


def test_takes_the_nearest_where_there_are_too_many() -> None:
    torch.manual_seed(0)
    x_BNC = torch.randn(2, 40, 3)
    supernodes = find_supernodes(x_BNC, None, 10, radius=10.0, max_neighbors=5)
    assert supernodes.is_neighbor.all()
    distance_BNN = torch.cdist(x_BNC, x_BNC)
    for b in range(2):
        nearest_SK = distance_BNN[b, supernodes.nodes[b]].topk(5, largest=False).indices
        assert torch.equal(supernodes.neighbors[b].sort().values, nearest_SK.sort().values)


def test_supernodes_are_spread_along_the_curve() -> None:
    x_BNC = grid(4)
    supernodes = find_supernodes(x_BNC, None, 8, radius=1.0, max_neighbors=1)
    assert torch.equal(supernodes.nodes, curve_order(x_BNC)[:, ::8])
    assert supernodes.mask is None
    assert torch.equal(supernodes.neighbors[..., 0], supernodes.nodes)


@pytest.mark.parametrize("max_neighbors", [3, 5, 12])
def test_equal_distances_are_told_apart_by_neither_storage_nor_padding(max_neighbors: int) -> None:
    torch.manual_seed(0)
    alone = grid(4)
    expected = neighborhoods(alone[0], find_supernodes(alone, None, 20, 1.5, max_neighbors), 0)
    place_N = torch.randperm(90)[:64]
    x_BNC, mask_BN = torch.zeros(2, 90, 3), torch.zeros(2, 90, dtype=torch.bool)
    x_BNC[0, place_N], mask_BN[0, place_N] = alone[0], True
    x_BNC[1], mask_BN[1] = torch.randn(90, 3), True
    supernodes = find_supernodes(x_BNC, mask_BN, 20, 1.5, max_neighbors)
    assert neighborhoods(x_BNC[0], supernodes, 0) == expected


def test_a_small_case_has_every_node_once() -> None:
    x_BNC = torch.randn(2, 9, 3)
    mask_BN = torch.arange(9) < torch.tensor([[9], [4]])
    supernodes = find_supernodes(x_BNC, mask_BN, 7, radius=0.1, max_neighbors=2)
    assert supernodes.mask is not None
    assert supernodes.mask.sum(dim=1).tolist() == [7, 4]
    assert sorted(supernodes.nodes[1][supernodes.mask[1]].tolist()) == [0, 1, 2, 3]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x_BNC = torch.randn(2, 30, 3)
    whole = find_supernodes(x_BNC, None, 11, 1.0, 4)
    monkeypatch.setattr(baselines.supernodes, "DISTANCES_AT_ONCE", 130)
    for part, expected in zip(find_supernodes(x_BNC, None, 11, 1.0, 4), whole, strict=True):
        assert part is expected is None or torch.equal(part, expected)
