"""The FLARE family as pure torch modules: tensors in, tensors out.

FLARE (Fast Low-rank Attention Routing Engine; Puri et al., arXiv 2508.12594) mixes the N nodes of
a mesh through M << N latent tokens, at a cost linear in N.

>>> import torch
>>> from flare import FLARE, FLAREConfig
>>> model = FLARE(FLAREConfig(in_channels=3, out_channels=1))
>>> points_BNC = torch.rand(1, 100, 3)
>>> model(points_BNC).shape
torch.Size([1, 100, 1])

Cases of different size share a batch through a mask of the real nodes, ``model(x_BNC, mask_BN)``;
`FLARE.forward` states the calling convention.
"""

from flare.backbone import FLARE, FLAREBlock
from flare.batch import check_no_empty_case
from flare.config import FLAREConfig
from flare.mixer import FLAREMixer

__all__ = ["FLARE", "FLAREBlock", "FLAREConfig", "FLAREMixer", "check_no_empty_case"]
