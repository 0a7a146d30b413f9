r"""A random map that stores no matrix: signs, fast Fourier transform, few coefficients.

.. math:: \mathcal{A}(X) = \sqrt{N / m}\; S F D\, \mathrm{vec}(X), \qquad
          N = \text{num\_rows} \cdot \text{num\_columns}

vec reads the matrix row by row, D multiplies by random signs, F is unitary: the
discrete Fourier transform for complex matrices and the discrete Hartley transform,
its real form, for real ones; S picks m coefficients. The field calls this a subsampled
randomised Fourier transform (SRFT), with a real F a trigonometric one (SRTT).
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.hartley import hartley, hartley_at
from tacit.recovery.maps.linear_map import (
    AbstractLinearMap,
    Isotropy,
    MapSpec,
    adjoint_times_densely,
    apply_factors_densely,
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FourierMap(AbstractLinearMap):
    r"""Subsampled randomised Fourier transform of the matrix, read row by row.

    .. math:: y_i = \sqrt{N / m}\, (F D\, \mathrm{vec}\, X)_{k_i}, \qquad
              F_{kj} = N^{-1/2} e^{-2 \pi \mathrm{i} k j / N} \text{ (complex)}, \quad
              N^{-1/2} \bigl(\cos \tfrac{2 \pi k j}{N} + \sin \tfrac{2 \pi k j}{N}
              \bigr) \text{ (real)}

    Parameters
    ----------
    signs : Tensor, shape (num_rows, num_columns)
        The diagonal of D, in the map's dtype; of modulus one for the laws below.
    coefficients : Tensor, shape (num_measurements,)
        :math:`k_i`, int64, in 0..N-1 and different from each other.
    isotropy : Isotropy or None
        The law they were drawn from, if any.

    Raises
    ------
    ShapeError
        If ``signs`` is not a matrix or ``coefficients`` not a vector.
    InputError
        If a coefficient is out of range or comes twice, or a sign is not finite.

    Notes
    -----
    With moduli one, :math:`\mathcal{A} \mathcal{A}^* = (N / m) \mathrm{Id}` holds
    exactly, for every choice of coefficients. Each direction costs one transform,
    ``O(N log N)``, and N numbers of memory; factors are multiplied out first.

    Examples
    --------
    >>> import tacit, torch
    >>> fourier = tacit.fourier_map((30, 20), 100, generator=tacit.make_generator(0))
    >>> measured = torch.ones(100, dtype=torch.float64)
    >>> back = fourier.apply(fourier.adjoint_apply(measured))
    >>> bool(torch.allclose(back, 6.0 * measured))
    True
    """

    signs: Tensor
    coefficients: Tensor
    isotropy: Isotropy | None = None

    def __post_init__(self) -> None:
        if self.signs.dim() != 2 or self.coefficients.dim() != 1:
            raise ShapeError(
                "signs must be a matrix and coefficients a vector; got shapes "
                f"{tuple(self.signs.shape)} and {tuple(self.coefficients.shape)}"
            )
        if not bool(torch.isfinite(self.signs).all()):
            raise InputError("signs must be finite; draw them with fourier_map")
        chosen, size = self.coefficients, self.signs.numel()
        if chosen.dtype != torch.int64 or chosen.device != self.signs.device:
            raise InputError(
                f"coefficients must be int64 on {self.signs.device} as the signs are; "
                f"got {chosen.dtype} on {chosen.device}; convert with .to()"
            )
        if chosen.numel() == 0:
            raise InputError("coefficients is empty; choose at least one")
        low, high = (int(bound) for bound in torch.aminmax(chosen))
        if low < 0 or high >= size or chosen.unique().numel() < chosen.numel():
            raise InputError(
                f"coefficients must be different numbers in 0..{size - 1}; got "
                f"{chosen.numel()} in {low}..{high}; draw them with torch.randperm"
            )

    @property
    def spec(self) -> MapSpec:
        rows, columns = self.signs.shape
        return MapSpec(
            in_shape=(rows, columns),
            num_measurements=self.coefficients.shape[0],
            dtype=self.signs.dtype,
            device=self.signs.device,
            isotropy=self.isotropy,
        )

    @property
    def _scale(self) -> float:
        return math.sqrt(self.signs.numel() / self.coefficients.shape[0])

    def apply(self, matrix: Tensor) -> Tensor:
        mixed = (self.signs * matrix).flatten(-2)
        if mixed.is_complex():
            spectrum = torch.fft.fft(mixed, norm="ortho")
            return self._scale * spectrum[..., self.coefficients]
        return self._scale * hartley_at(mixed, self.coefficients)

    def adjoint_apply(self, measurements: Tensor) -> Tensor:
        size = self.signs.numel()
        spread = measurements.new_zeros(*measurements.shape[:-1], size)
        spread[..., self.coefficients] = self._scale * measurements
        if spread.is_complex():
            mixed = torch.fft.ifft(spread, norm="ortho")
        else:
            mixed = hartley(spread)
        return self.signs.conj() * mixed.unflatten(-1, self.signs.shape)

    def apply_factors(self, left: Tensor, right: Tensor) -> Tensor:
        return apply_factors_densely(self, left, right)

    def adjoint_times(
        self, measurements: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        return adjoint_times_densely(self, measurements, left, right)


def fourier_map(
    shape: tuple[int, int],
    num_measurements: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> FourierMap:
    r"""Draw a subsampled randomised Fourier transform: a map without a stored matrix.

    Signs are independent and fair; the coefficients are a uniformly random sequence
    without repetition. What holds exactly: :math:`\mathbb{E} \mathcal{A}^* \mathcal{A}
    = \mathrm{Id}`, :math:`\mathcal{A} \mathcal{A}^* = (N / m) \mathrm{Id}`, and every
    single measurement has second moment 1/m. What does not: measurements are neither
    independent (they share the signs, and no coefficient comes twice) nor Gaussian, so
    intervals that assume either are approximate.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``; sizes whose product N has small prime factors are
        transformed fastest.
    num_measurements : int
        m, at most N.
    generator : torch.Generator
        Draws on the CPU.
    dtype : torch.dtype
        Of the map; a complex one takes the Fourier transform, a real one the Hartley
        transform.
    device : torch.device or str
        Where the signs and the coefficients are stored.

    Returns
    -------
    FourierMap

    Raises
    ------
    ShapeError
        If a size is not positive or m exceeds N.

    Notes
    -----
    Unitary matrices with small entries, with random signs and subsampled, keep the
    norms of all low-rank matrices nearly as evenly as Gaussian maps do, up to
    logarithms in m: Oymak, Recht, Soltanolkotabi, "Isometric sketching of any set via
    the restricted isometry property", Information and Inference 7 (2018).

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> fourier = tacit.fourier_map((200, 200), 10_000, generator=generator)
    >>> tacit.adjoint_test(fourier, generator=generator) < 1e-12
    True
    """
    rows, columns = shape
    if not 1 <= num_measurements <= rows * columns or rows < 1:
        raise ShapeError(
            f"num_measurements must be in 1..num_rows * num_columns; got "
            f"{num_measurements} for shape {shape}"
        )
    coins = torch.randint(0, 2, shape, generator=generator)
    # Not sorted: then every single measurement is a uniformly random coefficient.
    order = torch.randperm(rows * columns, generator=generator)
    return FourierMap(
        signs=(2 * coins - 1).to(dtype=dtype, device=device),
        coefficients=order[:num_measurements].to(device),
        isotropy=Isotropy(second_moment=1.0 / num_measurements, is_gaussian=False),
    )
