r"""DeepInverse's linear physics as maps, and maps as linear physics.

An image is a tensor of shape (batch, channels, height, width). A map's matrix of shape
(num_rows, num_columns) is the image (1, num_rows, num_columns); other image shapes are
unfolded row by row. Measurements of any shape become vectors, row by row.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.bridges.functions import FunctionMap, checked
from tacit.recovery.maps.linear_map import AbstractLinearMap, MapSpec

Physics = TypeVar("Physics", covariant=True)
_Apply = Callable[[Tensor], Tensor]


@final
class _Direction(torch.autograd.Function):
    """One direction of a map, whose derivative is the other direction."""

    @staticmethod
    def forward(given: Tensor, there: _Apply, _back: _Apply) -> Tensor:
        return there(given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.there, ctx.back = inputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return _Direction.apply(grad_outputs[0], ctx.back, ctx.there), None, None


class LinearPhysics(Protocol):
    """What is used of ``deepinv.physics.LinearPhysics``."""

    def A(self, x: Tensor, /) -> Any:  # noqa: N802 - DeepInverse's name
        """Return the noiseless measurements."""
        ...

    def A_adjoint(self, y: Tensor, /) -> Any:  # noqa: N802
        """Return the adjoint."""
        ...


class LinearPhysicsClass(Protocol[Physics]):
    """How ``deepinv.physics.LinearPhysics`` is built from functions."""

    def __call__(
        self,
        *,
        A: Callable[[Tensor], Tensor],
        A_adjoint: Callable[[Tensor], Tensor],
        img_size: tuple[int, ...],
    ) -> Physics:
        """Return a physics object."""
        ...


def from_deepinv(
    physics: LinearPhysics,
    shape: tuple[int, int],
    *,
    image_shape: tuple[int, ...] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> FunctionMap:
    r"""Return a DeepInverse ``LinearPhysics`` as a measurement map.

    :math:`\mathcal{A}(X)` is ``physics.A`` of the image, without noise, as a vector;
    the adjoint is ``physics.A_adjoint``. ``physics.A`` is called once, on a zero image,
    to learn the shape of the measurements.

    Parameters
    ----------
    physics : deepinv.physics.LinearPhysics
    shape : tuple of int
        ``(num_rows, num_columns)`` of the matrix.
    image_shape : tuple of int or None
        Shape of one image without the batch, channels first, with as many entries; by
        default ``(1, num_rows, num_columns)``. With ``(channels, height, width)`` and
        shape ``(channels, height * width)`` a row of the matrix is one channel.
    dtype : torch.dtype
        In which the physics was built; DeepInverse's default is float32. Physics that
        keep real and imaginary part in two channels are real maps.
    device : torch.device or str
        Where the physics is.
    generator : torch.Generator or None
        If given, :func:`adjoint_test` must pass.

    Returns
    -------
    FunctionMap

    Raises
    ------
    ShapeError
        If the image has not as many entries as the matrix.
    InputError
        If a method is missing, ``physics.A`` refuses the image, the measurements are
        not one tensor, or the adjoint test fails.

    Notes
    -----
    Some physics have an adjoint only up to boundaries or in real arithmetic; pass a
    generator to find out.

    Examples
    --------
    >>> import tacit, torch
    >>> class Negative:  # in place of a deepinv.physics.LinearPhysics
    ...     def A(self, x): return -x
    ...     def A_adjoint(self, y): return -y
    >>> linear_map = tacit.from_deepinv(Negative(), (2, 3),
    ...     generator=tacit.make_generator(0))
    >>> linear_map.num_measurements, linear_map.spec.dtype
    (6, torch.float32)
    """
    missing = [
        name
        for name in ("A", "A_adjoint")
        if not callable(getattr(physics, name, None))
    ]
    if missing:
        raise InputError(
            "physics must be a deepinv.physics.LinearPhysics; "
            f"{type(physics).__name__} lacks {' and '.join(missing)}"
        )
    image = (1, *shape) if image_shape is None else image_shape
    if math.prod(image) != math.prod(shape):
        raise ShapeError(
            f"image_shape must have {math.prod(shape)} entries as the matrix of shape "
            f"{shape} has; got {image}"
        )
    zero = torch.zeros(1, *image, dtype=dtype, device=device)
    try:
        probe = physics.A(zero)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"physics.A must take images of shape {tuple(zero.shape)}, {dtype} on "
            f"{zero.device}; it raised: {error}; change image_shape, dtype or device"
        ) from error
    if not isinstance(probe, Tensor):
        raise InputError(
            "physics must give its measurements as one tensor; got "
            f"{type(probe).__name__}; bridge the parts and join them with StackedMap"
        )
    out_shape = probe.shape[1:]

    def forward(matrices: Tensor) -> Tensor:
        return physics.A(matrices.reshape(-1, *image)).flatten(1)

    def adjoint(measurements: Tensor) -> Tensor:
        back = physics.A_adjoint(measurements.reshape(-1, *out_shape))
        return back.reshape(-1, *shape)

    spec = MapSpec(
        in_shape=shape,
        num_measurements=math.prod(out_shape),
        dtype=dtype,
        device=torch.device(device),
    )
    return checked(
        FunctionMap(forward=forward, adjoint=adjoint, declared_spec=spec), generator
    )


def as_deepinv(
    linear_map: AbstractLinearMap, physics_class: LinearPhysicsClass[Physics]
) -> Physics:
    r"""Return a map as a DeepInverse ``LinearPhysics``.

    Images have shape (batch, 1, num_rows, num_columns), measurements (batch,
    num_measurements), both in the map's dtype and on its device. Gradients flow through
    both directions, for every map: the derivative of each is the other.

    Parameters
    ----------
    linear_map : AbstractLinearMap
    physics_class : type
        ``deepinv.physics.LinearPhysics``. It is passed in so that this package does not
        import DeepInverse; any class that takes ``A``, ``A_adjoint`` and ``img_size``
        will do.

    Returns
    -------
    deepinv.physics.LinearPhysics
        Without noise model. ``.to(device)`` does not move the map: build it where it is
        needed.

    Examples
    --------
    >>> import tacit
    >>> class Physics:  # in place of deepinv.physics.LinearPhysics
    ...     def __init__(self, *, A, A_adjoint, img_size):
    ...         self.A, self.A_adjoint, self.img_size = A, A_adjoint, img_size
    >>> gaussian = tacit.gaussian_map((4, 3), 20, generator=tacit.make_generator(0))
    >>> physics = tacit.as_deepinv(gaussian, Physics)
    >>> physics.A_adjoint(gaussian.matrix.new_ones(2, 20)).shape
    torch.Size([2, 1, 4, 3])
    """
    apply, adjoint_apply = linear_map.apply, linear_map.adjoint_apply

    def forward(image: Tensor) -> Tensor:
        return _Direction.apply(image.squeeze(1), apply, adjoint_apply)

    def adjoint(measurements: Tensor) -> Tensor:
        return _Direction.apply(measurements, adjoint_apply, apply).unsqueeze(1)

    image = (1, *linear_map.in_shape)
    return physics_class(A=forward, A_adjoint=adjoint, img_size=image)
