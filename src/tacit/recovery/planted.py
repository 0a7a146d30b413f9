r"""Instances whose answer is known: a planted low-rank matrix, measured."""

import math
from typing import Literal

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.draw_entries import draw_entries
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import gaussian_map
from tacit.recovery.problem import Planted, RecoveryProblem, degrees_of_freedom

Spectrum = Literal["geometric", "linear"]


def planted_problem(
    shape: tuple[int, int],
    rank: int,
    *,
    oversampling: float | None = None,
    num_measurements: int | None = None,
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    noise: float = 0.0,
    is_symmetric: bool = False,
    linear_map: AbstractLinearMap | None = None,
    dtype: torch.dtype | None = None,
    generator: torch.Generator,
) -> RecoveryProblem:
    r"""Draw a low-rank matrix and measure it.

    .. math:: X = Q_1 \operatorname{diag}(s) Q_2^H, \quad
        1 = s_1 \ge \dots \ge s_r = 1 / \kappa, \quad y = \mathcal{A}(X) + e

    Q_1 and Q_2 are independent orthonormal bases of random (Haar) subspaces; symmetric:
    Q_1 = Q_2, so X is positive semidefinite. The spectral norm of X is 1. The truth is
    drawn first, in float64: for one generator it does not depend on the map, the number
    of measurements, the noise or the precision.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``.
    rank : int
        r of X, in 1..min(shape).
    oversampling : float or None
        Number of measurements over
        :func:`~tacit.recovery.problem.degrees_of_freedom` (of complex numbers for a
        complex dtype); rounded to whole measurements.
    num_measurements : int or None
        The number itself. Give exactly one of the two, and none with ``linear_map``.
    condition_number : float
        kappa, at least 1; a matrix of rank one has 1.
    spectrum : {"geometric", "linear"}
        Whether singular values fall by a constant factor or by a constant difference.
    noise : float
        :math:`\nu \ge 0`: the entries of e are independent normal numbers with standard
        deviation :math:`\nu \|\mathcal{A}(X)\| / \sqrt{m}`, which is the problem's
        ``noise_level``; so :math:`\|e\| = \nu \|\mathcal{A}(X)\|` up to a relative
        :math:`O(m^{-1/2})`. Complex: circular, of that standard deviation in all.
    is_symmetric : bool
        Draw a symmetric (Hermitian) positive semidefinite X.
    linear_map : AbstractLinearMap or None
        The map; by default :func:`~tacit.recovery.maps.stored.gaussian_map`, of
        symmetric matrices if X is real and symmetric.
    dtype : torch.dtype or None
        By default that of the map, or float64.
    generator : torch.Generator
        Draws truth, then map, then noise (on the CPU).

    Returns
    -------
    RecoveryProblem
        With ``planted`` and ``noise_level`` set; the factors are balanced,
        :math:`L = Q_1 \operatorname{diag}(s)^{1/2}`.

    Raises
    ------
    InputError
        If an argument is out of range or two of them contradict each other.
    ShapeError
        If the map takes matrices of another shape, or a symmetric X is not square.

    Examples
    --------
    >>> import torch, tacit
    >>> problem = tacit.planted_problem((30, 20), 2, oversampling=2.0,
    ...     condition_number=10.0, generator=tacit.make_generator(0))
    >>> problem.linear_map.num_measurements
    192
    >>> truth = problem.planted.left @ problem.planted.right.mH
    >>> [round(float(s), 6) for s in torch.linalg.svdvals(truth)[:3]]
    [1.0, 0.1, 0.0]
    """
    if linear_map is not None:
        dtype = _require_map(linear_map, shape, dtype)
        if oversampling is not None or num_measurements is not None:
            raise InputError(
                "linear_map says how many measurements there are; got oversampling "
                f"{oversampling} and num_measurements {num_measurements} besides; "
                "leave both out"
            )
    dtype = torch.float64 if dtype is None else dtype
    truth = draw_truth(
        shape,
        rank,
        condition_number=condition_number,
        spectrum=spectrum,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )
    if linear_map is None:
        linear_map = gaussian_map(
            shape,
            count_measurements(
                degrees_of_freedom(shape, rank, is_symmetric=is_symmetric),
                oversampling,
                num_measurements,
            ),
            generator=generator,
            is_symmetric=is_symmetric and not dtype.is_complex,
            dtype=dtype,
        )
    return _measure(
        linear_map, truth, noise, is_symmetric=is_symmetric, generator=generator
    )


