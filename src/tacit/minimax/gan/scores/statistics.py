r"""Mean and covariance of features, kept so that covariances lose no digits.

A covariance S is stored as a factor A with :math:`S = A^T A`: the centred samples
themselves over :math:`\sqrt{n - 1}` where there are few, else the triangle of their QR
factorisation. The Frechet distance needs square roots of covariances, and a factor is
one already: rounding errors of S, of size eps, would become errors of size
:math:`\sqrt{eps}` in a root of S.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.io import read_arrays, write_arrays
from tacit.minimax.gan.scores.samples import check_dimensions, checked_samples

_FORMAT = "tacit feature statistics"
_VERSION = 1
_MIN_CHUNK = 1024  # rows gathered before they are factored together


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureStatistics:
    r"""Mean and covariance of samples.

    Parameters
    ----------
    mean : Tensor, shape (dimension,)
        float64, on the CPU.
    factor : Tensor, shape (num_rows, dimension)
        float64 A with :math:`A^T A = S = \frac{1}{n - 1} \sum_i (x_i - \bar x)
        (x_i - \bar x)^T`.
    count : int
        n, at least 2.
    digest : str or None
        Of the extractor that the features are from; two that differ are never compared.

    Raises
    ------
    ShapeError
        If shapes disagree.
    InputError
        If there are fewer than 2 samples, or values are not finite float64.

    Examples
    --------
    >>> import tacit, torch
    >>> statistics = tacit.feature_statistics(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    >>> statistics.covariance.tolist(), statistics.count
    ([[2.0, 0.0], [0.0, 0.0]], 2)
    """

    mean: Tensor
    factor: Tensor
    count: int
    digest: str | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.factor.shape[1:] != self.mean.shape:
            raise ShapeError(
                "mean and factor must have shapes (dimension,) and (num_rows, "
                f"dimension); got {tuple(self.mean.shape)} and "
                f"{tuple(self.factor.shape)}"
            )
        if self.count < 2:
            raise InputError(f"a covariance takes at least 2 samples; got {self.count}")
        for name, tensor in (("mean", self.mean), ("factor", self.factor)):
            if tensor.dtype != torch.float64 or not bool(tensor.isfinite().all()):
                raise InputError(
                    f"{name} must be finite float64; got {tensor.dtype} with values "
                    f"up to {float(tensor.abs().max()):.3g}"
                )

    @property
    def dimension(self) -> int:
        """Length of a sample."""
        return self.mean.numel()

    @property
    def covariance(self) -> Tensor:
        """S, shape (dimension, dimension); computed anew every time."""
        return self.factor.T @ self.factor

    @property
    def total_variance(self) -> float:
        """The trace of the covariance."""
        return float(self.factor.square().sum())


def feature_statistics(
    samples: Tensor | Iterable[Tensor], *, digest: str | None = None
) -> FeatureStatistics:
    """Return mean and covariance of samples, given at once or in batches.

    Parameters
    ----------
    samples : Tensor, shape (num_samples, dimension), or iterable of such
        Of an iterable no more is kept than one matrix of (2 * dimension, dimension) and
        1024 samples.
    digest : str or None
        Of the extractor they are from.

    Returns
    -------
    FeatureStatistics
        The same for any batches but for rounding.

    Raises
    ------
    ShapeError
        If samples are no matrices of one width, or fewer than 2.
    InputError
        If they are not finite.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.eye(4)
    >>> whole, parts = tacit.feature_statistics(x), tacit.feature_statistics(x.split(3))
    >>> bool((whole.covariance - parts.covariance).abs().max() < 1e-14)
    True
    """
    if isinstance(samples, Tensor):
        part = _summary(checked_samples(samples, "samples", at_least=2))
    else:
        part = _summary_of_batches(samples)
    return FeatureStatistics(
        mean=part.mean,
        factor=part.scatter / math.sqrt(part.count - 1),
        count=part.count,
        digest=digest,
    )


def statistics_from_covariance(
    mean: Tensor, covariance: Tensor, count: int, *, digest: str | None = None
) -> FeatureStatistics:
    r"""Return statistics from a covariance that was computed elsewhere.

    Parameters
    ----------
    mean : Tensor, shape (dimension,)
    covariance : Tensor, shape (dimension, dimension)
        Symmetric positive semidefinite up to rounding, divided by ``count - 1``.
    count : int
        Samples that it is from. Of fewer samples than dimensions at most
        ``count - 1`` eigenvalues are taken to be more than rounding.
    digest : str or None
        Of the extractor.

    Returns
    -------
    FeatureStatistics
        Its root of the covariance is exact to about the square root of the covariance's
        rounding errors, 1e-8 of its largest value for float64.

    Raises
    ------
    ShapeError
        If shapes disagree.
    InputError
        If the covariance is not symmetric, or has a negative eigenvalue.

    Examples
    --------
    >>> import tacit, torch
    >>> mean, covariance = torch.zeros(2), torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    >>> tacit.statistics_from_covariance(mean, covariance, 10).total_variance
    5.0
    """
    mean, covariance = mean.detach().double().cpu(), covariance.detach().double().cpu()
    size = mean.numel()
    if mean.ndim != 1 or covariance.shape != (size, size) or not size:
        raise ShapeError(
            "mean and covariance must have shapes (dimension,) and (dimension, "
            f"dimension); got {tuple(mean.shape)} and {tuple(covariance.shape)}"
        )
    if not bool(covariance.isfinite().all()):
        raise InputError("covariance must be finite; it holds NaN or infinity")
    scale = float(covariance.abs().max())
    asymmetry = float((covariance - covariance.T).abs().max())
    if asymmetry > 1e-6 * scale:
        raise InputError(f"covariance must be symmetric; it is off by {asymmetry:.3g}")
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2.0)
    if float(values[0]) < -1e-6 * scale * size:
        raise InputError(
            "covariance must be positive semidefinite; it has the eigenvalue "
            f"{float(values[0]):.3g}"
        )
    kept = slice(max(size - count + 1, 0), size)
    roots = values[kept].clamp(min=0.0).sqrt()
    return FeatureStatistics(
        mean=mean,
        factor=roots[:, None] * vectors[:, kept].T,
        count=count,
        digest=digest,
    )


def check_comparable(x: FeatureStatistics, y: FeatureStatistics) -> None:
    """Refuse to compare features of different extractors.

    Raises
    ------
    ShapeError
        If they have different dimensions.
    InputError
        If their digests differ.
    """
    check_dimensions(x.dimension, y.dimension)
    if None not in (x.digest, y.digest) and x.digest != y.digest:
        raise InputError(
            "features of different extractors cannot be compared; their digests are "
            f"{x.digest} and {y.digest}"
        )


def save_statistics(path: str | Path, statistics: FeatureStatistics) -> None:
    """Write statistics to ``.npz``, in one step.

    Parameters
    ----------
    path : path
    statistics : FeatureStatistics

    Raises
    ------
    InputError
        If ``path`` is there and is no plain file.

    Examples
    --------
    >>> import tacit, torch
    >>> tacit.save_statistics("real.npz", tacit.feature_statistics(torch.eye(3)))
    >>> tacit.load_statistics("real.npz").count
    3
    """
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "count": statistics.count,
        "digest": statistics.digest,
    }
    arrays = {
        "mean": statistics.mean.contiguous().numpy(),
        "factor": statistics.factor.contiguous().numpy(),
    }
    write_arrays(Path(path), header, arrays)


def load_statistics(path: str | Path) -> FeatureStatistics:
    """Read what :func:`save_statistics` wrote.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        If it is missing, damaged, or no such file.

    Examples
    --------
    >>> import tacit, torch
    >>> points = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    >>> tacit.save_statistics("real.npz", tacit.feature_statistics(points))
    >>> tacit.load_statistics("real.npz").mean
    tensor([2., 2.], dtype=torch.float64)
    """
    header, arrays = read_arrays(Path(path))
    count, digest = header.get("count"), header.get("digest")
    if (
        header.get("format") != _FORMAT
        or header.get("version") != _VERSION
        or arrays.keys() != {"mean", "factor"}
        or not isinstance(count, int)
        or not isinstance(digest, str | None)
    ):
        raise InputError(f"{path} holds no statistics of features written by tacit")
    try:
        return FeatureStatistics(
            mean=torch.from_numpy(arrays["mean"]),
            factor=torch.from_numpy(arrays["factor"]),
            count=count,
            digest=digest,
        )
    except (InputError, ShapeError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Summary:
    """Count, mean, and a matrix B with B^T B the sum of centred outer products."""

    count: int
    mean: Tensor
    scatter: Tensor


def _summary(samples: Tensor) -> _Summary:
    mean = samples.mean(0)
    return _Summary(count=len(samples), mean=mean, scatter=_triangle(samples - mean))


def _triangle(rows: Tensor) -> Tensor:
    """Return at most as many rows as columns, with the same Gram matrix of columns."""
    if rows.shape[0] <= rows.shape[1]:
        return rows
    return torch.linalg.qr(rows, mode="r").R.contiguous()


def _joined(one: _Summary, other: _Summary) -> _Summary:
    count = one.count + other.count
    step = other.mean - one.mean
    between = math.sqrt(one.count * other.count / count) * step
    return _Summary(
        count=count,
        mean=one.mean + (other.count / count) * step,
        scatter=_triangle(torch.cat([one.scatter, other.scatter, between[None]])),
    )


def _summary_of_batches(batches: Iterable[Tensor]) -> _Summary:
    found: _Summary | None = None
    waiting: list[Tensor] = []
    for batch in batches:
        waiting.append(checked_samples(batch, "samples", at_least=0))
        check_dimensions(waiting[0].shape[1], batch.shape[1])
        if sum(map(len, waiting)) >= max(batch.shape[1], _MIN_CHUNK):
            found = _with(found, waiting)
            waiting = waiting[:0]
    if sum(map(len, waiting)):
        found = _with(found, waiting)
    if found is None or found.count < 2:
        count = 0 if found is None else found.count
        raise ShapeError(f"samples must be at least 2; got {count}; draw more")
    return found


def _with(found: _Summary | None, batches: list[Tensor]) -> _Summary:
    more = _summary(torch.cat(batches))
    if found is None:
        return more
    check_dimensions(found.mean.numel(), more.mean.numel())
    return _joined(found, more)
