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
`FLARE.forward` states the calling convention.  Or they lie one after another,
``model.forward_packed(x_TC, offsets)``.

FLARE++ (arXiv 2608.11519) computes the routing queries from the input:

>>> model = FLARE(FLAREConfig(in_channels=3, out_channels=1, mixer="flare++"))
>>> model.forward_packed(torch.rand(50, 3), offsets=[0, 20, 50]).shape
torch.Size([50, 1])

For parts of millions of nodes, `predict_chunked` needs memory for a chunk of them, `checkpoint_blocks`
trains with fewer activations kept, and `token_sharding` spreads the nodes of a case over processes;
all are exact.  `spectrum` tells which modes a trained model keeps.

`FLAREConfig` lists every option, `flare.routing` how attention is computed; ``save_pretrained`` and
``from_pretrained`` keep a model in a folder, `load_reference_state_dict` takes over a published one.
"""

from flare import spectrum
from flare.backbone import FLARE, MIXERS, FLAREBlock
from flare.batch import check_no_empty_case
from flare.checkpointing import checkpoint_blocks
from flare.config import FLAREConfig, FLAREPlusPlusConfig
from flare.convert import load_reference_state_dict
from flare.inference import predict_chunked
from flare.mixer import FLAREMixer
from flare.pretrained import PretrainedError
from flare.routing import ROUTES, forced_route
from flare.sharding import local_nodes, sum_gradients, sum_over_ranks, token_sharding
from flare.synthesis import FLAREPlusPlusMixer, GatedFLAREPlusPlusMixer

__all__ = [
    "FLARE",
    "MIXERS",
    "ROUTES",
    "FLAREBlock",
    "FLAREConfig",
    "FLAREMixer",
    "FLAREPlusPlusConfig",
    "FLAREPlusPlusMixer",
    "GatedFLAREPlusPlusMixer",
    "PretrainedError",
    "check_no_empty_case",
    "checkpoint_blocks",
    "forced_route",
    "load_reference_state_dict",
    "local_nodes",
    "predict_chunked",
    "spectrum",
    "sum_gradients",
    "sum_over_ranks",
    "token_sharding",
]
