r"""What theory says of the paper's game from its sizes alone, before any draw.

Everything ``derived`` has its proof in a docstring here, in ``dynamics`` or in
``docs/descent_ascent.md``; ``dynamics.forecast`` looks at one start. What is only
``recalled`` decides nothing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import bdtr, bdtrc
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.minimax.descent_ascent import AlternatingGDA
from tacit.minimax.dynamics.kernel_law import kernel_law
from tacit.minimax.dynamics.steps import best_steps
from tacit.minimax.published import published_width
from tacit.prediction import Prediction

_PAGE = "docs/descent_ascent.md"
_SLACK = 1e-13  # relative, for rounding of a binomial sum


def existence_probability(num_features: int, width: int) -> float:
    r"""Return the probability that a Gaussian game has a saddle of value zero.

    .. math:: P[\mathrm{Bin}(k, \tfrac12) \ge m]

    The generator's means fill the cone of the columns of V. The target b is outside
    exactly if the k columns and -b lie in one half space, of probability
    :math:`2^{-k} \sum_{i < m} \binom{k}{i}` for symmetric independent vectors in
    general position (Wendel 1962).

    Parameters
    ----------
    num_features : int
        m, at least 1.
    width : int
        k, at least 0.

    Returns
    -------
    float
        1/2 at k = 2 m - 1.

    Raises
    ------
    ShapeError
        If a size is out of range.

    References
    ----------
    Wendel (1962), "A problem in geometric probability"; its use here is ours.

    Examples
    --------
    >>> import tacit
    >>> tacit.existence_probability(1, 2)  # not both columns on the wrong side
    0.75
    """
    return float(existence_curve(num_features, [width])[0])


def existence_curve(num_features: int, widths: Sequence[int] | Tensor) -> Tensor:
    """Return ``existence_probability`` for many widths at once.

    Parameters
    ----------
    num_features : int
        m, at least 1.
    widths : sequence of int or Tensor of shape (count,)
        Each at least 0.

    Returns
    -------
    Tensor, shape (count,)
        Float64.

    Raises
    ------
    ShapeError
        If a size is out of range.

    Examples
    --------
    >>> from tacit.minimax.predict import existence_curve
    >>> existence_curve(2, [1, 3, 4]).tolist()
    [0.0, 0.5, 0.6875]
    """
    many = torch.as_tensor(widths).cpu().numpy().astype(np.int64)
    if num_features < 1 or (many.size and int(many.min()) < 0):
        raise ShapeError(
            "num_features must be at least 1 and widths at least 0; got "
            f"{num_features} and {many.tolist()}"
        )
    enough = np.maximum(many, num_features)
    tail = bdtrc(float(num_features - 1), enough, 0.5)
    return torch.from_numpy(np.where(many < num_features, 0.0, tail))


def width_for_existence(num_features: int, probability: float) -> int:
    r"""Return the smallest width at which a saddle exists with a given probability.

    Parameters
    ----------
    num_features : int
        m, at least 1.
    probability : float
        In (0, 1).

    Returns
    -------
    int
        The smallest k with :math:`P[\mathrm{Bin}(k, \frac12) \ge m]` at least
        ``probability``.

    Raises
    ------
    ShapeError
        If ``num_features`` is below 1.
    InputError
        If ``probability`` is out of range.

    Examples
    --------
    >>> import tacit
    >>> tacit.width_for_existence(20, 0.5), tacit.width_for_existence(20, 0.99)
    (39, 57)
    """
    if not 0.0 < probability < 1.0:
        raise InputError(f"probability must be in (0, 1); got {probability}")
    if num_features < 1:
        raise ShapeError(f"num_features must be at least 1; got {num_features}")

    def is_enough(width: int) -> bool:
        # The side that is small has all digits; 1/2 is met exactly at k = 2 m - 1.
        if probability <= 0.5:
            return bool(
                bdtrc(float(num_features - 1), width, 0.5) >= probability * (1 - _SLACK)
            )
        missing = bdtr(float(num_features - 1), width, 0.5)
        return bool(missing <= (1.0 - probability) * (1 + _SLACK))

    low, high = num_features - 1, num_features
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def predict_game(
    *,
    width: int,
    num_features: int,
    latent_dim: int,
    num_latents: int,
    output_scale: float | None = None,
    latent_scale: float = 1.0,
) -> tuple[Prediction, ...]:
    r"""Return what is known of the paper's game from its sizes, before any draw.

    Parameters
    ----------
    width, num_features, latent_dim, num_latents : int
        k, m, d and n, at least 1.
    output_scale : float or None
        :math:`\sigma_v`; ``width ** -0.5`` by default.
    latent_scale : float
        :math:`\sigma_z`.

    Returns
    -------
    tuple of Prediction
        Probability that a saddle of value zero exists; width at which it is 99 %; mean
        eigenvalue of :math:`J J^T` at the start and its deviation between games;
        typical condition number; best steps of the alternating method and their rate,
        for that spectrum; the published width.

    Raises
    ------
    ShapeError
        If a size is below 1.
    InputError
        If a scale is not positive and finite.

    Examples
    --------
    >>> import tacit
    >>> for p in tacit.predict_game(width=400, num_features=20, latent_dim=10,
    ...         num_latents=50)[:2]:
    ...     print(f"{p.name}: {p.value:.4g}")
    probability that a saddle of value zero exists: 1
    width at which it exists with probability 0.99: 57
    """
    law = kernel_law(
        width=width,
        num_features=num_features,
        latent_dim=latent_dim,
        num_latents=num_latents,
        output_scale=output_scale,
        latent_scale=latent_scale,
    )
    chance = existence_probability(num_features, width)
    found = [
        _derived("probability that a saddle of value zero exists", chance, _PAGE),
        _derived(
            "width at which it exists with probability 0.99",
            width_for_existence(num_features, 0.99),
            _PAGE,
        ),
        _derived("mean eigenvalue of J J^T", law.mean, "kernel_law"),
        _derived(
            "relative deviation of that scale between draws of the latents",
            law.game_deviation,
            "kernel_law",
        ),
    ]
    if law.smallest > 0.0:
        extremes = torch.tensor([law.largest, law.smallest], dtype=torch.float64)
        best = best_steps(AlternatingGDA(min_step=1.0, max_step=1.0), extremes.sqrt())
        note = "typical spectrum at the start; a few per cent from k = 4 m on"
        found += [
            _derived(name, value, "kernel_law and best_steps", note)
            for name, value in (
                ("condition number of J J^T", law.largest / law.smallest),
                ("best generator step, alternating", best.min_step),
                ("best discriminator step, alternating", best.max_step),
                ("rate with these steps", best.rate),
            )
        ]
    return (*found, published_width(num_features, latent_dim))


def _derived(name: str, value: float, source: str, note: str = "") -> Prediction:
    return Prediction(
        name=name, value=float(value), certainty="derived", source=source, note=note
    )
