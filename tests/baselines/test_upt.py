import math

import pytest
import torch
from torch.testing import assert_close

from baselines.supernodes import find_supernodes
from baselines.upt import UPT, SupernodePooling, UPTConfig, embed_position


def test_embedding_agrees_with_loops() -> None:
    position = (0.3, -0.7, 0.05)
    expected = []
    for coordinate in position:
        angles = [100 * coordinate / 10_000 ** (i / 2) for i in range(2)]
        expected += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    embedded = embed_position(torch.tensor([[position]], dtype=torch.float64), 14)
    assert_close(embedded[0, 0], torch.tensor([*expected, 0.0, 0.0], dtype=torch.float64))


def test_pooling_agrees_with_loops() -> None:
    """Messages one by one: an MLP of the concatenated embeddings, averaged over the neighbours."""
    torch.manual_seed(0)
    pooling = SupernodePooling(4, 8).double()
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x_BNC = torch.randn(2, 12, 4, dtype=torch.float64)
    mask_BN = torch.arange(12) < torch.tensor([[12], [9]])
    supernodes = find_supernodes(x_BNC, mask_BN, 5, radius=1.5, max_neighbors=4)
    pooled_BSC = pooling(x_BNC, supernodes)
    first_layer = torch.cat([pooling.sender.weight, pooling.receiver.weight], dim=1)
    for b, n in enumerate((12, 9)):
        h_NC = pooling.embedding(x_BNC[b]) + embed_position(x_BNC[b : b + 1, :, :3], 8)[0]
        distance_NN = torch.cdist(x_BNC[b, :n, :3], x_BNC[b, :n, :3])
        for s, node in enumerate(supernodes.nodes[b].tolist()):
            near = [i for i in distance_NN[node].argsort().tolist()[:4] if distance_NN[node, i] <= 1.5]
            messages = [
                pooling.message(
                    torch.nn.functional.gelu(
                        first_layer @ torch.cat([h_NC[i], h_NC[node]]) + pooling.receiver.bias
                    )
                )
                for i in near
            ]
            assert_close(pooled_BSC[b, s], torch.stack(messages).mean(dim=0))


def test_every_node_hears_of_every_other() -> None:
    """Each node is a supernode or next to one, so each has a say in the field on all."""
    torch.manual_seed(0)
    config = UPTConfig(3, 1, 16, 1, 2, num_supernodes=8, num_latents=4, radius=0.9, max_neighbors=30)
    model = UPT(config).double()
    x_BNC = torch.rand(1, 30, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x_BNC)[0, 0].sum(), x_BNC)
    assert (gradient != 0).any(dim=-1).all()


def test_few_axes() -> None:
    config = UPTConfig(2, 1, 16, 1, 2, num_supernodes=4, num_latents=2)
    assert UPT(config)(torch.rand(1, 6, 2)).shape == (1, 6, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": 0.0}, "radius must be positive, not 0.0"),
        ({"radius": float("nan")}, "radius must be positive, not nan"),
        ({"channels": 4}, "channels must be 6 at least, not 4"),
    ],
)
def test_rejects_options(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UPTConfig(in_channels=3, out_channels=1, **wrong)  # type: ignore[arg-type]
