"""How many modes a spectrum keeps.

Shape suffix: M latent tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

SIGNIFICANT = 0.01
"""Share of the largest eigenvalue that counts as a mode kept, in `significant_rank`."""


def effective_rank(eigenvalues: Tensor) -> Tensor:
    """Count modes by their weights: the exponential of the entropy of the normalised spectrum.

    Between 1 (one mode has it all) and M (all alike).  Roy and Vetterli, "The effective rank: a measure
    of effective dimensionality", EUSIPCO 2007, for singular values, which the eigenvalues are of the
    symmetric matrix R R^T.

    Parameters
    ----------
    eigenvalues : Tensor, (..., M)
        Not negative, one of them positive.

    Returns
    -------
    Tensor, (...)
    """
    shares = eigenvalues / eigenvalues.sum(-1, keepdim=True)
    return torch.special.entr(shares).sum(-1).exp()


def participation_ratio(eigenvalues: Tensor) -> Tensor:
    """Count modes by second moments, (sum)^2 / sum of squares, where small ones weigh less.

    Parameters
    ----------
    eigenvalues : Tensor, (..., M)
        Not negative, one of them positive.

    Returns
    -------
    Tensor, (...)
        Between 1 and M.
    """
    return eigenvalues.sum(-1).square() / eigenvalues.square().sum(-1)


def significant_rank(eigenvalues: Tensor, share: float = SIGNIFICANT) -> Tensor:
    """Count the eigenvalues of at least a share of the largest.

    Parameters
    ----------
    eigenvalues : Tensor, (..., M)
        Not negative.
    share : float, optional
        In (0, 1].

    Returns
    -------
    Tensor, (...), int64
        Between 1 and M.
    """
    return (eigenvalues >= share * eigenvalues.amax(-1, keepdim=True)).sum(-1)
