"""The networks of the Lipschitz benchmark."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.lipschitz.layers import (
    Activation,
    Add,
    AveragePool,
    Conv,
    Dense,
    Layer,
    Reshape,
)
from tacit.lipschitz.network import Network, chain, make_network
from tacit.lipschitz.problem import Norm

RELU = Activation(kind="relu")


def he_chain(sizes: tuple[int, ...], generator: torch.Generator) -> Network:
    """Hidden weights N(0, 2 / rows), output weights N(0, 1), no biases."""
    triples: list[tuple[Tensor, None, Activation | None]] = []
    for index, (cols, rows) in enumerate(itertools.pairwise(sizes), 1):
        is_last = index == len(sizes) - 1
        scale = 1.0 if is_last else math.sqrt(2.0 / rows)
        weight = (
            torch.randn(rows, cols, generator=generator, dtype=torch.float64) * scale
        )
        triples.append((weight, None, None if is_last else RELU))
    return chain(triples)


def uniform_norm_chain(depth: int, width: int, generator: torch.Generator) -> Network:
    """Gaussian square layers rescaled to a spectral norm uniform in [0.4, 1.8].

    The product of the norms says nothing about such a network: the certified bound
    is some 17 orders of magnitude below it.
    """
    triples: list[tuple[Tensor, None, Activation | None]] = []
    for _ in range(depth):
        weight = torch.randn(width, width, generator=generator, dtype=torch.float64)
        norm = 0.4 + 1.4 * float(
            torch.rand(1, generator=generator, dtype=torch.float64)
        )
        triples.append(
            (weight * (norm / torch.linalg.matrix_norm(weight, 2)), None, RELU)
        )
    last = torch.randn(1, width, generator=generator, dtype=torch.float64)
    triples.append((last / math.sqrt(width), None, None))
    return chain(triples)


def _conv(
    rows: int, cols: int, size: int, stride: int, generator: torch.Generator
) -> Conv:
    scale = math.sqrt(2.0 / (cols * size * size))
    shape = (rows, cols, size, size)
    weight = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
    # A 4 x 4 kernel of stride 2 and a 3 x 3 kernel of any stride both take padding 1.
    both = (stride, stride)
    return Conv(weight=weight, stride=both, padding=(1, 1), dilation=(1, 1), groups=1)


def _dense(rows: int, cols: int, generator: torch.Generator) -> Dense:
    weight = torch.randn(rows, cols, generator=generator, dtype=torch.float64)
    return Dense(weight=weight * math.sqrt(2.0 / cols))


def _sequence(in_shape: tuple[int, ...], layers: list[Layer]) -> Network:
    return make_network(in_shape, [(layer, (i,)) for i, layer in enumerate(layers)])


def conv_28(generator: torch.Generator) -> Network:
    """1 x 28 x 28, two 4 x 4 convolutions of stride 2 (16, 32 channels), 100, 10."""
    return _sequence(
        (1, 28, 28),
        [
            *(_conv(16, 1, 4, 2, generator), RELU),
            *(_conv(32, 16, 4, 2, generator), RELU),
            *(Reshape(shape=(32 * 49,)), _dense(100, 32 * 49, generator), RELU),
            _dense(10, 100, generator),
        ],
    )


def conv_32(generator: torch.Generator) -> Network:
    """3 x 32 x 32, three 3 x 3 convolutions (32, 64, 128 channels), 256, 10."""
    return _sequence(
        (3, 32, 32),
        [
            *(_conv(32, 3, 3, 1, generator), RELU),
            *(_conv(64, 32, 3, 2, generator), RELU),
            *(_conv(128, 64, 3, 2, generator), RELU),
            *(Reshape(shape=(128 * 64,)), _dense(256, 128 * 64, generator), RELU),
            _dense(10, 256, generator),
        ],
    )


def residual_conv(generator: torch.Generator) -> Network:
    """1 x 14 x 14, 8 channels, one residual block, 2 x 2 average pool, 10 outputs."""
    pool = AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0))
    return make_network(
        (1, 14, 14),
        [
            *((_conv(8, 1, 3, 1, generator), (0,)), (RELU, (1,))),
            *((_conv(8, 8, 3, 1, generator), (2,)), (RELU, (3,))),
            *((_conv(8, 8, 3, 1, generator), (4,)), (Add(), (5, 2)), (RELU, (6,))),
            *((pool, (7,)), (Reshape(shape=(8 * 49,)), (8,))),
            (_dense(10, 8 * 49, generator), (9,)),
        ],
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One network to bound; its name seeds its weights."""

    build: Callable[[torch.Generator], Network]
    norm: Norm = "l2"
    peers: bool = True
    rtol: float = 1e-4


def _he(*sizes: int, norm: Norm = "l2") -> Case:
    return Case(build=lambda generator: he_chain(sizes, generator), norm=norm)


CASES: dict[str, Case] = {
    **{f"he-1x{n}": _he(50, n, 1) for n in (50, 100, 200, 500, 1000)},
    **{f"he-2x{n}": _he(50, n, n, 1) for n in (50, 100, 200, 500, 1000)},
    "he-784-3x1000-10": _he(784, 1000, 1000, 1000, 10),
    "linf-784-256-1": _he(784, 256, 1, norm="linf"),
    "uniform-100x100": Case(build=lambda g: uniform_norm_chain(100, 100, g), rtol=1e-2),
    "conv-28": Case(build=conv_28, peers=False, rtol=1e-3),
    "conv-32": Case(build=conv_32, peers=False, rtol=1e-2),
    "residual-conv": Case(build=residual_conv, peers=False, rtol=1e-3),
}
