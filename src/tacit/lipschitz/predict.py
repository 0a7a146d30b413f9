"""What theory says beforehand about the Lipschitz constant of a random ReLU network.

Every statement carries its certainty: ``derived`` has its proof in a docstring here,
``published`` is stated in an abstract, ``recalled`` is second-hand or from memory and
must not be taken as a fact.
"""

import math

import torch

from tacit.errors import InputError
from tacit.lipschitz.blocks import dense_blocks
from tacit.lipschitz.layers import Shift
from tacit.lipschitz.network import Network
from tacit.lipschitz.problem import NORMS, Norm
from tacit.prediction import Prediction

_GSTV = "Geuchen, Stoeger, Telaar, Voigtlaender (2025), Information and Inference 14(2)"
_DFGSV = "Dirksen, Finke, Geuchen, Stoeger, Voigtlaender (2025), arXiv:2506.19695"


def expected_squared_gradient(num_inputs: int) -> Prediction:
    r"""Return E ||grad Phi(x)||_2^2 = d, exact at every fixed x != 0.

    Put g_0 = W^(L) and g_{k+1} = g_k D W for the layers from last to first. At a fixed
    x the mask D of a layer may be replaced, in law, by independent Bernoulli(1/2)
    entries independent of W: given the layer's input z != 0, each row (w, b) of
    (W, b) and its negative have the same law, so the sign of w z + b is a fair coin
    independent of the rank-one products of w. A row of N(0, 2/N) entries then gives
    E ||g D W||^2 = (1/2) (2/N) ||g||^2 n, n the columns of W: a factor 1 for the N x N
    layers and d/N for the first. E ||W^(L)||^2 = N. The product is d. (If z = 0, which
    without bias has probability 2^-N per layer or less, the gradient is taken with
    fair coins too.)
    """
    _at_least_one({"num_inputs": num_inputs})
    return Prediction(
        name="mean of ||grad||_2^2 at a fixed input",
        value=float(num_inputs),
        certainty="derived",
        source=f"derivation here; model of {_GSTV}",
        note="any depth, width, symmetric bias law; one fixed input, not the maximum",
    )


def log_variance_of_squared_gradient(
    num_inputs: int, width: int, num_layers: int
) -> Prediction:
    r"""Return the first-order log-variance 5 L / N + 2 / d of ||grad Phi(x)||_2^2.

    Given the vector g coming from above, a hidden layer multiplies ||g||^2 by
    (2 / N) sum_i B_i g_i^2 N / ||g||^2 times chi^2_n / n. The second has relative
    variance 2/n (n = N, for the first layer n = d). For a spread-out, Gaussian-like g
    the first has relative variance sum g_i^4 / ||g||^4 = 3 / N. ||W^(L)||^2 adds 2/N.
    The sum is 5 L / N + 2 / d (L masks, L - 1 hidden chi^2 factors and the output's
    2/N); higher orders in 1/N and 1/d are dropped.
    """
    _at_least_one({"num_inputs": num_inputs, "width": width, "num_layers": num_layers})
    return Prediction(
        name="variance of log ||grad||_2^2 at a fixed input",
        value=5.0 * num_layers / width + 2.0 / num_inputs,
        certainty="derived",
        source=f"derivation here; model of {_GSTV}",
        note="first order in 1/width and 1/num_inputs; not a bound",
    )


def typical_scale(num_inputs: int, p: float) -> Prediction:
    r"""Return the order of the Lipschitz constant for the input norm l_p.

    .. math::

        d^{1 - 1/p} \quad (p \ge 2), \qquad \sqrt{d} \quad (1 \le p < 2)

    The network is the same for every p, only the norm of the input difference changes.
    For p >= 2 this is the order of ||g||_{p'}, g standard Gaussian, 1/p + 1/p' = 1; for
    p < 2 the maximum over inputs lifts the constant to sqrt(d), above ||g||_{p'}.

    Parameters
    ----------
    num_inputs : int
        d >= 1.
    p : float
        In [1, inf].

    Raises
    ------
    InputError
        If p < 1 or d < 1.
    """
    _at_least_one({"num_inputs": num_inputs})
    if not p >= 1.0:
        raise InputError(f"p must be in [1, inf]; got {p}")
    exponent = 1.0 - 1.0 / p if p >= 2.0 else 0.5
    return Prediction(
        name=f"scale of the Lipschitz constant, p = {p:g}",
        value=float(num_inputs) ** exponent,
        certainty="published",
        source=_DFGSV,
        note=(
            "up to absolute constants for one hidden layer; deeper up to factors "
            "logarithmic in the width and linear in the depth; wide networks; the "
            "constants are not known here"
        ),
    )


