r"""A map given by two functions: what every bridge into this package ends in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import (
    AbstractLinearMap,
    MapSpec,
    adjoint_test,
    adjoint_times_densely,
    apply_factors_densely,
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionMap(AbstractLinearMap):
    r"""A linear map given by its two directions as functions.

    Both take one batch dimension and see contiguous tensors of the map's dtype and
    device; results are copied, and carry no gradient history.

    Parameters
    ----------
    forward : callable
        Tensor of shape (batch, num_rows, num_columns) to (batch, num_measurements).
    adjoint : callable
        The other way, adjoint with respect to :math:`\sum_i \bar u_i v_i`; it is not
        checked here: :func:`adjoint_test` does.
    declared_spec : MapSpec
        Shapes, dtype and device; becomes ``spec``.

    Raises
    ------
    ShapeError
        If a function returns another shape; when it is called.
    InputError
        If it returns a dtype that cannot be cast to the map's; when it is called.

    Notes
    -----
    Factors are multiplied out before ``forward`` sees them.

    Examples
    --------
    >>> import tacit, torch
    >>> spec = tacit.MapSpec(in_shape=(3, 2), num_measurements=3, dtype=torch.float64,
    ...     device=torch.device("cpu"))
    >>> row_sums = tacit.FunctionMap(forward=lambda X: X.sum(-1),
    ...     adjoint=lambda y: y.unsqueeze(-1).expand(-1, 3, 2), declared_spec=spec)
    >>> tacit.adjoint_test(row_sums, generator=tacit.make_generator(0)) < 1e-14
    True
    """

    forward: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    declared_spec: MapSpec

    @property
    def spec(self) -> MapSpec:
        return self.declared_spec

    def apply(self, matrix: Tensor) -> Tensor:
        return self._call("forward", self.forward, matrix, (self.num_measurements,))

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        return self._call("adjoint", self.adjoint, measurements, self.in_shape)

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        return apply_factors_densely(self, left, right)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        return adjoint_times_densely(self, measurements, left, right)

    def _call(
        self,
        name: str,
        function: Callable[[Tensor], Tensor],
        given: Tensor,
        shape: tuple[int, ...],
    ) -> Tensor:
        """Flatten the batch, call, check what comes back, and copy it."""
        item = 2 if name == "forward" else 1
        batch = given.shape[: given.dim() - item]
        flat = given.resolve_conj().reshape(-1, *given.shape[given.dim() - item :])
        result = function(flat.contiguous()).detach()
        if result.shape != (flat.shape[0], *shape):
            raise ShapeError(
                f"{name} must return shape {(flat.shape[0], *shape)}; got "
                f"{tuple(result.shape)}; correct the function or the spec"
            )
        if not torch.can_cast(result.dtype, self.spec.dtype):
            raise InputError(
                f"{name} must return {self.spec.dtype} as the map's spec says; got "
                f"{result.dtype}; make the map complex, or take real parts"
            )
        copied = torch.empty(
            result.shape, dtype=self.spec.dtype, device=self.spec.device
        ).copy_(result)
        return copied.reshape(*batch, *shape)


def checked(linear_map: FunctionMap, generator: torch.Generator | None) -> FunctionMap:
    """Return the map, after :func:`adjoint_test` if a generator is given."""
    if generator is not None:
        adjoint_test(linear_map, generator=generator)
    return linear_map
