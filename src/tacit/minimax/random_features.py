r"""Discriminators that are linear in fixed random features of a sample."""

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.problem import check_data

FeatureKind = Literal["relu", "fourier"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RandomFeatures:
    r"""Fixed random features phi of a sample x, for a discriminator linear in them.

    With q features, rows w_j of the weights and phases c_j:

    * ``relu``: :math:`\phi_j(x) = \sqrt{2/q}\, \mathrm{relu}(w_j^T x + c_j)`;
    * ``fourier``: :math:`\phi_j(x) = \sqrt{2/q}\, \cos(w_j^T x + c_j)`.

    Parameters
    ----------
    kind : {"relu", "fourier"}
        Which.
    weights : Tensor, shape (num_features, sample_dim)
        The rows w_j.
    phases : Tensor, shape (num_features,)
        The c_j.

    Raises
    ------
    ShapeError
        If the two do not fit.
    InputError
        If the kind is unknown, an entry is not finite, or dtypes or devices differ.

    Examples
    --------
    >>> import tacit, torch
    >>> features = tacit.RandomFeatures(kind="relu", weights=torch.eye(2),
    ...     phases=torch.zeros(2))
    >>> features.apply(torch.tensor([[3.0, -4.0]]))
    tensor([[3., 0.]])
    """

    kind: FeatureKind
    weights: Tensor
    phases: Tensor

    def __post_init__(self) -> None:
        check_data({"weights": self.weights, "phases": self.phases})
        if self.kind not in {"relu", "fourier"}:
            raise InputError(f"kind must be 'relu' or 'fourier'; got {self.kind!r}")
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            raise ShapeError(
                "weights must have shape (num_features, sample_dim), each at least 1; "
                f"got {tuple(self.weights.shape)}"
            )
        if self.phases.shape != self.weights.shape[:1]:
            raise ShapeError(
                f"phases must have shape {tuple(self.weights.shape[:1])}, one per row "
                f"of weights; got {tuple(self.phases.shape)}"
            )

    def apply(self, samples: Tensor) -> Tensor:
        """Return phi of each row, shape ``(..., num_features)``."""
        arguments = samples @ self.weights.mT + self.phases
        shaped = torch.relu(arguments) if self.kind == "relu" else arguments.cos()
        return shaped * math.sqrt(2 / self.weights.shape[0])


def random_features(
    kind: FeatureKind,
    num_features: int,
    sample_dim: int,
    *,
    generator: torch.Generator,
    bandwidth: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> RandomFeatures:
    r"""Draw the features of a kernel: inner products are it on average.

    Weights have entries from :math:`N(0, \ell^{-2})`.

    * ``fourier``: phases uniform in :math:`[0, 2\pi)`, kernel :math:`\exp(-\|x-y\|^2 /
      (2 \ell^2))`. The value of the game for its minimising player is then half of an
      estimate of a squared maximum mean discrepancy.
    * ``relu``: phases zero, kernel :math:`\|x\| \|y\| (\sin t + (\pi - t) \cos t) /
      (\pi \ell^2)` with t the angle between x and y.

    Parameters
    ----------
    kind : {"relu", "fourier"}
        Which.
    num_features, sample_dim : int
        Sizes, at least 1.
    generator : torch.Generator
        Draws weights, then phases, in float64 (on the CPU).
    bandwidth : float
        :math:`\ell > 0`, in the unit of the samples.
    dtype : torch.dtype
        Of the features, float32 or float64.

    Returns
    -------
    RandomFeatures
        On the CPU.

    Raises
    ------
    InputError
        If the kind is unknown or the bandwidth not positive and finite.
    ShapeError
        If a size is below 1.

    References
    ----------
    Rahimi and Recht (2007), "Random features for large-scale kernel machines",
    algorithm 1; Cho and Saul (2009), "Kernel methods for deep learning", eq. (3) and
    (6), with n = 1.

    Examples
    --------
    >>> import tacit, torch
    >>> features = tacit.random_features("fourier", 2000, 2,
    ...     generator=tacit.make_generator(0))
    >>> phi = features.apply(torch.tensor([[0.0, 0.0], [1.0, 0.0]]).double())
    >>> bool(abs(phi[0] @ phi[1] - torch.tensor(-0.5).exp()) < 0.05)
    True
    """
    if num_features < 1 or sample_dim < 1:
        raise ShapeError(
            f"num_features and sample_dim must be at least 1; got {num_features} and "
            f"{sample_dim}"
        )
    if not (math.isfinite(bandwidth) and bandwidth > 0):
        raise InputError(f"bandwidth must be positive and finite; got {bandwidth}")
    weights = torch.randn(
        num_features, sample_dim, generator=generator, dtype=torch.float64
    )
    phases = torch.zeros(num_features, dtype=torch.float64)
    if kind == "fourier":
        uniform = torch.rand(num_features, generator=generator, dtype=torch.float64)
        phases = uniform * (2 * math.pi)
    return RandomFeatures(
        kind=kind, weights=(weights / bandwidth).to(dtype), phases=phases.to(dtype)
    )
