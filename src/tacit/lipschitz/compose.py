"""Networks put together from a network and further layers."""

from tacit.lipschitz.layers import AbstractLinear, Layer, Shape
from tacit.lipschitz.network import Network, make_network


def append(network: Network, *layers: Layer) -> Network:
    """Return the network followed by ``layers``."""
    nodes: list[tuple[Layer, tuple[int, ...]]] = [
        (n.layer, n.inputs) for n in network.nodes
    ]
    for layer in layers:
        nodes.append((layer, (len(nodes),)))
    return make_network(network.in_shape, nodes)


def prepend(network: Network, in_shape: Shape, *layers: AbstractLinear) -> Network:
    """Return ``layers`` followed by the network, taking inputs of ``in_shape``."""
    nodes: list[tuple[Layer, tuple[int, ...]]] = []
    for layer in layers:
        nodes.append((layer, (len(nodes),)))
    offset = len(nodes)
    nodes += [
        (node.layer, tuple(i + offset for i in node.inputs)) for node in network.nodes
    ]
    return make_network(in_shape, nodes)
