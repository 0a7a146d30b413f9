r"""What the literature states about overparameterised games, with its certainty.

Nothing here decides anything: constants are not known to us, and what is ``recalled``
was not read in the source itself. ``predict`` has what can be computed.
"""

import math

from tacit.errors import ShapeError
from tacit.prediction import Prediction

PAPER = (
    "Balaji, Sajedi, Kalibhat, Ding, Stoeger, Soltanolkotabi and Feizi (2021), "
    "arXiv:2104.05605"
)


def published_width(num_features: int, latent_dim: int) -> Prediction:
    r"""Return the paper's width up to a constant, :math:`m d^4 \ln^3 d`.

    Parameters
    ----------
    num_features : int
        m, the dimension of the data.
    latent_dim : int
        d.

    Returns
    -------
    Prediction
        ``recalled``. An order of growth, not a number of neurons.

    Raises
    ------
    ShapeError
        If a size is below 1.

    References
    ----------
    Balaji et al. (2021), paper 5, Theorem 2.1 as recalled: with probability close to 1
    a residual falls like :math:`(1 - c \bar\eta)^t` once :math:`k \ge C\, m d^4
    \log^3 d`. The number of latents does not enter.

    Examples
    --------
    >>> from tacit.minimax.published import published_width
    >>> stated = published_width(20, 10)
    >>> stated.certainty, 2e6 < stated.value < 3e6
    ('recalled', True)
    """
    if min(num_features, latent_dim) < 1:
        raise ShapeError(
            "num_features and latent_dim must be at least 1; got "
            f"{num_features} and {latent_dim}"
        )
    return Prediction(
        name="published width, over an unknown constant",
        value=num_features * latent_dim**4 * math.log(latent_dim) ** 3,
        certainty="recalled",
        source=f"{PAPER}, Theorem 2.1",
        note=(
            "sufficient, for Gaussian weights and simultaneous steps of equal size; "
            "runs converge from about 3 m neurons on"
        ),
    )
