import pytest
import torch
from torch import nn
from torch.testing import assert_close

from baselines.pointnet import PointNet, PointNetConfig


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"in_channels": 0}, "in_channels"),
        ({"local_channels": ()}, "local_channels"),
        ({"head_channels": (64, 0)}, "head_channels"),
        ({"global_channels": (64, 2.0)}, "global_channels"),
    ],
)
def test_rejects_widths(wrong: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive integers"):
        PointNetConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def test_default_widths_are_those_of_the_paper() -> None:
    """Segmentation network of figure 2, without its transform networks."""
    widths = [(3, 64), (64, 64), (64, 64), (64, 128), (128, 1024)]
    widths += [(1088, 512), (512, 256), (256, 128), (128, 128), (128, 1)]
    model = PointNet(PointNetConfig(in_channels=3, out_channels=1))
    linears = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert linears == widths


def test_agrees_with_plain_concatenation() -> None:
    """The network as drawn: tile the pooled feature over the nodes, concatenate, go on."""
    torch.manual_seed(0)
    model = PointNet(PointNetConfig(3, 2, (8,), (8, 16), (12, 8))).double()
    x_NC = torch.randn(20, 3, dtype=torch.float64)
    local_NL = model.local_mlp(x_NC)
    pooled_G = model.global_mlp(local_NL).max(dim=0).values
    concatenated = torch.cat([local_NL, pooled_G.expand(20, -1)], dim=1)
    assert_close(model(x_NC[None])[0], model.head(model.concatenated(concatenated)))
