r"""A sufficient condition for convergence, with all constants and its proof.

The game is :math:`\langle d, g(\theta) - b \rangle - \frac12 \|d\|^2`, the method
simultaneous (:math:`u_t = d_t`) or alternating (:math:`u_t = d_{t+1} = (1 - \mu) d_t +
\mu r_t`) descent-ascent with steps :math:`\eta, \mu`; r = g - b. Let J_0 be the
Jacobian at the start, :math:`\beta = \|J_0\|`, and suppose that on the ball of radius R
around :math:`\theta_0` it changes by at most :math:`\varepsilon = \omega(R)` in
spectral norm.

1. With :math:`z = (d, r)` the method reads :math:`z_{t+1} = T_0 z_t + (0, -\eta (G_t -
   J_0 J_0^T) u_t)`, where T_0 has the blocks ``transition`` of the singular values of
   J_0 (r taking the place of s x) and :math:`G_t = \bar J_t J_t^T` with the mean
   :math:`\bar J_t` of the Jacobian over the segment from :math:`\theta_t` to
   :math:`\theta_{t+1}`. If that lies in the ball, :math:`\|G_t - J_0 J_0^T\| \le
   \varepsilon (\beta + \varepsilon) + \beta \varepsilon =: \delta`.
2. Take q above the spectral radius of T_0 and, for each singular value, the P_i > 0
   that solves :math:`T_i^T P_i T_i = q^2 (P_i - Q_i)` with some Q_i > 0. In the norm
   :math:`\|z\|_P^2 = \sum_i z_i^T P_i z_i` over the left singular vectors,
   :math:`\|T_0 z\|_P \le q \|z\|_P`. Put :math:`c_1^2 = \max_i (P_i)_{rr}`, so that
   :math:`\|(0, v)\|_P \le c_1 \|v\|`, and :math:`c_2^2 = \max_i h^T P_i^{-1} h` with
   :math:`u = h^T z`, so that :math:`\|u\| \le c_2 \|z\|_P`.
3. Hence :math:`\|z_{t+1}\|_P \le q' \|z_t\|_P` with :math:`q' = q + \eta\, c_1 c_2\,
   \delta`.
4. The generator's path up to t + 1 is at most :math:`\eta (\beta + \varepsilon) \sum_{s
   \le t} \|u_s\| \le \eta (\beta + \varepsilon)\, c_2 \|z_0\|_P / (1 - q')`, which uses
   steps 1 to 3 for s < t only. If that is at most R, induction over t keeps every
   iterate, and with it every segment, in the ball.

So if :math:`q' < 1` and :math:`\eta (\beta + \varepsilon)\, c_2 \|z_0\|_P / (1 - q')
\le R`, then :math:`\|r_t\| \le c_r\, q'^t \|z_0\|_P` with :math:`c_r^2 = \max_i
(P_i^{-1})_{rr}`, the same for d, and :math:`\theta_t` converges to a saddle of value
zero within R of the start. (Ours, in the spirit of the general theorem of Balaji et al.
2021, whose constants we do not have: there, too, descent-ascent is a linear
time-varying system and the generator stays where its Jacobian is regular.)

:math:`\omega(R) = L R` for a Jacobian with Lipschitz constant L. That of a ReLU network
jumps: it has no L, and no such condition holds in the limit of small R. ``path``
measures what it did instead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.limits import effective_max_step
from tacit.minimax.dynamics.spectrum import JacobianSpectrum

_SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)  # of 1 - rho given to q
# Of r in Q, relative to d.
_WEIGHTS = (1e-3, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e4)
_NUM_RADII = 241  # between 1e-8 and 1e4 times the natural radius


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConvergenceGuarantee:
    r"""Whether convergence to a saddle of value zero is proved, and what with.

    Parameters
    ----------
    holds : bool
        Whether the sufficient condition is met. If not, nothing is said.
    rate : float
        q', the proved factor per step; 1 if nothing is proved.
    radius : float
        R, in the unit of theta: no iterate is further from the start. inf if nothing
        is proved.
    residual_factor : float
        :math:`\|r_t\|` is at most this times ``rate ** t``, in the unit of r; inf if
        nothing is proved.
    path_ratio : float
        Bound on the path over R, at the best R tried: at most 1 if the condition holds,
        otherwise how far it is from doing so.
    """

    holds: bool
    rate: float
    radius: float
    residual_factor: float
    path_ratio: float


def convergence_guarantee(
    solver: AbstractDescentAscent,
    spectrum: JacobianSpectrum,
    *,
    residual_norm: float,
    jacobian_change: float | Callable[[float], float],
    max_player_norm: float = 0.0,
) -> ConvergenceGuarantee:
    r"""Prove convergence from the start, if the Jacobian moves little enough.

    Parameters
    ----------
    solver : SimultaneousGDA or AlternatingGDA
        Method and steps.
    spectrum : JacobianSpectrum
        Complete, of the start, without batch dimensions.
    residual_norm : float
        :math:`\|g(\theta_0) - b\|`.
    jacobian_change : float or callable
        A Lipschitz constant of the Jacobian, or :math:`\omega`: takes R and returns a
        bound on the spectral norm of its change within R of the start, not decreasing.
    max_player_norm : float
        :math:`\|d_0\|`.

    Returns
    -------
    ConvergenceGuarantee
        As strong as the bound on the change: if that was only measured, so is this.

    Raises
    ------
    InputError
        If the method is another, the spectrum is not complete or has batch dimensions,
        or a number is negative or not finite.

    Notes
    -----
    Rounding is not included. A grid of q, Q and R is searched; the slowest rate proved
    decides.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([1.0, 0.8], dtype=torch.float64)
    >>> proved = tacit.convergence_guarantee(
    ...     tacit.AlternatingGDA(min_step=1.0, max_step=1.0),
    ...     tacit.JacobianSpectrum(singular_values=values), residual_norm=0.1,
    ...     jacobian_change=0.1)
    >>> proved.holds, proved.rate < 0.7
    (True, True)
    """
    _check(solver, spectrum, residual_norm, max_player_norm)
    values = spectrum.singular_values.double().cpu()
    beta = float(values[0])
    scale = (residual_norm + max_player_norm) / beta if beta > 0.0 else 1.0
    change = _as_change(jacobian_change)
    nothing = ConvergenceGuarantee(
        holds=False,
        rate=1.0,
        radius=math.inf,
        residual_factor=math.inf,
        path_ratio=math.inf,
    )
    matrices = _residual_form(solver, values)
    rho = float(torch.linalg.eigvals(matrices).abs().amax())
    if not rho < 1.0:
        return nothing
    exponents = torch.linspace(-8.0, 4.0, _NUM_RADII, dtype=torch.float64)
    radii = max(scale, 1e-300) * 10.0**exponents
    epsilon = torch.tensor([change(float(r)) for r in radii], dtype=torch.float64)
    best = nothing
    for share in _SHARES:
        for weight in _WEIGHTS:
            found = _with_norm(
                solver,
                matrices,
                q=rho + share * (1.0 - rho),
                weight=weight,
                sizes=(max_player_norm, residual_norm),
                radii=radii,
                moved=(epsilon, beta),
            )
            best = min(best, found, key=lambda g: (not g.holds, g.rate, g.path_ratio))
    return best


def regular_radius(spectrum: JacobianSpectrum, lipschitz: float) -> float:
    r"""Return the radius within which the smallest singular value keeps half its size.

    By Weyl, :math:`\sigma_{\min}(J(\theta)) \ge \alpha - L \|\theta - \theta_0\|`, so
    it is :math:`\alpha / (2 L)`.

    Parameters
    ----------
    spectrum : JacobianSpectrum
        At the start; :math:`\alpha` is its smallest value, by the bound if there is
        one.
    lipschitz : float
        L, of the Jacobian in spectral norm, positive.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If ``lipschitz`` is not positive.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([3.0, 1.0], dtype=torch.float64)
    >>> from tacit.minimax.dynamics.guarantee import regular_radius
    >>> regular_radius(tacit.JacobianSpectrum(singular_values=values), 0.25)
    2.0
    """
    if not lipschitz > 0.0:
        raise InputError(f"lipschitz must be positive; got {lipschitz}")
    alpha = spectrum.smallest if spectrum.lower is None else spectrum.lower
    return alpha / (2.0 * lipschitz)


def _check(
    solver: AbstractDescentAscent,
    spectrum: JacobianSpectrum,
    residual_norm: float,
    max_player_norm: float,
) -> None:
    if not isinstance(solver, SimultaneousGDA | AlternatingGDA):
        raise InputError(
            "a guarantee is known for SimultaneousGDA and AlternatingGDA; got "
            f"{type(solver).__name__}"
        )
    if not spectrum.is_complete or spectrum.singular_values.ndim != 1:
        raise InputError(
            "a guarantee needs all singular values of one start; got shape "
            f"{tuple(spectrum.singular_values.shape)}"
            + ("" if spectrum.is_complete else ", extremes only")
        )
    for name, number in (
        ("residual_norm", residual_norm),
        ("max_player_norm", max_player_norm),
    ):
        if not (math.isfinite(number) and number >= 0.0):
            raise InputError(f"{name} must be finite and not negative; got {number}")


def _as_change(given: float | Callable[[float], float]) -> Callable[[float], float]:
    """Return the bound on the change as a function of the radius."""
    if callable(given):
        return given
    if not (math.isfinite(given) and given >= 0.0):
        raise InputError(
            f"jacobian_change must be finite and not negative; got {given}"
        )
    return lambda radius: given * radius


def _max_step(solver: AbstractDescentAscent) -> float:
    if isinstance(solver, AlternatingGDA):
        return effective_max_step(solver)
    return solver.max_step


def _residual_form(solver: AbstractDescentAscent, values: Tensor) -> Tensor:
    """Return the step on (d, r) for each singular value, shape (count, 2, 2)."""
    eta, mu = solver.min_step, _max_step(solver)
    moved = eta * values.square()
    one = torch.ones_like(values)
    first = torch.stack(((1 - mu) * one, mu * one), -1)
    if isinstance(solver, AlternatingGDA):
        second = torch.stack((-moved * (1 - mu), 1 - moved * mu), -1)
    else:
        second = torch.stack((-moved, one), -1)
    return torch.stack((first, second), -2)


def _with_norm(
    solver: AbstractDescentAscent,
    matrices: Tensor,
    *,
    q: float,
    weight: float,
    sizes: tuple[float, float],
    radii: Tensor,
    moved: tuple[Tensor, float],
) -> ConvergenceGuarantee:
    """Return what the norm of one q and one Q proves, over all radii."""
    eta, mu = solver.min_step, _max_step(solver)
    P = _contracted_norm(matrices, q, weight)
    inverse = torch.linalg.inv(P)
    is_alternating = isinstance(solver, AlternatingGDA)
    h = P.new_tensor([1.0 - mu, mu] if is_alternating else [1.0, 0.0])
    c1 = math.sqrt(float(P[:, 1, 1].amax()))
    c2 = math.sqrt(float((inverse @ h @ h).amax()))
    of_d = math.sqrt(float(P[:, 0, 0].amax()))
    start = of_d * sizes[0] + c1 * sizes[1]
    epsilon, beta = moved
    rates = q + eta * c1 * c2 * epsilon * (2.0 * beta + epsilon)
    paths = eta * (beta + epsilon) * c2 * start / (1.0 - rates)
    ratios = torch.where(rates < 1.0, paths / radii, math.inf)
    is_proved = ratios <= 1.0
    # The smallest radius that works has the best rate.
    place = int(is_proved.int().argmax() if bool(is_proved.any()) else ratios.argmin())
    holds = bool(is_proved[place])
    of_r = math.sqrt(float(inverse[:, 1, 1].amax()))
    return ConvergenceGuarantee(
        holds=holds,
        rate=float(rates[place]) if holds else 1.0,
        radius=float(radii[place]) if holds else math.inf,
        residual_factor=of_r * start if holds else math.inf,
        path_ratio=float(ratios[place]),
    )


def _contracted_norm(matrices: Tensor, q: float, weight: float) -> Tensor:
    """Return P with T^T P T = q^2 (P - Q) per matrix, Q along diag(1, weight).

    Each is scaled to P_rr = 1: any factors will do, and these make c_1 c_2 smallest.
    """
    scaled = (matrices / q).mT
    # vec(S P S^T) = (S kron S) vec(P), rows first.
    kron = torch.einsum("nij,nkl->nikjl", scaled, scaled).reshape(-1, 4, 4)
    Q = matrices.new_tensor([1.0, 0.0, 0.0, weight])
    eye = torch.eye(4, dtype=matrices.dtype)
    right = Q.expand(len(matrices), 4).unsqueeze(-1)
    found = torch.linalg.solve(eye - kron, right).reshape(-1, 2, 2)
    found = (found + found.mT) / 2
    return found / found[:, 1:, 1:]
