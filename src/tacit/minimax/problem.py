r"""What a saddle problem is: a value function of two tensors, and its gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.func import grad, vmap

from tacit.errors import InputError, ShapeError

ValueFunction = Callable[[Tensor, Tensor], Tensor]
GradientFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_CPU = torch.device("cpu")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SaddleSpec:
    """What the two players choose.

    Parameters
    ----------
    min_shape, max_shape : tuple of int
        Shapes of what one minimising and one maximising player choose; ``()`` is a
        number.
    dtype : torch.dtype
        Of both, float32 or float64.
    device : torch.device
        Where both live.

    Raises
    ------
    ShapeError
        If a player has nothing to choose.
    InputError
        If the dtype is not real floating point.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.problem import SaddleSpec
    >>> SaddleSpec(min_shape=(3, 2), max_shape=(4,)).max_shape
    (4,)
    """

    min_shape: tuple[int, ...]
    max_shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        if min((*self.min_shape, *self.max_shape), default=1) < 1:
            raise ShapeError(
                "each player must have at least one number to choose; got shapes "
                f"{self.min_shape} and {self.max_shape}"
            )
        if not self.dtype.is_floating_point:
            raise InputError(
                f"a player's dtype must be real floating point; got {self.dtype}"
            )


@final
class FixedMinPlayer(NamedTuple):
    """The gradients of both players as functions of the maximising one alone.

    Whatever the minimising player determines alone is computed once, when it is fixed,
    and used for both.
    """

    min_gradient: Callable[[Tensor], Tensor]
    max_gradient: Callable[[Tensor], Tensor]


class AbstractSaddleProblem(ABC):
    r"""The problem :math:`\min_x \max_y f(x, y)`.

    Batch dimensions come first and are optional: players of shapes ``(*batch,
    *min_shape)`` and ``(*batch, *max_shape)`` have values of shape ``batch``; the
    problems of a batch do not know each other. Outputs are new tensors.

    Examples
    --------
    >>> import tacit
    >>> bilinear = tacit.FunctionProblem(function=lambda x, y: x @ y, min_shape=(2,),
    ...     max_shape=(2,))
    >>> isinstance(bilinear, tacit.AbstractSaddleProblem)
    True
    """

    @property
    @abstractmethod
    def spec(self) -> SaddleSpec:
        """Shapes, dtype and device of the players."""

    @abstractmethod
    def value(self, min_player: Tensor, max_player: Tensor) -> Tensor:
        """Return f(x, y), shape ``batch``."""

    @abstractmethod
    def gradients(
        self, min_player: Tensor, max_player: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of f with respect to x and to y, shaped like them."""

    @abstractmethod
    def fix_min_player(self, min_player: Tensor) -> FixedMinPlayer:
        """Return both gradients as functions of y, for methods that move y first."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionProblem(AbstractSaddleProblem):
    r"""Any differentiable function of two tensors, by automatic differentiation.

    Parameters
    ----------
    function : callable
        Takes x of shape ``min_shape`` and y of shape ``max_shape`` (no batch) and
        returns f(x, y), a tensor of shape ``()``, by operations that ``torch.func`` can
        differentiate and vectorise.
    min_shape, max_shape : tuple of int
        Shapes of the players; ``()`` is a number.
    gradient_function : callable or None
        A closed form of both gradients, used instead of automatic differentiation:
        takes the same, returns a pair shaped like (x, y).
    dtype : torch.dtype
        Of both players.
    device : torch.device
        Where both live.

    Raises
    ------
    ShapeError
        If a player has nothing to choose, a gradient another shape, or the function
        returns no scalar.
    InputError
        If the dtype is not real floating point.

    Examples
    --------
    >>> import tacit, torch
    >>> game = tacit.FunctionProblem(function=lambda x, y: x @ y - y @ y / 2,
    ...     min_shape=(2,), max_shape=(2,))
    >>> x, y = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    >>> game.gradients(x, y)[1]
    tensor([1., 1.], dtype=torch.float64)
    """

    function: ValueFunction
    min_shape: tuple[int, ...]
    max_shape: tuple[int, ...]
    gradient_function: GradientFunction | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        spec = self.spec
        x = torch.zeros(spec.min_shape, dtype=spec.dtype, device=spec.device)
        y = torch.zeros(spec.max_shape, dtype=spec.dtype, device=spec.device)
        shape = self.function(x, y).shape
        if shape != ():
            raise ShapeError(
                "function must return one number, a tensor of shape (); got shape "
                f"{tuple(shape)}; sum it up"
            )
        if self.gradient_function is not None:
            shapes = tuple(tuple(part.shape) for part in self.gradient_function(x, y))
            if shapes != (spec.min_shape, spec.max_shape):
                raise ShapeError(
                    "gradient_function must return gradients of shapes "
                    f"{spec.min_shape} and {spec.max_shape}; got {shapes}"
                )

    @property
    def spec(self) -> SaddleSpec:
        return SaddleSpec(
            min_shape=self.min_shape,
            max_shape=self.max_shape,
            dtype=self.dtype,
            device=self.device,
        )

    def value(self, min_player: Tensor, max_player: Tensor) -> Tensor:
        check_players(self.spec, min_player, max_player)
        return self._batched(self.function)(min_player, max_player)

    def gradients(
        self, min_player: Tensor, max_player: Tensor
    ) -> tuple[Tensor, Tensor]:
        check_players(self.spec, min_player, max_player)
        own = self.gradient_function or grad(self.function, argnums=(0, 1))
        return self._batched(own)(min_player, max_player)

    def fix_min_player(self, min_player: Tensor) -> FixedMinPlayer:
        for_min = self._batched(self._gradient(0))
        for_max = self._batched(self._gradient(1))

        def min_gradient(max_player: Tensor) -> Tensor:
            check_players(self.spec, min_player, max_player)
            return for_min(min_player, max_player)

        def max_gradient(max_player: Tensor) -> Tensor:
            check_players(self.spec, min_player, max_player)
            return for_max(min_player, max_player)

        return FixedMinPlayer(min_gradient=min_gradient, max_gradient=max_gradient)

    def _gradient(self, player: int) -> ValueFunction:
        """Return the gradient for one player alone, without batch dimensions."""
        own = self.gradient_function
        if own is None:
            return grad(self.function, argnums=player)

        def gradient(min_player: Tensor, max_player: Tensor) -> Tensor:
            return own(min_player, max_player)[player]

        return gradient

    def _batched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` over all batch dimensions of both players."""

        def apply(min_player: Tensor, max_player: Tensor) -> Any:
            mapped = function
            for _ in range(min_player.ndim - len(self.min_shape)):
                mapped = vmap(mapped)
            return mapped(min_player, max_player)

        return apply


