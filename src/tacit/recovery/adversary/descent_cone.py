r"""Long directions along which the programme cannot tell right from wrong.

Whatever the noise, :math:`Z = \hat X - X_0` lies in

.. math:: \{Z : \|X_0 + Z\|_* \le \|X_0\|_*, \ \|w \circ \mathcal{A}(Z)\| \le 2 \tau\},

so the longest member bounds the error of every noise. Its length is a convex function
to be maximised over a convex set: what is found here is a member, and its length a
lower bound of that bound; it is not itself an error that a noise attains.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.recovery.adversary.target import NoiseTarget

_LINEAR_STEPS = 400  # of Douglas-Rachford for one linear objective
_LINEAR_RTOL = 1e-7
_NEAR_KERNEL_STEPS = 300
_GAIN = 1e-3  # relative; successive linearisation ends below it
_ROUNDS = 3
_SAFETY = 4.0  # roundings by which a member stays inside


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConeMember:
    r"""A direction for which both constraints hold as computed in float64.

    Parameters
    ----------
    target : NoiseTarget
    direction : Tensor, shape (num_rows, num_columns)
        Z.
    """

    target: NoiseTarget
    direction: Tensor

    @cached_property
    def size(self) -> float:
        r""":math:`\|Z\|_F`."""
        return float(torch.linalg.matrix_norm(self.direction))

    @cached_property
    def image(self) -> Tensor:
        r""":math:`w \circ \mathcal{A}(Z)`."""
        problem = self.target.problem
        return problem.weights * problem.linear_map.apply(self.direction)

    @property
    def norm_slack(self) -> float:
        r""":math:`\|X_0\|_* - \|X_0 + Z\|_*`, at least 0."""
        moved = torch.linalg.svdvals(self.target.truth + self.direction).sum()
        return self.target.nuclear_norm - float(moved)

    @property
    def image_slack(self) -> float:
        r""":math:`2 \tau - \|w \circ \mathcal{A}(Z)\|`, at least 0."""
        size = float(torch.linalg.vector_norm(self.image))
        return 2.0 * self.target.noise_bound - size

    def noise(self) -> Tensor:
        r"""Return the noise of length tau along :math:`w \circ \mathcal{A}(Z)`.

        Both :math:`X_0` and :math:`X_0 + Z` fit the measurements with it.
        """
        size = float(torch.linalg.vector_norm(self.image))
        if size == 0.0:  # Z is in the kernel: every noise does
            return torch.zeros_like(self.image)
        return self.image * (self.target.noise_bound / size)


def pull_inside(target: NoiseTarget, direction: Tensor) -> ConeMember:
    r"""Return a member near a direction.

    :math:`X_0 + Z` is scaled down to the nuclear norm of :math:`X_0`, then Z to an
    image of length 2 tau; the second keeps the first, as the nuclear norm is convex.
    A little margin is left for rounding; where that does not do, it is done again.

    Parameters
    ----------
    target : NoiseTarget
    direction : Tensor, shape (num_rows, num_columns)

    Returns
    -------
    ConeMember
        Both slacks are at least zero.
    """
    for _ in range(_ROUNDS):
        direction = _scaled_twice(target, direction)
        member = ConeMember(target=target, direction=direction)
        if min(member.norm_slack, member.image_slack) >= 0.0:
            return member
    return ConeMember(target=target, direction=_shrunk_truth(target))


def _scaled_twice(target: NoiseTarget, direction: Tensor) -> Tensor:
    """Scale into the nuclear norm ball, then to the image's length, with a margin."""
    problem, bound = target.problem, 2.0 * target.noise_bound
    tiny = _SAFETY * max(target.truth.shape) * torch.finfo(torch.float64).eps
    limit = target.nuclear_norm * (1.0 - tiny)
    moved = target.truth + direction
    norm = float(torch.linalg.svdvals(moved).sum())
    if norm > limit:
        direction = moved * (limit / norm) - target.truth
    image = problem.weights * problem.linear_map.apply(direction)
    size = float(torch.linalg.vector_norm(image))
    if size > bound * (1.0 - tiny):
        direction = direction * (bound * (1.0 - tiny) / size)
    return direction


def _shrunk_truth(target: NoiseTarget) -> Tensor:
    """Return what is always inside: the truth made smaller, as far as it may."""
    return -min(1.0, target.relative_noise) * target.truth


def project_on_nuclear_ball(matrix: Tensor, radius: float) -> Tensor:
    r"""Return the nearest matrix with :math:`\|X\|_* \le R`.

    Its singular values are the projection of those of the matrix on the simplex:
    :math:`(s_i - \theta)_+` with the theta for which they sum to R.

    Parameters
    ----------
    matrix : Tensor, shape (num_rows, num_columns)
    radius : float
        R, positive.

    References
    ----------
    Duchi, Shalev-Shwartz, Singer and Chandra (2008), Efficient projections onto the
    l1-ball for learning in high dimensions, Figure 1.
    """
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    if float(s.sum()) <= radius:
        return matrix
    counts = torch.arange(1, s.numel() + 1, dtype=s.dtype, device=s.device)
    thresholds = (s.cumsum(0) - radius) / counts
    kept = int((s > thresholds).sum())
    return (u * (s - thresholds[kept - 1]).clamp_min(0.0)) @ vh


