r"""What theory says beforehand about descent from a small random start.

Statements that are ``derived`` here have their derivation in ``docs/exponent_law.md``:
they are laws for small init scales, not bounds. What the literature states is in
``published``.
"""

import math
from collections.abc import Sequence

import torch

from tacit.errors import InputError
from tacit.prediction import Prediction
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.stages import Stage, observed_stages

_LAW = "docs/exponent_law.md"


def effective_ratio(stages: Sequence[Stage], *, step_size: float) -> Prediction:
    r"""Return :math:`\rho`, the noise's growth relative to the signal's.

    With :math:`g(\lambda) = \ln(1 + \mu \lambda)`, :math:`\lambda_{j,i}` the i-th rate
    of stage j and :math:`\beta_j` its edge, stage j lasts :math:`\tau_j` steps per unit
    of :math:`\ln(1/\alpha)`, and noise grows by :math:`\alpha^{-\rho}` in all:

    .. math::
        \sum_{i \le j} \tau_i\, g(\lambda_{i, j - i + 1}) = 1, \qquad
        \rho = \sum_j \tau_j\, g(\beta_j)

    One stage, or equal signal values: :math:`\rho = g(\lambda_{r+1}) / g(\lambda_r)`,
    which is :math:`\lambda_{r+1} / \lambda_r` for small steps.

    Parameters
    ----------
    stages : sequence of Stage
    step_size : float
        :math:`\mu`; 0 for the limit of small steps.

    Returns
    -------
    Prediction
        Not negative; 1 or more: noise arrives with the signal, and no init scale gives
        recovery.

    Raises
    ------
    InputError
        If there are no stages, a rate is not positive, or the step is negative.

    Examples
    --------
    >>> from tacit.recovery.predict import effective_ratio
    >>> from tacit.recovery.stages import Stage
    >>> stage = Stage(rates=(1.0,), edge=0.4, sizes=(1.0,))
    >>> effective_ratio([stage], step_size=0.0).value
    0.4
    """
    times = _stage_times(stages, step_size, [1.0] * len(_required(stages)[0].rates))
    value = sum(
        time * _growth(stage.edge, step_size)
        for time, stage in zip(times, stages, strict=True)
    )
    return Prediction(
        name="growth of noise relative to signal, rho",
        value=value,
        certainty="derived",
        source=_LAW,
        note="directions are learned one after the other, largest first",
    )


def plateau_exponent(
    stages: Sequence[Stage], *, step_size: float, init_scale: float | None = None
) -> Prediction:
    r"""Return the power of the init scale in the error at the plateau.

    .. math::
        \|\hat X - X\|_F \sim \alpha^{2 (1 - \rho)}, \qquad
        \frac{d \ln \|\hat X - X\|_F}{d \ln \alpha} \approx
        2 (1 - \rho) + \frac{3}{4 \ln(1/\alpha)}

    The first holds for :math:`\alpha \to 0`, the second at a given scale: of a bulk
    whose density vanishes like a square root at its edge, the fastest directions are
    few. That correction is of one stage; with several it is larger.

    Parameters
    ----------
    stages : sequence of Stage
    step_size : float
        :math:`\mu`; 0 for the limit of small steps.
    init_scale : float or None
        :math:`\alpha` over the square root of the smallest signal size, in (0, 1);
        None for the limit.

    Returns
    -------
    Prediction
        Negative or zero: no recovery.

    Raises
    ------
    InputError
        As :func:`effective_ratio`, or if the scale is out of range.

    Notes
    -----
    For factors with more columns than the rank; with exactly as many there is no
    plateau. See ``docs/exponent_law.md`` for where the law ends: scales so large that
    :math:`\alpha^{2(1-\rho)}` is of order one, runs stopped before the plateau, and
    the slow decay after it.

    Examples
    --------
    >>> from tacit.recovery.predict import plateau_exponent
    >>> from tacit.recovery.stages import expected_stages
    >>> stages = expected_stages((200, 200), 10_000, [1.0] * 5, is_symmetric=True)
    >>> round(plateau_exponent(stages, step_size=0.25).value, 2)
    1.09
    >>> round(plateau_exponent(stages, step_size=0.25, init_scale=1e-3).value, 2)
    1.2
    """
    value = 2.0 * (1.0 - effective_ratio(stages, step_size=step_size).value)
    name, note = "power of the init scale in the plateau error", "as it tends to zero"
    if init_scale is not None:
        if not 0.0 < init_scale < 1.0:
            raise InputError(f"init_scale must be in (0, 1); got {init_scale}")
        value += 0.75 / math.log(1.0 / init_scale)
        name, note = f"{name}, locally", f"around the scale {init_scale:g}"
    return Prediction(
        name=name, value=value, certainty="derived", source=_LAW, note=note
    )


