r"""Where descent on factors begins, and the choices that depend on the data's scale."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.back_projection import leading_eigenpairs, leading_triplets
from tacit.recovery.descent.metric import Metric
from tacit.recovery.problem import RecoveryProblem, widest_rank

# Of the iteration for large matrices: far below what the map's fluctuation leaves.
_RTOL = 1e-3


def small_start(
    problem: RecoveryProblem,
    search_rank: int,
    init_scale: float | Tensor,
    *,
    generator: torch.Generator,
    num_starts: int | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Draw small random factors as the papers do.

    With :math:`\alpha` the init scale and k the search rank, all entries independent:

    * symmetric problems: :math:`U = \alpha \tilde U` with entries of :math:`\tilde U`
      from :math:`N(0, 1/k)` (paper 4), so :math:`\|U\| \approx \alpha (1 +
      \sqrt{n / k})`;
    * rectangular ones: :math:`L = \alpha \tilde L, R = \alpha \tilde R` with entries
      from :math:`N(0, 1)` (paper 2), larger by :math:`\sqrt k`.

    Complex entries are circular, of the same variance.

    Parameters
    ----------
    problem : RecoveryProblem
        Gives shapes, dtype and device.
    search_rank : int
        k, at least 1; may exceed the sides of the matrix.
    init_scale : float or Tensor, shape (num_scales,)
        :math:`\alpha > 0`, in the unit of the square root of X. With a vector, every
        scale multiplies the same draws.
    generator : torch.Generator
        Draws left, then right, in float64 (on the CPU).
    num_starts : int or None
        Number of independent draws; None for one without a batch dimension.

    Returns
    -------
    left : Tensor, shape (num_scales, num_starts, num_rows, k)
        Without the dimensions that were not asked for.
    right : Tensor, shape (num_scales, num_starts, num_columns, k)
        The same tensor as ``left`` in a symmetric problem.

    Raises
    ------
    InputError
        If an argument is out of range.
    ShapeError
        If ``init_scale`` has more than one dimension.

    References
    ----------
    Stoeger and Soltanolkotabi (2021), paper 4; Soltanolkotabi, Stoeger and Xie (2023),
    paper 2 (its variance as recalled).

    Examples
    --------
    >>> import torch, tacit
    >>> from tacit.recovery.start import small_start
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((8, 6), 1, oversampling=2.0,
    ...     generator=generator)
    >>> left, right = small_start(problem, 4, torch.tensor([1e-2, 1e-4]),
    ...     generator=generator, num_starts=3)
    >>> tuple(left.shape), tuple(right.shape)
    ((2, 3, 8, 4), (2, 3, 6, 4))
    """
    if search_rank < 1:
        raise InputError(f"search_rank must be at least 1; got {search_rank}")
    if num_starts is not None and num_starts < 1:
        raise InputError(f"num_starts must be at least 1 or None; got {num_starts}")
    spec = problem.linear_map.spec
    scales = torch.as_tensor(init_scale, dtype=torch.float64, device="cpu")
    if scales.dim() > 1:
        raise ShapeError(
            f"init_scale must be a number or a vector; got shape {tuple(scales.shape)}"
        )
    if not bool(((scales > 0.0) & (scales < math.inf)).all()):
        raise InputError(f"init_scale must be positive and finite; got {init_scale}")
    runs = () if num_starts is None else (num_starts,)
    drawn = torch.complex128 if spec.dtype.is_complex else torch.float64

    def draw(size: int) -> Tensor:
        entries = torch.randn(
            *runs, size, search_rank, generator=generator, dtype=drawn
        )
        scaled = scales.reshape(*scales.shape, *(1,) * entries.dim()) * entries
        return scaled.to(dtype=spec.dtype, device=spec.device)

    if problem.is_symmetric:
        scales = scales / math.sqrt(search_rank)
        left = draw(spec.in_shape[0])
        return left, left
    left = draw(spec.in_shape[0])
    return left, draw(spec.in_shape[1])