def _require_map(
    linear_map: AbstractLinearMap, shape: tuple[int, int], dtype: torch.dtype | None
) -> torch.dtype:
    """Return the map's dtype; refuse a map that contradicts what was asked for."""
    spec = linear_map.spec
    if spec.in_shape != tuple(shape):
        raise ShapeError(
            f"linear_map takes matrices of shape {spec.in_shape}; got shape "
            f"{tuple(shape)}; make them agree"
        )
    if dtype is not None and dtype != spec.dtype:
        raise InputError(
            f"dtype must be the map's, {spec.dtype}; got {dtype}; leave it out"
        )
    return spec.dtype


def count_measurements(
    unknowns: int, oversampling: float | None, num_measurements: int | None
) -> int:
    """Return how many measurements are asked for.

    Raises
    ------
    InputError
        Unless exactly one way of saying so was used, and gives at least one.
    """
    if (oversampling is None) == (num_measurements is None):
        raise InputError(
            "give exactly one of oversampling and num_measurements; got "
            f"{oversampling} and {num_measurements}"
        )
    if oversampling is not None:
        if not 0.0 < oversampling < math.inf:
            raise InputError(f"oversampling must be positive; got {oversampling}")
        return max(1, round(oversampling * unknowns))
    if num_measurements is None or num_measurements < 1:
        raise InputError(f"num_measurements must be at least 1; got {num_measurements}")
    return num_measurements


