r"""Proof of an upper bound from multipliers; trusts neither the search nor its numbers.

For sites t = 1..L (see ``network.py``) with slopes in [a_t, b_t] let
c = (a + b) / 2 and r = (b - a) / 2. Along any difference of two runs of the network
every neuron satisfies (z - a y)(b y - z) >= 0. So for any multipliers lambda > 0 and
input weights p > 0, if

.. math::
    Q(x, z) = \sum_j p_j x_j^2 + \sum_{t=1}^{L} \sum_i \lambda_{t,i}
              (z - c y)_{t,i}^2 - \lambda_{t,i} r_t^2 y_{t,i}^2 - \|y_{L+1}\|^2 \ge 0
    \quad \text{for all } x, z_1, \dots, z_L,

then :math:`\|f(x) - f(x')\|^2 \le \sum_j p_j (x_j - x'_j)^2`, because
:math:`(z - a y)(b y - z) = r^2 y^2 - (z - c y)^2`. Hence the constant is at most the
square root of max_j p_j (l2 and l1 inputs) or of sum_j p_j (linf inputs).
With a = 0, b = 1 this is LipSDP-Neuron (Fazlyab et al. 2019).

Two checkers decide whether Q >= 0: exact block elimination, and for networks too large
for it a norm bound by Lanczos. Both read only the network, lambda and p.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.bracket import Bound
from tacit.errors import CertificateError, ShapeError
from tacit.lipschitz.blocks import Blocks, dense_blocks, num_block_entries
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.problem import LipschitzProblem, Norm
from tacit.lipschitz.reduced_form import reduced_form
from tacit.spectral import EPS, lanczos_max_eigenvalue, max_eigenvalue

# Beyond either size elimination would need gigabytes or minutes; Lanczos takes over.
MAX_BLOCK_ENTRIES = 6 * 10**7
MAX_SITE_SIZE = 6000
# Allowance in squared bounds for products too small for a float64.
UNDERFLOW = 1e-290


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Multipliers:
    """The witness of an upper bound: lambda of every neuron and p of every input.

    Parameters
    ----------
    neurons : tuple of Tensor
        One per activation, of its sample shape; finite and positive.
    inputs : Tensor, shape in_shape
        p; finite and positive, in squared units of output over input. The
        elimination checker uses only its shape for linf inputs and finds its scale.
    """

    neurons: tuple[Tensor, ...]
    inputs: Tensor


def is_eliminable(network: Network) -> bool:
    """Return whether the exact elimination checker fits this network."""
    sizes = [math.prod(shape) for shape in network.site_shapes]
    return (
        num_block_entries(network) <= MAX_BLOCK_ENTRIES and max(sizes) <= MAX_SITE_SIZE
    )


def certify(
    problem: LipschitzProblem,
    witness: tuple[Multipliers, ...],
    *,
    blocks: Blocks | None = None,
    generator: torch.Generator | None = None,
    failure_probability: float = 1e-9,
    max_steps: int = 1500,
) -> Bound:
    """Return the upper bound that ``witness`` proves, recomputed from scratch.

    Parameters
    ----------
    problem : LipschitzProblem
        The network and the norm.
    witness : tuple of Multipliers
        Any positive values. One element, except for l1 inputs where every input is
        bounded by the best of several.
    blocks : dict or None
        ``dense_blocks(problem.network)`` if at hand; formed here otherwise.
    generator : torch.Generator or None
        Start of Lanczos; needed only where elimination does not fit.
    failure_probability : float
        Of the Lanczos checker, in (0, 1).
    max_steps : int
        Limit of Lanczos steps.

    Returns
    -------
    Bound
        ``arithmetic`` is ``float`` by elimination, ``probabilistic`` by Lanczos. The
        rounding of a backward stable factorisation, a few units in the twelfth digit
        or below, is allowed for but not proved.

    Raises
    ------
    CertificateError
        If the multipliers prove nothing.
    ShapeError
        If they do not fit the network.

    References
    ----------
    Fazlyab, Robey, Hassani, Morari, Pappas (2019), Efficient and accurate estimation
    of Lipschitz constants for deep neural networks, Theorem 2; general slopes and
    graphs as in this module's docstring.
    """
    if not witness:
        raise CertificateError(
            "a witness needs at least one set of multipliers; got none"
        )
    for part in witness:
        _check(problem.network, part)
    if is_eliminable(problem.network):
        value = _by_elimination(problem, witness, blocks)
        method, arithmetic, probability = "lifted network, elimination", "float", 0.0
    else:
        value = _by_lanczos(problem, witness, generator, failure_probability, max_steps)
        method, arithmetic = "lifted network, Lanczos", "probabilistic"
        probability = failure_probability
    return Bound(
        value=math.sqrt(value),
        side="upper",
        method=method,
        arithmetic=arithmetic,
        failure_probability=probability,
        witness=witness,
    )


def _by_elimination(
    problem: LipschitzProblem, witness: tuple[Multipliers, ...], blocks: Blocks | None
) -> float:
    network = problem.network
    if blocks is None:
        blocks = dense_blocks(network)
    if problem.norm == "l1":
        value = _columnwise(network, witness, blocks)
    else:
        value = min(
            _eliminated_value(network, problem.norm, part, blocks) for part in witness
        )
    if not value < math.inf:
        raise CertificateError(
            "the multipliers prove no bound: a number overflowed; rescale the network "
            "or the multipliers"
        )
    return value


def _by_lanczos(
    problem: LipschitzProblem,
    witness: tuple[Multipliers, ...],
    generator: torch.Generator | None,
    failure_probability: float,
    max_steps: int,
) -> float:
    if generator is None:
        raise CertificateError(
            "this network is too large for elimination: pass a generator"
        )
    if len(witness) != 1:
        raise CertificateError(
            "where elimination does not fit, a witness is one set of multipliers; "
            f"got {len(witness)}"
        )
    top = scaled_norm(
        problem.network,
        witness[0],
        generator=generator,
        max_steps=max_steps,
        failure_probability=failure_probability,
    )
    if not top <= 1.0:
        raise CertificateError(
            "the multipliers prove no bound: the squared scaled norm, which must be at "
            f"most 1, may reach {top:.9g}"
        )
    return input_factor(witness[0].inputs, problem.norm)


def input_factor(weights: Tensor, norm: Norm) -> float:
    """Return ``max sum_j p_j x_j^2`` over the unit ball of the input norm."""
    return float(weights.sum() if norm == "linf" else weights.max())


def _check(network: Network, part: Multipliers) -> None:
    shapes = network.site_shapes
    got = (tuple(part.inputs.shape), *(tuple(m.shape) for m in part.neurons))
    if got != shapes[:-1]:
        raise ShapeError(
            f"multipliers must have the shapes {shapes[:-1]} of the input and the "
            f"activations; got {got}; they belong to another network"
        )
    for tensor in (part.inputs, *part.neurons):
        if not bool((torch.isfinite(tensor) & (tensor > 0)).all()):
            raise CertificateError(
                "multipliers must be finite and positive; some are not"
            )


def _eliminated_value(
    network: Network, norm: Norm, part: Multipliers, blocks: Blocks
) -> float:
    reduced = reduced_form(network, part.neurons, blocks)
    if reduced is None:
        raise CertificateError(
            "the multipliers prove no bound: the form is not positive definite"
        )
    return tightened(network, norm, part.inputs, reduced)


def tightened(network: Network, norm: Norm, inputs: Tensor, reduced: Tensor) -> float:
    """Return the squared bound of the smallest multiple of ``inputs`` that covers R."""
    weights = inputs.reshape(-1)
    if norm != "linf":
        weights = torch.ones_like(weights)  # only the largest p counts
    weights = weights / weights.max()
    scale = weights.rsqrt()
    scaled = scale[:, None] * reduced * scale
    if not bool(torch.isfinite(scaled).all()):
        return math.inf
    top = max(max_eigenvalue(scaled).upper, 0.0)
    return top * input_factor(weights, norm) * _rounding(network) + UNDERFLOW


def _columnwise(
    network: Network, witness: tuple[Multipliers, ...], blocks: Blocks
) -> float:
    best: Tensor | None = None
    for part in witness:
        diagonal = reduced_form(network, part.neurons, blocks, diagonal_only=True)
        if diagonal is not None:
            best = diagonal if best is None else torch.minimum(best, diagonal)
    if best is None:
        raise CertificateError(
            "the multipliers prove no bound: no form is positive definite"
        )
    return max(float(best.max()), 0.0) * _rounding(network) + UNDERFLOW


def _rounding(network: Network) -> float:
    """Return an allowance for a backward stable elimination, entries of order one."""
    sizes = [math.prod(shape) for shape in network.site_shapes]
    return 1.0 + 16.0 * EPS * len(sizes) * max(sizes)


def scaled_norm(
    network: Network,
    part: Multipliers,
    *,
    generator: torch.Generator,
    max_steps: int,
    failure_probability: float,
) -> float:
    r"""Bound the squared norm of the scaled linear map behind Q, matrix-free.

    With z = c y + r w, Q = sum p x^2 + sum mu (w^2 - y^2) - |y_out|^2 for
    mu = r^2 lambda. Let T map (x, w) to (y_1, .., y_L, y_out). Then Q >= 0 iff

    .. math:: M = \mathrm{diag}(\mu, 1)^{1/2}\, T\, \mathrm{diag}(p, \mu)^{-1/2}

    has norm at most 1. One product with M^T M is one forward and one backward pass.

    Returns
    -------
    float
        An upper bound on ||M||^2 except with ``failure_probability``; as soon as it is
        known to exceed 1, a lower bound on it.
    """
    operator = _ScaledMap(network, part)
    top = lanczos_max_eigenvalue(
        operator.gram,
        operator.size,
        max_steps=max_steps,
        failure_probability=failure_probability,
        generator=generator,
        threshold=1.0,
        device=operator.device,
    )
    return top.value if top.value > 1.0 else top.upper


@final
class _ScaledMap:
    """The map M of :func:`scaled_norm`; inputs are one vector over sites 0..L."""

    def __init__(self, network: Network, part: Multipliers) -> None:
        self.network = network
        self.shapes = network.site_shapes[:-1]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.size = sum(self.sizes)
        self.device = part.inputs.device
        self.in_scales = [part.inputs.rsqrt()]
        self.out_scales = [part.inputs]  # site 0 has no output part; never read
        for multiplier, activation in zip(
            part.neurons, network.activations, strict=True
        ):
            mu = multiplier * activation.radius**2
            # z = c y + r w and w = mu^{-1/2} times the unit coordinate.
            self.in_scales.append(activation.radius * mu.rsqrt())
            self.out_scales.append(mu.sqrt())

    def gram(self, vector: Tensor) -> Tensor:
        """Return ``M^T M vector``."""
        with torch.enable_grad():
            leaf = vector.detach().requires_grad_()
            pieces = [
                piece.reshape(1, *shape) * scale
                for piece, shape, scale in zip(
                    leaf.split(self.sizes), self.shapes, self.in_scales, strict=True
                )
            ]
            images: list[Tensor] = []

            def activate(site: int, y: Tensor) -> Tensor:
                images.append(y * self.out_scales[site])
                return self.network.activations[site - 1].center * y + pieces[site]

            images.append(run(self.network, pieces[0], activate, shift=False))
            half_square = sum(
                (image.square().sum() for image in images), start=leaf.new_zeros(())
            )
            (gradient,) = torch.autograd.grad(half_square / 2.0, leaf)
        return gradient
