r"""Gradients at extrapolated opponents: Alex-GDA around any two optimisers."""

import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.optimisers.rules import copy_all, interpolate_all


@final
class Extrapolation:
    r"""A player as its opponent is to see it: beyond its last move, or short of it.

    .. math:: \tilde\theta_{t+1} = \theta_{t+1} + (\gamma - 1)(\theta_{t+1} - \theta_t)

    Alternating training, where each player's gradient is taken while the other one is
    extrapolated, is Alex-GDA around whatever optimisers make the steps; 1 changes
    nothing, and 0 shows where the player was, as simultaneous steps do. A round, the
    discriminator first::

        with generator_ahead.shown():
            ...                              # the discriminator's gradients
        discriminator_ahead.remember()
        discriminator_optimiser.step()
        with discriminator_ahead.shown():
            ...                              # the generator's gradients
        generator_ahead.remember()
        generator_optimiser.step()

    Parameters
    ----------
    parameters : iterable of Tensor
        Of the player, real floating point.
    factor : float
        :math:`\gamma \ge 0`. Above 1 for both players, with SGD and exact gradients,
        convergence on bilinear games is proved for small steps.

    Raises
    ------
    InputError
        If there is no parameter, or ``factor`` is negative or not finite.

    References
    ----------
    Lee, Cho and Yun, Fundamental benefit of alternating updates in minimax
    optimization, ICML 2024: Alex-GDA, whose :math:`\gamma` is that of the player that
    moves first and :math:`\delta` that of the other one. Checked against the authors'
    training loop, where the discriminator is the first.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> ahead = tacit.Extrapolation([x], factor=2.0)
    >>> ahead.remember()
    >>> _ = x.data.sub_(0.25)  # a step
    >>> with ahead.shown():
    ...     float(x.detach())
    0.5
    >>> float(x.detach())
    0.75
    """

    def __init__(self, parameters: Iterable[Tensor], *, factor: float) -> None:
        self._parameters = list(parameters)
        if not self._parameters:
            raise InputError("a player must have at least one parameter")
        if not 0.0 <= factor < math.inf:
            raise InputError(f"factor must be finite and not negative; got {factor}")
        self.factor = factor
        self._before = [parameter.detach().clone() for parameter in self._parameters]
        self._kept = [torch.empty_like(before) for before in self._before]

    @torch.no_grad()
    def remember(self) -> None:
        """Take the present parameters as those before a step; call it right before."""
        copy_all(self._before, self._parameters)

    @contextmanager
    def shown(self) -> Generator[None]:
        """Put the extrapolated parameters in place; afterwards, exactly the real ones.

        Forward and backward pass of the opponent belong inside.
        """
        with torch.no_grad():
            copy_all(self._kept, self._parameters)
            copy_all(self._parameters, self._before)
            interpolate_all(self._parameters, self._kept, self.factor)
        try:
            yield
        finally:
            with torch.no_grad():
                copy_all(self._parameters, self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on exactly here, besides the parameters.

        Returns
        -------
        dict
            Of tensors that later steps do not change.
        """
        return {"before": [before.clone() for before in self._before]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another one stood.

        Parameters
        ----------
        state_dict : dict
            Of an extrapolation of the same parameters; not kept.

        Raises
        ------
        ShapeError
            If number or shapes of the tensors differ.
        """
        before: list[Tensor] = state_dict["before"]
        wanted = [tuple(own.shape) for own in self._before]
        received = [tuple(other.shape) for other in before]
        if received != wanted:
            raise ShapeError(
                f"the state must have tensors of shapes {wanted}; got {received}; "
                "build the player that it was saved with"
            )
        copy_all(self._before, before)
