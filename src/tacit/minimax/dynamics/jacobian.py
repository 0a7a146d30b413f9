r"""The Jacobian of a generator, in the smallest form that answers a question."""

import torch
from torch import Tensor
from torch.func import vmap

from tacit.errors import InputError
from tacit.minimax.matching import AbstractMatchingProblem
from tacit.minimax.mean_matching import MeanMatchingGame

DENSE_ENTRIES = 2**25  # of a Jacobian that is stored: 256 MiB in float64
_CHUNK_ENTRIES = 2**23  # of the rows that are pulled back at a time


def jacobian(problem: AbstractMatchingProblem, min_player: Tensor) -> Tensor:
    r"""Return the Jacobian of the generator, by one pull-back per feature.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        Gives pull-backs.
    min_player : Tensor, shape (*batch, *min_shape)
        Where.

    Returns
    -------
    Tensor, shape (*batch, num_features, num_parameters)
        J, parameters flattened; the full matrix, so mind its size.

    Examples
    --------
    >>> import tacit, torch
    >>> problem = tacit.MatchingProblem(generator_function=lambda x: x * x,
    ...     min_shape=(2,), target=torch.zeros(2).double())
    >>> from tacit.minimax.dynamics.jacobian import jacobian
    >>> jacobian(problem, torch.tensor([1.0, 3.0]).double())
    tensor([[2., 0.],
            [0., 6.]], dtype=torch.float64)
    """
    if isinstance(problem, MeanMatchingGame):
        problem.linearise(min_player)  # refuses a player that does not fit
        rows = problem.output_weights.unsqueeze(-1)
        return (rows * active_means(problem, min_player).unsqueeze(-3)).flatten(-2)
    residual, pull_back = problem.linearise(min_player)
    size = residual.shape[-1]
    per_row = min_player.numel()
    units = torch.eye(size, dtype=residual.dtype, device=residual.device)
    units = units.reshape(size, *[1] * (residual.ndim - 1), size)
    units = units.expand(size, *residual.shape)
    chunk = max(1, min(size, _CHUNK_ENTRIES // per_row))
    rows = vmap(pull_back, chunk_size=chunk)(units)
    batch = residual.ndim - 1
    return rows.flatten(1 + batch).movedim(0, batch)


def jacobian_gram(problem: AbstractMatchingProblem, min_player: Tensor) -> Tensor:
    r"""Return the matrix that governs the residual, :math:`J J^T`.

    For :class:`MeanMatchingGame` it is :math:`V \operatorname{diag}(\|M_j\|^2) V^T`
    with :math:`M_j = \frac1n \sum_i 1[w_j^T z_i > 0]\, z_i`. Elsewhere the rows of J
    are formed if they fit into memory; if not, J J^T is applied to unit vectors by a
    pull-back and a push-forward each.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        Gives pull-backs and push-forwards.
    min_player : Tensor, shape (*batch, *min_shape)
        Where.

    Returns
    -------
    Tensor, shape (*batch, num_features, num_features)
        Symmetric, float64.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(30, 4, 3, 9, generator=generator)
    >>> W, _ = tacit.draw_start(game, generator=generator)
    >>> from tacit.minimax.dynamics.jacobian import jacobian, jacobian_gram
    >>> J = jacobian(game, W)
    >>> bool((jacobian_gram(game, W) - J @ J.mT).abs().max() < 1e-12)
    True
    """
    if isinstance(problem, MeanMatchingGame):
        root = mean_matching_root(problem, min_player)
        return root @ root.mT
    if is_dense(problem, min_player):
        rows = jacobian(problem, min_player).double()
        return rows @ rows.mT
    residual, pull_back = problem.linearise(min_player)
    columns: list[Tensor] = []
    for index in range(residual.shape[-1]):
        unit = torch.zeros_like(residual)
        unit[..., index] = 1.0
        columns.append(problem.push_forward(min_player, pull_back(unit)).double())
    gram = torch.stack(columns, -1)
    return (gram + gram.mT) / 2


def jacobian_distance(
    problem: AbstractMatchingProblem, first: Tensor, second: Tensor
) -> float:
    r"""Return :math:`\|J(\theta) - J(\theta')\|_2` of two points without batch.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        Gives Jacobians.
    first, second : Tensor, shape min_shape
        The points.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the Jacobian has more than 2**25 entries.

    Examples
    --------
    >>> import tacit, torch
    >>> problem = tacit.MatchingProblem(generator_function=lambda x: x * x,
    ...     min_shape=(2,), target=torch.zeros(2).double())
    >>> from tacit.minimax.dynamics.jacobian import jacobian_distance
    >>> jacobian_distance(problem, torch.zeros(2).double(), torch.ones(2).double())
    2.0
    """
    if isinstance(problem, MeanMatchingGame):
        # Neuron j contributes v_j M_j^T: of its change, the length is all that matters.
        moved = active_means(problem, first) - active_means(problem, second)
        lengths = torch.linalg.vector_norm(moved, dim=-1)
        root = problem.output_weights * lengths.unsqueeze(-2)
    elif is_dense(problem, first):
        root = jacobian(problem, first) - jacobian(problem, second)
    else:
        raise InputError(
            f"the Jacobian must have at most {DENSE_ENTRIES} entries; got "
            f"{problem.target.shape[-1]} x {first.numel()}"
        )
    return float(torch.linalg.svdvals(root.double())[..., 0].amax())


def is_dense(problem: AbstractMatchingProblem, min_player: Tensor) -> bool:
    """Whether the Jacobian at a point is small enough to be stored."""
    if isinstance(problem, MeanMatchingGame):
        return True
    return problem.target.shape[-1] * min_player.numel() <= DENSE_ENTRIES


def active_means(game: MeanMatchingGame, min_player: Tensor) -> Tensor:
    r"""Return the rows :math:`M_j = \frac1n \sum_i 1[w_j^T z_i > 0]\, z_i`."""
    active = (min_player @ game.latents.mT > 0).to(min_player.dtype)
    return active @ game.latents / game.latents.shape[-2]


def mean_matching_root(game: MeanMatchingGame, min_player: Tensor) -> Tensor:
    """Return V diag(|M_j|), which has the singular values of J: J has v_j M_j^T."""
    game.linearise(min_player)  # refuses a player that does not fit
    lengths = torch.linalg.vector_norm(active_means(game, min_player), dim=-1)
    return (game.output_weights * lengths.unsqueeze(-2)).double()
