r"""Blind deconvolution with a known answer, as in the papers' experiments."""

import math
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.deconvolution.problem import demixing_problem
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.linear_map import Isotropy
from tacit.recovery.problem import Planted, RecoveryProblem
from tacit.recovery.subspaces.matrix import gaussian_subspace
from tacit.recovery.subspaces.scrambled import scrambled_subspace
from tacit.recovery.subspaces.subspace import AbstractSubspace
from tacit.recovery.subspaces.support import SupportSubspace

FilterKind = Literal["short", "random"]
SignalKind = Literal["gaussian", "scrambled"]


def planted_deconvolution(
    filter_size: int,
    signal_size: int,
    length: int,
    *,
    noise: float = 0.0,
    filter_kind: FilterKind = "short",
    signal_kind: SignalKind = "gaussian",
    num_channels: int = 1,
    num_sources: int = 1,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator,
) -> RecoveryProblem:
    r"""Draw filters and signals in known subspaces, and convolve them circularly.

    .. math:: y = \sum_s (B_s h_s) * (C_s x_s) + e

    B holds K of the L columns of the identity; C has independent normal entries of
    variance 1/L (complex: circular), or orthonormal columns that take no storage.
    With them :math:`\mathbb{E} \mathcal{A}^* \mathcal{A} = \mathrm{Id}`. h and x are
    normal vectors divided by their length, so the lifted truth has norm one for every
    source.

    Parameters
    ----------
    filter_size : int
        K, in 1..L: coefficients of each filter.
    signal_size : int
        N, in 1..L: coefficients of each signal.
    length : int
        L, of the circle.
    noise : float
        :math:`\|e\| / \|\mathcal{A}(X_0)\|`, at least 0: a normal vector scaled to that
        norm exactly. ``noise_level`` becomes :math:`\|e\| / \sqrt m`.
    filter_kind : {"short", "random"}
        The first K points, or K random ones for each filter.
    signal_kind : {"gaussian", "scrambled"}
        Stored C, of L N numbers, or one by random signs and a fast transform.
    num_channels : int
        Filters that share one signal; the observation has one row for each.
    num_sources : int
        Convolutions that are added up.
    dtype : torch.dtype
        Real or complex.
    generator : torch.Generator
        Draws the truth, then the subspaces, then the noise (on the CPU).

    Returns
    -------
    RecoveryProblem
        With ``planted`` (one column for each source, left = h, right = conj(x)) and
        ``noise_level`` set.

    Raises
    ------
    InputError
        If an argument is out of range.
    ShapeError
        If a size is.

    References
    ----------
    Ahmed, Recht and Romberg (2014), section 3 (real) and their released code;
    Li, Ling, Strohmer and Wei (2019), section 4 (complex).

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.deconvolution.planted import planted_deconvolution
    >>> problem = planted_deconvolution(10, 20, 100, noise=0.05,
    ...     generator=tacit.make_generator(0))
    >>> problem.linear_map.in_shape, problem.linear_map.num_measurements
    ((10, 20), 100)
    """
    _require(filter_size, signal_size, length, noise, filter_kind, signal_kind)
    if min(num_channels, num_sources) < 1:
        raise ShapeError(
            "num_channels and num_sources must be at least 1; got "
            f"{num_channels} and {num_sources}"
        )
    rows = num_channels * filter_size
    truth = Planted(
        left=_unit_columns(rows, num_sources, dtype, generator),
        right=_unit_columns(signal_size, num_sources, dtype, generator),
    )

    def draw_filter() -> AbstractSubspace:
        if filter_kind == "short":
            support = torch.arange(filter_size)
        else:
            order = torch.randperm(length, generator=generator)
            support = order[:filter_size].sort().values
        return SupportSubspace(indices=support, shape=(length,), dtype=dtype)

    def draw_signal() -> AbstractSubspace:
        draw = gaussian_subspace if signal_kind == "gaussian" else scrambled_subspace
        return draw((length,), signal_size, generator=generator, dtype=dtype)

    sources = [
        ([draw_filter() for _ in range(num_channels)], draw_signal())
        for _ in range(num_sources)
    ]
    shape = (num_channels, length)
    empty = demixing_problem(torch.zeros(shape, dtype=dtype), sources).linear_map
    is_isotropic = num_channels == 1 and signal_kind == "gaussian"
    if is_isotropic and isinstance(empty, ConvolutionMap):
        # Normal for every matrix, but not independent.
        law = Isotropy(second_moment=1.0 / length, is_gaussian=False)
        empty = replace(empty, isotropy=law)
    planted = Planted(left=_blocks(truth.left), right=_blocks(truth.right))
    exact = empty.apply_factors(planted.left, planted.right)
    size = noise * float(torch.linalg.vector_norm(exact))
    double = torch.complex128 if dtype.is_complex else torch.float64
    drawn = torch.randn(exact.shape, generator=generator, dtype=double)
    drawn *= size / torch.linalg.vector_norm(drawn)
    return RecoveryProblem(
        linear_map=empty,
        measurements=exact + drawn.to(exact) if size > 0.0 else exact,
        noise_level=size / math.sqrt(exact.numel()),
        planted=planted,
    )


def _unit_columns(
    size: int, columns: int, dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    double = torch.complex128 if dtype.is_complex else torch.float64
    drawn = torch.randn(columns, size, generator=generator, dtype=double).T
    return (drawn / torch.linalg.vector_norm(drawn, dim=0)).to(dtype)


def _blocks(columns: Tensor) -> Tensor:
    """Return the columns as diagonal blocks: column s lives in rows of source s."""
    return torch.block_diag(*columns.T[..., None])


def _require(
    filter_size: int,
    signal_size: int,
    length: int,
    noise: float,
    filter_kind: str,
    signal_kind: str,
) -> None:
    for name, size in (("filter_size", filter_size), ("signal_size", signal_size)):
        if not 1 <= size <= length:
            raise ShapeError(f"{name} must be in 1..length = {length}; got {size}")
    if not 0.0 <= noise < math.inf:
        raise InputError(f"noise must be finite and at least 0; got {noise}")
    for name, kind, kinds in (
        ("filter_kind", filter_kind, get_args(FilterKind)),
        ("signal_kind", signal_kind, get_args(SignalKind)),
    ):
        if kind not in kinds:
            raise InputError(f"{name} must be one of {', '.join(kinds)}; got {kind!r}")
