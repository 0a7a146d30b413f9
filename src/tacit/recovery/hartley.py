r"""The unitary Hartley transform: the Fourier transform's real form.

.. math:: (H v)_k = N^{-1/2} \sum_{j=0}^{N-1} v_j \bigl(\cos \tfrac{2 \pi k j}{N} + \sin
          \tfrac{2 \pi k j}{N}\bigr)

It is symmetric and its own inverse.
"""

import torch
from torch import Tensor


def hartley(vectors: Tensor) -> Tensor:
    """Return the unitary Hartley transform along the last dimension.

    Parameters
    ----------
    vectors : Tensor, shape (..., size)
        Real.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.hartley import hartley
    >>> hartley(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
    [5.0, -2.0, -1.0, 0.0]
    """
    spectrum = torch.fft.rfft(vectors, norm="ortho")
    mirrored = spectrum[..., 1 : (vectors.shape[-1] + 1) // 2].flip(-1)
    return torch.cat(
        (spectrum.real - spectrum.imag, mirrored.real + mirrored.imag), dim=-1
    )


def hartley_at(vectors: Tensor, coefficients: Tensor) -> Tensor:
    """Return some coefficients of the unitary Hartley transform.

    Parameters
    ----------
    vectors : Tensor, shape (..., size)
        Real.
    coefficients : Tensor, shape (count,)
        int64, in 0..size-1.

    Returns
    -------
    Tensor, shape (..., count)

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.hartley import hartley_at
    >>> hartley_at(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([3, 0])).tolist()
    [0.0, 5.0]
    """
    # H_k = Re F_k - Im F_k, and F_{N-k} is the conjugate of F_k.
    spectrum = torch.fft.rfft(vectors, norm="ortho")
    mirrored = vectors.shape[-1] - coefficients
    is_upper = mirrored < coefficients
    picked = spectrum[..., torch.where(is_upper, mirrored, coefficients)]
    turned = torch.where(is_upper, -picked.imag, picked.imag)
    return picked.real - turned
