r"""Keeping a filter's spectrum flat: a penalty, and the nearest flat filter."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.recovery.deconvolution.problem import frequency_grid
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.subspaces.subspace import AbstractSubspace

_MAX_STEPS = 5000
_RTOL = 1e-9


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class IncoherencePenalty:
    r"""The penalty of Li, Ling, Strohmer and Wei on filters and signals.

    .. math:: G(h, x) = \rho \Big[ G_0\Big(\frac{\|h\|^2}{2 d}\Big)
              + G_0\Big(\frac{\|x\|^2}{2 d}\Big) + \sum_{l=1}^L
              G_0\Big(\frac{L |b_l^H h|^2}{8 d \mu^2}\Big) \Big], \quad
              G_0(z) = \max(z - 1, 0)^2,

    for every source, with :math:`\sqrt L\, b_l^H h` the plain Fourier transform of the
    filter :math:`B h`. Of several channels h holds all filters, and every filter has
    its own sum; of linear convolutions L is the size of the full one. G is zero near a
    truth with :math:`\|h\|^2 = \|x\|^2 = d` and flatness :math:`\mu_h^2 \le 8 \mu^2`:
    it keeps the descent near such pairs and does not move the answer.

    Parameters
    ----------
    maps : tuple of ConvolutionMap
        One for each source.
    strength : float
        :math:`\rho`, in the unit of the squared measurements.
    scales : tuple of float
        d of every source: :math:`\|h\|\,\|x\|`.
    flatness_bounds : tuple of float
        :math:`\mu` of every source.

    References
    ----------
    Li, Ling, Strohmer and Wei (2019), Rapid, robust, and reliable blind deconvolution
    via nonconvex optimization, section 3; its sum over sources as in Ling and Strohmer
    (2019). The constants agree with public ports of the authors' program.
    """

    maps: tuple[ConvolutionMap, ...]
    strength: float
    scales: tuple[float, ...]
    flatness_bounds: tuple[float, ...]

    def value_and_gradient(
        self, left: Tensor, right: Tensor
    ) -> tuple[float, Tensor, Tensor]:
        r"""Return G, and its derivatives with respect to conj(h) and conj(conj(x)).

        Parameters
        ----------
        left : Tensor, shape (num_rows, 1)
            h of all sources, one below the other.
        right : Tensor, shape (num_columns, 1)
            The conjugates of x of all sources.

        Returns
        -------
        value : float
        left_gradient, right_gradient : Tensor
            Wirtinger derivatives: half the usual gradient of real factors.
        """
        value = 0.0
        left_parts: list[Tensor] = []
        right_parts: list[Tensor] = []
        row = column = 0
        for part, scale, bound in zip(
            self.maps, self.scales, self.flatness_bounds, strict=True
        ):
            rows, columns = part.in_shape
            h = left[row : row + rows, 0]
            x = right[column : column + columns, 0]
            row, column = row + rows, column + columns
            h_value, h_gradient = _norm_penalty(h, scale)
            x_value, x_gradient = _norm_penalty(x, scale)
            values, gradients = _spectrum_penalty(part, h, scale, bound)
            value += h_value + x_value + values
            left_parts.append(h_gradient + gradients)
            right_parts.append(x_gradient)
        rho = self.strength
        return (
            rho * value,
            rho * torch.cat(left_parts)[:, None],
            rho * torch.cat(right_parts)[:, None],
        )


def _norm_penalty(vector: Tensor, scale: float) -> tuple[float, Tensor]:
    r"""Return :math:`G_0(\|v\|^2 / 2d)` and its Wirtinger derivative."""
    excess = float(torch.vdot(vector, vector).real) / (2.0 * scale) - 1.0
    if excess <= 0.0:
        return 0.0, torch.zeros_like(vector)
    return excess * excess, (excess / scale) * vector


def _spectrum_penalty(
    part: ConvolutionMap, h: Tensor, scale: float, bound: float
) -> tuple[float, Tensor]:
    """Return the sums over the frequencies of all filters, and their derivative."""
    limit = 8.0 * scale * bound * bound
    value = 0.0
    gradients: list[Tensor] = []
    start = 0
    for subspace in part.filters:
        own = h[start : start + subspace.dimension]
        start += subspace.dimension
        spectrum = transform(subspace, own, frequency_grid(part))
        excess = (spectrum.abs().square() / limit - 1.0).clamp_min(0.0)
        if not bool(excess.any()):
            gradients.append(torch.zeros_like(own))
            continue
        value += float(excess.square().sum())
        gradients.append(adjoint_transform(subspace, excess * spectrum, own))
    return value, (2.0 / limit) * torch.cat(gradients)


def transform(
    subspace: AbstractSubspace, coefficients: Tensor, grid: tuple[int, ...]
) -> Tensor:
    r"""Return the plain Fourier transform of :math:`B h`, continued by zeros to a grid.

    Of all frequencies, also where the filter is real.
    """
    axes = tuple(range(-len(grid), 0))
    return torch.fft.fftn(subspace.synthesise(coefficients), s=grid, dim=axes)


def adjoint_transform(
    subspace: AbstractSubspace, spectrum: Tensor, like: Tensor
) -> Tensor:
    r"""Return the adjoint of :func:`transform`, with coefficients as real as like."""
    axes = tuple(range(-len(subspace.grid), 0))
    signal = torch.fft.ifftn(spectrum, dim=axes, norm="forward")
    for axis, size in zip(axes, subspace.grid, strict=True):
        signal = signal.narrow(axis, 0, size)
    return subspace.analyse(signal if like.is_complex() else signal.real)


def nearest_incoherent(
    subspace: AbstractSubspace,
    coefficients: Tensor,
    bound: float,
    grid: tuple[int, ...],
) -> Tensor:
    r"""Return the nearest coefficients whose filter has a bounded spectrum.

    .. math:: \operatorname{argmin}_z \|z - h\|_2 \quad \text{subject to} \quad
              \max_l |\mathcal{F}(B z)_l| \le c

    with the plain transform :math:`\mathcal{F}`, which is :math:`\sqrt L\, |b_l^H z|`
    in the paper's unitary terms.

    Parameters
    ----------
    subspace : AbstractSubspace
        B, with orthonormal columns.
    coefficients : Tensor, shape (K,)
        h; returned as it is if it is within the bound.
    bound : float
        c, positive.
    grid : tuple of int
        Of the frequencies; a filter on a smaller one is continued by zeros.

    Returns
    -------
    Tensor, shape (K,)
        Within the bound, at a relative distance of about 1e-9 from the nearest.

    Notes
    -----
    Accelerated proximal gradient steps, with restarts, on the dual, whose variable is
    one number for every frequency: :math:`z = h - B^H \mathcal{F}^H u`, the penalty
    being :math:`c \|u\|_1`. The last step shrinks z into the bound.
    """
    spectrum = transform(subspace, coefficients, grid)
    if float(spectrum.abs().max()) <= bound:
        return coefficients
    length = float(spectrum.numel())
    dual = momentum = torch.zeros_like(spectrum)
    weight = 1.0
    scale = float(torch.linalg.vector_norm(coefficients))
    z = coefficients
    for _ in range(_MAX_STEPS):
        trial = coefficients - adjoint_transform(subspace, momentum, coefficients)
        # The dual's gradient is F B z; its Lipschitz constant is ||F B||^2 = L.
        moved = momentum + transform(subspace, trial, grid) / length
        moved = _shrunk(moved, bound / length)
        change = moved - dual
        uphill = torch.vdot((momentum - moved).flatten(), change.flatten()).real
        if float(uphill) > 0.0:
            weight = 1.0  # the momentum points uphill: start it anew
        grown = (1.0 + math.sqrt(1.0 + 4.0 * weight * weight)) / 2.0
        momentum = moved + ((weight - 1.0) / grown) * change
        dual, weight = moved, grown
        before, z = (
            z,
            coefficients - adjoint_transform(subspace, dual, coefficients),
        )
        peak = float(transform(subspace, z, grid).abs().max())
        step = float(torch.linalg.vector_norm(z - before))
        if step <= _RTOL * scale and peak <= bound * (1.0 + _RTOL):
            break
    peak = float(transform(subspace, z, grid).abs().max())
    return z * min(1.0, bound / peak) if peak > 0.0 else z


def _shrunk(values: Tensor, threshold: float) -> Tensor:
    """Return complex numbers with their moduli lowered by a threshold."""
    moduli = values.abs()
    kept = (moduli - threshold).clamp_min(0.0)
    return values * (kept / moduli.clamp_min(torch.finfo(moduli.dtype).tiny))