def recalled_rates(
    num_inputs: int, width: int, num_layers: int
) -> tuple[Prediction, ...]:
    """Return the l2 theorems of the theory as recalled; for orientation only.

    None of these may be used as a bound: constants and conditions are second-hand or
    from memory.
    """
    _at_least_one({"num_inputs": num_inputs, "width": width, "num_layers": num_layers})
    root = math.sqrt(num_inputs)
    log = math.log(math.e * max(width, num_inputs + 1) / (num_inputs + 1))
    growth = (2.0 * math.sqrt(2.0)) ** (num_layers - 1) * math.sqrt(num_layers * log)
    return (
        Prediction(
            name="lower bound, p = 2",
            value=root / 4.0,
            certainty="recalled",
            source=_GSTV,
            note="second-hand constant 1/4; for widths large against depth squared",
        ),
        Prediction(
            name="upper bound divided by its unknown constant, p = 2",
            value=growth * root,
            certainty="recalled",
            source=_GSTV,
            note="exponential in the depth; the follow-up is linear in it: " + _DFGSV,
        ),
    )


def high_probability_bound(
    network: Network, *, norm: Norm = "l2", failure_probability: float = 1e-3
) -> Prediction:
    r"""Return a bound on Lip(network), valid for most draws of its output weights.

    Let W^(L) be N(0, 1), independent of everything else, P the product of the spectral
    norms of W^(0)..W^(L-1), r the least of d and the widths, M a bound on the number of
    activation patterns. With probability at least 1 - delta over W^(L), with
    t = sqrt(2 ln(M / delta)):

    .. math::

        \mathrm{Lip}_2 \le P (\sqrt{r} + t), \quad
        \mathrm{Lip}_\infty \le P \sqrt{d} (\sqrt{2 r / \pi} + t), \quad
        \mathrm{Lip}_1 \le P (\min(\sqrt{r}, \sqrt{2 \ln 2d}) + t)

    Proof. The constant is the largest dual norm of a gradient B_D^T w, w = W^(L), over
    the patterns D of open cells; cells and B_D = D^(L-1) W^(L-1)...D^(0) W^(0) do not
    depend on w, and ||B_D||_2 <= P, rank <= r. The map w -> ||B_D^T w|| has Lipschitz
    constant P (l2, dual of l1: largest entry) or P sqrt(d) (dual of linf: sum), so by
    Gaussian concentration it exceeds its mean by t times that with probability at most
    exp(-t^2 / 2). Means: at most ||B_D||_F <= P sqrt(r); for the sum sqrt(2/pi) times
    the sum of the column norms, at most sqrt(2/pi) sqrt(d) ||B_D||_F; for the largest
    of d Gaussians of deviation at most P in modulus P sqrt(2 ln 2d). Union over M.
    Patterns: on an open cell of the layers before, a layer is n affine functions of x,
    whose hyperplanes cut R^d into at most sum_{k <= d} C(n, k) cells (without bias
    2 sum_{k < d} C(n - 1, k) cones); M is the product over layers.

    Parameters
    ----------
    network : Network
        A chain of dense layers and ReLUs with one output. Its output weights are not
        used.
    norm : {"l2", "linf", "l1"}
        Norm of the input difference.
    failure_probability : float
        delta in (0, 1).

    Returns
    -------
    Prediction
        Spectral norms are computed in float64 by a singular value decomposition.

    Raises
    ------
    InputError
        If the network is no such chain or delta is out of range.
    """
    _check_probability(failure_probability)
    _check_norm(norm)
    weights = _hidden_weights(network)
    product = math.prod(float(torch.linalg.matrix_norm(w, ord=2)) for w in weights)
    has_bias = any(
        isinstance(node.layer, Shift) and bool(node.layer.offset.any())
        for node in network.nodes
    )
    widths = [weight.shape[0] for weight in weights]
    value = product * _unit_bound(
        network.num_inputs,
        widths,
        norm=norm,
        has_bias=has_bias,
        failure_probability=failure_probability,
    )
    return Prediction(
        name=f"Lipschitz constant, {norm}, from the drawn hidden weights",
        value=value,
        certainty="derived",
        source="derivation here; union over activation patterns as in " + _GSTV,
        note="probability over output weights N(0, 1) independent of the rest",
        failure_probability=failure_probability,
    )


