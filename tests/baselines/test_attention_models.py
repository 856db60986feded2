"""What holds for each of the models that mix nodes by attention or pooling."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.deep_sets import DeepSetsConfig
from baselines.gnot import GNOTConfig
from baselines.linformer import LinformerConfig
from baselines.lno import LNOConfig
from baselines.perceiver_io import PerceiverIOConfig
from baselines.registry import BASELINES
from baselines.set_transformer import SetTransformerConfig
from baselines.transformer import TransformerConfig
from baselines.transolver import TransolverConfig
from baselines.transolver_plus_plus import TransolverPlusPlusConfig
from baselines.upt import UPTConfig

CONFIGS: dict[str, Any] = {
    "deep_sets": DeepSetsConfig(3, 1),
    "gnot": GNOTConfig(3, 1, 64, num_blocks=2),
    "linear_attention": TransformerConfig(3, 1, num_blocks=2),
    "linformer": LinformerConfig(3, 1, num_blocks=2, sequence_length=64, num_projected=16),
    "lno": LNOConfig(3, 1, num_blocks=2, num_modes=64),
    "perceiver_io": PerceiverIOConfig(3, 1, num_blocks=2, num_latents=32),
    "set_transformer": SetTransformerConfig(3, 1),
    "transformer": TransformerConfig(3, 1, num_blocks=2),
    "transolver": TransolverConfig(3, 1, num_blocks=2),
    "transolver++": TransolverPlusPlusConfig(3, 1, num_blocks=2, gumbel_noise=False),
    "upt": UPTConfig(3, 1, num_blocks=1, num_supernodes=64, num_latents=32, radius=0.4),
}
SIZES = [
    (name, option)
    for name, config in CONFIGS.items()
    for option, value in vars(config).items()
    if type(value) is int
]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("deep_sets", 330_497),
        ("gnot", 4_873_113),
        ("linear_attention", 660_241),
        ("linformer", 922_385),
        ("lno", 762_241),
        ("perceiver_io", 1_864_961),
        ("set_transformer", 1_329_409),
        ("transformer", 660_241),
        ("transolver", 713_921),
        ("transolver++", 591_049),
        ("upt", 3_281_921),
    ],
)
def test_parameter_count_at_the_defaults(name: str, parameters: int) -> None:
    """Published for GNOT, LNO, Perceiver IO and Transolver, for Transolver++ with 512 more that do nothing,
    and as "660k" for the transformer; the others guard against slips.
    """
    entry = BASELINES[name]
    model = entry.build(entry.config_type(in_channels=3, out_channels=1))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_stays_near_float32(name: str) -> None:
    torch.manual_seed(0)
    model = BASELINES[name].build(CONFIGS[name])
    x_BNC = torch.rand(2, 300, 3) * 2 - 1
    mask_BN = torch.arange(300) < torch.tensor([[300], [170]])
    expected = model(x_BNC, mask_BN)
    with torch.autocast("cpu", torch.bfloat16):
        y_BNO = model(x_BNC, mask_BN)
    assert y_BNO.dtype == torch.bfloat16
    assert torch.linalg.norm(y_BNO.float() - expected) < 0.03 * torch.linalg.norm(expected)
    y_BNO.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


class LargestTensor(TorchDispatchMode):
    """Notes how many values the largest tensor has that any operation returns."""

    values = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("name", CONFIGS)
def test_holds_no_matrix_of_nodes_by_nodes(name: str) -> None:
    model = BASELINES[name].build(CONFIGS[name])
    nodes = 3000
    mask_BN = torch.arange(nodes)[None] < nodes - 7
    with LargestTensor() as largest:
        model(torch.rand(1, nodes, 3), mask_BN).sum().backward()
    assert nodes * 128 <= largest.values < nodes**2 / 4


@pytest.mark.parametrize("name", CONFIGS)
def test_takes_a_single_node_and_features_besides_the_position(name: str) -> None:
    model = BASELINES[name].build(replace(CONFIGS[name], in_channels=5))
    assert model(torch.rand(2, 1, 5)).isfinite().all()


@pytest.mark.parametrize(("name", "option"), SIZES)
@pytest.mark.parametrize("wrong", [0, -1, 2.0, True])
def test_rejects_sizes(name: str, option: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=f"{option} must be a positive integer, not {wrong}"):
        replace(CONFIGS[name], **{option: wrong})


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if hasattr(config, "num_heads")])
def test_rejects_heads_that_do_not_share_the_channels(name: str) -> None:
    with pytest.raises(ValueError, match="channels must be a multiple of num_heads"):
        replace(CONFIGS[name], num_heads=7)
