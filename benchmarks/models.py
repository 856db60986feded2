"""Every model on the same meshes: parameters, step time, inference time, peak memory.

Each model has its default configuration, that of its publication in the LPBF setting where there is one.
A step is forward, backward and AdamW on one case, float32; inference is one forward pass without gradients.
Every measurement has a process of its own, since the peak of a process never falls, and a time limit: a model
that does not make it is listed without numbers.  On a GPU with ``--device cuda``.

    python benchmarks/models.py -o out/models
    python benchmarks/models.py -o out/models --models flare meshgraphnet --nodes 5000

Writes ``models.csv``, a row a measurement, as they come, and ``models.md``, the table of the README.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch
from lightning.fabric.utilities import move_data_to_device
from peak_memory import peak_bytes
from synthetic import FIELDS, SyntheticSource, machine

from lpbf_dataset.build import Extraction, read_case
from pipelines.runs.mesh_view import MeshView, mesh_arguments
from pipelines.runs.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from torch import nn

    from lpbf_dataset import Case

IN_CHANNELS, OUT_CHANNELS = 3, 1
SCALE = 30.0
"""Millimetres that become one unit of the input, about half the size of a part."""

WARM_UP_NODES = 200


class Measurement(NamedTuple):
    """What one model needs on one mesh."""

    parameters: int
    step_s: float
    inference_s: float
    peak_bytes: float


class Runner:
    """A model with a batch of one case.

    Parameters
    ----------
    model : Module
        The model.
    view : MeshView
        What it sees of the mesh.
    case : Case
        The mesh.
    device : str
        ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, model: nn.Module, view: MeshView, case: Case, device: str) -> None:
        self._model, self._device = model, device
        x_BNC = torch.from_numpy(case.points[None] / SCALE)
        mesh = mesh_arguments([view.of_case(case)], case.node_count)
        self._x_BNC = x_BNC.to(device)
        self._mesh = move_data_to_device(mesh, device)
        self._target_BNO = torch.rand(1, case.node_count, OUT_CHANNELS, device=device)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(self) -> None:
        """Train on the case."""
        loss = (self._model(self._x_BNC, **self._mesh) - self._target_BNO).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def infer(self) -> None:
        """Predict the case."""
        with torch.inference_mode():
            self._model(self._x_BNC, **self._mesh)

    def seconds(self, work: Callable[[], None], repeats: int) -> float:
        """Median time of some work, once warm."""
        times = []
        for _ in range(repeats):
            self._wait()
            start = time.perf_counter()
            work()
            self._wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def measure(name: str, nodes: int, device: str, repeats: int) -> Measurement:
    """Measure one model on a mesh of about so many nodes, in this process."""
    torch.manual_seed(0)
    entry = MODELS[name]
    options = {"in_channels": IN_CHANNELS, "out_channels": OUT_CHANNELS}
    model = entry.build(entry.config_type(**options)).to(device)
    view = MeshView.of_model(entry, options)
    small, large = (_make_case(count) for count in (WARM_UP_NODES, nodes))
    # Libraries load and kernels compile here, and not in what is counted.
    Runner(model, view, small, device).step()
    before = 0.0 if device == "cuda" else forget_peak()
    runner = Runner(model, view, large, device)
    runner.step()
    step_s, inference_s = runner.seconds(runner.step, repeats), runner.seconds(runner.infer, repeats)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Measurement(parameters, step_s, inference_s, peak_bytes(device) - before)


def forget_peak() -> float:
    """Have Linux count the peak anew (``man proc_pid_clear_refs``); returns the bytes held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes("cpu")


def _make_case(nodes: int) -> Case:
    (raw,) = SyntheticSource(1, nodes).cases()
    return read_case(raw, Extraction(FIELDS))


def measure_in_time(limit_s: float, *arguments: Any) -> Measurement | None:
    """`measure` in a process of its own; None if that takes too long, or is killed for lack of memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_and_send, args=(sender, *arguments), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit_s) else None
    except EOFError:
        process.join()
        if process.exitcode == 1:
            raise
        return None
    finally:
        process.kill()
        process.join()


def _measure_and_send(sender: Connection, *arguments: Any) -> None:
    sender.send(measure(*arguments))


def measure_all(options: argparse.Namespace) -> pd.DataFrame:
    """Measure every model on every mesh; the table is written as it grows."""
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in options.models:
        for nodes in options.nodes:
            measured = measure_in_time(options.limit, name, nodes, options.device, options.repeats)
            values = measured._asdict() if measured else dict.fromkeys(Measurement._fields)
            rows.append({"model": name, "nodes": nodes, **values})
            pd.DataFrame(rows).to_csv(options.output / "models.csv", index=False)
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Lay the measurements out with a row a model and columns by size."""
    sizes = sorted(table["nodes"].unique())
    heads = [f"{kind}, {size:,}" for kind in ("step s", "inference s", "peak GB") for size in sizes]
    lines = [f"| model | parameters | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for name, rows in table.groupby("model", sort=False):
        by_size = rows.set_index("nodes")
        parameters = by_size["parameters"].max()
        cells = [
            "" if pd.isna(value := by_size.loc[size, column]) else f"{value / unit:.2f}"
            for column, unit in (("step_s", 1), ("inference_s", 1), ("peak_bytes", 1e9))
            for size in sizes
        ]
        lines.append(
            f"| {name} | {'' if pd.isna(parameters) else f'{parameters:,.0f}'} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/models"))
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(MODELS))
    parser.add_argument("--nodes", nargs="+", type=int, default=[5000, 20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one measurement")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device")
    print(machine())
    text = markdown(measure_all(options))
    (options.output / "models.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
