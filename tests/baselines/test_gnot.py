import torch
from torch import Tensor
from torch.nn.functional import gelu
from torch.testing import assert_close

from baselines.gnot import GatedExperts, GNOTBlock, GNOTConfig, NormalisedAttention

SMALL = GNOTConfig(3, 2, channels=8, num_blocks=2, num_heads=2, num_experts=3)


def normalised_attention(layer: NormalisedAttention, x_NC: Tensor, function_NC: Tensor) -> Tensor:
    """Sum over the nodes for each node, for one case."""
    heads = []
    for q_ND, k_ND, v_ND in zip(
        layer.q_proj(x_NC).chunk(layer.num_heads, dim=-1),
        layer.k_proj(function_NC).chunk(layer.num_heads, dim=-1),
        layer.v_proj(function_NC).chunk(layer.num_heads, dim=-1),
        strict=True,
    ):
        rows = []
        for q_D in q_ND.softmax(dim=-1):
            weights = [q_D @ k_D for k_D in k_ND.softmax(dim=-1)]
            rows.append(q_D + sum(w * v for w, v in zip(weights, v_ND, strict=True)) / sum(weights))
        heads.append(torch.stack(rows))
    return layer.out_proj(torch.cat(heads, dim=-1))


def test_attention_agrees_with_loops_over_nodes() -> None:
    torch.manual_seed(0)
    layer = NormalisedAttention(SMALL).double()
    x_BNC, function_BNC = torch.randn(2, 2, 12, 8, dtype=torch.float64)
    mask_BN = torch.rand(2, 12) < 0.6
    y_BNC, masked_BNC = layer(x_BNC, function_BNC, None), layer(x_BNC, function_BNC, mask_BN)
    for b, mask_N in enumerate(mask_BN):
        assert_close(y_BNC[b], normalised_attention(layer, x_BNC[b], function_BNC[b]))
        expected = normalised_attention(layer, x_BNC[b, mask_N], function_BNC[b, mask_N])
        assert_close(masked_BNC[b, mask_N], expected)


def gated_experts(layer: GatedExperts, x_NC: Tensor, gate_NK: Tensor) -> Tensor:
    """Each expert by itself, then their blend."""
    experts = gate_NK.shape[1]
    out = []
    for k in range(experts):
        w_in, b_in = (p.chunk(experts)[k] for p in (layer.in_layer.weight, layer.in_layer.bias))
        w_out = layer.out_layer.weight.chunk(experts, dim=1)[k]
        out.append(gelu(x_NC @ w_in.T + b_in) @ w_out.T + layer.out_bias[k])
    return torch.einsum("nk,knc->nc", gate_NK, torch.stack(out))


def make_experts() -> GatedExperts:
    torch.manual_seed(0)
    layer = GatedExperts(SMALL).double()
    torch.nn.init.normal_(layer.out_bias)
    return layer


def test_experts_agree_with_one_mlp_after_the_other() -> None:
    layer = make_experts()
    x_BNC = torch.randn(2, 7, 8, dtype=torch.float64)
    gate_BNK = torch.randn(2, 7, 3, dtype=torch.float64).softmax(dim=-1)
    y_BNC = layer(x_BNC, gate_BNK)
    for b in range(2):
        assert_close(y_BNC[b], gated_experts(layer, x_BNC[b], gate_BNK[b]))


def test_gate_that_is_all_for_one_expert_leaves_the_others_out() -> None:
    layer = make_experts()
    x_BNC, gate_BNK = torch.randn(1, 7, 8, dtype=torch.float64), torch.eye(3).double()[[1] * 7][None]
    gradient = torch.autograd.grad(layer(x_BNC, gate_BNK).sum(), layer.in_layer.bias)[0]
    used = gradient.chunk(3)
    assert used[1].all()
    assert not used[0].any()
    assert not used[2].any()


def test_block_agrees_with_its_parts() -> None:
    torch.manual_seed(0)
    block = GNOTBlock(SMALL).double()
    h_NC, function_NC = torch.randn(2, 9, 8, dtype=torch.float64)
    x_NC = torch.randn(9, 3, dtype=torch.float64)
    gate_NK = block.gate(x_NC)
    assert_close(gate_NK.sum(dim=-1), torch.ones(9, dtype=torch.float64))

    y_NC = h_NC + normalised_attention(
        block.cross_attention, block.cross_norm(h_NC), block.function_norm(function_NC)
    )
    y_NC = y_NC + block.cross_experts_norm(gated_experts(block.cross_experts, y_NC, gate_NK))
    normed_NC = block.self_norm(y_NC)
    y_NC = y_NC + normalised_attention(block.self_attention, normed_NC, normed_NC)
    y_NC = y_NC + block.self_experts_norm(gated_experts(block.self_experts, y_NC, gate_NK))
    assert_close(block(h_NC[None], function_NC[None], x_NC[None])[0], y_NC)