def steps_per_decade(stages: Sequence[Stage], *, step_size: float) -> Prediction:
    r"""Return by how many steps a tenth of the init scale delays the last direction.

    :math:`\ln 10 \sum_j \tau_j` with the :math:`\tau_j` of :func:`effective_ratio`; one
    stage: :math:`\ln 10 / \ln(1 + \mu \lambda_r)`.

    Raises
    ------
    InputError
        As :func:`effective_ratio`, or if the step is zero.

    Examples
    --------
    >>> from tacit.recovery.predict import steps_per_decade
    >>> from tacit.recovery.stages import Stage
    >>> stage = Stage(rates=(1.0,), edge=0.4, sizes=(1.0,))
    >>> round(steps_per_decade([stage], step_size=0.25).value, 1)
    10.3
    """
    _require_step(step_size)
    times = _stage_times(stages, step_size, [1.0] * len(_required(stages)[0].rates))
    return Prediction(
        name="steps per decade of the init scale",
        value=math.log(10.0) * sum(times),
        certainty="derived",
        source=_LAW,
    )


def steps_until_grown(
    stages: Sequence[Stage], *, step_size: float, start_size: float
) -> Prediction:
    r"""Return the steps until the last direction has half of its final size in X.

    A direction grows like :math:`a (1 + \mu \lambda)^t`, and where that would reach
    :math:`\sqrt{\theta}`, a logistic curve has reached :math:`\theta / 2`. Earlier
    directions count as learned from there on.

    Parameters
    ----------
    stages : sequence of Stage
    step_size : float
        :math:`\mu > 0`.
    start_size : float
        a: typical length of a row of :math:`V_X^H U_0`. ``small_start`` gives
        :math:`\alpha` in symmetric problems, and :math:`\alpha \sqrt{k / 2}` in
        rectangular ones.

    Raises
    ------
    InputError
        As :func:`effective_ratio`, or if step or start size are not positive.

    Examples
    --------
    >>> from tacit.recovery.predict import steps_until_grown
    >>> from tacit.recovery.stages import Stage
    >>> stage = Stage(rates=(1.0,), edge=0.4, sizes=(1.0,))
    >>> round(steps_until_grown([stage], step_size=0.25, start_size=1e-4).value, 1)
    41.3
    """
    _require_step(step_size)
    if not 0.0 < start_size < math.inf:
        raise InputError(f"start_size must be positive; got {start_size}")
    levels = [
        math.log(math.sqrt(size) / start_size) for size in _required(stages)[0].sizes
    ]
    return Prediction(
        name="steps until the last direction has half of its size",
        value=sum(_stage_times(stages, step_size, levels)),
        certainty="derived",
        source=_LAW,
        note="typical draw of the start; the logarithm of its size varies by order one",
    )


def imbalance_scale(spectral_norm: float, *, step_size: float) -> Prediction:
    r"""Return the imbalance that finite steps can leave, in order of magnitude.

    One step changes :math:`D = L^H L - R^H R` by exactly

    .. math:: \mu^2 (R^H G^H G R - L^H G G^H L), \quad
        G = \mathcal{A}^*(w \circ r),

    as the terms of first order cancel. Along a singular pair of G the bracket is zero
    for balanced factors; its two parts summed over the growth of a direction of size
    :math:`\sigma` (:math:`\|G\| = \sigma - u^2`, :math:`\dot u = \mu u (\sigma -
    u^2)`) are :math:`\mu \int_0^{\sqrt\sigma} (\sigma - u^2) u \, du = \mu \sigma^2 /
    4` each. The value returned is that: linear in the step whatever the init scale.

    Parameters
    ----------
    spectral_norm : float
        :math:`\sigma` of the largest direction.
    step_size : float
        :math:`\mu`.

    Raises
    ------
    InputError
        If an argument is not positive.

    Notes
    -----
    The two parts cancel but for the angle between the singular vectors of G early and
    late, so measured floors lie well below (in small runs by a factor of 10 to 100).
    The start adds its own, :math:`O(\alpha^2)`.

    Examples
    --------
    >>> from tacit.recovery.predict import imbalance_scale
    >>> imbalance_scale(1.0, step_size=0.25).value
    0.0625
    """
    _require_step(step_size)
    if not 0.0 < spectral_norm < math.inf:
        raise InputError(f"spectral_norm must be positive; got {spectral_norm}")
    return Prediction(
        name="order of the imbalance that the step size leaves",
        value=step_size * spectral_norm * spectral_norm / 4.0,
        certainty="derived",
        source="docstring of imbalance_scale",
        note="a scale, not a bound; linear in the step",
    )


