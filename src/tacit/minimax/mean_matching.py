r"""The game of Balaji et al.: a one-hidden-layer ReLU generator matches a mean."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.matching import (
    AbstractMatchingProblem,
    Linearisation,
    ReachableCone,
)
from tacit.minimax.mean_kernels import (
    Array,
    mean_active_latents,
    plain_array,
    pull_back,
    push_forward,
)
from tacit.minimax.problem import SaddleSpec, check_data, check_player, check_shape


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MeanMatchingGame(AbstractMatchingProblem):
    r"""Match the mean of data by a one-hidden-layer ReLU generator.

    .. math:: \min_W \max_d\ \Big\langle d,\ \frac1n \sum_{i=1}^n V \mathrm{relu}(W z_i)
              - b \Big\rangle - \tfrac12 \|d\|^2

    Only the hidden layer W is trained. Several games with data of their own form a
    batch: all three tensors then begin with the same batch dimensions, and those of the
    players end with them. The tensors must not be changed afterwards.

    Parameters
    ----------
    output_weights : Tensor, shape (*batch, num_features, width)
        V, fixed.
    latents : Tensor, shape (*batch, num_latents, latent_dim)
        The rows z_i, fixed.
    target : Tensor, shape (*batch, num_features)
        b, the mean of the data.

    Raises
    ------
    ShapeError
        If shapes do not fit, or one of them is zero.
    InputError
        If an entry is not finite, or dtypes or devices differ.

    References
    ----------
    Balaji, Sajedi, Kalibhat, Ding, Stoeger, Soltanolkotabi and Feizi (2021), paper 5,
    section 2, with the sign of d turned.

    Examples
    --------
    >>> import tacit, torch
    >>> game = tacit.MeanMatchingGame(output_weights=torch.tensor([[1.0, -1.0]]),
    ...     latents=torch.tensor([[1.0], [-1.0]]), target=torch.tensor([3.0]))
    >>> W, d = torch.tensor([[2.0], [-4.0]]), torch.tensor([1.0])
    >>> game.linearise(W).residual  # (2 - 4) / 2 - 3
    tensor([-4.])
    >>> float(game.value(W, d))
    -4.5
    """

    output_weights: Tensor
    latents: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        check_data(
            {
                "output_weights": self.output_weights,
                "latents": self.latents,
                "target": self.target,
            }
        )
        if self.output_weights.ndim < 2 or self.latents.ndim < 2:
            raise ShapeError(
                "output_weights must have shape (..., num_features, width) and latents "
                "(..., num_latents, latent_dim); got "
                f"{tuple(self.output_weights.shape)} and {tuple(self.latents.shape)}"
            )
        *batch, num_features, _ = self.output_weights.shape
        if tuple(self.target.shape) != (*batch, num_features):
            raise ShapeError(
                f"target must have shape {(*batch, num_features)} as output_weights "
                f"has {tuple(self.output_weights.shape)}; got "
                f"{tuple(self.target.shape)}"
            )
        if list(self.latents.shape[:-2]) != batch:
            raise ShapeError(
                f"latents must begin with the batch dimensions {tuple(batch)} of "
                f"output_weights; got {tuple(self.latents.shape)}"
            )
        if 0 in (*self.output_weights.shape, *self.latents.shape):
            raise ShapeError(
                "features, width, latents and their dimension must be at least 1; got "
                f"output_weights of shape {tuple(self.output_weights.shape)} and "
                f"latents of shape {tuple(self.latents.shape)}"
            )

    @property
    def spec(self) -> SaddleSpec:
        return SaddleSpec(
            min_shape=(self.output_weights.shape[-1], self.latents.shape[-1]),
            max_shape=(self.target.shape[-1],),
            dtype=self.target.dtype,
            device=self.target.device,
        )

    @property
    def reachable_cone(self) -> ReachableCone:
        # A row w_j reaches every mean h_j >= 0 if one latent differs from zero.
        is_exact = bool((self.latents != 0).flatten(-2).any(-1).all())
        return ReachableCone(columns=self.output_weights, is_exact=is_exact)

    def linearise(self, min_player: Tensor) -> Linearisation:
        self._check(min_player)
        means = self._active_means(min_player)
        residual = self._push(means, min_player) - self.target

        def pull_back(max_player: Tensor) -> Tensor:
            check_shape("max_player", max_player, residual, "the residual")
            return self._pull(means, max_player)

        return Linearisation(residual, pull_back)

    def push_forward(self, min_player: Tensor, direction: Tensor) -> Tensor:
        self._check(min_player)
        check_shape("direction", direction, min_player, "min_player")
        return self._push(self._active_means(min_player), direction)

    @cached_property
    def _arrays(self) -> tuple[Array, Array] | None:
        """V and the latents for the compiled kernels, None if these do not apply."""
        if self.target.dtype not in {torch.float32, torch.float64}:
            return None
        output_weights = plain_array(self.output_weights)
        latents = plain_array(self.latents)
        if output_weights is None or latents is None:
            return None
        return output_weights, latents

    def _check(self, min_player: Tensor) -> None:
        """Refuse weights of another shape, dtype or device."""
        wanted = self._weights_shape
        if (
            min_player.shape[-len(wanted) :] != wanted
            or min_player.dtype != self.target.dtype
            or min_player.device != self.target.device
        ):
            batch = tuple(self.target.shape[:-1])
            spec = self.spec
            check_player("min_player", min_player, spec.min_shape, spec, batch)

    @cached_property
    def _weights_shape(self) -> tuple[int, ...]:
        return (*self.target.shape[:-1], *self.spec.min_shape)

    def _active_means(self, min_player: Tensor) -> Tensor:
        r"""Return the rows :math:`\frac1n \sum_i 1[w_j^T z_i > 0]\, z_i`.

        The hidden layer's means are their inner products with w_j, and its derivative
        they themselves: forward and backward pass share them.
        """
        if self._arrays is not None:
            weights = plain_array(min_player)
            if weights is not None:
                return torch.from_numpy(mean_active_latents(weights, self._arrays[1]))
        active = (min_player @ self.latents.mT > 0).to(min_player.dtype)
        return active @ self.latents / self.latents.shape[-2]

    def _push(self, means: Tensor, direction: Tensor) -> Tensor:
        """Return V h with h_j the inner product of the j-th rows."""
        if self._arrays is not None:
            rows, others = plain_array(means), plain_array(direction)
            if rows is not None and others is not None:
                return torch.from_numpy(push_forward(rows, others, self._arrays[0]))
        hidden = (direction * means).sum(-1, keepdim=True)
        return (self.output_weights @ hidden).squeeze(-1)

    def _pull(self, means: Tensor, max_player: Tensor) -> Tensor:
        """Return the rows (V^T d)_j times those of the means."""
        if self._arrays is not None:
            rows, scores = plain_array(means), plain_array(max_player)
            if rows is not None and scores is not None:
                return torch.from_numpy(pull_back(rows, scores, self._arrays[0]))
        return (self.output_weights.mT @ max_player.unsqueeze(-1)) * means


def random_game(
    width: int,
    num_features: int,
    latent_dim: int,
    num_latents: int,
    *,
    generator: torch.Generator,
    output_scale: float | None = None,
    latent_scale: float = 1.0,
    batch: tuple[int, ...] = (),
    target: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> MeanMatchingGame:
    r"""Draw the paper's game: Gaussian output weights and latents.

    Entries of V are from :math:`N(0, \sigma_v^2)`, of z_i from :math:`N(0, \sigma_z^2)`
    and, unless given, of b from N(0, 1); all independent.

    Parameters
    ----------
    width : int
        k, the number of hidden neurons.
    num_features : int
        m, the dimension of the data.
    latent_dim, num_latents : int
        d and n: dimension and number of the latents.
    generator : torch.Generator
        Draws V, then the latents, then b, in float64 (on the CPU).
    output_scale : float or None
        :math:`\sigma_v > 0`; by default ``width ** -0.5``, so that the size of the
        generator's output does not depend on the width.
    latent_scale : float
        :math:`\sigma_z > 0`.
    batch : tuple of int
        Batch dimensions: games that are drawn independently.
    target : Tensor, shape (num_features,) or (*batch, num_features), or None
        b; one for all, or one for each game of the batch. Converted to ``dtype``.
    dtype : torch.dtype
        Of the game, float32 or float64.

    Returns
    -------
    MeanMatchingGame
        On the CPU.

    Raises
    ------
    ShapeError
        If a size is below 1 or the target has another shape.
    InputError
        If a scale is not positive and finite, or the target not finite.

    Examples
    --------
    >>> import tacit
    >>> game = tacit.random_game(200, 20, 10, 50, batch=(3,),
    ...     generator=tacit.make_generator(0))
    >>> game.spec.min_shape, game.target.shape
    ((200, 10), torch.Size([3, 20]))
    """
    sizes = (width, num_features, latent_dim, num_latents, *batch)
    if min(sizes) < 1:
        raise ShapeError(
            "width, num_features, latent_dim, num_latents and batch dimensions must be "
            f"at least 1; got {width}, {num_features}, {latent_dim}, {num_latents} and "
            f"{tuple(batch)}"
        )
    of_output = width**-0.5 if output_scale is None else output_scale
    _check_scale("output_scale", of_output)
    _check_scale("latent_scale", latent_scale)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)

    output_weights = draw(num_features, width) * of_output
    latents = draw(num_latents, latent_dim) * latent_scale
    wanted = (*batch, num_features)
    if target is None:
        target = draw(num_features)
    elif tuple(target.shape) not in {wanted, (num_features,)}:
        raise ShapeError(
            f"target must have shape {(num_features,)} or {wanted}; got "
            f"{tuple(target.shape)}"
        )
    return MeanMatchingGame(
        output_weights=output_weights.to(dtype),
        latents=latents.to(dtype),
        target=target.to(device="cpu", dtype=dtype).expand(wanted).contiguous(),
    )


def draw_start(
    game: MeanMatchingGame,
    *,
    generator: torch.Generator,
    weight_scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    r"""Draw the paper's start: a Gaussian hidden layer and the discriminator zero.

    Parameters
    ----------
    game : MeanMatchingGame
        Gives shapes, dtype and device.
    generator : torch.Generator
        Draws W in float64 (on the CPU).
    weight_scale : float
        Entries of W are from :math:`N(0, \sigma_w^2)` with this :math:`\sigma_w > 0`.

    Returns
    -------
    min_player : Tensor, shape (*batch, width, latent_dim)
        W.
    max_player : Tensor, shape (*batch, num_features)
        d = 0.

    Raises
    ------
    InputError
        If the scale is not positive and finite.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> game = tacit.random_game(200, 20, 10, 50, generator=generator)
    >>> W, d = tacit.draw_start(game, generator=generator)
    >>> W.shape, float(d.abs().max())
    (torch.Size([200, 10]), 0.0)
    """
    _check_scale("weight_scale", weight_scale)
    shape = (*game.target.shape[:-1], *game.spec.min_shape)
    weights = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (weights * weight_scale).to(game.target), torch.zeros_like(game.target)


def member(game: MeanMatchingGame, index: int | tuple[int, ...]) -> MeanMatchingGame:
    """Return one game of a batch.

    Parameters
    ----------
    game : MeanMatchingGame
        With batch dimensions.
    index : int or tuple of int
        Which; one number per batch dimension, or fewer for a smaller batch.

    Returns
    -------
    MeanMatchingGame
        On the same memory.

    Raises
    ------
    ShapeError
        If there is no such game.

    Examples
    --------
    >>> import tacit
    >>> game = tacit.random_game(8, 2, 3, 5, batch=(4,),
    ...     generator=tacit.make_generator(0))
    >>> from tacit.minimax.mean_matching import member
    >>> member(game, 1).target.shape
    torch.Size([2])
    """
    place = index if isinstance(index, tuple) else (index,)
    batch = tuple(game.target.shape[:-1])
    if len(place) > len(batch) or not all(
        -size <= i < size for i, size in zip(place, batch, strict=False)
    ):
        raise ShapeError(
            f"index must name a game of a batch of shape {batch}; got {index}"
        )
    return MeanMatchingGame(
        output_weights=game.output_weights[place],
        latents=game.latents[place],
        target=game.target[place],
    )


def _check_scale(name: str, scale: float) -> None:
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"{name} must be positive and finite; got {scale}")
