"""Extreme eigenvalues, each with a bound on its error.

Dense matrices go through a backward stable factorisation; operators too large for one
go through Lanczos from a random start, whose answer holds except with a stated
probability over that start.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from tacit.errors import InputError, ShapeError

EPS = torch.finfo(torch.float64).eps
_CHECK_EVERY = 5  # Lanczos steps between two looks at the bound
_NUM_HALVINGS = 50  # of an interval whose ends differ by a factor of two at most
_MAX_PASSES = 4  # of orthogonalisation; two are enough unless nothing is left


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class EigenvalueBound:
    """Bounds on the largest eigenvalue of a symmetric operator.

    Parameters
    ----------
    value : float
        The computed eigenvalue (for Lanczos: the largest Ritz value, a lower bound).
    upper : float
        At least the true largest eigenvalue, unless the failure event happens.
    failure_probability : float
        Probability of that event over the random start; 0 for dense matrices.
    num_steps : int
        Operator applications spent; 0 for dense matrices.
    """

    value: float
    upper: float
    failure_probability: float
    num_steps: int


def max_eigenvalue(matrix: Tensor) -> EigenvalueBound:
    r"""Return the largest eigenvalue of a dense symmetric matrix.

    The symmetric eigensolver is backward stable: its eigenvalues are exact for
    A + E with :math:`\|E\|_2 \le p(n)\, u\, \|A\|_2`, and by Weyl they move by at most
    :math:`\|E\|_2`. We take p(n) u = 4 n eps.

    Parameters
    ----------
    matrix : Tensor, shape (size, size)
        Symmetric, float64, finite; only the lower triangle is read.

    Returns
    -------
    EigenvalueBound

    Raises
    ------
    ShapeError
        If the matrix is not square or empty.

    References
    ----------
    Anderson et al., LAPACK Users' Guide, section 4.7 (error bounds for the symmetric
    eigenproblem).

    Examples
    --------
    >>> import torch
    >>> from tacit.spectral import max_eigenvalue
    >>> matrix = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))
    >>> bound = max_eigenvalue(matrix)
    >>> 3.0 <= bound.upper <= 3.0 * (1 + 1e-14)
    True
    """
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ShapeError(
            f"matrix must be square and not empty; got shape {tuple(matrix.shape)}"
        )
    values = torch.linalg.eigvalsh(matrix)
    largest = float(values[-1])
    norm = max(abs(float(values[0])), abs(largest))
    return EigenvalueBound(
        value=largest,
        upper=largest + 4.0 * matrix.shape[0] * EPS * norm,
        failure_probability=0.0,
        num_steps=0,
    )


def lanczos_relative_error(
    size: int, num_steps: int, failure_probability: float
) -> float:
    r"""Return the relative error Lanczos guarantees beforehand, for any spectrum.

    With a start uniform on the sphere, after k steps the largest Ritz value of a
    positive semidefinite matrix of size n satisfies
    :math:`\lambda_1 - \theta_1 \le \varepsilon \lambda_1` except with probability
    :math:`1.648 \sqrt{n}\, e^{-\sqrt{\varepsilon} (2k - 1)}`; solved here for epsilon.

    Parameters
    ----------
    size : int
        n, at least 1.
    num_steps : int
        k, at least 1.
    failure_probability : float
        In (0, 1).

    Returns
    -------
    float
        epsilon; 1 or more means that nothing is guaranteed.

    References
    ----------
    Kuczynski and Wozniakowski (1992), Estimating the largest eigenvalue by the power
    and Lanczos algorithms with a random start, Theorem 4.1.

    Examples
    --------
    >>> from tacit.spectral import lanczos_relative_error
    >>> lanczos_relative_error(10_000, 400, 1e-9) < 1.1e-3
    True
    """
    root = math.log(1.648 * math.sqrt(size) / failure_probability) / (2 * num_steps - 1)
    return root * root


def lanczos_max_eigenvalue(
    apply: Callable[[Tensor], Tensor],
    size: int,
    *,
    max_steps: int,
    failure_probability: float,
    generator: torch.Generator,
    rtol: float = 0.0,
    threshold: float | None = None,
    device: torch.device | str = "cpu",
) -> EigenvalueBound:
    r"""Bound the largest eigenvalue of a positive semidefinite operator.

    Two bounds are taken, each failing with at most half of ``failure_probability``.
    The first is that of :func:`lanczos_relative_error`. The second uses the run itself:
    with :math:`\pi_j` the orthonormal polynomials of the run (:math:`q_{j+1} =
    \pi_j(A) q_1`) and :math:`\gamma = \langle q_1, v_1 \rangle`, orthonormality of the
    Lanczos vectors gives

    .. math:: \gamma^2 \sum_{j=0}^{k} \pi_j(\lambda_1)^2
              = \sum_{j=1}^{k+1} \langle q_j, v_1 \rangle^2 \le 1,

    and the sum increases beyond the largest Ritz value. A start uniform on the sphere
    has :math:`|\gamma| \ge s` except with probability :math:`s \sqrt{2 n / \pi}`, so
    :math:`\lambda_1` is at most the t with :math:`\sum_j \pi_j(t)^2 = s^{-2}`. That
    event does not depend on k: the run may stop whenever the bound is good enough.

    Parameters
    ----------
    apply : callable
        Symmetric positive semidefinite map of a float64 vector of shape (size,).
    size : int
        n.
    max_steps : int
        Upper limit of applications; all Lanczos vectors are kept (``8 * n * k`` bytes).
    failure_probability : float
        In (0, 1), over the random start.
    generator : torch.Generator
        Draws the start (on the CPU).
    rtol : float
        Stop once ``upper <= value * (1 + rtol)``.
    threshold : float or None
        Stop once the answer to "is the eigenvalue at most this?" is known.
    device : torch.device or str
        Where the vectors live.

    Returns
    -------
    EigenvalueBound

    Raises
    ------
    InputError
        If ``failure_probability`` or ``max_steps`` is out of range.

    Notes
    -----
    Vectors are orthogonalised against all earlier ones (again where that cancels), so
    the recurrence is that of exact arithmetic up to rounding, which is not included.

    References
    ----------
    Kuczynski and Wozniakowski (1992). The second bound follows van Dorsselaer,
    Hochstenbach and van der Vorst (2000), Computing probabilistic bounds for extreme
    eigenvalues of symmetric matrices with the Lanczos method; the sum over j is ours.
    """
    if not 0.0 < failure_probability < 1.0:
        raise InputError(
            f"failure_probability must be in (0, 1); got {failure_probability}"
        )
    if max_steps < 1:
        raise InputError(f"max_steps must be at least 1; got {max_steps}")
    overlap = failure_probability / 2.0 / math.sqrt(2.0 * size / math.pi)
    start = torch.randn(size, generator=generator, dtype=torch.float64).to(device)
    run = _Run(start, min(max_steps, size))
    value, upper = 0.0, math.inf
    while not run.is_over:
        run.extend(apply)
        if run.num_steps % _CHECK_EVERY and not run.is_over:
            continue
        if not run.is_finite:
            break
        value = run.largest_ritz()
        if run.is_exhausted or run.num_steps == size:
            # The Krylov space is invariant and almost surely holds the top vector.
            upper = value * (1.0 + 16 * EPS * size)
            break
        beyond = run.bound_beyond(value, 1.0 / overlap)
        upper = min(upper, beyond * (1.0 + 16 * EPS * math.sqrt(size)))
        if run.num_steps == max_steps:  # the beforehand bound is for a fixed count
            epsilon = lanczos_relative_error(size, max_steps, failure_probability / 2)
            upper = min(upper, value / (1.0 - epsilon) if epsilon < 1.0 else math.inf)
        is_answered = threshold is not None and (
            value > threshold or upper <= threshold
        )
        if is_answered or upper <= value * (1.0 + rtol):
            break
    return EigenvalueBound(
        value=value,
        upper=upper,
        failure_probability=failure_probability,
        num_steps=run.num_steps,
    )


def _norm(vector: Tensor) -> float:
    """Return the length, also where its square is no float64."""
    largest = float(vector.abs().max())
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(vector / largest))


@final
class _Run:
    """One Lanczos run: the basis and the tridiagonal coefficients so far."""

    def __init__(self, start: Tensor, max_steps: int) -> None:
        self.basis = start.new_empty(max_steps + 1, start.numel())
        self.basis[0] = start / torch.linalg.vector_norm(start)
        self.max_steps = max_steps
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.is_exhausted = False

    @property
    def num_steps(self) -> int:
        return len(self.alphas)

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.alphas[-1]) and math.isfinite(sum(self.betas))

    @property
    def is_over(self) -> bool:
        return self.is_exhausted or self.num_steps == self.max_steps

    def extend(self, apply: Callable[[Tensor], Tensor]) -> None:
        """Take one step, orthogonal to all earlier vectors."""
        last = self.basis[self.num_steps]
        image = apply(last)
        self.alphas.append(float(torch.dot(image, last)))
        image = image - self.alphas[-1] * last
        if self.betas:
            image = image - self.betas[-1] * self.basis[self.num_steps - 2]
        known = self.basis[: self.num_steps]
        before = beta = _norm(image)
        for _ in range(_MAX_PASSES):
            image = image - known.T @ (known @ image)
            beta = _norm(image)
            if beta > 0.5 * before:  # hardly anything was left to take out
                break
            before = beta
        else:  # errors along the known vectors and nothing else, or an overflow
            beta = 0.0 if math.isfinite(beta) else beta
        # Anything else, be it a rounding error, is a direction like any other: a small
        # beta does not prove that the start held enough of the top vector.
        self.is_exhausted = beta == 0.0
        if not self.is_exhausted:
            self.betas.append(beta)
            self.basis[self.num_steps] = image / beta

    def largest_ritz(self) -> float:
        """Return the largest Ritz value, or 0 if that is negative."""
        betas = self.betas[: self.num_steps - 1]
        # All of them: bisection for the last alone fails on many equal eigenvalues.
        values = eigh_tridiagonal(
            self.alphas, betas, eigvals_only=True, lapack_driver="sterf"
        )
        return max(float(values[-1]), 0.0)

    def is_beyond(self, t: float, limit: float) -> bool:
        """Whether ``sum_j pi_j(t)^2 >= limit``, stopping before it overflows."""
        before, now, total = 0.0, 1.0, 1.0
        for j, alpha in enumerate(self.alphas):
            previous = self.betas[j - 1] if j else 0.0
            beta = self.betas[j]
            before, now = now, (t - alpha) / beta * now - previous / beta * before
            total += now * now
            if total >= limit:
                return True
        return False

    def bound_beyond(self, value: float, inverse_overlap: float) -> float:
        """Return a t >= value with ``sum_j pi_j(t)^2 >= inverse_overlap ** 2``."""
        limit = inverse_overlap * inverse_overlap
        low, high = value, 2.0 * value
        while not self.is_beyond(high, limit):
            low, high = high, 2.0 * high
            if high >= 1e6 * value:
                return math.inf
        for _ in range(_NUM_HALVINGS):
            middle = (low + high) / 2.0
            if self.is_beyond(middle, limit):
                high = middle
            else:
                low = middle
        return high
