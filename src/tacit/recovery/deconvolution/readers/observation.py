r"""What was observed, whichever kind of file it came from."""

import math
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

Kind = Literal["arrays", "audio", "image"]

_DOUBTS = 1e-9  # probability with which rounding may exceed its bound


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    r"""Observed convolutions of one signal, one for each channel.

    Parameters
    ----------
    values : Tensor, shape (num_channels, *grid)
        Real or complex, in double precision. Audio is in units of full scale (1),
        pixels are in units of white (1).
    kind : {"arrays", "audio", "image"}
    step : float
        Distance of neighbouring numbers that the file can hold, in the same unit: what
        it holds was rounded to half of that; 0 if nothing was rounded.
    rate : int or None
        Samples a second.
    notes : tuple of str
        What a person should know about the reading.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.deconvolution.readers.observation import Observation
    >>> Observation(values=torch.zeros(2, 64, 64), kind="image").num_channels
    2
    """

    values: Tensor
    kind: Kind
    step: float = 0.0
    rate: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_channels(self) -> int:
        """Number of observations that share one signal."""
        return self.values.shape[0]

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of one channel."""
        return tuple(self.values.shape[1:])


def rounding_bound(step: float, count: int) -> float:
    r"""Return what the errors of rounding together are at most, in all likelihood.

    For m independent errors, each uniform on :math:`[-s/2, s/2]`, Hoeffding's
    inequality for their squares (of mean :math:`s^2 / 12`, at most :math:`s^2 / 4`)
    gives

    .. math:: \|e\|_2 \le s \Bigl( \frac{m}{12} + \frac14 \sqrt{\frac{m \ln(1 /
              \delta)}{2}} \Bigr)^{1/2}

    except with probability :math:`\delta = 10^{-9}`; and never more than
    :math:`s \sqrt m / 2`.

    Parameters
    ----------
    step : float
        s, in the unit of the values.
    count : int
        m.

    Returns
    -------
    float
        In the unit of the values; 0 if the step is 0.

    References
    ----------
    Hoeffding (1963), Theorem 2. That rounding errors are independent and uniform is a
    model; it fails for signals of few steps, as silence is.

    Examples
    --------
    >>> from tacit.recovery.deconvolution.readers.observation import rounding_bound
    >>> round(rounding_bound(1.0, 10_000), 2)
    30.23
    """
    spread = math.sqrt(count * math.log(1.0 / _DOUBTS) / 2.0) / 4.0
    return step * min(math.sqrt(count / 12.0 + spread), math.sqrt(count) / 2.0)
