"""The random networks of the theory on Lipschitz constants."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain

# Draws the biases of one layer; the law must be symmetric about zero.
BiasLaw = Callable[[tuple[int, ...], torch.Generator], Tensor]
BiasName = Literal["zero", "gaussian", "uniform", "rademacher", "student_t"]
BIAS_NAMES: tuple[BiasName, ...] = get_args(BiasName)


def _gaussian(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _sign(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    bits = torch.randint(0, 2, shape, generator=generator)
    return bits.to(torch.float64) * 2.0 - 1.0


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    # sign * U[0, 1): exactly symmetric, which 2 U[0, 1) - 1 is not.
    draw = torch.rand(shape, generator=generator, dtype=torch.float64)
    return _sign(shape, generator) * draw


def _student_t(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    # Three degrees of freedom: heavy tails, finite variance 3.
    chi_squared = _gaussian((3, *shape), generator).square().sum(0)
    return _gaussian(shape, generator) / (chi_squared / 3.0).sqrt()


_LAWS: dict[BiasName, BiasLaw | None] = {
    "zero": None,
    "gaussian": _gaussian,
    "uniform": _uniform,
    "rademacher": _sign,
    "student_t": _student_t,
}


def random_network(
    num_inputs: int,
    width: int,
    num_layers: int,
    *,
    generator: torch.Generator,
    bias: BiasName | BiasLaw = "zero",
    bias_scale: float = 1.0,
) -> Network:
    r"""Draw a random ReLU network of the theory, with one output.

    .. math::

        \Phi = V^{(L)} \circ \mathrm{ReLU} \circ V^{(L-1)} \circ \dots \circ
        \mathrm{ReLU} \circ V^{(0)}, \quad V^{(l)}(x) = W^{(l)} x + b^{(l)}

    with independent entries :math:`W^{(l)}_{ij} \sim N(0, 2/N)` for l < L, where
    :math:`W^{(0)}` is N x d and the others are N x N, and
    :math:`W^{(L)}_{1j} \sim N(0, 1)`. Also the first layer is scaled by the width N and
    not by d, so that :math:`E \|\nabla \Phi(x)\|_2^2 = d` at every x != 0.

    Parameters
    ----------
    num_inputs : int
        d >= 1.
    width : int
        N >= 1, the neurons of each hidden layer.
    num_layers : int
        L >= 1, the number of hidden layers.
    generator : torch.Generator
        The only source of randomness. Weights are drawn before all biases, so networks
        of equal seed and different bias law share their weights.
    bias : str or callable
        Law of the biases, independent of the weights: ``zero``, ``gaussian`` (N(0, 1)),
        ``uniform`` (on (-1, 1)), ``rademacher`` (+1 or -1), ``student_t`` (3 degrees of
        freedom), or a function of (shape, generator) that returns the draw. The theory
        asks for symmetry about zero and nothing else; a function's law is not checked.
    bias_scale : float
        Factor on every bias, finite.

    Returns
    -------
    Network
        Of input shape (d,) and output shape (1,), weights float64.

    Raises
    ------
    InputError
        If a size is not positive, the law is unknown or the scale not finite.
    ShapeError
        If a given law returns another shape than asked for.

    References
    ----------
    Geuchen, Stoeger, Telaar, Voigtlaender: Upper and lower bounds for the Lipschitz
    constant of random neural networks. Information and Inference 14(2), 2025.

    Examples
    --------
    >>> from tacit.rng import make_generator
    >>> network = random_network(5, 20, 2, generator=make_generator(0))
    >>> network.num_neurons, network.out_shape
    (40, (1,))
    """
    sizes = {"num_inputs": num_inputs, "width": width, "num_layers": num_layers}
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} must be at least 1; got {size}")
    if not math.isfinite(bias_scale):
        raise InputError(f"bias_scale must be finite; got {bias_scale}")
    law = _find_law(bias)
    deviation = math.sqrt(2.0 / width)
    shapes = [(width, num_inputs), *[(width, width)] * (num_layers - 1)]
    weights = [deviation * _gaussian(shape, generator) for shape in shapes]
    weights.append(_gaussian((1, width), generator))
    relu = Activation(kind="relu")
    offsets: list[Tensor | None] = [None] * (num_layers + 1)
    if law is not None:
        offsets = [
            _drawn(law, (weight.shape[0],), generator) * bias_scale
            for weight in weights
        ]
    kinds: list[Activation | None] = [*[relu] * num_layers, None]
    return chain(zip(weights, offsets, kinds, strict=True))


def _find_law(bias: BiasName | BiasLaw) -> BiasLaw | None:
    if not isinstance(bias, str):
        return bias
    if bias not in _LAWS:
        raise InputError(
            f"bias must be one of {', '.join(BIAS_NAMES)} or a function; got {bias!r}"
        )
    return _LAWS[bias]


def _drawn(law: BiasLaw, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    draw = law(shape, generator)
    if tuple(draw.shape) != shape:
        raise ShapeError(
            f"a bias law must return the shape it is asked for, {shape}; "
            f"got {tuple(draw.shape)}"
        )
    return draw.to(torch.float64)
