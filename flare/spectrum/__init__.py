"""Which modes the FLARE mixers of a model keep: spectra, effective ranks, and routing maps.

>>> import torch
>>> from flare import FLARE, FLAREConfig, spectrum
>>> model = FLARE(FLAREConfig(in_channels=3, out_channels=1))
>>> first, *_ = spectrum.model_spectra(model, torch.rand(1, 100, 3))
>>> first.shape  # (cases, heads, latent tokens), the largest eigenvalue of each head first
torch.Size([1, 8, 128])
>>> ranks_BH = spectrum.effective_rank(first)
"""

from flare.spectrum.matrix import RoutingMaps, mixing_spectrum, routing_maps
from flare.spectrum.models import Routing, model_routings, model_spectra
from flare.spectrum.ranks import effective_rank, participation_ratio, significant_rank

__all__ = [
    "Routing",
    "RoutingMaps",
    "effective_rank",
    "mixing_spectrum",
    "model_routings",
    "model_spectra",
    "participation_ratio",
    "routing_maps",
    "significant_rank",
]
