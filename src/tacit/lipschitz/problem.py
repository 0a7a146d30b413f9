"""What is asked: how far can the output of a network move when its input moves?"""

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch

from tacit.errors import InputError
from tacit.lipschitz.compose import append
from tacit.lipschitz.layers import Dense, Reshape
from tacit.lipschitz.network import Network

Norm = Literal["l2", "linf", "l1"]
NORMS: tuple[Norm, ...] = get_args(Norm)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LipschitzProblem:
    r"""The global Lipschitz constant of a network.

    .. math:: \mathrm{Lip}(f) = \sup_{x \ne x'} \|f(x) - f(x')\|_2 / \|x - x'\|

    Parameters
    ----------
    network : Network
        The function f.
    norm : {"l2", "linf", "l1"}
        The norm of the input difference, over all entries of a sample. The output is
        always measured in l2 (for one output: its absolute value).

    Raises
    ------
    InputError
        If the norm is none of the three.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.problem import LipschitzProblem
    >>> problem = LipschitzProblem(network=chain([(torch.eye(2), None, None)]))
    >>> problem.norm
    'l2'
    """

    network: Network
    norm: Norm = "l2"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise InputError(
                f"norm must be one of {', '.join(NORMS)}; got {self.norm!r}"
            )


def margin(network: Network, first: int, second: int) -> Network:
    """Return the scalar network ``f[first] - f[second]``, outputs flattened.

    Parameters
    ----------
    network : Network
        With at least two outputs.
    first, second : int
        Two different outputs, counted from 0.

    Returns
    -------
    Network
        Of output shape (1,). A classifier that prefers ``first`` over ``second`` by a
        margin m at x keeps doing so within radius m / Lip of x.

    Raises
    ------
    InputError
        If an index is out of range or both are equal.
    """
    count = network.num_outputs
    if not (0 <= first < count and 0 <= second < count) or first == second:
        raise InputError(
            f"margin takes two different outputs in 0..{count - 1}; "
            f"got {first},{second}"
        )
    weight = torch.zeros(1, count, dtype=torch.float64)
    weight[0, first], weight[0, second] = 1.0, -1.0
    return append(network, Reshape(shape=(count,)), Dense(weight=weight))
