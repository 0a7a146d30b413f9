r"""Rescaling the neurons so that bounds that depend on their scale get tighter."""

import torch
from torch import Tensor

from tacit.lipschitz.layers import Layer, Scale
from tacit.lipschitz.network import Network, make_network, run

# Random probes per sweep, and sweeps.
_PROBES = 128
_SWEEPS = 7


def balance(network: Network, *, generator: torch.Generator) -> Network:
    r"""Return a network with the same slope patterns and balanced neurons.

    The diagonal slope matrices commute with every positive diagonal matrix,
    :math:`E^{-1} D_t E = D_t`. So blocks :math:`E_t A_{ts} E_s^{-1}` (E the identity at
    input and output) give the same Jacobian :math:`J(D_1, .., D_L)` for every choice of
    slopes, but other layer norms. E is balanced as in Osborne's method: per neuron, or
    per channel of a convolution, until the Frobenius norm of what comes in equals that
    of what goes out.

    Parameters
    ----------
    network : Network
        In double precision, on the CPU.
    generator : torch.Generator
        Draws the probes that estimate the Frobenius norms; their quality decides how
        well balanced the result is, nothing else.

    Returns
    -------
    Network
        With a Scale before and after every activation. As a function it is another one,
        unless the activations are positively homogeneous: use it for bounds from slopes
        only. The two factors of a neuron multiply to 1 up to one rounding.

    References
    ----------
    Osborne (1960), On pre-conditioning of matrices. Neyshabur, Salakhutdinov and Srebro
    (2015), Path-SGD, use the invariance for ReLU; it holds for the slopes of any
    elementwise activation.

    Examples
    --------
    >>> import torch
    >>> from tacit.lipschitz.closed_form.balancing import balance
    >>> from tacit.lipschitz.layers import Activation
    >>> from tacit.lipschitz.network import chain
    >>> from tacit.lipschitz.problem import LipschitzProblem
    >>> from tacit.lipschitz.closed_form.products import product_bound
    >>> relu, scale = Activation(kind="relu"), torch.diag(torch.tensor([1.0, 1024.0]))
    >>> net = chain([(scale, None, relu), (scale.inverse(), None, None)])
    >>> even = balance(net, generator=torch.Generator().manual_seed(0))
    >>> [round(product_bound(LipschitzProblem(network=n)).value) for n in (net, even)]
    [1024, 1]
    """
    sites = range(1, len(network.site_shapes) - 1)
    if not sites:
        return network
    factors = {site: torch.ones(1, dtype=torch.float64) for site in sites}
    for sweep in range(_SWEEPS):
        incoming, outgoing = _energies(_rescaled(network, factors), generator)
        for site, factor in factors.items():
            step = torch.log2(outgoing[site] / incoming[site]) / 4.0
            # First to the neighbourhood, then averaging out the noise of the probes.
            step = torch.where(torch.isfinite(step), step, 0.0) / max(1, sweep - 1)
            factors[site] = (factor * torch.exp2(step)).clamp(2.0**-500, 2.0**500)
    return _rescaled(network, factors)


def _rescaled(network: Network, factors: dict[int, Tensor]) -> Network:
    """Multiply every ``y_t`` and divide ``z_t`` by its factor."""
    layers: list[tuple[Layer, tuple[int, ...]]] = []
    position = [0]
    for node, site in zip(network.nodes, network.sites, strict=True):
        inputs = tuple(position[i] for i in node.inputs)
        if site is None:
            layers.append((node.layer, inputs))
        else:
            factor = _along_channels(factors[site], len(node.shape))
            layers.append((Scale(factor=factor), inputs))
            layers.append((node.layer, (len(layers),)))
            layers.append((Scale(factor=1.0 / factor), (len(layers),)))
        position.append(len(layers))
    return make_network(network.in_shape, layers)


def _along_channels(factor: Tensor, dimension: int) -> Tensor:
    return factor.reshape(-1, *(1,) * (dimension - 1))


def _energies(
    network: Network, generator: torch.Generator
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Estimate the squared Frobenius norms per channel into y and out of z."""

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(_PROBES, *shape, generator=generator, dtype=torch.float64)

    arrived: dict[int, Tensor] = {}
    left: dict[int, Tensor] = {}

    def activate(site: int, y: Tensor) -> Tensor:
        arrived[site] = y
        left[site] = draw(tuple(y.shape[1:])).requires_grad_()
        return left[site]

    with torch.enable_grad():
        output = run(network, draw(network.in_shape), activate, shift=False)
        total = (output * draw(network.out_shape)).sum()
        for y in arrived.values():
            total = total + (y * draw(tuple(y.shape[1:]))).sum()
    gradients = torch.autograd.grad(total, list(left.values()), materialize_grads=True)
    incoming = {site: _per_channel(y.detach()) for site, y in arrived.items()}
    outgoing = dict(zip(left, map(_per_channel, gradients), strict=True))
    return incoming, outgoing


def _per_channel(values: Tensor) -> Tensor:
    return (values * values).transpose(0, 1).flatten(start_dim=1).sum(dim=1)
