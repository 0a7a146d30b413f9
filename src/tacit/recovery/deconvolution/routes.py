r"""The ways to filters and signals: the convex programme, and the descent."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.recovery.deconvolution.coordinates import OrthonormalProblem
from tacit.recovery.deconvolution.regularised import (
    RegularisedDescent,
    incoherent_start,
)
from tacit.recovery.descent.conjugate import ConjugateGradients
from tacit.recovery.nuclear.certify import NuclearCertificate, certify_nuclear
from tacit.recovery.nuclear.dual import least_squares_dual
from tacit.recovery.nuclear.minimise import minimise_nuclear_norm
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import inner
from tacit.recovery.spectrum import truncate

# Where the regularised descent hands over to conjugate gradients, which need no penalty
# in the basin of attraction and fewer steps.
_BASIN_RTOL = 1e-3
_BASIN_DECREMENT = 1e-6
_BASIN_STEPS = 300
_FIT_RTOL, _FIT_DECREMENT, _FIT_STEPS = 1e-12, 1e-10, 2000

Column = tuple[Tensor, Tensor]  # left and right of all sources, one below the other


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What every way shares.

    Parameters
    ----------
    program : NuclearProgram
        With a noise bound.
    lifted : OrthonormalProblem
        Where the programme's problem comes from.
    refine : bool
        Whether the answer is the least-squares fit.
    rtol : float
        Relative duality gap to reach.
    max_steps : int
        Of each way.
    observers : tuple of callables
    announce : callable
    generator : torch.Generator
    """

    program: NuclearProgram
    lifted: OrthonormalProblem
    refine: bool
    rtol: float
    max_steps: int
    observers: tuple[Observer, ...]
    announce: Callable[[str], None]
    generator: torch.Generator

    @property
    def bound(self) -> float:
        """Radius of the noise ball."""
        return self.program.noise_bound or 0.0

    def misfit(self, column: Column) -> float:
        """Return how far a filter and a signal for every source are from y."""
        return float(torch.linalg.vector_norm(self.program.residual(*column)))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """One filter and one signal for every source, by least squares.

    Parameters
    ----------
    column : tuple of Tensor
        One column of left and right: the map sees its diagonal blocks alone.
    status : Status
    num_steps : int
    """

    column: Column
    status: Status
    num_steps: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A point of the programme with its certificate, and the fit that is the answer.

    Parameters
    ----------
    left, right, dual : Tensor
        What the certificate is about.
    certificate : NuclearCertificate
    fit : Fit
    method, reason : str
    status : Status
    num_steps : int
    """

    left: Tensor
    right: Tensor
    dual: Tensor
    certificate: NuclearCertificate
    fit: Fit
    method: str
    reason: str
    status: Status
    num_steps: int


def by_either(task: Task) -> Found:
    """Descend, and solve the convex programme unless the descent's fit is proved.

    Parameters
    ----------
    task : Task

    Returns
    -------
    Found
        Of two fits the closer one.
    """
    fit = _descent_fit(task)
    why = "with noise the programme's solution is no single filter and signal"
    if task.bound == 0.0 or fit.status is Status.INTERRUPTED:
        found = _certified(task, fit, "it fits, and a dual vector proves it optimal")
        is_cut = fit.status is Status.INTERRUPTED
        if is_cut or found.certificate.relative_gap <= task.rtol:
            return found
        why = "no dual vector of least squares proved the descent's fit to be optimal"
    return _closer(task, fit, by_programme(task, why))


def by_descent(task: Task) -> Found:
    """Descend, fit, and certify the fit by the dual vector of least squares.

    Parameters
    ----------
    task : Task

    Returns
    -------
    Found
    """
    return _certified(task, _descent_fit(task), "asked for")


def by_programme(task: Task, why: str) -> Found:
    """Solve the convex programme, and fit from its leading singular pairs.

    Parameters
    ----------
    task : Task
    why : str
        Of the reason.

    Returns
    -------
    Found
    """
    result = minimise_nuclear_norm(
        task.program.problem,
        noise_bound=task.bound,
        rtol=task.rtol,
        max_steps=task.max_steps,
        observers=task.observers,
        on_phase=task.announce,
        generator=task.generator,
    )
    blocks = task.lifted.blocks(result.left, result.right)
    pairs = [truncate(*block, 1) for block in blocks]
    column = torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])
    fit = Fit(column=column, status=result.status, num_steps=0)
    method = f"nuclear norm by {result.method}"
    if task.refine and result.status not in (Status.INTERRUPTED, Status.NON_FINITE):
        fit = _least_squares(task, column)
        method += ", then least squares"
    return Found(
        left=result.left,
        right=result.right,
        dual=result.dual,
        certificate=result.certificate,
        fit=fit,
        method=method,
        reason=f"{why}; {result.reason}",
        status=result.status,
        num_steps=result.num_steps + fit.num_steps,
    )


def _descent_fit(task: Task) -> Fit:
    task.announce("regularised descent")
    problem = task.program.problem
    solution = iterate(
        problem,
        RegularisedDescent(rtol=_BASIN_RTOL, decrement_rtol=_BASIN_DECREMENT),
        incoherent_start(problem, generator=task.generator),
        max_steps=min(task.max_steps, _BASIN_STEPS),
        observers=task.observers,
    )
    column = solution.state.left, solution.state.right
    if solution.status in (Status.INTERRUPTED, Status.NON_FINITE):
        return Fit(column=column, status=solution.status, num_steps=solution.num_steps)
    fit = _least_squares(task, column)
    return replace(fit, num_steps=fit.num_steps + solution.num_steps)


def _least_squares(task: Task, column: Column) -> Fit:
    task.announce("least squares on one filter and one signal")
    solution = iterate(
        task.program.problem,
        ConjugateGradients(rtol=_FIT_RTOL, decrement_rtol=_FIT_DECREMENT),
        column,
        max_steps=min(task.max_steps, _FIT_STEPS),
        observers=task.observers,
    )
    return Fit(
        column=(solution.state.left, solution.state.right),
        status=solution.status,
        num_steps=solution.num_steps,
    )


def _certified(task: Task, fit: Fit, reason: str) -> Found:
    task.announce("dual vector of least squares")
    left, right = _into_ball(task, fit.column)
    dual = least_squares_dual(task.program.problem, left, right)
    return Found(
        left=left,
        right=right,
        dual=dual,
        certificate=_certificate(task, left, right, dual),
        fit=fit,
        method="regularised descent, then least squares",
        reason=reason,
        status=fit.status,
        num_steps=fit.num_steps,
    )


def _certificate(
    task: Task, left: Tensor, right: Tensor, dual: Tensor
) -> NuclearCertificate:
    return certify_nuclear(task.program, left, right, dual, generator=task.generator)


def _closer(task: Task, fit: Fit, convex: Found) -> Found:
    """Return the convex answer, with the descent's fit where that is better."""
    problem = task.program.problem
    found = replace(convex, num_steps=fit.num_steps + convex.num_steps)
    size = float(torch.linalg.vector_norm(problem.weights * problem.measurements))
    if task.misfit(fit.column) < task.misfit(convex.fit.column) - 1e-9 * size:
        found = replace(
            found,
            fit=fit,
            method=f"{convex.method}; filters and signals by regularised descent",
            reason=f"{convex.reason}; the descent's fit is closer",
        )
    return with_better_point(task, found)