def predict(
    problem: RecoveryProblem,
    rank: int | None = None,
    *,
    search_rank: int,
    init_scale: float,
    step_size: float,
    generator: torch.Generator,
) -> tuple[Prediction, ...]:
    r"""Return what can be said of a run from the data alone.

    Parameters
    ----------
    problem : RecoveryProblem
        Its truth, if planted, is not looked at.
    rank : int or None
        None reads it from the spectral gap of the back-projection.
    search_rank, init_scale, step_size : int, float, float
        Of a run from ``small_start`` by plain descent.
    generator : torch.Generator
        Of the iterative eigensolver.

    Returns
    -------
    tuple of Prediction
        :func:`effective_ratio`, :func:`plateau_exponent` in the limit and at the init
        scale, :func:`steps_per_decade`, :func:`steps_until_grown`, and in rectangular
        problems :func:`imbalance_scale`.

    Raises
    ------
    InputError
        If the rank cannot be read, or an argument is out of range.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.predict import predict
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((30, 30), 1, oversampling=6.0,
    ...     is_symmetric=True, generator=generator)
    >>> forecast = predict(problem, search_rank=30, init_scale=1e-3, step_size=0.25,
    ...     generator=generator)
    >>> [prediction.certainty for prediction in forecast]
    ['derived', 'derived', 'derived', 'derived', 'derived']
    """
    if search_rank < 1:
        raise InputError(f"search_rank must be at least 1; got {search_rank}")
    stages = observed_stages(problem, rank, generator=generator)
    entry = 1.0 if problem.is_symmetric else math.sqrt(search_rank / 2.0)
    start_size = entry * init_scale
    relative = start_size / math.sqrt(stages[0].sizes[-1])
    predictions = [
        effective_ratio(stages, step_size=step_size),
        plateau_exponent(stages, step_size=step_size),
        plateau_exponent(stages, step_size=step_size, init_scale=relative),
        steps_per_decade(stages, step_size=step_size),
        steps_until_grown(stages, step_size=step_size, start_size=start_size),
    ]
    if not problem.is_symmetric:
        predictions.append(imbalance_scale(stages[0].sizes[0], step_size=step_size))
    return tuple(predictions)


def _required(stages: Sequence[Stage]) -> Sequence[Stage]:
    if not stages or any(
        len(stage.rates) != len(stages) - j for j, stage in enumerate(stages)
    ):
        raise InputError(
            "stages must have one rate less each, down to one; take them from "
            "observed_stages, planted_stages or expected_stages"
        )
    if min(rate for stage in stages for rate in stage.rates) <= 0.0:
        raise InputError(
            "signal rates must be positive; a direction that does not grow is not "
            "learned; pass a smaller rank"
        )
    return stages


def _require_step(step_size: float) -> None:
    if not 0.0 < step_size < math.inf:
        raise InputError(f"step_size must be positive; got {step_size}")


def _growth(value: float, step_size: float) -> float:
    """Return the logarithmic growth per step, or its limit per unit of the step."""
    return math.log1p(step_size * value) if step_size else value


def _stage_times(
    stages: Sequence[Stage], step_size: float, levels: Sequence[float]
) -> list[float]:
    """Return how long each stage lasts until its first direction has grown.

    ``levels`` are the logarithms by which the directions have to grow.
    """
    if not 0.0 <= step_size < math.inf:
        raise InputError(f"step_size must not be negative; got {step_size}")
    missing = list(levels)
    times: list[float] = []
    for stage in _required(stages):
        rates = [_growth(rate, step_size) for rate in stage.rates]
        time = max(missing[0], 0.0) / rates[0]
        times.append(time)
        missing = [
            level - time * rate for level, rate in zip(missing, rates, strict=True)
        ][1:]
    return times
