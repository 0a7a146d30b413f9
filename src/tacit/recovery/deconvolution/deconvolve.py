r"""Which filter and which signal were convolved? The front door of deconvolution."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.iterate import Observer
from tacit.recovery.deconvolution.coherence import coherences
from tacit.recovery.deconvolution.coordinates import (
    Source,
    in_orthonormal_coordinates,
)
from tacit.recovery.deconvolution.doubts import (
    answer_doubts,
    coherence_doubts,
    count_doubts,
)
from tacit.recovery.deconvolution.result import DeconvolutionResult
from tacit.recovery.deconvolution.routes import (
    Found,
    Task,
    by_descent,
    by_either,
    by_programme,
)
from tacit.recovery.deconvolution.scale import Scale, multiplied, scale_factor
from tacit.recovery.nuclear.minimise import noise_bound_of
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.spectrum import factor_spectrum

Method = Literal["convex", "descent"]
Announce = Callable[[str], None]


def _ignore(_phase: str) -> None:
    """Say nothing."""


def deconvolve(
    problem: RecoveryProblem,
    *,
    noise_bound: float | None = None,
    method: Method | None = None,
    refine: bool = True,
    scale: Scale = "unit",
    rtol: float = 1e-6,
    max_steps: int = 5000,
    observers: Sequence[Observer] = (),
    on_phase: Announce | None = None,
    generator: torch.Generator,
) -> DeconvolutionResult:
    r"""Find filters and signals from their convolution, and how sure that is.

    .. math:: \min_Z \|Z\|_* \quad \text{subject to} \quad
              \|w \circ (\mathcal{A}(Z) - y)\|_2 \le \tau

    in orthonormal coordinates of all subspaces, where :math:`\|h x^T\|_* = \|B h\|
    \|C x\|` whatever basis was given. Its solution has rank one only without noise: the
    answer is the least-squares fit of one filter and one signal,
    :math:`\min_{h, x} \|w \circ (\mathcal{A}(h x^T) - y)\|`, that starts from its
    leading singular pair (of every source's block), and the certificate is about the
    convex programme.

    Parameters
    ----------
    problem : RecoveryProblem
        From :func:`~tacit.recovery.deconvolution.problem.convolution_problem` or
        :func:`~tacit.recovery.deconvolution.problem.demixing_problem`, in double
        precision.
    noise_bound : float or None
        :math:`\tau`, in the unit of y; None takes it from the problem's ``noise_level``
        (:func:`~tacit.recovery.nuclear.minimise.noise_bound_of`, three standard
        deviations above the mean), or 0 if that is not known.
    method : {"convex", "descent"} or None
        ``convex``: the programme by
        :func:`~tacit.recovery.nuclear.minimise.minimise_nuclear_norm`. ``descent``:
        :class:`~tacit.recovery.deconvolution.regularised.RegularisedDescent` until it
        is in the basin of attraction (a relative misfit of 1e-3, or 300 steps), then
        the least-squares fit; certified against the same programme, by the dual vector
        of least squares. None takes the descent, is content if the certificate closes,
        and else solves the convex programme too; of two fits the closer one is taken.
    refine : bool
        Whether the answer is the least-squares fit. Otherwise it is the leading
        singular pair of the programme's solution, and ``method`` must not be
        ``descent``: better where the subspaces lack some of the truth, which a fit
        would follow.
    scale : {"unit", "sum", "balanced"}
        Which of all pairs (a h, x / a) to return; see
        :func:`~tacit.recovery.deconvolution.scale.scale_factor`.
    rtol : float
        Relative duality gap to reach.
    max_steps : int
        Of the method.
    observers : sequence of callables
        Called as ``observer(step, state)`` after every step.
    on_phase : callable or None
        Called with a few words whenever something new begins.
    generator : torch.Generator
        Of random starts.

    Returns
    -------
    DeconvolutionResult

    Raises
    ------
    InputError
        If an argument is out of range, the problem is not a deconvolution, or the noise
        bound is so large that no signal at all explains the observation.
    ShapeError
        If the problem is a batch.

    Notes
    -----
    With Gaussian noise the least-squares fit has about 0.6 times the error of the
    leading pair, which the programme shrinks. Where the subspaces are not random, as
    with wavelets of a photograph, the programme often prefers a matrix of higher rank
    and smaller norm to the truth even without noise, and the fit from the descent finds
    the truth: the bracket then stays open, which is no fault of the solver.

    References
    ----------
    Ahmed, Recht and Romberg (2014), Blind deconvolution using convex programming; Li,
    Ling, Strohmer and Wei (2019) for the descent.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.deconvolution.deconvolve import deconvolve
    >>> from tacit.recovery.deconvolution.planted import planted_deconvolution
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_deconvolution(6, 8, 80, generator=generator)
    >>> result = deconvolve(problem, generator=generator)
    >>> result.rank, result.relative_misfit < 1e-6, result.warnings
    (1, True, ())
    """
    began = time.perf_counter()
    _require(problem, method, scale, refine=refine)
    lifted = in_orthonormal_coordinates(problem)
    bound = noise_bound_of(problem) if noise_bound is None else noise_bound
    task = Task(
        program=NuclearProgram(problem=lifted.problem, noise_bound=bound),
        lifted=lifted,
        refine=refine,
        rtol=rtol,
        max_steps=max_steps,
        observers=tuple(observers),
        announce=on_phase if on_phase is not None else _ignore,
        generator=generator,
    )
    _require_signal(task.program)
    if method == "convex" or not refine:
        found = by_programme(task, "asked for")
    else:
        found = by_descent(task) if method == "descent" else by_either(task)
    return _result(task, found, scale, began)


def _result(
    task: Task, found: Found, scale: Scale, began: float
) -> DeconvolutionResult:
    problem, lifted = task.program.problem, task.lifted
    sources = [
        _scaled(lifted.source(place, left[:, 0], right[:, 0]), scale)
        for place, (left, right) in enumerate(lifted.blocks(*found.fit.column))
    ]
    filters = tuple(kernel for source in sources for kernel in source.filters)
    signals = tuple(source.signal for source in sources)
    coherence = coherences(problem.linear_map, filters, signals)
    blocks = lifted.blocks(found.left, found.right)
    spectra = tuple(factor_spectrum(*block) for block in blocks)
    energy = _energy(spectra)
    observation = problem.linear_map.apply_factors(*found.fit.column)
    size = _length(problem.weights * problem.measurements)
    misfit = _length(problem.weights * (observation - problem.measurements))
    return DeconvolutionResult(
        filters=filters,
        signals=signals,
        filter_coefficients=tuple(c for s in sources for c in s.filter_coefficients),
        signal_coefficients=tuple(source.signal_coefficients for source in sources),
        scale=scale,
        observation=observation,
        misfit=misfit,
        relative_misfit=misfit / size,
        program=task.program,
        left=found.left,
        right=found.right,
        certificate=found.certificate,
        spectra=spectra,
        energy=energy,
        coherence=coherence,
        method=found.method,
        reason=found.reason,
        status=found.status,
        warnings=(
            *count_doubts(problem, lifted.maps),
            *answer_doubts(
                energy=energy, misfit=misfit, noise_bound=task.bound, size=size
            ),
            *coherence_doubts(lifted.maps, coherence),
        ),
        num_steps=found.num_steps,
        seconds=time.perf_counter() - began,
    )


def _scaled(source: Source, scale: Scale) -> Source:
    factor = scale_factor(source.filters, source.signal, scale)

    def up(tensor: Tensor) -> Tensor:
        return multiplied(tensor, factor)

    def down(tensor: Tensor) -> Tensor:
        return multiplied(tensor, 1.0 / factor)

    return Source(
        filters=tuple(map(up, source.filters)),
        filter_coefficients=tuple(map(up, source.filter_coefficients)),
        signal=down(source.signal),
        signal_coefficients=down(source.signal_coefficients),
    )


def _energy(spectra: tuple[Tensor, ...]) -> float:
    """Return the part of the squares that the leading values of all sources hold."""
    total = sum(float(values.square().sum()) for values in spectra)
    leading = sum(float(values[0]) ** 2 for values in spectra)
    return leading / total if total > 0.0 else 1.0


def _length(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))


def _require(
    problem: RecoveryProblem, method: str | None, scale: str, *, refine: bool
) -> None:
    if problem.measurements.dim() != 1:
        raise ShapeError(
            "deconvolve takes one problem; got a batch of measurements of shape "
            f"{tuple(problem.measurements.shape)}; call it for each of them"
        )
    if method is not None and method not in get_args(Method):
        raise InputError(
            f"method must be one of {', '.join(get_args(Method))}, or None; got "
            f"{method!r}"
        )
    if method == "descent" and not refine:
        raise InputError(
            "refine must be true for the method 'descent', which fits by itself; got "
            "false; use the method 'convex'"
        )
    if scale not in get_args(Scale):
        raise InputError(
            f"scale must be one of {', '.join(get_args(Scale))}; got {scale!r}"
        )


def _require_signal(program: NuclearProgram) -> None:
    """Refuse an observation that no signal at all explains well enough."""
    problem, bound = program.problem, program.noise_bound or 0.0
    size = _length(problem.weights * problem.measurements)
    if size == 0.0:
        raise InputError("the observation is zero: no filter and signal can be told")
    if size <= bound:
        raise InputError(
            f"noise_bound must be below the size of the observation, {size:.3e}, or "
            f"the answer is zero; got {bound:.3e}; lower it"
        )
