"""The convex programme's own filters and signal, without the fit that follows it."""

from dataclasses import replace

import torch

from tacit.recovery.deconvolution.coherence import coherences
from tacit.recovery.deconvolution.coordinates import in_orthonormal_coordinates
from tacit.recovery.deconvolution.result import DeconvolutionResult
from tacit.recovery.deconvolution.scale import multiplied, scale_factor
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.spectrum import truncate

_FIT = ", then least squares"


def convex_answer(
    problem: RecoveryProblem, result: DeconvolutionResult
) -> DeconvolutionResult:
    r"""Return the leading singular pair of the convex solution as the answer.

    Least squares fits what the subspaces lack of the truth, and can make a picture of
    chosen wavelets worse than the programme does, which keeps it small.

    Parameters
    ----------
    problem : RecoveryProblem
        Of one source.
    result : DeconvolutionResult

    Returns
    -------
    DeconvolutionResult
        With other filters, signals and misfit; the certificate is the same.
    """
    lifted = in_orthonormal_coordinates(problem)
    left, right = truncate(result.left, result.right, 1)
    source = lifted.source(0, left[:, 0], right[:, 0])
    factor = scale_factor(source.filters, source.signal, result.scale)
    observation = lifted.problem.linear_map.apply_factors(left, right)
    weights = problem.weights
    misfit, size = (
        float(torch.linalg.vector_norm(weights * vector))
        for vector in (observation - problem.measurements, problem.measurements)
    )
    filters = tuple(multiplied(kernel, factor) for kernel in source.filters)
    signal = multiplied(source.signal, 1.0 / factor)
    return replace(
        result,
        filters=filters,
        signals=(signal,),
        filter_coefficients=tuple(
            multiplied(part, factor) for part in source.filter_coefficients
        ),
        signal_coefficients=(multiplied(source.signal_coefficients, 1.0 / factor),),
        observation=observation,
        misfit=misfit,
        relative_misfit=misfit / size,
        coherence=coherences(problem.linear_map, filters, (signal,)),
        method=result.method.removesuffix(_FIT),
    )
