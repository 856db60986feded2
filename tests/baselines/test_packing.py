import torch

from baselines.packing import PackedNodes

X_BNC = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
MASK_BN = torch.tensor([[False, True, True, False], [True, False, True, True]])


def test_leaves_padding_out_and_puts_it_back() -> None:
    packed = PackedNodes.of(X_BNC, MASK_BN)
    assert packed.cases.tolist() == [0, 0, 1, 1, 1]
    x_TC = packed.pack(X_BNC)
    assert torch.equal(x_TC, X_BNC[MASK_BN])
    restored = packed.unpack(x_TC)
    assert torch.equal(restored[MASK_BN], x_TC)
    assert not restored[~MASK_BN].any()


def test_renumbers_the_ends_of_edges() -> None:
    packed = PackedNodes.of(X_BNC, MASK_BN)
    endpoints = torch.tensor([[1, 2, 4, 7], [2, 1, 7, 6]])
    renumbered = packed.renumber(endpoints)
    assert renumbered.tolist() == [[0, 1, 2, 4], [1, 0, 4, 3]]
    assert torch.equal(packed.pack(X_BNC)[renumbered], X_BNC.flatten(0, 1)[endpoints])


def test_without_mask_nothing_moves() -> None:
    packed = PackedNodes.of(X_BNC, None)
    endpoints = torch.tensor([[0, 5], [3, 7]])
    assert torch.equal(packed.unpack(packed.pack(X_BNC)), X_BNC)
    assert torch.equal(packed.renumber(endpoints), endpoints)