def with_better_point(task: Task, found: Found) -> Found:
    """Certify the fit itself instead, where the convex solver's point is worse.

    Parameters
    ----------
    task : Task
    found : Found
        With the dual vector to keep.

    Returns
    -------
    Found
        The same if its gap has closed, or the fit's is no smaller.
    """
    if found.certificate.relative_gap <= task.rtol:
        return found
    left, right = _into_ball(task, found.fit.column)
    other = _certificate(task, left, right, found.dual)
    if not other.gap < found.certificate.gap:
        return found
    return replace(found, left=left, right=right, certificate=other)


def _into_ball(task: Task, column: Column) -> Column:
    """Return the factors of the smallest multiple of a fit within the noise bound."""
    problem, bound = task.program.problem, task.bound
    residual = task.program.residual(*column)
    image = residual + problem.weights * problem.measurements
    energy = float(inner(image, image))
    # ||t image - y||^2 = bound^2 has its smaller root at t = centre - width.
    centre = float(inner(image, problem.weights * problem.measurements)) / energy
    closest = (centre - 1.0) * image + residual
    rest = bound**2 - float(inner(closest, closest))
    multiple = centre - math.sqrt(max(rest, 0.0) / energy) if bound > 0.0 else 1.0
    root = math.sqrt(max(multiple, 0.0))
    blocks = task.lifted.blocks(*column)
    left = torch.block_diag(*(root * block[0] for block in blocks))
    right = torch.block_diag(*(root * block[1] for block in blocks))
    return left, right
