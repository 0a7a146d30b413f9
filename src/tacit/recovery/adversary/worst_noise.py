r"""The front: the worst noise found for an instance, and random noise beside it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import Observer, Solution, iterate
from tacit.recovery.adversary.implicit import MAX_GAP, AscentState, NoiseAscent
from tacit.recovery.adversary.starts import (
    longest_of_cone,
    noise_starts,
    random_answers,
)
from tacit.recovery.adversary.target import NoiseTarget, noise_target
from tacit.recovery.nuclear.certify import NuclearCertificate, certify_nuclear
from tacit.recovery.problem import RecoveryProblem


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WorstNoise:
    r"""The worst noise found; its error is a lower bound of the worst case.

    Parameters
    ----------
    noise : Tensor, shape (num_measurements,)
        e, of length at most ``noise_bound``, zero where measurements are held out.
    matrix : Tensor, shape (num_rows, num_columns)
        :math:`\hat X`, the programme's optimum for the measurements with this noise.
    error : float
        :math:`\|\hat X - X_0\|_F`. The supremum over all noises is at least this.
    relative_error : float
        Over :math:`\|X_0\|_F`.
    noise_bound, relative_noise : float
        :math:`\tau`, and over :math:`\|w \circ \mathcal{A}(X_0)\|`.
    certificate : NuclearCertificate
        Of that optimum: bracket of the programme's value, infeasibility, uniqueness.
    random_errors : tuple of float
        Errors of random noises of length tau, drawn uniformly on the sphere.
    cone_size : float
        Length of the longest member found of the set that holds
        :math:`\hat X - X_0` for every noise (see :mod:`~tacit.recovery.adversary
        .descent_cone`). Not an error that a noise attains, and not a bound of all
        errors either, as longer members may exist.
    method : str
        Where the ascent that won began.
    starts : tuple of (str, float)
        Every start and the error its ascent reached.
    history : tuple of float
        Errors along the ascent that won.
    status : Status
        How that ascent ended.
    num_solves : int
        Programmes solved by all ascents.
    seconds : float

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.adversary.worst_noise import worst_noise
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((4, 3), 1, oversampling=2.0,
    ...     generator=generator)
    >>> found = worst_noise(problem, 0.05, generator=generator)
    >>> found.error > max(found.random_errors)
    True
    """

    noise: Tensor
    matrix: Tensor
    error: float
    relative_error: float
    noise_bound: float
    relative_noise: float
    certificate: NuclearCertificate
    random_errors: tuple[float, ...]
    cone_size: float
    method: str
    starts: tuple[tuple[str, float], ...]
    history: tuple[float, ...]
    status: Status
    num_solves: int
    seconds: float

    @property
    def relative_gap(self) -> float:
        """Duality gap of the optimum over its nuclear norm."""
        return self.certificate.relative_gap

    @property
    def over_random(self) -> float:
        """The error over the median error of random noise."""
        middle = sorted(self.random_errors)[len(self.random_errors) // 2]
        return self.error / middle if middle > 0.0 else math.inf


def worst_noise(
    problem: RecoveryProblem,
    noise_bound: float,
    *,
    num_starts: int = 4,
    max_steps: int = 50,
    num_random: int = 8,
    observers: Sequence[Observer] = (),
    on_phase: Callable[[str], None] | None = None,
    generator: torch.Generator,
) -> WorstNoise:
    r"""Search the noise of bounded length that hurts nuclear norm minimisation most.

    .. math:: \max_{\|e\| \le \tau} \|\hat X(e) - X_0\|_F, \quad
              \hat X(e) = \arg\min_X \|X\|_* \text{ s.t. }
              \|w \circ (\mathcal{A}(X) - \mathcal{A}(X_0) - e)\| \le \tau

    Projected gradient ascent from the noise along the longest direction of the descent
    cone that was found, from the one that a fit on the tangent space bears worst, then
    from random ones. Every step solves the programme to rounding. The problem is not
    concave: what is found is a noise and its error, a lower bound of the worst case.

    Parameters
    ----------
    problem : RecoveryProblem
        With a planted truth; its own measurements and their noise are not used. In
        double precision, not symmetric, not a batch.
    noise_bound : float
        :math:`\tau`, positive, in the unit of the measurements.
    num_starts : int
        Ascents, at least 1: from the descent cone, from the tangent space, then from
        the random noises with the largest errors. From tau of half the measurements on
        there is one more, from a noise that makes the zero matrix the answer.
    max_steps : int
        Of each ascent, at least 0.
    num_random : int
        Random noises to compare with, at least 1 and at least ``num_starts - 2``.
    observers : sequence of callables
        Called as ``observer(step, state)`` with the :class:`AscentState` after every
        step of every ascent.
    on_phase : callable or None
        Called with a few words whenever something new begins.
    generator : torch.Generator
        Draws the random noises (on the CPU).

    Returns
    -------
    WorstNoise

    Raises
    ------
    InputError
        If an argument is out of range, or the problem cannot be attacked (see
        :func:`~tacit.recovery.adversary.target.noise_target`).
    ShapeError
        If the problem is a batch.

    Notes
    -----
    One eigendecomposition of size num_measurements, then for every solve a few dense
    linear systems with as many unknowns as the tangent space has real dimensions,
    ``rank * (num_rows + num_columns - rank)``, twice that for complex matrices: meant
    for matrices of up to about 50 x 50.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.adversary.worst_noise import worst_noise
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((4, 3), 1, oversampling=2.0,
    ...     generator=generator)
    >>> found = worst_noise(problem, 0.05, num_starts=1, generator=generator)
    >>> found.method, found.relative_gap < 1e-6
    ('gradient ascent from: descent cone', True)
    """
    began = time.perf_counter()
    _require_counts(num_starts, max_steps, num_random)
    target = noise_target(problem, noise_bound)
    announce = on_phase or _silent
    announce("random noise")
    random = random_answers(target, num_random, generator)
    announce("descent cone")
    member = longest_of_cone(target, random[0][1].matrix - target.truth)
    noises = [noise for noise, _ in random]
    runs: list[_Run] = []
    for start in noise_starts(target, member, noises, num_starts):
        announce(f"gradient ascent from: {start.name}")
        found = iterate(
            target,
            NoiseAscent(),
            start.noise,
            max_steps=max_steps,
            observers=observers,
        )
        runs.append(_Run(name=start.name, solution=found))
        if found.status is Status.INTERRUPTED:
            break
    announce("certificate")
    best = max(runs, key=_merit)
    solution = best.solution
    answer = solution.state.answer
    size = float(torch.linalg.matrix_norm(target.truth))
    return WorstNoise(
        noise=solution.state.noise,
        matrix=answer.matrix,
        error=answer.error,
        relative_error=answer.error / size,
        noise_bound=noise_bound,
        relative_noise=target.relative_noise,
        certificate=_certificate(target, solution.state, generator),
        random_errors=tuple(answer.error for _, answer in random),
        cone_size=member.size,
        method=f"gradient ascent from: {best.name}",
        starts=tuple((run.name, run.solution.state.value) for run in runs),
        history=solution.history,
        status=solution.status,
        num_solves=sum(run.solution.state.num_solves for run in runs),
        seconds=time.perf_counter() - began,
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """One ascent and where it began."""

    name: str
    solution: Solution[AscentState]


def _merit(run: _Run) -> tuple[bool, float]:
    """Certified optima first, then the larger error."""
    answer = run.solution.state.answer
    return answer.relative_gap <= MAX_GAP, answer.error


def _require_counts(num_starts: int, max_steps: int, num_random: int) -> None:
    if num_starts < 1 or max_steps < 0 or num_random < max(1, num_starts - 2):
        raise InputError(
            "the search takes num_starts of at least 1, max_steps of at least 0 and "
            "num_random of at least max(1, num_starts - 2); got "
            f"{num_starts}, {max_steps} and {num_random}"
        )


def _silent(phase: str) -> None:
    """Say nothing."""


def _certificate(
    target: NoiseTarget, state: AscentState, generator: torch.Generator
) -> NuclearCertificate:
    u, s, vh = torch.linalg.svd(state.answer.matrix, full_matrices=False)
    rank = max(1, int((s > 0.0).sum()))
    if state.answer.system is not None:
        rank = state.answer.system.rank
    roots = s[:rank].sqrt()
    return certify_nuclear(
        target.program(state.noise),
        u[:, :rank] * roots,
        vh[:rank].mH * roots,
        state.answer.dual,
        generator=generator,
    )
