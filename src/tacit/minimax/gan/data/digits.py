r"""The handwritten digits that scikit-learn brings along."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

PERIOD = 5
"""Of every five images the last one is held out."""


def digits_pixels() -> tuple[Tensor, Tensor]:
    r"""Return all images of handwritten digits, and which digits they are.

    Values v in 0..16 become pixels :math:`\lfloor 255 v / 16 + 1/2 \rfloor`.

    Returns
    -------
    pixels : Tensor, shape (1797, 1, 8, 8)
        uint8; 0 is paper, 255 ink.
    labels : Tensor, shape (1797,)
        int64 in 0..9.

    References
    ----------
    Optical recognition of handwritten digits, UCI machine learning repository (Alpaydin
    and Kaynak, 1998): the test part, as in :func:`sklearn.datasets.load_digits`.

    Examples
    --------
    >>> from tacit.minimax.gan.data.digits import digits_pixels
    >>> pixels, labels = digits_pixels()
    >>> pixels.shape, labels[:3].tolist()
    (torch.Size([1797, 1, 8, 8]), [0, 1, 2])
    """
    values, labels = load_digits(return_X_y=True)
    whole = torch.from_numpy(values).to(torch.int64).reshape(-1, 1, 8, 8)
    pixels = (2 * 255 * whole + 16) // 32
    return pixels.to(torch.uint8), torch.from_numpy(labels).to(torch.int64)
