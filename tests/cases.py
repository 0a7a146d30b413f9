"""Small networks that cover every layer, activation and degenerate shape.

``NETWORKS`` maps a name to a builder that takes a generator. All have at most a few
dozen neurons, so that every oracle can answer; a test in ``test_oracles.py`` holds that
every linear layer and every activation kind occurs.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tacit.lipschitz.layers import (
    ACTIVATION_KINDS,
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Layer,
    Mean,
    Pad,
    Permute,
    Reshape,
    Scale,
    Shape,
    Shift,
    Slice,
)
from tacit.lipschitz.network import Network, chain, make_network

Builder = Callable[[torch.Generator], Network]
RELU = Activation(kind="relu")
# Parameters for the kinds that take one; elu above and below one, both signs of leaky.
PARAMETERS = {"leaky_relu": 0.2, "elu": 1.5, "softplus": 2.0}


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal entries in float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_chain(
    generator: torch.Generator,
    sizes: Sequence[int],
    *,
    activation: Activation = RELU,
    bias_scale: float = 1.0,
    scale: float = 1.0,
) -> Network:
    """Dense layers with He-like weights times ``scale``, the last one linear."""
    triples: list[tuple[Tensor, Tensor | None, Activation | None]] = []
    for index, (cols, rows) in enumerate(itertools.pairwise(sizes), 1):
        weight = normal(generator, rows, cols) * (scale * math.sqrt(2.0 / cols))
        bias = bias_scale * normal(generator, rows) if bias_scale else None
        triples.append((weight, bias, activation if index < len(sizes) - 1 else None))
    return chain(triples)


def sequence(in_shape: Shape, *layers: Layer) -> Network:
    """Layers one after the other."""
    return make_network(in_shape, [(layer, (i,)) for i, layer in enumerate(layers)])


def trained_chain(
    generator: torch.Generator,
    sizes: Sequence[int],
    *,
    activation: Activation = RELU,
    bias_scale: float = 1.0,
    num_steps: int = 100,
) -> Network:
    """A chain after full-batch gradient descent on ``sum_j sin(2 x_j)`` from 32 points.

    Training correlates weights of different layers, which random draws never are.
    """
    start = random_chain(generator, sizes, activation=activation, bias_scale=bias_scale)
    layers = [node.layer for node in start.nodes]
    inputs = normal(generator, 32, sizes[0])
    targets = torch.sin(2.0 * inputs).sum(1, keepdim=True).expand(-1, sizes[-1])
    tensors: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, Dense):
            tensors.append(layer.weight.clone())
        elif isinstance(layer, Shift):
            tensors.append(layer.offset.clone())
    for _ in range(num_steps):
        leaves = [tensor.requires_grad_(True) for tensor in tensors]
        with torch.enable_grad():
            value = _with_tensors(layers, leaves, inputs)
            loss = (value - targets).square().mean()
            gradients = torch.autograd.grad(loss, leaves)
        total = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        step = 0.05 / max(1.0, total)  # clipped, so that no draw of weights diverges
        tensors = [
            (t - step * g).detach() for t, g in zip(leaves, gradients, strict=True)
        ]
    left = iter(tensors)
    trained = [
        Dense(weight=next(left))
        if isinstance(layer, Dense)
        else Shift(offset=next(left))
        if isinstance(layer, Shift)
        else layer
        for layer in layers
    ]
    return sequence(start.in_shape, *trained)


def _with_tensors(
    layers: Sequence[Layer], tensors: Sequence[Tensor], x: Tensor
) -> Tensor:
    left = iter(tensors)
    for layer in layers:
        if isinstance(layer, Dense):
            x = x @ next(left).T
        elif isinstance(layer, Shift):
            x = x + next(left)
        else:
            x = layer.apply(x)
    return x


def _conv(
    generator: torch.Generator,
    shape: Shape,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Conv:
    axes = len(shape) - 2
    return Conv(
        weight=normal(generator, *shape) / math.sqrt(math.prod(shape[1:])),
        stride=(stride,) * axes,
        padding=(padding,) * axes,
        dilation=(dilation,) * axes,
        groups=groups,
    )


def _conv1d(generator: torch.Generator) -> Network:
    return sequence(
        (2, 7),
        _conv(generator, (3, 2, 3), padding=1),
        Shift(offset=normal(generator, 3, 1)),
        RELU,
        _conv(generator, (2, 3, 2), stride=2, dilation=2),
        RELU,
        Reshape(shape=(6,)),
        Dense(weight=normal(generator, 2, 6)),
    )


def _conv2d(generator: torch.Generator) -> Network:
    return sequence(
        (2, 3, 3),
        _conv(generator, (4, 1, 3, 3), stride=2, padding=1, groups=2),
        RELU,
        Reshape(shape=(16,)),
        Dense(weight=normal(generator, 3, 16)),
    )


def _conv3d(generator: torch.Generator) -> Network:
    return sequence(
        (1, 2, 3, 2),
        _conv(generator, (2, 1, 2, 2, 2), padding=1, stride=2),
        RELU,
        Mean(axes=(1, 2, 3), keep_axes=False),
    )


def _conv_transpose(generator: torch.Generator, axes: int) -> Network:
    in_shape = (2, *((2,) * axes))
    layer = ConvTranspose(
        weight=normal(generator, 2, 1, *((2,) * axes)),
        stride=(2,) * axes,
        padding=(1,) * axes,
        output_padding=(1,) * axes,
        dilation=(1,) * axes,
        groups=2,
    )
    size = 2 * 3**axes
    return sequence(
        in_shape,
        layer,
        RELU,
        Reshape(shape=(size,)),
        Dense(weight=normal(generator, 2, size)),
    )


def _batch_norm(generator: torch.Generator) -> Network:
    return sequence(
        (2, 5),
        _conv(generator, (3, 2, 2)),
        Scale(factor=normal(generator, 3, 1)),
        Shift(offset=normal(generator, 3, 1)),
        Activation(kind="leaky_relu", parameter=-0.3),
        AveragePool(kernel=(2,), stride=(1,), padding=(1,), count_include_pad=False),
        Mean(axes=(1,), keep_axes=True),
        Reshape(shape=(3,)),
        Scale(factor=torch.tensor(-2.0, dtype=torch.float64)),
    )


def _pools(generator: torch.Generator) -> Network:
    return sequence(
        (1, 5, 5),
        AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0), ceil_mode=True),
        _conv(generator, (2, 1, 2, 2)),
        RELU,
        Reshape(shape=(2, 2, 2, 1)),
        AveragePool(kernel=(2, 1, 1), stride=(1, 1, 1), padding=(0, 0, 0)),
        Reshape(shape=(4,)),
        Dense(weight=normal(generator, 1, 4)),
    )


def _rearranged(generator: torch.Generator) -> Network:
    return sequence(
        (2, 3),
        Permute(axes=(1, 0)),
        Pad(widths=(1, 0, 0, 1)),
        Slice(axis=0, start=0, stop=4, step=2),
        Reshape(shape=(6,)),
        Dense(weight=normal(generator, 5, 6)),
        RELU,
        Slice(axis=0, start=1, stop=5),
    )


def _residual(generator: torch.Generator) -> Network:
    return make_network(
        (3,),
        [
            (Dense(weight=normal(generator, 4, 3)), (0,)),
            (Shift(offset=normal(generator, 4)), (1,)),
            (RELU, (2,)),
            (Dense(weight=normal(generator, 4, 4) / 2.0), (3,)),
            (Add(), (4, 3, 2)),
            (Activation(kind="leaky_relu", parameter=0.1), (5,)),
            (Dense(weight=normal(generator, 2, 4)), (6,)),
        ],
    )


def _concat(generator: torch.Generator) -> Network:
    return make_network(
        (2,),
        [
            (Dense(weight=normal(generator, 3, 2)), (0,)),
            (RELU, (1,)),
            (Dense(weight=normal(generator, 3, 2)), (0,)),
            (Activation(kind="abs"), (3,)),
            (Concat(axis=0), (2, 0, 4)),
            (Dense(weight=normal(generator, 2, 8)), (5,)),
            (RELU, (6,)),
            (Add(), (7, 0)),  # the output reads the input and an activation
        ],
    )


def _dead(generator: torch.Generator) -> Network:
    first, second = normal(generator, 5, 3), normal(generator, 4, 5)
    first[1] = 0.0  # a neuron that never moves
    first[:, 2] = 0.0  # an input that nothing reads
    second[:, 3] = 0.0  # a neuron that nothing reads
    second[2] = 0.0
    bias = torch.zeros(5, dtype=torch.float64)
    return chain(
        [
            (first, bias, RELU),
            (second, None, RELU),
            (normal(generator, 2, 4), None, None),
        ]
    )


def _duplicated(generator: torch.Generator) -> Network:
    row = normal(generator, 1, 3)
    first = torch.cat([row, row, -row, 2.0 * row, normal(generator, 1, 3)])
    second = torch.cat([normal(generator, 1, 5)] * 2)
    return chain(
        [(first, None, RELU), (second, None, RELU), (torch.ones(1, 2), None, None)]
    )


def _cancelling(generator: torch.Generator) -> Network:
    # relu(y) - relu(y) = 0: the function is zero, the weights are not.
    row = normal(generator, 1, 2)
    ends = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    return chain([(torch.cat([row, row]), None, RELU), (ends, None, None)])


def _zero(_: torch.Generator) -> Network:
    first, second = torch.zeros(3, 2), torch.zeros(1, 3)
    return chain([(first, None, RELU), (second, None, None)])


def _only_shift(_: torch.Generator) -> Network:
    return sequence((2,), Shift(offset=torch.ones(2)))


def _unequal_units(generator: torch.Generator) -> Network:
    # Neurons of one layer 16 orders of magnitude apart, undone by the next layer.
    units = torch.tensor([1e8, 1.0, 1e-8, 1.0], dtype=torch.float64)
    first, second = normal(generator, 4, 2), normal(generator, 1, 4)
    return chain([(first * units[:, None], None, RELU), (second / units, None, None)])


def _kind(kind: str) -> Builder:
    activation = Activation(kind=kind, parameter=PARAMETERS.get(kind, 0.0))
    return lambda g: random_chain(g, (2, 4, 3, 1), activation=activation)


def _sizes(*sizes: int, bias_scale: float = 1.0, scale: float = 1.0) -> Builder:
    return lambda g: random_chain(g, sizes, bias_scale=bias_scale, scale=scale)


NETWORKS: dict[str, Builder] = {
    **{f"{kind}-2-4-3-1": _kind(kind) for kind in ACTIVATION_KINDS},
    "relu-3-5-4-2": _sizes(3, 5, 4, 2),
    "relu-2-4-4-4-1-unbiased": _sizes(2, 4, 4, 4, 1, bias_scale=0.0),
    "one-input": _sizes(1, 4, 3, 2),
    "width-one": _sizes(1, 1, 1, 1, 1),
    "wide-outputs": _sizes(2, 3, 9),
    "linear": _sizes(3, 4),
    "linear-linear": lambda g: chain(
        [(normal(g, 4, 3), None, None), (normal(g, 2, 4), None, None)]
    ),
    "ends-in-activation": lambda g: chain([(normal(g, 4, 3), normal(g, 4), RELU)]),
    "only-activation": lambda _: sequence((3,), RELU),
    "only-shift": _only_shift,
    "activation-first": lambda g: sequence(
        (3,), RELU, Dense(weight=normal(g, 2, 3)), RELU
    ),
    "leaky-above-one": lambda g: random_chain(
        g, (2, 4, 1), activation=Activation(kind="leaky_relu", parameter=1.5)
    ),
    "leaky-negative": lambda g: random_chain(
        g, (2, 4, 1), activation=Activation(kind="leaky_relu", parameter=-2.0)
    ),
    "leaky-identity": lambda g: random_chain(
        g, (2, 4, 1), activation=Activation(kind="leaky_relu", parameter=1.0)
    ),
    "elu-small-alpha": lambda g: random_chain(
        g, (2, 4, 1), activation=Activation(kind="elu", parameter=0.5)
    ),
    "elu-negative-alpha": lambda g: random_chain(
        g, (2, 4, 1), activation=Activation(kind="elu", parameter=-0.5)
    ),
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "conv3d": _conv3d,
    "conv-transpose-1d": lambda g: _conv_transpose(g, 1),
    "conv-transpose-2d": lambda g: _conv_transpose(g, 2),
    "batch-norm": _batch_norm,
    "pools": _pools,
    "rearranged": _rearranged,
    "residual": _residual,
    "concat": _concat,
    "dead": _dead,
    "duplicated": _duplicated,
    "cancelling": _cancelling,
    "zero": _zero,
    "tiny": _sizes(2, 4, 3, 1, scale=1e-12),
    "huge": _sizes(2, 4, 3, 1, scale=1e12),
    "unequal-units": _unequal_units,
    "trained-relu": lambda g: trained_chain(g, (2, 6, 1)),
    "trained-deep": lambda g: trained_chain(g, (2, 4, 4, 1), bias_scale=0.0),
    "trained-tanh": lambda g: trained_chain(
        g, (2, 5, 1), activation=Activation(kind="tanh")
    ),
}
