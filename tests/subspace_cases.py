"""Small subspaces of every kind, real and complex, in one and two dimensions.

``SUBSPACES`` maps a name to a builder that takes a generator; a test in
``recovery/subspaces/test_subspace.py`` holds that every final subspace occurs.
"""

from collections.abc import Callable

import torch
from scipy import sparse

from tacit.recovery.subspaces.fourier import FourierSubspace, lowest_modes
from tacit.recovery.subspaces.matrix import (
    MatrixSubspace,
    gaussian_subspace,
    orthonormalised,
)
from tacit.recovery.subspaces.scrambled import scrambled_subspace
from tacit.recovery.subspaces.subspace import AbstractSubspace
from tacit.recovery.subspaces.support import SupportSubspace, centred_support
from tacit.recovery.subspaces.wavelet import wavelet_subspace

SubspaceBuilder = Callable[[torch.Generator], AbstractSubspace]
COMPLEX = torch.complex128


def some_places(generator: torch.Generator, size: int, count: int) -> torch.Tensor:
    """Different places, in no order."""
    return torch.randperm(size, generator=generator)[:count]


def _sparse(dtype: torch.dtype) -> SubspaceBuilder:
    def build(generator: torch.Generator) -> AbstractSubspace:
        double = torch.complex128 if dtype.is_complex else torch.float64
        matrix = torch.randn(6, 4, generator=generator, dtype=double)
        dropped = torch.rand(6, 4, generator=generator) < 0.6
        matrix[dropped.fill_diagonal_(fill_value=False)] = 0.0  # of full rank so
        return MatrixSubspace(
            matrix=sparse.coo_array(matrix.to(dtype).numpy()), shape=(2, 3)
        )

    return build


def _fourier(shape: tuple[int, ...], count: int, dtype: torch.dtype) -> SubspaceBuilder:
    def build(generator: torch.Generator) -> AbstractSubspace:
        size = 1
        for length in shape:
            size *= length
        modes = some_places(generator, size, count)
        return FourierSubspace(modes=modes, shape=shape, dtype=dtype)

    return build


SUBSPACES: dict[str, SubspaceBuilder] = {
    "matrix": lambda g: gaussian_subspace((7,), 3, generator=g),
    "matrix complex": lambda g: gaussian_subspace(
        (3, 4), 5, generator=g, dtype=COMPLEX
    ),
    "matrix float32": lambda g: gaussian_subspace(
        (6,), 2, generator=g, dtype=torch.float32
    ),
    "matrix orthonormal": lambda g: orthonormalised(
        gaussian_subspace((6,), 4, generator=g, dtype=COMPLEX)
    )[0],
    "sparse": _sparse(torch.float64),
    "sparse complex": _sparse(COMPLEX),
    "sparse complex64": _sparse(torch.complex64),
    "support": lambda g: SupportSubspace(indices=some_places(g, 8, 3), shape=(8,)),
    "support of an image": lambda _: SupportSubspace(
        indices=centred_support((4, 5), (3, 2)), shape=(4, 5), dtype=COMPLEX
    ),
    "fourier, even size": _fourier((8,), 5, torch.float64),
    "fourier, odd size": _fourier((7,), 7, torch.float64),
    "fourier, image": _fourier((4, 6), 15, torch.float64),
    "fourier, odd image": _fourier((3, 5), 9, torch.float32),
    "fourier complex": _fourier((3, 4), 5, COMPLEX),
    "band limited": lambda _: FourierSubspace(modes=lowest_modes((9,), 5), shape=(9,)),
    "scrambled, even size": lambda g: scrambled_subspace((8,), 5, generator=g),
    "scrambled, image": lambda g: scrambled_subspace((3, 5), 6, generator=g),
    "scrambled complex": lambda g: scrambled_subspace(
        (3, 4), 5, generator=g, dtype=COMPLEX
    ),
    "wavelet": lambda g: wavelet_subspace((16,), some_places(g, 16, 5), wavelet="haar"),
    "wavelet of an image": lambda g: wavelet_subspace(
        (8, 4), some_places(g, 32, 7), levels=2, dtype=COMPLEX
    ),
}
