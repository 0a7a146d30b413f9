r"""A run as the linearisation sees it: all modes together, not the slowest alone."""

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.descent_ascent import AbstractDescentAscent
from tacit.minimax.dynamics.jacobian import jacobian_gram
from tacit.minimax.matching import AbstractMatchingProblem
from tacit.minimax.quadratic import QuadraticGame

_ZERO = 1e-12  # singular values below, relative to the largest: nothing moves


def linear_history(
    solver: AbstractDescentAscent,
    problem: AbstractMatchingProblem,
    start: tuple[Tensor, Tensor],
    *,
    num_steps: int,
    jacobian_at: Tensor | None = None,
) -> Tensor:
    r"""Return the residual's length along a run, if the Jacobian stays what it is.

    The rate of the slowest mode is what comes out in the end; before, and for longer
    the closer the singular values are, the run is a mixture that this follows exactly:
    with :math:`J = \sum_i s_i u_i v_i^T` the solver runs on the games :math:`s_i x_i
    y_i - y_i^2 / 2` from :math:`x_i = u_i^T r_0 / s_i`, :math:`y_i = u_i^T d_0`.

    Parameters
    ----------
    solver : AbstractDescentAscent
        Method and steps.
    problem : AbstractMatchingProblem
        What is solved.
    start : tuple of Tensor
        Both players, without batch dimensions.
    num_steps : int
        How far, at least 0.
    jacobian_at : Tensor, shape min_shape, or None
        Where the Jacobian is taken; at the start by default.

    Returns
    -------
    Tensor, shape (num_steps + 1,)
        :math:`\|r_t\|`, float64 on the CPU.

    Raises
    ------
    ShapeError
        If the start has batch dimensions.
    InputError
        If ``num_steps`` is negative.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(400, 20, 10, 50, generator=generator)
    >>> start = tacit.draw_start(game, generator=generator)
    >>> solver = tacit.AlternatingGDA(min_step=3.0, max_step=1.0)
    >>> lengths = tacit.linear_history(solver, game, start, num_steps=20)
    >>> bool(lengths[20] < lengths[0] / 100)
    True
    """
    residual = problem.linearise(start[0]).residual
    if residual.ndim != 1:
        raise ShapeError(
            "the start must have no batch dimensions; got "
            f"{tuple(residual.shape[:-1])}; take one member of the batch"
        )
    if num_steps < 0:
        raise InputError(f"num_steps must be at least 0; got {num_steps}")
    where = start[0] if jacobian_at is None else jacobian_at
    squares, modes = torch.linalg.eigh(jacobian_gram(problem, where).cpu())
    strengths = squares.clamp(min=0.0).sqrt()
    moving = strengths > _ZERO * strengths[-1]
    along = modes.mT @ residual.double().cpu()
    still = along[~moving].square().sum()
    strengths = strengths[moving]
    x = along[moving] / strengths
    y = (modes.mT @ start[1].double().cpu())[moving]
    if x.numel() == 0:
        return still.sqrt().expand(num_steps + 1).clone()
    size = len(x)
    game = QuadraticGame(
        curvature=torch.zeros(size, size, dtype=torch.float64),
        coupling=torch.diag(strengths),
        concavity=torch.eye(size, dtype=torch.float64),
        min_slope=torch.zeros(size, dtype=torch.float64),
        max_slope=torch.zeros(size, dtype=torch.float64),
    )
    state = solver.init(game, (x, y))
    lengths = [(x * strengths).square().sum() + still]
    for _ in range(num_steps):
        state = solver.step(game, state)
        lengths.append((state.min_player * strengths).square().sum() + still)
    return torch.stack(lengths).sqrt()
