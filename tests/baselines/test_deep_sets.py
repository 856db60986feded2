import torch
from torch.testing import assert_close

from baselines.deep_sets import DeepSets, DeepSetsConfig, EquivariantLayer


def test_layer_agrees_with_the_lemma() -> None:
    torch.manual_seed(0)
    layer = EquivariantLayer(3, 4).double()
    x_NC = torch.randn(6, 3, dtype=torch.float64)
    highest_C = torch.tensor([max(column) for column in x_NC.T.tolist()], dtype=torch.float64)
    rows = [
        torch.tanh(layer.own.weight @ x_C + layer.own.bias - layer.pooled.weight @ highest_C) for x_C in x_NC
    ]
    assert_close(layer(x_NC[None])[0], torch.stack(rows))


def test_layers_are_those_asked_for() -> None:
    model = DeepSets(DeepSetsConfig(3, 1, channels=16, num_layers=4))
    assert [layer.own.in_features for layer in model.layers] == [3, 16, 16, 16]
