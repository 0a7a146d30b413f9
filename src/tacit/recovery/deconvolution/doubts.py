r"""What makes an answer of blind deconvolution doubtful, in plain words."""

import math

from tacit.recovery.deconvolution.coherence import Coherence
from tacit.recovery.deconvolution.problem import frequency_grid
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.problem import RecoveryProblem

# Random instances of one source are recovered from about this many measurements for
# each unknown (Ahmed, Recht and Romberg, 2014, figure 3).
_COMFORTABLE = 2.0
_CONCENTRATED = 0.9
_LEAST_ENERGY = 0.9


def count_doubts(
    problem: RecoveryProblem, maps: tuple[ConvolutionMap, ...]
) -> tuple[str, ...]:
    """Say whether there are enough measurements for the unknowns.

    Parameters
    ----------
    problem : RecoveryProblem
    maps : tuple of ConvolutionMap
        One for each source.

    Returns
    -------
    tuple of str
        Empty if there are.
    """
    unknowns = sum(sum(part.in_shape) - 1 for part in maps)
    number = int(problem.weights.sum())
    if number < unknowns:
        return (
            f"{number} measurements are fewer than the {unknowns} unknowns: many "
            "filters and signals explain them equally well; use smaller subspaces",
        )
    if number < _COMFORTABLE * unknowns:
        return (
            f"{number} measurements are only {number / unknowns:.1f} times the "
            f"{unknowns} unknowns: even random instances fail below about "
            f"{_COMFORTABLE:g} times; use smaller subspaces",
        )
    return ()


def coherence_doubts(
    maps: tuple[ConvolutionMap, ...], coherence: tuple[Coherence, ...]
) -> tuple[str, ...]:
    """Say which filters sit on so few frequencies that the theory promises nothing.

    Parameters
    ----------
    maps : tuple of ConvolutionMap
        One for each source.
    coherence : tuple of Coherence
        One for each filter.

    Returns
    -------
    tuple of str
        Empty if none does.
    """
    found: list[str] = []
    place = 0
    for part in maps:
        length = math.prod(frequency_grid(part))
        for subspace in part.filters:
            which = f"filter {place}" if len(coherence) > 1 else "the filter"
            own = coherence[place]
            place += 1
            share = own.filter_max * subspace.dimension / length
            if share > _CONCENTRATED:
                found.append(
                    f"the subspace of {which} can hold a single frequency "
                    f"(mu_max^2 K / L = {share:.2f}, 1 is the worst): filter and "
                    "signal may be confused; use shorter filters"
                )
            spread = (own.filter_flatness or 0.0) * part.signal.dimension / length
            if spread > 1.0:
                found.append(
                    f"{which} has much of its energy on few frequencies (mu_h^2 N / L "
                    f"= {spread:.1f}, below 1 is good): what the signal has at the "
                    "others is hardly seen; use a smaller signal subspace"
                )
    return tuple(found)


def answer_doubts(
    *, energy: float, misfit: float, noise_bound: float, size: float
) -> tuple[str, ...]:
    """Say whether filters and signals are all of the convex programme's solution.

    Parameters
    ----------
    energy : float
        Part of its squared singular values that they hold.
    misfit : float
        How far their convolutions are from the observation.
    noise_bound : float
        How far they may be.
    size : float
        Of the observation.

    Returns
    -------
    tuple of str
        Empty if they are.
    """
    found: list[str] = []
    allowed = 1.5 * noise_bound + 1e-6 * size
    if energy < _LEAST_ENERGY and misfit <= allowed:
        found.append(
            "filters and signals explain the observation, but the convex programme "
            f"prefers a matrix of which they are {energy:.0%}: it does not confirm them"
        )
    elif energy < _LEAST_ENERGY:
        found.append(
            "the convex programme's solution is not one filter and one signal: the "
            f"leading pair holds {energy:.0%} of its energy; the noise is too strong, "
            "the measurements are too few, or the subspaces do not hold the truth"
        )
    if misfit > allowed:
        found.append(
            f"filters and signals leave {misfit / size:.1%} of the observation "
            f"unexplained, more than the noise bound ({noise_bound / size:.1%}); the "
            "subspaces do not hold the truth, or noise_bound is too small"
        )
    return tuple(found)
