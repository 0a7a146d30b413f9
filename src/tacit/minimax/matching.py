r"""Games of a linear discriminator: the generator has to match a target.

.. math:: \min_\theta \max_d\ \langle d,\, g(\theta) - b \rangle - \tfrac12 \|d\|^2

The best discriminator is the residual r = g(theta) - b, so that the value of the
minimising player is |r|^2 / 2, and everything that descent-ascent does near a solution
is governed by the Jacobian J of g.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from tacit.errors import InputError, ShapeError
from tacit.minimax.problem import (
    AbstractSaddleProblem,
    FixedMinPlayer,
    SaddleSpec,
    check_data,
    check_player,
    check_shape,
)


@final
class Linearisation(NamedTuple):
    """The residual at a point, and the transposed Jacobian there.

    ``residual`` has shape ``(*batch, num_features)``; ``pull_back`` takes d of that
    shape and returns J^T d, shaped like theta.
    """

    residual: Tensor
    pull_back: Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ReachableCone:
    r"""Columns whose non-negative combinations contain every output of a generator.

    A generator that ends in a fixed layer V after a non-negative activation reaches
    only :math:`\{V h : h \ge 0\}`.

    Parameters
    ----------
    columns : Tensor, shape (*batch, num_features, num_columns)
        V.
    is_exact : bool
        Whether every point of the cone is reached.

    Raises
    ------
    ShapeError
        If ``columns`` is no matrix, or has no entry.
    InputError
        If an entry is not finite.

    Examples
    --------
    >>> import tacit, torch
    >>> tacit.ReachableCone(columns=torch.eye(3), is_exact=True).columns.shape
    torch.Size([3, 3])
    """

    columns: Tensor
    is_exact: bool

    def __post_init__(self) -> None:
        check_data({"columns": self.columns})
        if self.columns.ndim < 2 or 0 in self.columns.shape:
            raise ShapeError(
                "columns must have shape (..., num_features, num_columns), each at "
                f"least 1; got {tuple(self.columns.shape)}"
            )


class AbstractMatchingProblem(AbstractSaddleProblem):
    r"""A linear discriminator with a quadratic regulariser around a generator g.

    .. math:: f(\theta, d) = \langle d,\, g(\theta) - b \rangle - \tfrac12 \|d\|^2

    This is the game of the general theorem of Balaji et al. (2021, section 2) with the
    sign of d turned: there it is :math:`\langle d, b - g(\theta) \rangle`. Batches as
    in :class:`AbstractSaddleProblem`; the discriminator has shape ``(num_features,)``.

    Examples
    --------
    >>> import tacit
    >>> issubclass(tacit.MeanMatchingGame, tacit.AbstractMatchingProblem)
    True
    """

    target: Tensor  # b, shape (*batch, num_features)

    @property
    @abstractmethod
    def reachable_cone(self) -> ReachableCone | None:
        """A cone that holds every g(theta), None where none is known."""

    @abstractmethod
    def linearise(self, min_player: Tensor) -> Linearisation:
        """Return r = g(theta) - b and d -> J^T d, by one forward pass."""

    @abstractmethod
    def push_forward(self, min_player: Tensor, direction: Tensor) -> Tensor:
        """Return J u for a direction u shaped like theta, shape ``(*batch, m)``."""

    def value(self, min_player: Tensor, max_player: Tensor) -> Tensor:
        residual = self.linearise(min_player).residual
        return ((residual - max_player / 2) * max_player).sum(-1)

    def gradients(
        self, min_player: Tensor, max_player: Tensor
    ) -> tuple[Tensor, Tensor]:
        residual, pull_back = self.linearise(min_player)
        return pull_back(max_player), residual - max_player

    def fix_min_player(self, min_player: Tensor) -> FixedMinPlayer:
        residual, pull_back = self.linearise(min_player)

        def max_gradient(max_player: Tensor) -> Tensor:
            return residual - max_player

        return FixedMinPlayer(min_gradient=pull_back, max_gradient=max_gradient)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MatchingProblem(AbstractMatchingProblem):
    r"""A linear discriminator around any differentiable generator.

    Parameters
    ----------
    generator_function : callable
        g: takes theta of shape ``min_shape`` (no batch) and returns the features that
        are to match, shape ``(num_features,)``, by operations that ``torch.func`` can
        differentiate and vectorise.
    min_shape : tuple of int
        Shape of theta.
    target : Tensor, shape (num_features,)
        b, of the dtype and on the device of the problem.
    cone : ReachableCone or None
        Where it is known that every g(theta) is a non-negative combination of columns.

    Raises
    ------
    ShapeError
        If the target is no vector, g returns another shape, the columns of the cone
        have another length, or a player has nothing to choose.
    InputError
        If the target is not finite, or g returns another dtype or device.

    Examples
    --------
    >>> import tacit, torch
    >>> problem = tacit.MatchingProblem(generator_function=torch.sin, min_shape=(2,),
    ...     target=torch.tensor([0.5, 2.0]))
    >>> residual, pull_back = problem.linearise(torch.zeros(2))
    >>> residual
    tensor([-0.5000, -2.0000])
    >>> pull_back(torch.tensor([1.0, 3.0]))  # the Jacobian is the identity
    tensor([1., 3.])
    """

    generator_function: Callable[[Tensor], Tensor]
    min_shape: tuple[int, ...]
    target: Tensor
    cone: ReachableCone | None = None

    def __post_init__(self) -> None:
        check_data({"target": self.target})
        if self.target.ndim != 1:
            raise ShapeError(
                "target must have shape (num_features,); got "
                f"{tuple(self.target.shape)}"
            )
        spec = self.spec
        with torch.no_grad():
            output = self.generator_function(
                torch.zeros(spec.min_shape, dtype=spec.dtype, device=spec.device)
            )
        if output.shape != self.target.shape:
            raise ShapeError(
                f"generator_function must return shape {tuple(self.target.shape)} as "
                f"the target has; got {tuple(output.shape)}"
            )
        if output.dtype != spec.dtype or output.device != spec.device:
            raise InputError(
                f"generator_function must return {spec.dtype} on {spec.device} as the "
                f"target is; got {output.dtype} on {output.device}; convert one of them"
            )
        if self.cone is not None:
            shape = tuple(self.cone.columns.shape)
            if len(shape) != 2 or shape[0] != self.target.shape[0]:
                raise ShapeError(
                    f"columns of the cone must have length {self.target.shape[0]}, one "
                    f"per feature; got a matrix of shape {shape}"
                )

    @property
    def spec(self) -> SaddleSpec:
        return SaddleSpec(
            min_shape=self.min_shape,
            max_shape=(self.target.shape[-1],),
            dtype=self.target.dtype,
            device=self.target.device,
        )

    @property
    def reachable_cone(self) -> ReachableCone | None:
        return self.cone

    def linearise(self, min_player: Tensor) -> Linearisation:
        output: Tensor
        # What torch.func.vjp returns has a third part only if it is asked for it.
        output, transposed, *_ = vjp(self._outputs(min_player), min_player)

        def pull_back(max_player: Tensor) -> Tensor:
            check_shape("max_player", max_player, output, "the residual")
            return transposed(max_player)[0]

        return Linearisation(output - self.target, pull_back)

    def push_forward(self, min_player: Tensor, direction: Tensor) -> Tensor:
        outputs = self._outputs(min_player)
        check_shape("direction", direction, min_player, "min_player")
        return jvp(outputs, (min_player,), (direction,))[1]

    def _outputs(self, min_player: Tensor) -> Callable[[Tensor], Tensor]:
        """Return g over the batch dimensions of ``min_player``."""
        spec = self.spec
        batch = check_player("min_player", min_player, self.min_shape, spec)
        mapped = self.generator_function
        for _ in batch:
            mapped = vmap(mapped)
        return mapped
