"""One case over several gloo processes against the same case in one."""

import dataclasses
import functools
import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from flare import (
    FLARE,
    MIXERS,
    FLAREConfig,
    checkpoint_blocks,
    local_nodes,
    predict_chunked,
    sum_gradients,
    sum_over_ranks,
    token_sharding,
)
from flare.sharding import token_group

SMALL = FLAREConfig(in_channels=3, out_channels=2, channels=16, num_blocks=2, num_heads=2, num_latents=6)


def make_model(config: FLAREConfig = SMALL) -> FLARE:
    """Build the same model in every process, its attention far from uniform."""
    torch.manual_seed(0)
    model = FLARE(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


def relative_error(y_BNO: Tensor, target_BNO: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Relative L2 norm over all nodes of all ranks: no sum over nodes, but a function of two."""
    sums = torch.stack([(y_BNO - target_BNO).square().sum(), target_BNO.square().sum()])
    if group is not None:
        sums = sum_over_ranks(sums, group)
    return (sums[0] / sums[1]).sqrt()


def make_case(nodes: int, cases: int = 2, seed: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(cases, nodes, 3).double(), torch.randn(cases, nodes, 2).double()


def gradients_of(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters()]


def whole_case(model: FLARE, x: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    y_BNO = model(x, mask)
    relative_error(y_BNO, target).backward()
    return y_BNO.detach(), [g.clone() for g in gradients_of(model)]


def check_model(
    group: ProcessGroup, nodes: int, mask: Tensor | None = None, config: FLAREConfig = SMALL
) -> None:
    """Outputs and gradients of a sharded case equal those of the whole one."""
    model = make_model(config)
    x, target = make_case(nodes)
    expected, expected_gradients = whole_case(model, x, target, mask)

    local = local_nodes(nodes, group)
    model.zero_grad()
    with token_sharding(group):
        y = model(x[:, local], None if mask is None else mask[:, local])
    assert_close(y, expected[:, local], rtol=1e-11, atol=1e-11)
    relative_error(y, target[:, local], group).backward()
    sum_gradients(model, group)
    assert_close(gradients_of(model), expected_gradients, rtol=1e-9, atol=1e-11)


def check_half_precision(group: ProcessGroup) -> None:
    """bfloat16 gradients are summed in float32; autocast shards as it runs alone."""
    parameter = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    # 256 + 1 + ... rounds back to 256 at every step of a bfloat16 sum.
    parameter.weight.grad = torch.full((1, 1), 256.0 if dist.get_rank(group) == 0 else 1.0).bfloat16()
    sum_gradients(parameter, group)
    exact = 256.0 + dist.get_world_size(group) - 1
    assert parameter.weight.grad.item() == torch.tensor(exact).bfloat16().item()

    model = make_model().float()
    x = make_case(100)[0].float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        whole = model(x).float()
        local = local_nodes(100, group)
        with token_sharding(group):
            y = model(x[:, local]).float()
    assert torch.linalg.norm(y - whole[:, local]) < 0.03 * torch.linalg.norm(whole)


def check_chunked_prediction(group: ProcessGroup) -> None:
    """Slices predicted in chunks, empty ones among them, equal the whole case predicted at once."""
    ranks = dist.get_world_size(group)
    for mixer in MIXERS:
        model = make_model(dataclasses.replace(SMALL, mixer=mixer, latent_blocks=1))
        for nodes in (23, ranks - 1):
            x, mask = make_case(nodes)[0], torch.arange(nodes) >= torch.tensor([[nodes // 2], [0]])
            local = local_nodes(nodes, group)
            with token_sharding(group):
                y = predict_chunked(model, x[:, local], mask[:, local], chunk=4)
            assert_close(y, model(x, mask)[:, local].detach(), rtol=1e-11, atol=1e-11)


def check_hidden_case(group: ProcessGroup) -> None:
    """A case without a node on any rank is told on all."""
    model, x = make_model(), make_case(8)[0]
    hidden = torch.tensor([[True], [False]]).expand(2, 8)
    for predict in (model, functools.partial(predict_chunked, model)):
        with token_sharding(group), pytest.raises(ValueError, match="hides every node of case 1"):
            predict(x, hidden)
        with token_sharding(group), pytest.raises(ValueError, match="hides every node of case 0, 1"):
            predict(x[:, :0])


def check_recomputation(group: ProcessGroup) -> None:
    """A backward pass outside of the context, with activations computed again."""
    model, (x, target) = make_model(), make_case(20)
    _, expected_gradients = whole_case(model, x, target, None)
    checkpoint_blocks(model).zero_grad()
    local = local_nodes(20, group)
    with token_sharding(group):
        y = model(x[:, local])
    relative_error(y, target[:, local], group).backward()
    sum_gradients(model, group)
    assert_close(gradients_of(model), expected_gradients, rtol=1e-9, atol=1e-11)


def check_compiled(group: ProcessGroup) -> None:
    model, (x, _) = make_model(), make_case(20)
    local = local_nodes(20, group)
    with token_sharding(group), torch.no_grad():
        y = torch.compile(model, backend="eager")(x[:, local])
    assert_close(y, model(x)[:, local].detach())


def check_payload_is_independent_of_nodes(group: ProcessGroup) -> None:
    sent = []

    def send(tensor: Tensor, *args: object) -> None:
        sent.append(tensor.numel())
        all_reduce(tensor, *args)

    all_reduce, model = dist.all_reduce, make_model()
    with pytest.MonkeyPatch.context() as patch, token_sharding(group):
        patch.setattr(dist, "all_reduce", send)
        model(make_case(40)[0]).sum().backward()
    numbers = 2 * SMALL.channels * SMALL.num_latents
    per_channel = numbers // (SMALL.channels // SMALL.num_heads)
    # Which cases have a node, then largest log-normalisers and sums of each block, and their gradients.
    forward = SMALL.num_blocks * [per_channel, numbers + per_channel]
    assert sent == [2, *forward, *(SMALL.num_blocks * [numbers])]


def check_two_dimensions(average_over_all: bool) -> None:
    """Two cases over the first dimension of a mesh, each sharded over the second."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "token"))
    group, data_rank = mesh.get_group("token"), mesh.get_local_rank("data")
    single = make_model()
    cases = [make_case(13, cases=1, seed=seed) for seed in (3, 4)]
    expected = [whole_case(single, *case, None)[1] for case in cases]

    model = make_model()
    averaged = dist.group.WORLD if average_over_all else mesh.get_group("data")
    parallel = DistributedDataParallel(model, process_group=averaged)
    x, target = cases[data_rank]
    local = local_nodes(13, group)
    with token_sharding(group):
        loss = relative_error(parallel(x[:, local]), target[:, local], group)
    if average_over_all:
        (loss * dist.get_world_size(group)).backward()
    else:
        loss.backward()
        sum_gradients(model, group)
    mean = [(first + second) / 2 for first, second in zip(*expected, strict=True)]
    assert_close(gradients_of(model), mean, rtol=1e-9, atol=1e-11)


def run_rank(rank: int, ranks: int, rendezvous: str) -> None:
    """Everything that is checked in one process of the group, so that processes start once."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=ranks, timeout=timedelta(seconds=60)
    )
    group = dist.group.WORLD
    # Slices of unequal length, and empty ones.
    for nodes in (23, ranks - 1):
        check_model(group, nodes)
    first_slice_is_padding = torch.arange(23) >= torch.tensor([[12], [2]])
    check_model(group, 23, first_slice_is_padding)
    check_model(group, 23, ~first_slice_is_padding)
    check_model(group, 23, config=dataclasses.replace(SMALL, mixer="flare++", qk_norm=True, latent_blocks=1))
    check_model(group, 23, config=dataclasses.replace(SMALL, mixer="flare++gated"))
    check_chunked_prediction(group)
    check_hidden_case(group)
    check_half_precision(group)
    check_recomputation(group)
    check_payload_is_independent_of_nodes(group)
    if ranks == 2:
        check_compiled(group)
    if ranks == 4:
        check_two_dimensions(average_over_all=False)
        check_two_dimensions(average_over_all=True)
    assert token_group() is None
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_sharded_equals_whole(ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # The processes import this module by its name.
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    torch.multiprocessing.spawn(run_rank, args=(ranks, str(tmp_path / "rendezvous")), nprocs=ranks)
