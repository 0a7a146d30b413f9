r"""Singular values of a generator's Jacobian, without forming more than is needed."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.dynamics.jacobian import (
    is_dense,
    jacobian,
    jacobian_gram,
    mean_matching_root,
)
from tacit.minimax.matching import AbstractMatchingProblem
from tacit.minimax.mean_matching import MeanMatchingGame
from tacit.spectral import lanczos_max_eigenvalue

_DENSE_FEATURES = 2048  # side of the Gram matrix above which Lanczos takes over


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class JacobianSpectrum:
    r"""Singular values of the Jacobian J of a generator at one point.

    There are as many as the discriminator has entries: where the generator has fewer
    parameters than that, the others are zero, and no step moves the residual along
    them.

    Parameters
    ----------
    singular_values : Tensor, shape (*batch, count)
        Largest first, float64. Computed ones: by dense algebra all of them, by Lanczos
        the largest and the smallest.
    is_complete : bool
        Whether these are all.
    lower, upper : float or None
        Numbers that enclose all singular values of the batch, except with
        ``failure_probability``; None stands for the computed extremes.
    failure_probability : float
        Over the random start of Lanczos; 0 where dense algebra was used.

    Raises
    ------
    ShapeError
        If there is no singular value.
    InputError
        If one is negative or not finite.

    Examples
    --------
    >>> import tacit, torch
    >>> values = torch.tensor([2.0, 1.0], dtype=torch.float64)
    >>> spectrum = tacit.JacobianSpectrum(singular_values=values)
    >>> spectrum.condition_number
    2.0
    """

    singular_values: Tensor
    is_complete: bool = True
    lower: float | None = None
    upper: float | None = None
    failure_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.singular_values.ndim < 1 or self.singular_values.shape[-1] == 0:
            raise ShapeError(
                "singular_values must have shape (..., count), count at least 1; got "
                f"{tuple(self.singular_values.shape)}"
            )
        if not bool(
            (self.singular_values.isfinite() & (self.singular_values >= 0)).all()
        ):
            raise InputError(
                "singular_values must be finite and not negative; look for NaN in the "
                "point at which the Jacobian was taken"
            )

    @property
    def largest(self) -> float:
        """The largest of the batch, as computed."""
        return float(self.singular_values.amax())

    @property
    def smallest(self) -> float:
        """The smallest of the batch, as computed."""
        return float(self.singular_values.amin())

    @property
    def condition_number(self) -> float:
        """Largest over smallest, for the worst of the batch; inf if one is zero."""
        high = self.singular_values.amax(-1)
        low = self.singular_values.amin(-1)
        return float(torch.where(low > 0, high / low, math.inf).amax())


def jacobian_spectrum(
    problem: AbstractMatchingProblem,
    min_player: Tensor,
    *,
    generator: torch.Generator | None = None,
    max_steps: int = 200,
    failure_probability: float = 1e-6,
) -> JacobianSpectrum:
    r"""Return the singular values of the generator's Jacobian at a point.

    Cost: m x k entries for :class:`MeanMatchingGame`, one backward pass per feature for
    others; above 2048 features Lanczos finds the two extremes alone.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        Gives pull-backs and push-forwards.
    min_player : Tensor, shape (*batch, *min_shape)
        Where.
    generator : torch.Generator or None
        Draws the start of Lanczos; needed above 2048 features, where a point must not
        have batch dimensions.
    max_steps : int
        Of Lanczos, for each end of the spectrum.
    failure_probability : float
        Of Lanczos' bounds, for both ends together.

    Returns
    -------
    JacobianSpectrum
        Values below ``eps ** 0.5`` of the largest are rounding where only the Gram
        matrix fits into memory, below ``eps`` elsewhere.

    Raises
    ------
    InputError
        If Lanczos is needed and no generator given.
    ShapeError
        If Lanczos is needed for a batch.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(400, 20, 10, 50, generator=generator)
    >>> W, _ = tacit.draw_start(game, generator=generator)
    >>> spectrum = tacit.jacobian_spectrum(game, W)
    >>> len(spectrum.singular_values), spectrum.condition_number < 2.0
    (20, True)
    """
    num_features = problem.target.shape[-1]
    if isinstance(problem, MeanMatchingGame):
        root = mean_matching_root(problem, min_player)
        return JacobianSpectrum(singular_values=_padded(root))
    if is_dense(problem, min_player):
        rows = jacobian(problem, min_player).double()
        return JacobianSpectrum(singular_values=_padded(rows))
    if num_features <= _DENSE_FEATURES:
        values = torch.linalg.eigvalsh(jacobian_gram(problem, min_player))
        return JacobianSpectrum(singular_values=values.clamp(min=0).sqrt().flip(-1))
    if generator is None:
        raise InputError(
            f"with {num_features} features the spectrum is found by Lanczos from a "
            "random start; pass generator=make_generator(seed)"
        )
    return extreme_singular_values(
        problem,
        min_player,
        generator=generator,
        max_steps=max_steps,
        failure_probability=failure_probability,
    )


def extreme_singular_values(
    problem: AbstractMatchingProblem,
    min_player: Tensor,
    *,
    generator: torch.Generator,
    max_steps: int = 200,
    failure_probability: float = 1e-6,
) -> JacobianSpectrum:
    r"""Return the largest and the smallest singular value by Lanczos, with bounds.

    The largest eigenvalue of :math:`J J^T`, then that of :math:`c I - J J^T` with c
    the bound on the first: its accuracy is relative to c, so that small singular
    values are found to about ``rtol * c`` in the square.

    Parameters
    ----------
    problem : AbstractMatchingProblem
        Gives pull-backs and push-forwards.
    min_player : Tensor, shape min_shape
        Where; no batch dimensions.
    generator : torch.Generator
        Draws the starts.
    max_steps : int
        For each end.
    failure_probability : float
        Of the bounds, for both ends together.

    Returns
    -------
    JacobianSpectrum
        With two singular values, ``lower`` and ``upper``.

    Raises
    ------
    ShapeError
        If the point has batch dimensions.

    Examples
    --------
    >>> import tacit, torch
    >>> scales = torch.linspace(1.0, 3.0, 500).double()
    >>> problem = tacit.MatchingProblem(generator_function=lambda x: scales * x,
    ...     min_shape=(500,), target=torch.zeros(500).double())
    >>> from tacit.minimax.dynamics.spectrum import extreme_singular_values
    >>> found = extreme_singular_values(problem, torch.zeros(500).double(),
    ...     generator=tacit.make_generator(0))
    >>> found.lower <= 1.0 and 3.0 <= found.upper < 3.0001
    True
    """
    residual, pull_back = problem.linearise(min_player)
    if residual.ndim != 1:
        raise ShapeError(
            "Lanczos needs a point without batch dimensions; got "
            f"{tuple(residual.shape[:-1])}; take one member of the batch"
        )

    def gram(vector: Tensor) -> Tensor:
        pulled = pull_back(vector.to(residual.dtype))
        return problem.push_forward(min_player, pulled).double()

    def extreme(shift: float) -> tuple[float, float]:
        bound = lanczos_max_eigenvalue(
            gram if shift == 0.0 else lambda vector: shift * vector - gram(vector),
            residual.shape[-1],
            max_steps=max_steps,
            failure_probability=failure_probability / 2,
            generator=generator,
            rtol=1e-8,
            device=residual.device,
        )
        return bound.value, bound.upper

    largest, upper = extreme(0.0)
    shift = upper if math.isfinite(upper) and upper > 0 else 2.0 * largest + 1.0
    from_top, bound = extreme(shift)
    values = [largest, min(max(shift - from_top, 0.0), largest)]
    return JacobianSpectrum(
        singular_values=torch.tensor(values, dtype=torch.float64).sqrt(),
        is_complete=False,
        lower=math.sqrt(max(shift - bound, 0.0)),
        upper=math.sqrt(upper),
        failure_probability=failure_probability,
    )


def _padded(matrix: Tensor) -> Tensor:
    """Return as many singular values as there are rows, zeros at the end."""
    values = torch.linalg.svdvals(matrix)
    missing = matrix.shape[-2] - values.shape[-1]
    zeros = values.new_zeros(*values.shape[:-1], missing)
    return torch.cat((values, zeros), -1)
