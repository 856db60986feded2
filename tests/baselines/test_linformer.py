import numpy as np
import pytest
import torch
from torch.testing import assert_close

from baselines.linformer import Linformer, LinformerAttention, LinformerConfig, find_places, resample
from baselines.ordering import curve_order


def resampling_matrix(nodes: int, length: int) -> torch.Tensor:
    """What each node on the curve gives to each place, (length, nodes): hats around the places, by NumPy."""
    place_N = (np.arange(nodes) + 0.5) * length / nodes - 0.5
    hats = [np.interp(place_N, np.arange(length), row) for row in np.eye(length)]
    return torch.from_numpy(np.stack(hats) * length / nodes)


@pytest.mark.parametrize("length", [1, 4, 11, 16])
def test_resampling_agrees_with_its_matrix(length: int) -> None:
    torch.manual_seed(0)
    x_BNC, h_BNC = torch.randn(2, 11, 3, dtype=torch.float64), torch.randn(2, 11, 5, dtype=torch.float64)
    counts = (11, 6)
    mask_BN = torch.arange(11) < torch.tensor(counts)[:, None]
    s_BSC = resample(h_BNC, find_places(x_BNC, mask_BN, length), length)
    for b, n in enumerate(counts):
        along_curve = h_BNC[b, curve_order(x_BNC[b : b + 1, :n])[0]]
        # Places are computed in float32.
        assert_close(s_BSC[b], resampling_matrix(n, length) @ along_curve, rtol=1e-5, atol=1e-5)


def test_as_many_nodes_as_places_stay_what_they_are() -> None:
    x_BNC, h_BNC = torch.randn(1, 8, 3), torch.randn(1, 8, 5)
    assert torch.equal(resample(h_BNC, find_places(x_BNC, None, 8), 8)[0], h_BNC[0, curve_order(x_BNC)[0]])


def test_attention_is_that_of_the_paper() -> None:
    """Keys and values of all nodes first, then projected along the sequence, head by head."""
    torch.manual_seed(0)
    attention = LinformerAttention(6, 2).double()
    x_BNC = torch.randn(1, 10, 6, dtype=torch.float64)
    projection_KS = torch.randn(4, 10, dtype=torch.float64)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    places = find_places(x_BNC, None, 10)
    x_NC = x_BNC[0, curve_order(x_BNC)[0]]
    key_weight, value_weight = attention.kv_proj.weight.chunk(2)
    heads = []
    for c in (slice(0, 3), slice(3, 6)):
        k_KD = projection_KS @ (x_NC @ key_weight[c].T)
        v_KD = projection_KS @ (x_NC @ value_weight[c].T)
        scores_NK = (x_NC @ attention.q_proj.weight[c].T) @ k_KD.T / 3**0.5
        heads.append(scores_NK.softmax(dim=1) @ v_KD)
    expected = attention.out_proj(torch.cat(heads, dim=1))
    assert_close(attention(x_BNC, places, projection_KS)[0, curve_order(x_BNC)[0]], expected)


def test_one_projection_for_all_blocks() -> None:
    sizes = [
        sum(p.numel() for p in Linformer(LinformerConfig(3, 1, num_projected=k)).parameters())
        for k in (8, 16)
    ]
    assert sizes[1] - sizes[0] == 8 * 1024


def test_attention_agrees_with_the_linformer_package() -> None:
    """A case with as many nodes as the projection has places, its nodes in the order of the curve."""
    package = pytest.importorskip("linformer.linformer", reason="the package linformer is not installed")
    torch.manual_seed(0)
    theirs = package.LinformerSelfAttention(12, seq_len=9, k=4, heads=3).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    # Ours has one projection for keys and values.
    theirs.proj_v = theirs.proj_k
    ours = LinformerAttention(12, 3).double()
    ours.q_proj.load_state_dict(theirs.to_q.state_dict())
    ours.kv_proj.load_state_dict({"weight": torch.cat([theirs.to_k.weight, theirs.to_v.weight])})
    ours.out_proj.load_state_dict(theirs.to_out.state_dict())

    x_BNC = torch.randn(2, 9, 12, dtype=torch.float64)
    x_BNC = x_BNC.gather(1, curve_order(x_BNC)[..., None].expand_as(x_BNC))
    assert_close(
        ours(x_BNC, find_places(x_BNC, None, 9), theirs.proj_k.T), theirs(x_BNC), rtol=1e-6, atol=1e-6
    )
