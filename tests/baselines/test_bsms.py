"""BSMS-GNN; what every model promises (`test_calling_convention`) is tested here on meshes with levels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from baselines.bistride import coarsen
from baselines.bsms import BSMS, ENTRY, BSMSConfig, MessagePassing, pool, unpool
from baselines.convention import MeshEdges, MeshLevel, MeshLevels, check_levels
from baselines.mesh_levels import batch_levels, mesh_levels

from .meshes import block

if TYPE_CHECKING:
    from torch import Tensor

IN_CHANNELS, OUT_CHANNELS, LEVELS = 3, 2, 2
SMALL = BSMSConfig(IN_CHANNELS, OUT_CHANNELS, channels=12, num_levels=LEVELS, hidden_layers=2)


class Mesh(NamedTuple):
    """A case: node features (N, C), which are its scaled positions, and its graphs."""

    x: Tensor
    edges: MeshEdges
    levels: MeshLevels


def make_mesh(*shape: int, seed: int = 0, num_levels: int = LEVELS) -> Mesh:
    """A distorted block of so many nodes along each axis."""
    points, edges = block(*shape)
    points = (points + np.random.default_rng(seed).normal(scale=0.2, size=points.shape)) / 3
    levels = mesh_levels(points, edges, coarsen(points, edges, num_levels))
    return Mesh(torch.from_numpy(points), finest_edges(points, edges), levels)


def finest_edges(points: np.ndarray, edges: np.ndarray) -> MeshEdges:
    endpoints = torch.from_numpy(np.concatenate([edges, edges[:, ::-1]]).T.astype(np.int64))
    relative = torch.from_numpy(points)[endpoints[1]] - torch.from_numpy(points)[endpoints[0]]
    return MeshEdges(endpoints, torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1))


def make_model(config: BSMSConfig = SMALL) -> BSMS:
    """Build a model in float64 whose weights are large enough for every part to matter."""
    torch.manual_seed(0)
    model = BSMS(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def pad(meshes: list[Mesh], nodes: int, filling: float) -> tuple[Tensor, Tensor, MeshEdges, MeshLevels]:
    counts = [len(mesh.x) for mesh in meshes]
    x_BNC = torch.full((len(meshes), nodes, IN_CHANNELS), filling, dtype=torch.float64)
    mask_BN = torch.arange(nodes) < torch.tensor(counts)[:, None]
    x_BNC[mask_BN] = torch.cat([mesh.x for mesh in meshes])
    edges = MeshEdges(
        torch.cat([mesh.edges.endpoints + nodes * b for b, mesh in enumerate(meshes)], dim=1),
        torch.cat([mesh.edges.features for mesh in meshes]),
    )
    return x_BNC, mask_BN, edges, batch_levels([mesh.levels for mesh in meshes], counts, nodes)


def run_alone(model: BSMS, mesh: Mesh) -> Tensor:
    y_NO: Tensor = model(mesh.x[None], edges=mesh.edges, levels=mesh.levels)[0]
    return y_NO


def gradients_of(model: BSMS, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


MESHES = [make_mesh(3, 4, 3), make_mesh(5, 2, 3, seed=1), make_mesh(2, 2, 2, seed=2)]


def test_a_padded_case_gets_what_it_gets_alone() -> None:
    model, nodes = make_model(), 40
    x_BNC, mask_BN, edges, levels = pad(MESHES, nodes, float("nan"))
    y_BNO = model(x_BNC, mask_BN, edges=edges, levels=levels)
    alone = [run_alone(model, mesh) for mesh in MESHES]
    assert_close(y_BNO[mask_BN], torch.cat(alone), rtol=1e-10, atol=1e-10)
    assert (y_BNO[~mask_BN] == 0).all()
    expected = gradients_of(model, sum(y.square().sum() for y in alone))  # type: ignore[arg-type]
    got = gradients_of(model, y_BNO.square().sum())
    for g, e in zip(got, expected, strict=True):
        assert_close(g, e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("filling", [float("nan"), float("inf"), 1.0])
def test_padding_reaches_neither_outputs_nor_gradients(filling: float) -> None:
    model = make_model()

    def run(value: float) -> list[Tensor]:
        x_BNC, mask_BN, edges, levels = pad(MESHES, 40, value)
        x_BNC.requires_grad_()
        y_BNO = model(x_BNC, mask_BN, edges=edges, levels=levels)
        # A loss that looks at padded outputs as well.
        gradients = torch.autograd.grad((y_BNO - 1).square().sum(), [x_BNC, *model.parameters()])
        assert (gradients[0][~mask_BN] == 0).all()
        return [y_BNO, *gradients]

    for dirty, clean in zip(run(filling), run(0.0), strict=True):
        assert torch.equal(dirty, clean)


def test_batch_mates_are_strangers() -> None:
    x_BNC, mask_BN, edges, levels = pad(MESHES, 40, 0.0)
    x_BNC.requires_grad_()
    y_BNO = make_model()(x_BNC, mask_BN, edges=edges, levels=levels)
    (gradient,) = torch.autograd.grad(y_BNO[1].square().sum(), x_BNC)
    assert (gradient[[0, 2]] == 0).all()
    assert (gradient[1][mask_BN[1]] != 0).any()


def renumber(mesh: Mesh, seed: int = 0) -> tuple[Mesh, Tensor]:
    """Number the nodes of every level anew and shuffle edges; return the order of the finest nodes."""
    generator = torch.Generator().manual_seed(seed)

    def shuffle(count: int) -> Tensor:
        return torch.randperm(count, generator=generator)

    def renumber_edges(edges: MeshEdges, number: Tensor) -> MeshEdges:
        order = shuffle(len(edges.features))
        return MeshEdges(number[edges.endpoints][:, order], edges.features[order])

    order = shuffle(len(mesh.x))
    finer_number = first_number = torch.argsort(order)
    levels = []
    for level in mesh.levels:
        number, link_order = shuffle(level.node_count), shuffle(len(level.weights))
        links = torch.stack([finer_number[level.links[0]], number[level.links[1]]])[:, link_order]
        edges = renumber_edges(level.edges, number)
        levels.append(MeshLevel(level.node_count, links, level.weights[link_order], edges))
        finer_number = number
    return Mesh(mesh.x[order], renumber_edges(mesh.edges, first_number), tuple(levels)), order


def test_equivariant_to_the_order_of_nodes_and_of_edges_on_every_level() -> None:
    model, mesh = make_model(), make_mesh(4, 3, 5)
    renumbered, order = renumber(mesh)
    assert_close(run_alone(model, renumbered), run_alone(model, mesh)[order], rtol=1e-10, atol=1e-10)


def test_every_parameter_learns() -> None:
    model = make_model()
    y_NO = run_alone(model, make_mesh(5, 5, 5))
    for (name, _), gradient in zip(
        model.named_parameters(), gradients_of(model, y_NO.square().sum()), strict=True
    ):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_messages_cross_the_mesh_through_the_levels() -> None:
    """A bar far longer than the steps on its finest level: both ends feel each other."""
    mesh = make_mesh(40, 2, 2, num_levels=4)
    x_NC = mesh.x.clone().requires_grad_()
    y_NO = run_alone(make_model(BSMSConfig(3, 2, 12, 4, 2)), mesh._replace(x=x_NC))
    (gradient,) = torch.autograd.grad(y_NO[0].sum(), x_NC)
    assert gradient[-1].any()


def test_message_passing_equals_a_loop_over_edges() -> None:
    torch.manual_seed(0)
    step, mesh = MessagePassing(channels=8, hidden_layers=3).double(), MESHES[0]
    h_NC = torch.randn(len(mesh.x), 8, dtype=torch.float64)
    received_NC = torch.zeros_like(h_NC)
    for (sender, receiver), features in zip(mesh.edges.endpoints.T, mesh.edges.features, strict=True):
        inputs = torch.cat([features, h_NC[sender], h_NC[receiver]])
        received_NC[receiver] += step.edge_mlp(step.edge_input(inputs))
    expected = torch.stack(
        [h + step.node_mlp(torch.cat([h, r])) for h, r in zip(h_NC, received_NC, strict=True)]
    )
    assert_close(step(h_NC, mesh.edges), expected, rtol=1e-12, atol=1e-12)


def test_features_go_between_levels_as_by_a_matrix_and_its_transpose() -> None:
    mesh = make_mesh(4, 3, 3)
    level, h_AC = mesh.levels[0], torch.randn(36, 5, dtype=torch.float64)
    matrix_KA = torch.zeros(level.node_count, 36, dtype=torch.float64)
    for (fine, coarse), weight in zip(level.links.T, level.weights, strict=True):
        matrix_KA[coarse, fine] = weight
    h_KC = pool(h_AC, level)
    assert_close(h_KC, matrix_KA @ h_AC)
    assert_close(unpool(h_KC, level, 36), matrix_KA.T @ h_KC)
    assert_close(pool(torch.ones(36, 1, dtype=torch.float64), level).squeeze(), matrix_KA.sum(dim=1))


def test_nodes_without_edges_go_through() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [5, 5, 5]])
    edges = np.array([[0, 1]])
    levels = mesh_levels(points, edges, coarsen(points, edges, LEVELS))
    y_NO = run_alone(make_model(), Mesh(torch.from_numpy(points), finest_edges(points, edges), levels))
    assert y_NO.isfinite().all()


def test_default_size_is_that_of_the_paper() -> None:
    config = BSMSConfig(in_channels=3, out_channels=1)
    model = BSMS(config)
    steps = [module for module in model.modules() if isinstance(module, MessagePassing)]
    assert len(steps) == 2 * 6 + 1
    c = 128
    step = (4 + 2 * c + 1) * c + 3 * (c + 1) * c + (2 * c + 1) * c + 3 * (c + 1) * c
    ends = (3 + 1) * c + 3 * (c + 1) * c + 3 * (c + 1) * c + c + 1
    assert sum(parameter.numel() for parameter in model.parameters()) == 13 * step + ends == 2_249_601


def test_reads_no_value_back() -> None:
    """Tensors without data pass, so an accelerator is never waited for."""
    x_BNC, mask_BN, edges, levels = pad(MESHES, 40, 0.0)
    meta_levels = tuple(
        MeshLevel(
            level.node_count,
            level.links.to("meta"),
            level.weights.to("meta"),
            MeshEdges(*(t.to("meta") for t in level.edges)),
        )
        for level in levels
    )
    y_BNO = make_model().to("meta")(
        x_BNC.to("meta"),
        mask_BN.to("meta"),
        edges=MeshEdges(*(t.to("meta") for t in edges)),
        levels=meta_levels,
    )
    y_BNO.sum().backward()
    assert y_BNO.shape == (3, 40, OUT_CHANNELS)


def to_float(mesh: Mesh) -> Mesh:
    levels = tuple(
        MeshLevel(
            level.node_count,
            level.links,
            level.weights.float(),
            MeshEdges(level.edges.endpoints, level.edges.features.float()),
        )
        for level in mesh.levels
    )
    edges = MeshEdges(mesh.edges.endpoints, mesh.edges.features.float())
    return Mesh(mesh.x.float(), edges, levels)


def test_bfloat16_autocast_is_near_float32() -> None:
    torch.manual_seed(0)
    model, mesh = BSMS(SMALL), to_float(make_mesh(4, 4, 4))
    y_NO = run_alone(model, mesh)
    assert y_NO.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        low_NO = run_alone(model, mesh).float()
    low_NO.square().sum().backward()
    assert torch.linalg.norm(low_NO - y_NO) < 0.05 * torch.linalg.norm(y_NO)


def test_learns_a_small_case_to_within_one_percent() -> None:
    torch.manual_seed(0)
    mesh = to_float(make_mesh(4, 4, 4))
    model = BSMS(BSMSConfig(IN_CHANNELS, OUT_CHANNELS, channels=64, num_levels=2, hidden_layers=2))
    x, y, z = mesh.x.unbind(dim=-1)
    target_NO = torch.stack([z * (1 - z) + 0.3 * x * y, torch.sin(2 * x) - z], dim=-1)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=300)
    for _ in range(300):
        optimiser.zero_grad()
        error = torch.linalg.norm(run_alone(model, mesh) - target_NO) / torch.linalg.norm(target_NO)
        error.backward()
        optimiser.step()
        schedule.step()
    assert error.item() < 0.01


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "channels", "num_levels", "hidden_layers"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_rejects_sizes(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive integer, not {value}"):
        BSMSConfig(**{"in_channels": 3, "out_channels": 1, name: value})  # type: ignore[arg-type]


def test_rejects_another_number_of_levels() -> None:
    mesh = make_mesh(3, 3, 3, num_levels=3)
    with pytest.raises(ValueError, match="the batch has 3 levels; the model takes 2"):
        run_alone(make_model(), mesh)


GOOD = MESHES[0].levels
X_BNC = MESHES[0].x[None]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((GOOD[0]._replace(links=GOOD[0].links.T), GOOD[1]), r"level 1: links are \(\d+, 2\) torch.int64"),
        ((GOOD[0], GOOD[1]._replace(links=GOOD[1].links.int())), "level 2: links are .* torch.int32"),
        ((GOOD[0], GOOD[1]._replace(links=GOOD[1].links[0, 0])), r"level 2: links are \(\) "),
        ((GOOD[0], GOOD[1]._replace(weights=GOOD[1].weights[:-1])), "level 2: link weights have shape"),
        ((GOOD[0]._replace(weights=GOOD[0].weights.to("meta")), GOOD[1]), "links and input are on cpu, meta"),
        ((GOOD[0]._replace(links=GOOD[0].links + 36), GOOD[1]), "level 1: links name nodes .* has 36"),
        ((GOOD[0]._replace(node_count=2), GOOD[1]), "level 1: links name nodes 0 to .* has 2"),
        ((GOOD[0], GOOD[0]), "level 2: links name nodes"),
        ((GOOD[0]._replace(edges=MESHES[0].edges), GOOD[1]), "level 1: edges name nodes 0 to 35"),
        (
            (GOOD[0]._replace(edges=MeshEdges(GOOD[0].edges.endpoints, GOOD[0].weights)), GOOD[1]),
            "level 1: edge features have shape",
        ),
    ],
)
def test_rejects_levels(levels: MeshLevels, message: str) -> None:
    check_levels(GOOD, X_BNC)
    with pytest.raises(ValueError, match=message):
        check_levels(levels, X_BNC)
    with pytest.raises(ValueError, match=message):
        make_model()(X_BNC, edges=MESHES[0].edges, levels=levels)


def test_says_what_it_takes() -> None:
    assert ENTRY.takes == "levels"
    assert isinstance(ENTRY.build(ENTRY.config_type(in_channels=3, out_channels=1)), BSMS)


def test_recomputing_changes_nothing():
    mesh = make_mesh(4, 3, 3)
    gradients = []
    for recompute in (False, True):
        model = make_model(replace(SMALL, recompute=recompute))
        y_BNO = model(mesh.x[None], edges=mesh.edges, levels=mesh.levels)
        gradients.append(torch.autograd.grad(y_BNO.square().sum(), list(model.parameters())))
    for kept, recomputed in zip(*gradients, strict=True):
        assert_close(recomputed, kept, rtol=0, atol=0)