def near_kernel_direction(
    target: NoiseTarget, *, max_steps: int = _NEAR_KERNEL_STEPS
) -> Tensor:
    r"""Return an element of the descent cone with a small image.

    With T the tangent space at :math:`X_0 = U S V^H` the cone is :math:`\mathrm{Re}
    \langle U V^H, Z \rangle + \|P_{T^\perp} Z\|_* \le 0`. Normalised to
    :math:`\mathrm{Re} \langle U V^H, Z \rangle = -1` the smallest image is a convex
    problem,

    .. math:: \min_Z \tfrac12 \|w \circ \mathcal{A}(Z)\|^2 \quad \text{subject to}
              \quad \mathrm{Re} \langle U V^H, Z \rangle = -1, \
              \|P_{T^\perp} Z\|_* \le 1,

    solved by accelerated projected gradients. A matrix outside T of nuclear norm one
    nearly cancels the image of :math:`-U V^H`: that is how Krahmer and Stoeger build
    directions with a small quotient :math:`\|\mathcal{A}(Z)\| / \|Z\|`.

    Parameters
    ----------
    target : NoiseTarget
    max_steps : int

    Returns
    -------
    Tensor, shape (num_rows, num_columns)
        A direction, to be scaled.

    References
    ----------
    The idea: Krahmer and Stoeger (2021), On the convex geometry of blind
    deconvolution and matrix completion. The convex problem is ours.
    """
    problem = target.problem
    u, s, vh = torch.linalg.svd(target.truth, full_matrices=False)
    rank = int((s > 1e-12 * s[0]).sum())
    u, v = u[:, :rank], vh[:rank].mH
    polar = u @ v.mH

    def project(z: Tensor) -> Tensor:
        normal = z - u @ (u.mH @ z)
        normal = normal - (normal @ v) @ v.mH
        tangent = z - normal
        along = float((polar.conj() * tangent).sum().real)
        tangent = tangent - polar * ((along + 1.0) / rank)
        return tangent + project_on_nuclear_ball(normal, 1.0)

    length = 1.0 / float(target.ball.values[-1])
    z = ahead = project(-polar / rank)
    momentum = 1.0
    for _ in range(max_steps):
        image = problem.weights * problem.linear_map.apply(ahead)
        new = project(ahead - length * problem.linear_map.adjoint_apply(image))
        later = (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0
        ahead = new + (momentum - 1.0) / later * (new - z)
        z, momentum = new, later
    return z


def longest_along(target: NoiseTarget, objective: Tensor, start: Tensor) -> Tensor:
    r"""Maximise :math:`\mathrm{Re} \langle C, Z \rangle` over the set of the module.

    By Douglas-Rachford: projection of :math:`X_0 + Z` on the nuclear norm ball,
    projection on the residual ball of radius 2 tau shifted by C.

    Parameters
    ----------
    target : NoiseTarget
    objective : Tensor, shape (num_rows, num_columns)
        C, of unit Frobenius norm.
    start : Tensor, shape (num_rows, num_columns)
        A first Z, not zero; its length is the splitting step.

    Returns
    -------
    Tensor, shape (num_rows, num_columns)
        Close to the maximiser, not exactly a member.
    """
    ball = replace(target.ball, problem=target.problem)
    step = float(torch.linalg.matrix_norm(start))
    shadow = target.truth + start
    point = shadow
    for _ in range(_LINEAR_STEPS):
        near = project_on_nuclear_ball(shadow, target.nuclear_norm)
        point, _ = ball.project(
            2.0 * near - shadow + step * objective, 2.0 * target.noise_bound
        )
        shadow = shadow + (point - near)
        change = float(torch.linalg.matrix_norm(point - near))
        if change <= _LINEAR_RTOL * step:
            break
    return point - target.truth


def longest_member(
    target: NoiseTarget, start: Tensor, *, max_rounds: int = 12
) -> ConeMember:
    r"""Search the longest member by successive linearisation.

    From Z the next direction maximises :math:`\mathrm{Re} \langle Z / \|Z\|, \cdot
    \rangle` over the set: as the norm is convex, its length does not fall.

    Parameters
    ----------
    target : NoiseTarget
    start : Tensor, shape (num_rows, num_columns)
        A first direction, of any length but zero.
    max_rounds : int
        Linear problems solved at most.

    Returns
    -------
    ConeMember
        The longest seen.
    """
    image = target.problem.weights * target.problem.linear_map.apply(start)
    size = float(torch.linalg.vector_norm(image))
    scale = min(2.0 * target.noise_bound / size, 1.0) if size > 0.0 else 1.0
    best = pull_inside(target, scale * start)
    for _ in range(max_rounds):
        if best.size == 0.0:
            break
        unit = best.direction / best.size
        found = longest_along(target, unit, best.direction)
        member = pull_inside(target, found)
        if member.size <= best.size * (1.0 + _GAIN):
            return max(best, member, key=lambda one: one.size)
        best = member
    return best
