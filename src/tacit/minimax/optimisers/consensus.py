r"""The consensus term of two players' gradients, by a second backward pass."""

from collections.abc import Iterable
from typing import NamedTuple, final

import torch
from torch import Tensor

from tacit.errors import InputError

Gradients = tuple[Tensor, ...]


@final
class ConsensusGradients(NamedTuple):
    r"""Gradients of two players, and what consensus optimisation adds to them.

    ``plain`` has the gradients of each player's loss, ``extra`` those of half the
    squared length of all of ``plain`` together; both as (first player, second player),
    in the order of the parameters. Without a graph.
    """

    plain: tuple[Gradients, Gradients]
    extra: tuple[Gradients, Gradients]


def consensus_gradients(
    losses: tuple[Tensor, Tensor],
    players: tuple[Iterable[Tensor], Iterable[Tensor]],
) -> ConsensusGradients:
    r"""Return both players' gradients and the gradients of their squared length.

    .. math:: v = \bigl(\nabla_\theta L_1,\ \nabla_w L_2\bigr), \qquad
              \nabla_{(\theta, w)}\, \tfrac12 \|v\|^2

    Consensus optimisation descends by ``plain + weight * extra`` for both players at
    once, whatever optimisers make the steps of these gradients.

    Parameters
    ----------
    losses : (Tensor, Tensor)
        L_1 and L_2, what each player makes small, shape (); with a graph that can be
        differentiated twice. In a zero-sum game L_2 = -L_1.
    players : pair of iterables of Tensor
        Parameters :math:`\theta` and w. One that a loss does not depend on has gradient
        zero.

    Returns
    -------
    ConsensusGradients

    Raises
    ------
    InputError
        If a player has no parameter.

    Notes
    -----
    Costs about three plain gradients of both players. The term attracts to every
    stationary point, saddle or not.

    References
    ----------
    Mescheder, Nowozin and Geiger, The numerics of GANs, NeurIPS 2017, algorithm 2.

    Examples
    --------
    >>> import tacit, torch
    >>> x, y = (torch.tensor(v, requires_grad=True) for v in (1.0, 2.0))
    >>> loss = 3 * x * y
    >>> plain, extra = tacit.consensus_gradients((loss, -loss), ([x], [y]))
    >>> [float(g) for player in plain for g in player]
    [6.0, -3.0]
    >>> [float(g) for player in extra for g in player]  # of (9 y^2 + 9 x^2) / 2
    [9.0, 18.0]
    """
    first, second = list(players[0]), list(players[1])
    if not first or not second:
        raise InputError("each player must have at least one parameter")
    slopes = [
        *torch.autograd.grad(
            losses[0], first, create_graph=True, materialize_grads=True
        ),
        *torch.autograd.grad(
            losses[1], second, create_graph=True, materialize_grads=True
        ),
    ]
    half = torch.stack([slope.square().sum() for slope in slopes]).sum() / 2
    if half.requires_grad:
        extra = torch.autograd.grad(half, [*first, *second], materialize_grads=True)
    else:  # all slopes are constant
        extra = tuple(torch.zeros_like(slope) for slope in slopes)
    plain = tuple(slope.detach() for slope in slopes)
    split = len(first)
    return ConsensusGradients(
        plain=(plain[:split], plain[split:]), extra=(extra[:split], extra[split:])
    )
