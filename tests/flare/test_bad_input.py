"""Every way in, given every kind of bad input: one clear ValueError before anything is computed."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flare import (
    FLARE,
    MIXERS,
    FLAREConfig,
    check_no_empty_case,
    predict_chunked,
    spectrum,
    token_sharding,
)

SMALL = FLAREConfig(in_channels=3, out_channels=2, channels=8, num_blocks=1, num_heads=2, num_latents=3)
CASES, NODES = 2, 5
X = torch.zeros(CASES, NODES, 3)
FULL = torch.ones(CASES, NODES, dtype=torch.bool)
CONDITION = torch.zeros(CASES, 1)

EXPENSIVE = ("mm", "bmm", "addmm", "baddbmm", "linear", "layer_norm", "softmax", "attention")


class NoKernels(TorchDispatchMode):
    """Fails at the first product, normalisation or attention."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        assert not any(kernel in name for kernel in EXPENSIVE), f"{name} ran before the input was refused"
        return function(*args, **(kwargs or {}))


Predict = Callable[[FLARE, Tensor, Tensor | None, Tensor | None], object]


def padded(model: FLARE, x: Tensor, mask: Tensor | None, condition: Tensor | None) -> object:
    return model(x, mask, condition)


def chunked(model: FLARE, x: Tensor, mask: Tensor | None, condition: Tensor | None) -> object:
    return predict_chunked(model, x, mask, condition, chunk=2)


def spectra(model: FLARE, x: Tensor, mask: Tensor | None, condition: Tensor | None) -> object:
    return spectrum.model_spectra(model, x, mask, condition)


def sharded(model: FLARE, x: Tensor, mask: Tensor | None, condition: Tensor | None) -> object:
    with token_sharding(dist.group.WORLD):
        return model(x, mask, condition)


def sharded_chunked(model: FLARE, x: Tensor, mask: Tensor | None, condition: Tensor | None) -> object:
    with token_sharding(dist.group.WORLD):
        return predict_chunked(model, x, mask, condition, chunk=2)


WAYS_IN: list[Predict] = [padded, chunked, spectra, sharded, sharded_chunked]