def ensemble_bound(
    num_inputs: int,
    width: int,
    num_layers: int,
    *,
    norm: Norm = "l2",
    has_bias: bool = False,
    failure_probability: float = 1e-3,
) -> Prediction:
    r"""Return a bound on the constant of ``random_network`` before it is drawn.

    .. math::

        \|W^{(l)}\| \le \sqrt{2/N} (\sqrt{N} + \sqrt{n_l} + s), \quad
        s = \sqrt{2 \ln(2 L / \delta)}

    for every hidden layer (n_l inputs), each but with probability exp(-s^2 / 2) =
    delta / (2 L): the spectral norm of a Gaussian matrix is 1-Lipschitz in its entries
    and at most sqrt(N) + sqrt(n_l) in the mean (Gordon; Davidson and Szarek 2001,
    Theorem II.13). Times the bound of :func:`high_probability_bound` per unit of P at
    delta / 2. Together they fail with probability at most delta.

    Parameters
    ----------
    num_inputs, width, num_layers : int
        d, N, L of ``random_network``.
    norm : {"l2", "linf", "l1"}
        Norm of the input difference.
    has_bias : bool
        Whether biases are drawn; without them there are fewer patterns.
    failure_probability : float
        delta in (0, 1).

    Raises
    ------
    InputError
        If an argument is out of range.
    """
    _at_least_one({"num_inputs": num_inputs, "width": width, "num_layers": num_layers})
    _check_probability(failure_probability)
    _check_norm(norm)
    excess = math.sqrt(2.0 * math.log(2.0 * num_layers / failure_probability))
    fans = [num_inputs, *[width] * (num_layers - 1)]
    product = math.prod(
        math.sqrt(2.0 / width) * (math.sqrt(width) + math.sqrt(fan) + excess)
        for fan in fans
    )
    value = product * _unit_bound(
        num_inputs,
        [width] * num_layers,
        norm=norm,
        has_bias=has_bias,
        failure_probability=failure_probability / 2.0,
    )
    return Prediction(
        name=f"Lipschitz constant, {norm}, before the draw",
        value=value,
        certainty="derived",
        source="derivation here; union over activation patterns as in " + _GSTV,
        note="probability over all weights of random_network",
        failure_probability=failure_probability,
    )


def log_num_patterns(num_inputs: int, width: int, *, has_bias: bool) -> float:
    r"""Return the log of the most cells that ``width`` hyperplanes cut R^d into.

    .. math:: \ln \sum_{k=0}^{d} \binom{N}{k}, \qquad
        \ln \, 2 \sum_{k=0}^{d-1} \binom{N-1}{k} \ \text{through the origin}

    (Schlaefli; Zaslavsky 1975). At most N ln 2, attained for N <= d.
    """
    _at_least_one({"num_inputs": num_inputs, "width": width})
    top, most = (width, num_inputs) if has_bias else (width - 1, num_inputs - 1)
    if most >= top:
        return width * math.log(2.0)
    # Integers are exact, and math.log takes them at any size.
    term, total = 1, 1
    for k in range(most):
        term = term * (top - k) // (k + 1)
        total += term
    return math.log(total if has_bias else 2 * total)


def _unit_bound(
    num_inputs: int,
    widths: list[int],
    *,
    norm: Norm,
    has_bias: bool,
    failure_probability: float,
) -> float:
    """Return the bound of ``high_probability_bound`` divided by P."""
    patterns = sum(
        log_num_patterns(num_inputs, width, has_bias=has_bias) for width in widths
    )
    excess = math.sqrt(2.0 * (patterns - math.log(failure_probability)))
    rank = min(num_inputs, *widths)
    if norm == "l2":
        return math.sqrt(rank) + excess
    if norm == "linf":
        return math.sqrt(num_inputs) * (math.sqrt(2.0 * rank / math.pi) + excess)
    largest = math.sqrt(2.0 * math.log(2.0 * num_inputs))
    return min(math.sqrt(rank), largest) + excess


def _hidden_weights(network: Network) -> list[torch.Tensor]:
    kinds = {activation.kind for activation in network.activations}
    depth = len(network.activations)
    chained = frozenset((site + 1, site) for site in range(depth + 1))
    if kinds != {"relu"} or network.links != chained or network.num_outputs != 1:
        raise InputError(
            "the bound is proved for a chain of linear layers and ReLUs with one "
            f"output; got activations {sorted(kinds)}, {network.num_outputs} outputs; "
            "use a certified bound instead"
        )
    blocks = dense_blocks(network)
    return [blocks[site, site - 1] for site in range(1, depth + 1)]


def _at_least_one(counts: dict[str, int]) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be at least 1; got {count}")


def _check_probability(failure_probability: float) -> None:
    if not 0.0 < failure_probability < 1.0:
        raise InputError(
            f"failure_probability must be in (0, 1); got {failure_probability}"
        )


def _check_norm(norm: Norm) -> None:
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")
