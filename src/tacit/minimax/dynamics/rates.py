r"""How fast a method contracts: per singular value, and for any two coupled players.

Near a solution of a matching problem every singular value s of the Jacobian is a scalar
game f(x, y) = s x y - y^2 / 2 of its own, and a method is a small matrix on it (its
``transition``). Its spectral radius is the factor by which that part of the error
shrinks per step in the long run.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.descent_ascent import AbstractDescentAscent, SaddleState
from tacit.minimax.dynamics.spectrum import JacobianSpectrum
from tacit.minimax.local_optimality import second_derivatives
from tacit.minimax.problem import AbstractSaddleProblem
from tacit.minimax.quadratic import QuadraticGame

_NUM_BETWEEN = 65  # singular values between two known extremes
_MAX_SIZE = 4096  # of both players together, for dense linearisations
_NEUTRAL = 1e-9  # singular values of the operator below, relative: nothing moves


def mode_rates(solver: AbstractDescentAscent, singular_values: Tensor) -> Tensor:
    r"""Return the spectral radius of one step for each singular value.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and steps.
    singular_values : Tensor, shape (...)
        s >= 0.

    Returns
    -------
    Tensor, shape (...)
        Below 1: that part of the error vanishes. It is 1 for s = 0, where no step of
        the generator helps, or more. Eigenvalues that coincide are computed to about
        ``eps ** 0.5``.

    Examples
    --------
    >>> import tacit, torch
    >>> solver = tacit.SimultaneousGDA(min_step=0.25, max_step=1.0)
    >>> values = torch.tensor([1.0, 0.0], dtype=torch.float64)
    >>> [round(float(rate), 6) for rate in tacit.mode_rates(solver, values)]
    [0.5, 1.0]
    """
    values = singular_values.double()
    nothing = torch.zeros_like(values)
    matrices = solver.transition(nothing, values, torch.ones_like(values))
    return torch.linalg.eigvals(matrices).abs().amax(-1)


def linear_rate(
    solver: AbstractDescentAscent, spectrum: JacobianSpectrum | Tensor
) -> Tensor:
    r"""Return the factor per step of the slowest part of the error.

    .. math:: \max_i \rho(T(s_i))

    with T the solver's transition and :math:`s_i` the singular values: the rate at
    which a residual shrinks while the Jacobian stays what it is. Where only the
    extremes are known, values between them are tried as well.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and steps.
    spectrum : JacobianSpectrum or Tensor of shape (*batch, count)
        The singular values.

    Returns
    -------
    Tensor, shape batch
        1 or more: not every part of the error vanishes.

    Examples
    --------
    >>> import tacit, torch
    >>> solver = tacit.SimultaneousGDA(min_step=0.25, max_step=1.0)
    >>> values = torch.tensor([1.0, 0.5], dtype=torch.float64)
    >>> round(float(tacit.linear_rate(solver, values)), 6)  # (1 + 0.75 ** 0.5) / 2
    0.933013
    """
    return mode_rates(solver, all_modes(spectrum)).amax(-1)


def all_modes(spectrum: JacobianSpectrum | Tensor) -> Tensor:
    """Return singular values, filled up between the extremes where some are unknown."""
    if isinstance(spectrum, Tensor):
        return JacobianSpectrum(singular_values=spectrum).singular_values
    values = spectrum.singular_values
    if spectrum.is_complete:
        return values
    parts = torch.linspace(0, 1, _NUM_BETWEEN, dtype=values.dtype, device=values.device)
    high, low = values.amax(-1, keepdim=True), values.amin(-1, keepdim=True)
    # Weights first: the two ends come out exactly.
    return low * (1 - parts) + high * parts


def linearised_game(
    problem: AbstractSaddleProblem, min_player: Tensor, max_player: Tensor
) -> QuadraticGame:
    r"""Return the quadratic game in displacements from a point, to second order.

    .. math:: A = \partial_{xx} f, \quad B = \partial_{xy} f, \quad
              C = -\partial_{yy} f, \quad p = \partial_x f, \quad q = \partial_y f

    by differentiation of the gradients; dense.

    Parameters
    ----------
    problem : AbstractSaddleProblem
        Any whose gradients ``torch.func`` can differentiate.
    min_player : Tensor, shape min_shape
        x.
    max_player : Tensor, shape max_shape
        y.

    Returns
    -------
    QuadraticGame
        Players flattened, float64.

    Raises
    ------
    ShapeError
        If the point has batch dimensions.
    InputError
        If both players together have more than 4096 entries.

    Examples
    --------
    >>> import tacit, torch
    >>> problem = tacit.FunctionProblem(min_shape=(), max_shape=(),
    ...     function=lambda x, y: x**2 + 3 * x * y - 2 * y**2)
    >>> zero = torch.zeros(()).double()
    >>> game = tacit.linearised_game(problem, zero, zero)
    >>> float(game.curvature), float(game.coupling), float(game.concavity)
    (2.0, 3.0, 4.0)
    """
    spec = problem.spec
    if (min_player.shape, max_player.shape) != (spec.min_shape, spec.max_shape):
        raise ShapeError(
            f"players must have shapes {spec.min_shape} and {spec.max_shape} without "
            f"batch dimensions; got {tuple(min_player.shape)} and "
            f"{tuple(max_player.shape)}"
        )
    split, total = min_player.numel(), min_player.numel() + max_player.numel()
    if total > _MAX_SIZE:
        raise InputError(
            f"a dense linearisation takes at most {_MAX_SIZE} entries of both players "
            f"together; got {total}; for matching problems use jacobian_spectrum"
        )

    for_min, for_max = problem.gradients(min_player, max_player)
    second = second_derivatives(problem, min_player, max_player)
    return QuadraticGame(
        curvature=second[:split, :split],
        coupling=second[:split, split:],
        concavity=-second[split:, split:],
        min_slope=for_min.reshape(-1).double(),
        max_slope=for_max.reshape(-1).double(),
    )


def iteration_matrix(solver: AbstractDescentAscent, game: QuadraticGame) -> Tensor:
    r"""Return the matrix of one step on a quadratic game, by taking steps.

    A step is linear in players and memory together (the slopes are left out), so it is
    applied to every unit vector at once. No formula for the method is used.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and steps.
    game : QuadraticGame
        Without batch dimensions.

    Returns
    -------
    Tensor, shape (size, size)
        ``size`` counts x, y and what the method carries along.

    Raises
    ------
    ShapeError
        If the game has batch dimensions.

    Examples
    --------
    >>> import tacit, torch
    >>> one = torch.eye(1).double()
    >>> game = tacit.QuadraticGame(curvature=0 * one, coupling=2 * one, concavity=one,
    ...     min_slope=torch.zeros(1).double(), max_slope=torch.zeros(1).double())
    >>> solver = tacit.SimultaneousGDA(min_step=0.25, max_step=0.5)
    >>> tacit.iteration_matrix(solver, game)
    tensor([[ 1.0000, -0.5000],
            [ 1.0000,  0.5000]], dtype=torch.float64)
    """
    if game.coupling.ndim != 2:
        raise ShapeError(
            "the game must have no batch dimensions; got "
            f"{tuple(game.coupling.shape[:-2])}"
        )
    level = QuadraticGame(
        curvature=game.curvature,
        coupling=game.coupling,
        concavity=game.concavity,
        min_slope=torch.zeros_like(game.min_slope),
        max_slope=torch.zeros_like(game.max_slope),
    )
    rest = (torch.zeros_like(game.min_slope), torch.zeros_like(game.max_slope))
    # One step from rest: then the memory has its final form, and is zero.
    template = solver.step(level, solver.init(level, rest))
    parts = (template.min_player, template.max_player, *template.memory)
    sizes = [part.numel() for part in parts]
    units = torch.eye(sum(sizes), dtype=game.coupling.dtype, device=rest[0].device)
    x, y, *memory = units.split(sizes, -1)
    state = SaddleState(
        min_player=x, max_player=y, value=math.inf, memory=tuple(memory)
    )
    after = solver.step(level, state)
    return torch.cat((after.min_player, after.max_player, *after.memory), -1).mT


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LocalRate:
    """How a method behaves next to a stationary point, to first order.

    Parameters
    ----------
    rate : float
        Spectral radius of a step, apart from the neutral directions: below 1 for local
        linear convergence, above 1 for escape. 0 if every direction is neutral.
    num_neutral : int
        Directions along which both gradients stay what they are, so that no method
        moves: a set of solutions, not a point.
    eigenvalues : Tensor, shape (size,)
        Of the whole step, complex, by decreasing modulus.
    """

    rate: float
    num_neutral: int
    eigenvalues: Tensor


def local_rate(solver: AbstractDescentAscent, game: QuadraticGame) -> LocalRate:
    r"""Return the rate of a method on a quadratic game with full matrices.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and steps.
    game : QuadraticGame
        Without batch dimensions; of a point of another problem by
        :func:`linearised_game`.

    Returns
    -------
    LocalRate

    Raises
    ------
    ShapeError
        If the game has batch dimensions.

    Examples
    --------
    >>> import tacit, torch
    >>> solver = tacit.SimultaneousGDA(min_step=0.1, max_step=0.1)
    >>> game = tacit.bilinear_game(torch.tensor([[1.0]]).double())
    >>> round(tacit.local_rate(solver, game).rate, 6)  # (1 + 0.1 ** 2) ** 0.5
    1.004988
    """
    matrix = iteration_matrix(solver, game)
    eigenvalues = torch.linalg.eigvals(matrix)
    upper = torch.cat((game.curvature, game.coupling), -1)
    lower = torch.cat((-game.coupling.mT, game.concavity), -1)
    strengths = torch.linalg.svdvals(torch.cat((upper, lower), -2))
    num_neutral = int((strengths <= _NEUTRAL * strengths[0]).sum())
    # A fixed point of the method is a point without gradients: eigenvalue 1, exactly.
    order = (eigenvalues - 1).abs().argsort()
    moving = eigenvalues[order[num_neutral:]].abs()
    return LocalRate(
        rate=float(moving.amax()) if moving.numel() else 0.0,
        num_neutral=num_neutral,
        eigenvalues=eigenvalues[eigenvalues.abs().argsort(descending=True)],
    )