@pytest.fixture(scope="module", autouse=True)
def _process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make a group of this process alone."""
    rendezvous = tmp_path_factory.mktemp("group") / "rendezvous"
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=0, world_size=1, timeout=timedelta(seconds=20)
    )
    yield
    dist.destroy_process_group()


FAULTS: dict[str, tuple[Tensor, Tensor | None, str]] = {
    "an axis too few": (X[0], None, r"input has shape \(5, 3\); expected \(cases, nodes, 3\)"),
    "other channels": (X[..., :2], None, r"input has shape \(2, 5, 2\)"),
    "no cases": (X[:0], None, "input has no cases"),
    "no nodes": (X[:, :0], None, "input has no nodes|hides every node of case 0, 1"),
    "integers": (X.long(), None, "input is torch.int64; expected a floating-point dtype"),
    "another dtype": (X.double(), None, "input is torch.float64, the model torch.float32; convert one"),
    "another device": (X.to("meta"), None, "input is on meta, the model on cpu; move one"),
    "NaN": (X.clone().fill_(torch.nan), None, r"input is not finite at \(0, 0\)"),
    "infinity": (X.index_fill(1, torch.tensor(3), torch.inf), FULL, r"input is not finite at \(0, 3\)"),
    "mask of other cases": (X, FULL[:1], r"mask has shape \(1, 5\); expected \(2, 5\)"),
    "mask of other nodes": (X, FULL[:, :4], "mask has shape"),
    "mask with an axis more": (X, FULL[..., None], "mask has shape"),
    "mask of numbers": (X, FULL.float(), "mask is torch.float32; expected torch.bool"),
    "mask elsewhere": (X, FULL.to("meta"), "mask is on meta, input on cpu"),
    "hidden case": (X, torch.tensor([[True], [False]]).expand(2, 5), "hides every node of case 1"),
}


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("way_in", WAYS_IN, ids=lambda way_in: way_in.__name__)
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_batches(fault: str, way_in: Predict, mixer: str) -> None:
    x_BNC, mask_BN, message = FAULTS[fault]
    model = FLARE(dataclasses.replace(SMALL, mixer=mixer))
    with NoKernels(), pytest.raises(ValueError, match=message):
        way_in(model, x_BNC, mask_BN, None)


CONDITION_FAULTS: dict[str, tuple[int, Tensor | None, str]] = {
    "missing": (1, None, "needs a condition of 1 channels"),
    "not asked for": (0, CONDITION, "takes no condition"),
    "of other cases": (1, CONDITION[:1], r"condition has shape \(1, 1\); expected \(2, 1\)"),
    "with other channels": (2, CONDITION, r"condition has shape \(2, 1\); expected \(2, 2\)"),
    "of another dtype": (1, CONDITION.double(), "condition is torch.float64 on cpu, input torch.float32"),
    "elsewhere": (1, CONDITION.to("meta"), "condition is torch.float32 on meta, input torch.float32 on cpu"),
    "infinite": (1, CONDITION / 0, "condition is not finite at 0"),
}


def packed(model: FLARE, x: Tensor, mask: Tensor | None, condition: Tensor | None) -> object:
    return model.forward_packed(x.flatten(0, 1), [0, NODES, 2 * NODES], condition)


@pytest.mark.parametrize("way_in", [*WAYS_IN, packed], ids=lambda way_in: way_in.__name__)
@pytest.mark.parametrize("fault", CONDITION_FAULTS)
def test_bad_conditions(fault: str, way_in: Predict) -> None:
    channels, condition_BK, message = CONDITION_FAULTS[fault]
    model = FLARE(dataclasses.replace(SMALL, condition_channels=channels))
    with NoKernels(), pytest.raises(ValueError, match=message):
        way_in(model, X, None, condition_BK)


X_TC = X[0]


@pytest.mark.parametrize(
    ("x_TC", "offsets", "message"),
    [
        (X, [0, 5], r"packed input has shape \(2, 5, 3\); expected \(nodes, 3\)"),
        (X_TC[:, :2], [0, 5], r"packed input has shape \(5, 2\)"),
        (X_TC.long(), [0, 5], "input is torch.int64; expected a floating-point dtype"),
        (X_TC.double(), [0, 5], "input is torch.float64, the model torch.float32"),
        (X_TC.to("meta"), [0, 5], "input is on meta, the model on cpu"),
        (X_TC / 0, [0, 5], "input is not finite at 0"),
        (X_TC, [], "offsets go from nothing to nothing"),
        (X_TC, [0], "offsets go from 0 to 0; expected to begin at 0 and to end at the number of nodes, 5"),
        (X_TC, [1, 5], "offsets go from 1 to 5"),
        (X_TC, [0, 4], "offsets go from 0 to 4"),
        (X_TC, [0, 3, 3, 5], "case 1 has 0 nodes by its offsets; leave empty cases out"),
        (X_TC, [0, 4, 2, 5], "case 1 has -2 nodes"),
        (X_TC, torch.tensor([[0, 5]]), r"offsets have shape \(1, 2\); expected one axis of integers"),
        (X_TC, torch.tensor([0.0, 5.0]), "offsets are torch.float32; expected integers"),
    ],
)
def test_bad_packed_batches(x_TC: Tensor, offsets: list[int] | Tensor, message: str) -> None:
    with NoKernels(), pytest.raises(ValueError, match=message):
        FLARE(SMALL).forward_packed(x_TC, offsets)


@pytest.mark.parametrize("chunk", [0, -1])
def test_chunks_without_nodes(chunk: int) -> None:
    with pytest.raises(ValueError, match=f"chunk must be a positive number of nodes, not {chunk}"):
        predict_chunked(FLARE(SMALL), X, chunk=chunk)


def test_empty_cases_are_named_by_their_place() -> None:
    mask_BN = torch.tensor([[True, False], [False, False], [False, False]])
    with pytest.raises(ValueError, match="case 1, 2 of the batch"):
        check_no_empty_case(mask_BN)


def test_nothing_is_computed_by_what_is_refused() -> None:
    """The watch itself: it does see a forward pass."""
    with NoKernels(), pytest.raises(AssertionError, match="ran before"):
        FLARE(SMALL)(X)