def spectral_start(
    problem: RecoveryProblem, rank: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Return balanced factors of the rank-r part of the back-projection, rescaled.

    With :math:`M = \mathcal{A}^*(w \circ y) \approx U \operatorname{diag}(s) V^H` (its
    r leading singular triplets) and gain g,

    .. math:: L = U \operatorname{diag}(s / g)^{1/2}, \quad
              R = V \operatorname{diag}(s / g)^{1/2}.

    Symmetric problems take the r largest eigenvalues of the Hermitian part, negative
    ones replaced by zero (their columns are zero, and stay so under descent). The gain
    is :math:`g = c \sum_i w_i` if the map was drawn from a law with
    :math:`\mathbb{E} |\langle A_i, D \rangle|^2 = c \|D\|_F^2`, so that
    :math:`\mathbb{E} M = g X`; else the one that fits best, the g for which :math:`M_r
    / g` minimises :math:`\sum_i w_i |\mathcal{A}(M_r / g)_i - y_i|^2`.

    Parameters
    ----------
    problem : RecoveryProblem
    rank : int
        r, 1 to ``min(num_rows, num_columns)``.
    generator : torch.Generator
        For the iteration that large matrices need; it ends at a relative residual of
        1e-3, far below what the map's fluctuation leaves.

    Returns
    -------
    left : Tensor, shape (..., num_rows, rank)
    right : Tensor, shape (..., num_columns, rank)
        The same tensor as ``left`` in a symmetric problem.

    Raises
    ------
    InputError
        If the rank is out of range.

    References
    ----------
    Keshavan, Montanari and Oh (2010); Tu et al. (2016). The fitted gain is ours.

    Examples
    --------
    >>> import torch, tacit
    >>> from tacit.recovery.start import spectral_start
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((9, 7), 1, oversampling=40.0,
    ...     generator=generator)
    >>> left, right = spectral_start(problem, 1, generator=generator)
    >>> truth = problem.planted.left @ problem.planted.right.mH
    >>> float(torch.linalg.matrix_norm(left @ right.mH - truth)) < 0.3
    True
    """
    left, values, right = _leading(problem, rank, generator)
    gain = _gain(problem, left, values, right)
    root = (values / gain[..., None]).sqrt()[..., None, :]
    scaled = left * root
    return scaled, scaled if problem.is_symmetric else right * root


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DataScale:
    r"""How large the unknown matrix and the measurements of it are.

    Parameters
    ----------
    spectral_norm : float
        Estimate of :math:`\|X\|`: the leading singular value (symmetric: eigenvalue) of
        the back-projection, over the gain. It exceeds the truth by noise and by the
        fluctuation of the map. Largest of a batch.
    gain : float
        g with :math:`\mathcal{A}^* \mathcal{A} \approx g\, \mathrm{Id}` over the fitted
        measurements, as :func:`spectral_start` takes it. Largest of a batch.
    """

    spectral_norm: float
    gain: float


def data_scale(problem: RecoveryProblem, *, generator: torch.Generator) -> DataScale:
    """Estimate the scale from the leading part of the back-projection.

    Parameters
    ----------
    problem : RecoveryProblem
    generator : torch.Generator
        For the iteration that large matrices need.

    Returns
    -------
    DataScale

    Raises
    ------
    InputError
        If the back-projection has no positive part: the measurements are zero, or those
        of no positive semidefinite matrix in a symmetric problem.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.start import data_scale
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((9, 7), 1, oversampling=40.0,
    ...     generator=generator)
    >>> 0.8 < data_scale(problem, generator=generator).spectral_norm < 1.2
    True
    """
    left, values, right = _leading(problem, 1, generator)
    if not bool((values > 0.0).all()):
        kind = "positive semidefinite matrix" if problem.is_symmetric else "matrix"
        raise InputError(
            f"measurements must be those of a nonzero {kind}; the leading value of "
            f"their back-projection is {float(values.min())}; check signs and data"
        )
    gain = _gain(problem, left, values, right)
    return DataScale(
        spectral_norm=float((values[..., 0] / gain).max()), gain=float(gain.max())
    )


def default_search_rank(problem: RecoveryProblem) -> int:
    """Return the largest rank whose unknowns the fitted measurements could determine.

    The largest k, 1 to the smaller side, with no more unknowns than the
    number of fitted measurements. Recovery of rank r in practice takes about twice its
    degrees of freedom, so k is about twice the largest rank there is hope for: paper 4
    asks for k of at least twice the true rank. More columns align faster and cost
    nothing beside a stored measurement matrix.

    Parameters
    ----------
    problem : RecoveryProblem

    Returns
    -------
    int

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.start import default_search_rank
    >>> problem = tacit.planted_problem((30, 20), 2, oversampling=2.0,
    ...     generator=tacit.make_generator(0))
    >>> default_search_rank(problem)
    4
    """
    return max(1, widest_rank(problem))


def default_init_scale(
    problem: RecoveryProblem,
    search_rank: int,
    scale: DataScale,
    *,
    accuracy: float = 1e-6,
) -> float:
    r"""Return the init scale that lets a small start reach a relative error.

    ``accuracy`` times the square root of the spectral norm of X; in rectangular
    problems over sqrt(search_rank) besides, because their entries are not scaled by it.
    The error at the plateau goes like :math:`\alpha^{2 (1 - \rho)}` with :math:`\rho =
    \lambda_{r+1} / \lambda_r` of the back-projection: this scale is small enough where
    :math:`\rho \le 1/2`, up to a constant. Each decade costs :math:`\ln 10 / \ln(1 +
    \mu \lambda_r)` steps, about 10 with the default step and equal singular values.

    Parameters
    ----------
    problem : RecoveryProblem
    search_rank : int
        Number of columns of the start.
    scale : DataScale
        From :func:`data_scale`.
    accuracy : float
        Relative error wanted, in (0, 1).

    Returns
    -------
    float
        In the unit of the square root of X.

    Raises
    ------
    InputError
        If ``accuracy`` is out of range.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.start import DataScale, default_init_scale
    >>> problem = tacit.planted_problem((8, 8), 1, oversampling=3.0, is_symmetric=True,
    ...     generator=tacit.make_generator(0))
    >>> scale = DataScale(spectral_norm=4.0, gain=1.0)
    >>> default_init_scale(problem, 4, scale, accuracy=1e-3)
    0.002
    """
    if not 0.0 < accuracy < 1.0:
        raise InputError(f"accuracy must be in (0, 1); got {accuracy}")
    columns = 1.0 if problem.is_symmetric else float(search_rank)
    return accuracy * math.sqrt(scale.spectral_norm / columns)


def default_step_size(scale: DataScale, metric: Metric = "euclidean") -> float:
    r"""Return the papers' step in the unit of the data.

    Euclidean metric: :math:`\mu = 1 / (4 g \|X\|)`, which is the 1/4 of paper 4 for
    gain and norm one. The others do not feel the size of X: :math:`1 / (2 g)`, the step
    in the experiments of Tong, Ma and Chi (2021).

    Parameters
    ----------
    scale : DataScale
        From :func:`data_scale`.
    metric : {"euclidean", "scaled", "damped", "loss_damped"}
        Of the descent.

    Returns
    -------
    float

    Notes
    -----
    On the scalar :math:`x \leftarrow x - \mu g (x^2 - \|X\|) x` the euclidean step is
    stable up to :math:`\mu = 1 / (g \|X\|)`: the default leaves a factor of four for
    what the map does to other directions.

    Examples
    --------
    >>> from tacit.recovery.start import DataScale, default_step_size
    >>> default_step_size(DataScale(spectral_norm=2.0, gain=0.5))
    0.25
    """
    if metric == "euclidean":
        return 0.25 / (scale.gain * scale.spectral_norm)
    return 0.5 / scale.gain


def _leading(
    problem: RecoveryProblem, rank: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the leading triplets of the back-projection; eigenpairs if symmetric."""
    fitted = problem.weights * problem.measurements
    if not problem.is_symmetric:
        return leading_triplets(
            problem.linear_map, fitted, rank, generator=generator, rtol=_RTOL
        )
    values, vectors = leading_eigenpairs(
        problem.linear_map, fitted, rank, generator=generator, rtol=_RTOL
    )
    return vectors, values.clamp_min(0.0), vectors


def _gain(
    problem: RecoveryProblem, left: Tensor, values: Tensor, right: Tensor
) -> Tensor:
    """Return g for every problem of the batch; 1 where the values are zero."""
    isotropy = problem.linear_map.spec.isotropy
    if isotropy is not None:
        gain = isotropy.second_moment * problem.weights.sum()
        return gain.expand(values.shape[:-1])
    measured = problem.linear_map.apply_factors(left * values[..., None, :], right)
    # <A(M_r), w y> = <M_r, M> = sum of squared values, so this is the fitted gain.
    energy = (problem.weights * measured.abs().square()).sum(-1)
    size = values.square().sum(-1)
    return torch.where(size > 0.0, energy / size, 1.0)
