"""What rank a trained FLARE model uses on a case, and what its latent tokens look at.

python examples/spectrum_of_a_run.py out/demo_run out/spectrum
python examples/spectrum_of_a_run.py out/demo_run out/spectrum --case overhang_000004_1
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from flare import spectrum
from pipelines.runs.run import Run
from viz.rendering import prepare_offscreen, save_screenshot
from viz.routing import effective_rank_figure, routing_scene, spectra_figure

MAPS = 6
"""Latent tokens whose routing maps are drawn, at most."""


def main(arguments: list[str] | None = None) -> None:
    """Print effective ranks of each block; write three pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a trained FLARE model")
    parser.add_argument("output", type=Path, help="folder for the pictures")
    parser.add_argument("--case", help="case of the store; the first of the test split if not given")
    options = parser.parse_args(arguments)

    run = Run.open(options.run)
    dataset = run.dataset()
    case = dataset[options.case] if options.case else dataset.test[0]
    x_BNC = torch.from_numpy(run.scaling.inputs(case))[None]

    routings = spectrum.model_routings(run.model, x_BNC)
    spectra_LHM = torch.cat([spectrum.mixing_spectrum(r.queries, r.keys, scale=r.scale) for r in routings])
    ranks_LH = spectrum.effective_rank(spectra_LHM)
    print(f"case {case.case_id}: {case.node_count} nodes, {spectra_LHM.shape[-1]} latent tokens a head")
    print("block  effective rank  participation ratio  eigenvalues over 0.01   (means over heads)")
    for block, spectra_HM in enumerate(spectra_LHM, start=1):
        measures = (spectrum.effective_rank, spectrum.participation_ratio, spectrum.significant_rank)
        means = [measure(spectra_HM).double().mean().item() for measure in measures]
        print("{:5}  {:14.1f}  {:19.1f}  {:21.1f}".format(block, *means))

    options.output.mkdir(parents=True, exist_ok=True)
    title = f"{options.run.name}, case {case.case_id}"
    spectra_figure(list(spectra_LHM.numpy()), title=title).savefig(options.output / "spectra.png", dpi=150)
    effective_rank_figure(ranks_LH.numpy(), num_latents=spectra_LHM.shape[-1], title=title).savefig(
        options.output / "effective_rank.png", dpi=150
    )

    # The head that mixes most; its latent tokens from the most selective to the least.
    block, head = divmod(int(ranks_LH.argmax()), ranks_LH.shape[1])
    chosen = routings[block]
    encode_MN = spectrum.routing_maps(
        chosen.queries[..., head : head + 1, :, :], chosen.keys[:, head : head + 1], scale=chosen.scale
    ).encode[0, 0]
    selective_first = encode_MN.amax(dim=1).argsort(descending=True).tolist()
    shown = selective_first[:: math.ceil(len(selective_first) / MAPS)]
    maps = {f"latent token {latent + 1}": encode_MN[latent].numpy() for latent in shown}
    prepare_offscreen()
    scene = routing_scene(case, maps, f"block {block + 1}, head {head + 1}")
    save_screenshot(scene, options.output / "routing.png")
    scene.close()


if __name__ == "__main__":
    main()