def check_players(
    spec: SaddleSpec,
    min_player: Tensor,
    max_player: Tensor,
    *,
    batch: tuple[int, ...] = (),
) -> None:
    """Refuse players that are not of one batch, or not of the shapes in ``spec``.

    Parameters
    ----------
    spec : SaddleSpec
        What the players should be.
    min_player, max_player : Tensor
        The players, batch dimensions first.
    batch : tuple of int
        Batch dimensions of the problem's own data; those of the players must end with
        them.

    Raises
    ------
    ShapeError
        If a shape differs from ``(*batch, *min_shape)`` or ``(*batch, *max_shape)``.
    InputError
        If dtype or device differ.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.problem import SaddleSpec, check_players
    >>> spec = SaddleSpec(min_shape=(3, 2), max_shape=(4,))
    >>> x, y = torch.zeros(5, 3, 2).double(), torch.zeros(5, 4).double()
    >>> check_players(spec, x, y)
    >>> check_players(spec, x, y[:3])
    Traceback (most recent call last):
    ...
    tacit.errors.ShapeError: both players must have the same batch dimensions; ...
    """
    batches = (
        check_player("min_player", min_player, spec.min_shape, spec, batch),
        check_player("max_player", max_player, spec.max_shape, spec, batch),
    )
    if batches[0] != batches[1]:
        raise ShapeError(
            "both players must have the same batch dimensions; got "
            f"{batches[0]} and {batches[1]}"
        )


def check_player(
    name: str,
    player: Tensor,
    shape: tuple[int, ...],
    spec: SaddleSpec,
    batch: tuple[int, ...] = (),
) -> tuple[int, ...]:
    """Return the batch dimensions of one player; refuse it as ``check_players`` does.

    Raises
    ------
    ShapeError
        If its shape does not end with ``(*batch, *shape)``.
    InputError
        If dtype or device are not those of ``spec``.
    """
    split = player.ndim - len(shape)
    own = tuple(player.shape[: max(split, 0)])
    if split < 0 or tuple(player.shape[split:]) != shape:
        raise ShapeError(
            f"{name} must have shape {('...', *shape)}, batch dimensions first; "
            f"got {tuple(player.shape)}"
        )
    if own[len(own) - len(batch) :] != batch:
        raise ShapeError(
            f"{name} must have shape {('...', *batch, *shape)}, as the problem has a "
            f"batch of data; got {tuple(player.shape)}"
        )
    if player.dtype != spec.dtype or player.device != spec.device:
        raise InputError(
            f"{name} must be {spec.dtype} on {spec.device} as the problem is; got "
            f"{player.dtype} on {player.device}; convert one of them"
        )
    return own


def check_shape(name: str, tensor: Tensor, like: Tensor, other: str) -> None:
    """Refuse a tensor of another shape than that of ``like``, which is ``other``.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if tensor.shape != like.shape:
        raise ShapeError(
            f"{name} must have shape {tuple(like.shape)} as {other} has; got "
            f"{tuple(tensor.shape)}"
        )


def check_data(tensors: Mapping[str, Tensor]) -> None:
    """Refuse the data of a problem unless finite, of one dtype and on one device.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The data by the names that the caller knows.

    Raises
    ------
    InputError
        If an entry is not finite, a dtype not real floating point, or two of the
        tensors differ in dtype or device.

    Examples
    --------
    >>> import torch
    >>> from tacit.minimax.problem import check_data
    >>> check_data({"target": torch.tensor([1.0, float("nan")])})
    Traceback (most recent call last):
    ...
    tacit.errors.InputError: target must be finite; got 1 entry that is not...
    """
    first, *_ = tensors.items()
    for name, tensor in tensors.items():
        if not tensor.dtype.is_floating_point:
            raise InputError(
                f"{name} must be real floating point; got {tensor.dtype}; convert it"
            )
        if tensor.dtype != first[1].dtype or tensor.device != first[1].device:
            raise InputError(
                f"{name} must be {first[1].dtype} on {first[1].device} as {first[0]} "
                f"is; got {tensor.dtype} on {tensor.device}; convert one of them"
            )
        count = tensor.numel() - int(tensor.isfinite().sum())
        if count:
            entries = "1 entry that is" if count == 1 else f"{count} entries that are"
            raise InputError(
                f"{name} must be finite; got {entries} not; look for NaN and "
                "infinities in the data"
            )