def draw_truth(
    shape: tuple[int, int],
    rank: int,
    *,
    condition_number: float,
    spectrum: Spectrum,
    is_symmetric: bool,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> Planted:
    """Draw the matrix of :func:`planted_problem`, on the CPU.

    Raises
    ------
    InputError, ShapeError
        As :func:`planted_problem`.
    """
    rows, columns = shape
    if not 1 <= rank <= min(rows, columns):
        raise InputError(
            f"rank must be in 1..min(num_rows, num_columns) = {min(shape)}; got {rank}"
        )
    if is_symmetric and rows != columns:
        raise ShapeError(f"a symmetric matrix is square; got shape {tuple(shape)}")
    roots = singular_values(rank, condition_number, spectrum).sqrt()
    left = _orthonormal(rows, rank, dtype=dtype, generator=generator)
    right = left
    if not is_symmetric:
        right = _orthonormal(columns, rank, dtype=dtype, generator=generator)
    scaled = (left * roots).to(dtype)
    if is_symmetric:
        return Planted(left=scaled, right=scaled)
    return Planted(left=scaled, right=(right * roots).to(dtype))


def singular_values(rank: int, condition_number: float, spectrum: Spectrum) -> Tensor:
    """Return ``rank`` values from 1 down to ``1 / condition_number``, in float64.

    Raises
    ------
    InputError
        If the condition number is less than 1, or not 1 at rank one, or the spectrum
        is not known.
    """
    if not 1.0 <= condition_number < math.inf:
        raise InputError(
            f"condition_number must be finite and at least 1; got {condition_number}"
        )
    if rank == 1 and condition_number != 1.0:
        raise InputError(
            "a matrix of rank one has condition number 1; got condition_number "
            f"{condition_number}; raise the rank or leave it out"
        )
    places = torch.linspace(0.0, 1.0, rank, dtype=torch.float64)
    last = 1.0 / condition_number
    if spectrum == "geometric":
        return last**places
    if spectrum == "linear":
        return 1.0 - (1.0 - last) * places
    raise InputError(f"spectrum must be 'geometric' or 'linear'; got {spectrum!r}")


def _orthonormal(
    size: int, rank: int, *, dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    """Draw the orthonormal basis of a Haar subspace, in double precision."""
    double = torch.complex128 if dtype.is_complex else torch.float64
    drawn = torch.randn(size, rank, generator=generator, dtype=double)
    basis, triangle = torch.linalg.qr(drawn)
    # Signs (phases) that make the basis, not only its span, Haar distributed.
    return basis * torch.sgn(triangle.diagonal())


def _measure(
    linear_map: AbstractLinearMap,
    truth: Planted,
    noise: float,
    *,
    is_symmetric: bool,
    generator: torch.Generator,
) -> RecoveryProblem:
    """Return the problem whose truth this is."""
    device = linear_map.spec.device
    left = truth.left.to(device)
    right = left if is_symmetric else truth.right.to(device)
    measurements, noise_level = _add_noise(
        linear_map.apply_factors(left, right), noise, generator=generator
    )
    return RecoveryProblem(
        linear_map=linear_map,
        measurements=measurements,
        is_symmetric=is_symmetric,
        noise_level=noise_level,
        planted=Planted(left=left, right=right),
    )


def _add_noise(
    exact: Tensor, noise: float, *, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Return noisy measurements and the standard deviation of their noise.

    Raises
    ------
    InputError
        If ``noise`` is negative or not finite.
    """
    if not 0.0 <= noise < math.inf:
        raise InputError(f"noise must be finite and at least 0; got {noise}")
    if noise == 0.0:
        return exact, 0.0
    level = noise * float(torch.linalg.vector_norm(exact)) / math.sqrt(exact.numel())
    double = torch.complex128 if exact.is_complex() else torch.float64
    drawn = torch.randn(exact.shape, generator=generator, dtype=double)
    return exact + (level * drawn).to(exact), level


def planted_completion(
    shape: tuple[int, int],
    rank: int,
    *,
    oversampling: float | None = None,
    num_measurements: int | None = None,
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    noise: float = 0.0,
    is_symmetric: bool = False,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator,
) -> RecoveryProblem:
    """Draw a low-rank matrix and some of its entries.

    X and the noise are those of :func:`planted_problem`. Entries are drawn uniformly
    without replacement, symmetric ones on and above the diagonal. A row with fewer than
    ``rank`` of them would make X impossible to find, however many there are elsewhere,
    so rows and columns short of that are topped up with random entries of theirs, in
    exchange for random ones that can be spared
    (:func:`~tacit.recovery.draw_entries.draw_entries`). Drawing all entries again until
    no line is short would keep them uniform given that event, but has no chance where
    most draws leave some line short: at rank one, or oversampling near one.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``; the matrix is never formed.
    rank : int
        In 1..min(shape).
    oversampling : float or None
        Number of entries over
        :func:`~tacit.recovery.problem.degrees_of_freedom`, at least 1.
    num_measurements : int or None
        The number itself. Give exactly one of the two.
    condition_number : float
        At least 1; a matrix of rank one has 1.
    spectrum : {"geometric", "linear"}
        Whether singular values fall by a constant factor or by a constant difference.
    noise : float
        Size of the noise relative to that of the entries drawn.
    is_symmetric : bool
        Draw a symmetric (Hermitian) positive semidefinite X.
    dtype : torch.dtype
    generator : torch.Generator
        Draws truth, then places, then noise (on the CPU).

    Returns
    -------
    RecoveryProblem
        With ``planted`` and ``noise_level`` set.

    Raises
    ------
    InputError
        If an argument is out of range, or there are too few or too many entries.
    ShapeError
        If a symmetric X is not square.

    Examples
    --------
    >>> import tacit
    >>> problem = tacit.planted_completion((10**5, 10**5), 1, oversampling=1.5,
    ...     generator=tacit.make_generator(0))
    >>> problem.linear_map.num_measurements
    299998
    """
    truth = draw_truth(
        shape,
        rank,
        condition_number=condition_number,
        spectrum=spectrum,
        is_symmetric=is_symmetric,
        dtype=dtype,
        generator=generator,
    )
    unknowns = degrees_of_freedom(shape, rank, is_symmetric=is_symmetric)
    rows, columns = draw_entries(
        shape,
        count_measurements(unknowns, oversampling, num_measurements),
        min_per_line=rank,
        is_symmetric=is_symmetric,
        generator=generator,
    )
    entries = EntriesMap(rows=rows, columns=columns, shape=shape, dtype=dtype)
    return _measure(
        entries, truth, noise, is_symmetric=is_symmetric, generator=generator
    )
