r"""What is measured of one point of a trajectory."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.spectrum import gap_ratios

# A spectrum whose widest ratio of neighbours is below this has no gap to read.
_LEAST_GAP = 10.0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    r"""The planted matrix as :math:`P \operatorname{diag}(\sigma) Q^H`.

    Parameters
    ----------
    left : Tensor, shape (num_rows, r)
        P, orthonormal columns.
    right : Tensor, shape (num_columns, r)
        Q; the same tensor as ``left`` in a symmetric problem.
    values : Tensor, shape (r,)
        Singular values, largest first, float64 on the CPU.
    """

    left: Tensor
    right: Tensor
    values: Tensor


def known_signal(problem: RecoveryProblem) -> Signal | None:
    """Return the planted matrix's singular value decomposition, if it is planted.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.trajectory.snapshot import known_signal
    >>> problem = tacit.planted_problem((9, 7), 2, oversampling=2.0,
    ...     condition_number=4.0, generator=tacit.make_generator(0))
    >>> known_signal(problem).values.round(decimals=9).tolist()
    [1.0, 0.25]
    """
    if problem.planted is None:
        return None
    q, s = torch.linalg.qr(problem.planted.left)
    p, t = torch.linalg.qr(problem.planted.right)
    u, values, vh = torch.linalg.svd(s @ t.mH)
    left = q @ u
    return Signal(
        left=left,
        right=left if problem.is_symmetric else p @ vh.mH,
        values=values.to(dtype=torch.float64, device="cpu"),
    )


def measure_errors(problem: RecoveryProblem, residual: Tensor) -> dict[str, Tensor]:
    """Return ``train_error`` and ``held_out_error``, relative, shape (...)."""
    fitted = problem.weights

    def relative(weights: Tensor) -> Tensor:
        error = torch.linalg.vector_norm(weights * residual, dim=-1)
        size = torch.linalg.vector_norm(weights * problem.measurements, dim=-1)
        return (error / size).to(dtype=torch.float64, device="cpu")

    held_out = torch.tensor(math.nan, dtype=torch.float64)
    if problem.held_out is not None:
        held_out = relative(1.0 - fitted)
    return {"train_error": relative(fitted), "held_out_error": held_out}


def measure_factors(
    left: Tensor, right: Tensor, signal: Signal | None, rank: int | None
) -> dict[str, Tensor]:
    r"""Return the curves of ``Trajectory`` that depend on the factors alone.

    The factors are first written in an orthonormal basis that begins with the signal:
    :math:`L = [P, P_\perp] K`, K of r + k rows. All the rest is done with K, in float64
    on the CPU.

    Parameters
    ----------
    left, right : Tensor, shape (..., num_rows, k) and (..., num_columns, k)
        The same tensor twice in a symmetric problem.
    signal : Signal or None
        The truth, if it is known.
    rank : int or None
        Number of leading directions of the truth that count as the signal.

    Returns
    -------
    dict of str to Tensor, shape (...)
        And ``spectrum``, shape (..., min(k, rows)); rows is num_rows, rectangular:
        num_rows + num_columns.
    """
    is_symmetric = left is right
    rows = left.shape[-2] if is_symmetric else left.shape[-2] + right.shape[-2]
    first = _core(left, None if signal is None else signal.left)
    second = first
    if not is_symmetric:
        second = _core(right, None if signal is None else signal.right)
    core = first
    if not is_symmetric:
        core = torch.cat((first, second), -2) / math.sqrt(2.0)
    vectors, spectrum, _ = torch.linalg.svd(core, full_matrices=False)
    squares = (spectrum / spectrum[..., :1]).square()
    unknown = torch.full(squares.shape[:-1], math.nan, dtype=torch.float64)
    gram = first.mH @ first - second.mH @ second
    measured = {
        "spectrum": spectrum[..., : min(rows, core.shape[-1])],
        "effective_rank": squares.sum(-1).square() / squares.square().sum(-1),
        "imbalance": torch.linalg.eigvalsh(gram).abs().amax(-1),
    }
    if signal is None or rank is None:
        names = ("test_error", "alignment", "signal", "noise", "coupling")
        return measured | dict.fromkeys(names, unknown)
    basis = torch.eye(first.shape[-2], rank, dtype=core.dtype)
    heads = first[..., :rank, :], second[..., :rank, :]
    if not is_symmetric:
        other = torch.eye(second.shape[-2], rank, dtype=core.dtype)
        basis = torch.cat((basis, other)) / math.sqrt(2.0)
    return (
        measured
        | _measure_split(core, vectors[..., :rank], basis)
        | {
            "test_error": _test_error(first, second, signal.values),
            "coupling": _norm(heads[0] - heads[1]) / _norm(heads[0] + heads[1]),
        }
    )


def widest_gap(spectrum: Tensor) -> int:
    """Return the rank read from a spectrum, largest value first.

    The number of values above the widest ratio of neighbours; all of them if no ratio
    reaches ten. Values at rounding level count as equal.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.trajectory.snapshot import widest_gap
    >>> widest_gap(torch.tensor([1.0, 0.8, 1e-5, 2e-6]))
    2
    """
    ratios = gap_ratios(spectrum)
    if ratios.numel() == 0 or float(ratios.max()) < _LEAST_GAP:
        return spectrum.numel()
    return int(ratios.argmax()) + 1


def _core(factor: Tensor, basis: Tensor | None) -> Tensor:
    """Return K with ``factor = [basis, rest] K`` for an orthonormal rest."""
    head = factor[..., :0, :]
    rest = factor
    if basis is not None:
        head = basis.mH @ factor
        rest = factor - basis @ head
    if rest.shape[-2] > rest.shape[-1]:
        rest = torch.linalg.qr(rest, mode="r")[1]
    double = torch.complex128 if factor.dtype.is_complex else torch.float64
    return torch.cat((head, rest), -2).to(dtype=double, device="cpu")


def _measure_split(core: Tensor, leading: Tensor, basis: Tensor) -> dict[str, Tensor]:
    basis = basis.to(core.dtype)
    rows = torch.linalg.svd(basis.mH @ core, full_matrices=False)[2]
    signal = core @ rows.mH
    outside = leading - basis @ (basis.mH @ leading)
    return {
        "alignment": torch.linalg.svdvals(outside)[..., 0].clamp(max=1.0),
        "signal": torch.linalg.svdvals(signal)[..., -1],
        "noise": torch.linalg.svdvals(core - signal @ rows)[..., 0],
    }


def _test_error(first: Tensor, second: Tensor, values: Tensor) -> Tensor:
    product = first @ second.mH
    count = values.numel()
    diagonal = torch.diagonal(product[..., :count, :count], dim1=-2, dim2=-1)
    diagonal -= values  # in place: the diagonal is a view
    return _norm(product) / torch.linalg.vector_norm(values)


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix)
