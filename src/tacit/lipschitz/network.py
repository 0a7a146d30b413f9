"""A network as a graph of layers, and the one interpreter that runs it.

The *sites* of a network are where tensors meet the nonlinear world: site 0 is the
input, sites 1..L are the activations in topological order, site L + 1 is the output.
Between sites everything is linear (up to shifts), so the network is

    y_t = sum_s A[t, s] z_s + shift_t,    z_t = activation_t(y_t),    z_0 = x,

with one block ``A[t, s]`` for every pair of sites that a linear path joins.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.lipschitz.layers import (
    Activation,
    Dense,
    Layer,
    Scale,
    Shape,
    Shift,
    converted,
    tensors_of,
)

# Maps (site, pre-activation y) to the post-activation z that the run goes on with.
Activate = Callable[[int, Tensor], Tensor]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One layer of the graph.

    Parameters
    ----------
    layer : AbstractLinear, Shift or Activation
        What it does.
    inputs : tuple of int
        Values it takes: 0 is the network's input, ``i`` the value of node ``i - 1``.
    shape : tuple of int
        Shape of its value for one sample.
    """

    layer: Layer
    inputs: tuple[int, ...]
    shape: Shape


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A feed-forward graph of layers with one input and one output.

    Build one with :func:`make_network`, which checks the graph, or import one with
    ``read_network`` or ``from_module``. The output is the value of the last node.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one input sample.
    nodes : tuple of Node
        In topological order; every node but the last is used by a later one.

    Examples
    --------
    >>> network = chain([(torch.ones(2, 3), None, Activation(kind="relu"))])
    >>> network.num_inputs, network.num_neurons, network.num_parameters
    (3, 2, 6)
    """

    in_shape: Shape
    nodes: tuple[Node, ...]

    @property
    def out_shape(self) -> Shape:
        """Shape of one output sample."""
        return self.nodes[-1].shape

    @property
    def num_inputs(self) -> int:
        """Entries of one input sample."""
        return math.prod(self.in_shape)

    @property
    def num_outputs(self) -> int:
        """Entries of one output sample."""
        return math.prod(self.out_shape)

    @property
    def num_neurons(self) -> int:
        """Entries of all activations together."""
        return sum(math.prod(shape) for shape in self.site_shapes[1:-1])

    @property
    def num_parameters(self) -> int:
        """Entries of all weights and biases together."""
        return sum(t.numel() for node in self.nodes for t in tensors_of(node.layer))

    @cached_property
    def activations(self) -> tuple[Activation, ...]:
        """The activations, in the order of sites 1..L."""
        layers = (node.layer for node in self.nodes)
        return tuple(layer for layer in layers if isinstance(layer, Activation))

    @cached_property
    def site_shapes(self) -> tuple[Shape, ...]:
        """Sample shapes of the sites 0..L + 1."""
        inner = (n.shape for n in self.nodes if isinstance(n.layer, Activation))
        return (self.in_shape, *inner, self.out_shape)

    @cached_property
    def sites(self) -> tuple[int | None, ...]:
        """For every node the site it is, or None where it is no activation."""
        count, sites = 0, list[int | None]()
        for node in self.nodes:
            count += isinstance(node.layer, Activation)
            sites.append(count if isinstance(node.layer, Activation) else None)
        return tuple(sites)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """For every site the most activations on a path from it to the output.

        The site itself counts, so the last activation has depth 1, the output 0.
        """
        best = [0] * (len(self.nodes) + 1)
        for index in range(len(self.nodes), 0, -1):
            node = self.nodes[index - 1]
            own = best[index] + isinstance(node.layer, Activation)
            best[index] = own
            for source in node.inputs:
                best[source] = max(best[source], own)
        of_site = [best[i + 1] for i, site in enumerate(self.sites) if site is not None]
        return (best[0] + 1, *of_site, 0)

    @cached_property
    def links(self) -> frozenset[tuple[int, int]]:
        """Pairs of sites ``(target, source)`` that a linear path joins."""
        reach: list[frozenset[int]] = [frozenset({0})]
        links = set[tuple[int, int]]()
        for node, site in zip(self.nodes, self.sites, strict=True):
            sources = frozenset[int]().union(*(reach[i] for i in node.inputs))
            if site is not None:
                links.update((site, source) for source in sources)
                sources = frozenset({site})
            reach.append(sources)
        output = len(self.site_shapes) - 1
        links.update((output, source) for source in reach[-1])
        return frozenset(links)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the function: graph, layer settings, and weights as float64."""
        state = hashlib.sha256(f"tacit network 1 {self.in_shape}".encode())
        for node in self.nodes:
            state.update(f"{type(node.layer).__name__} {node.inputs}".encode())
            for field in fields(node.layer):
                value = getattr(node.layer, field.name)
                if isinstance(value, Tensor):
                    array = value.detach().to("cpu", torch.float64).contiguous().numpy()
                    state.update(f"{field.name} {tuple(array.shape)}".encode())
                    state.update(array.astype("<f8").tobytes())
                else:
                    state.update(f"{field.name} {value!r}".encode())
        return state.hexdigest()

    def to(
        self, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> "Network":
        """Return the same network with its tensors converted."""
        nodes = tuple(
            replace(node, layer=converted(node.layer, dtype=dtype, device=device))
            for node in self.nodes
        )
        return Network(in_shape=self.in_shape, nodes=nodes)


def make_network(
    in_shape: Shape, layers: Sequence[tuple[Layer, tuple[int, ...]]]
) -> Network:
    """Return the checked network of ``layers``, weights as float64.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one input sample, every size positive.
    layers : sequence of (layer, inputs)
        In topological order; ``inputs`` as in :class:`Node`. The last one is the
        output. Layers that do not reach the output are dropped.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        If there is no layer, a weight is not finite, or an input index is not earlier.
    ShapeError
        If the layers' shapes do not fit together.
    """
    if not layers:
        raise InputError("a network needs at least one layer; got none")
    if not all(size > 0 for size in in_shape):
        raise InputError(f"every size of in_shape must be positive; got {in_shape}")
    kept = _reachable(layers)
    renumber = {0: 0} | {old: new for new, old in enumerate(kept, start=1)}
    values = [torch.zeros(1, *in_shape, dtype=torch.float64, device="meta")]
    nodes: list[Node] = []
    for old in kept:
        layer, inputs = layers[old - 1]
        name = f"layer {old} ({type(layer).__name__})"
        for tensor in tensors_of(layer):
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"weights must be finite numbers; {name} holds NaN or infinity"
                )
        layer = converted(layer, dtype=torch.float64, device="cpu")
        if isinstance(layer, Activation) and layer.radius == 0.0:
            # One slope only: linear, and no multiplier could be found for it.
            layer = Scale(factor=torch.tensor(layer.center, dtype=torch.float64))
        own = tuple(renumber[i] for i in inputs)
        meta = converted(layer, dtype=torch.float64, device="meta")
        try:
            value = meta.apply(*(values[i] for i in own))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            got = " and ".join(str(tuple(values[i].shape[1:])) for i in own)
            reason = str(error).splitlines()[0]
            raise ShapeError(
                f"{name} does not accept an input of shape {got}: {reason}"
            ) from None
        is_kept = not isinstance(layer, Shift) or value.shape == values[own[0]].shape
        if value.shape[0] != 1 or not is_kept:
            raise ShapeError(
                f"{name} must keep its input's axes; its constant has more"
            )
        values.append(value)
        nodes.append(Node(layer=layer, inputs=own, shape=tuple(value.shape[1:])))
    return Network(in_shape=tuple(in_shape), nodes=tuple(nodes))


def _reachable(layers: Sequence[tuple[Layer, tuple[int, ...]]]) -> list[int]:
    needed = {len(layers)}
    for index in range(len(layers), 0, -1):
        inputs = layers[index - 1][1]
        if not inputs or not all(0 <= i < index for i in inputs):
            raise InputError(
                f"layer {index} must take earlier values 0..{index - 1}; got {inputs}"
            )
        if index in needed:
            needed.update(inputs)
    return sorted(needed - {0})


def run(
    network: Network,
    inputs: Tensor,
    activate: Activate | None = None,
    *,
    shift: bool = True,
) -> Tensor:
    """Run the network on a batch, with each activation replaced by ``activate``.

    Parameters
    ----------
    network : Network
        What to run.
    inputs : Tensor, shape (batch, *in_shape)
        The batch, in the dtype and on the device of the network's tensors.
    activate : callable or None
        Called as ``activate(site, y)`` in topological order; what it returns takes
        the place of the activation's value. None: the network's own activations.
    shift : bool
        Whether biases are added. Without them and with a linear ``activate`` the
        run is linear in ``inputs``.

    Returns
    -------
    Tensor, shape (batch, *out_shape)
    """
    values: list[Tensor | None] = [inputs]
    last_use = _last_uses(network)
    for index, (node, site) in enumerate(
        zip(network.nodes, network.sites, strict=True), 1
    ):
        arguments = [_present(values[i]) for i in node.inputs]
        layer = node.layer
        if isinstance(layer, Shift) and not shift:
            value = arguments[0]
        elif site is not None and activate is not None:
            value = activate(site, arguments[0])
        else:
            value = layer.apply(*arguments)
        values.append(value)
        for source in node.inputs:
            if last_use[source] == index:
                values[source] = None  # frees memory that nothing later reads
    return _present(values[-1])


def _present(value: Tensor | None) -> Tensor:
    if value is None:
        raise ShapeError("a value was freed before its last use; report this as a bug")
    return value


def _last_uses(network: Network) -> dict[int, int]:
    return {
        source: index
        for index, node in enumerate(network.nodes, start=1)
        for source in node.inputs
    }


def linear_part(network: Network, source: int, batch: Tensor) -> dict[int, Tensor]:
    """Push values of one site through linear layers only, up to the next sites.

    Parameters
    ----------
    source : int
        A site in 0..L.
    batch : Tensor, shape (batch, *shape of the site)
        Values ``z_source``; all other sites are taken as zero.

    Returns
    -------
    dict of int to Tensor
        For every site ``t`` with a block ``A[t, source]`` the batch of
        ``A[t, source] z_source``.
    """
    values: list[Tensor | None] = [batch if source == 0 else None]
    found: dict[int, Tensor] = {}
    for node, site in zip(network.nodes, network.sites, strict=True):
        arguments = [values[i] for i in node.inputs]
        if site is not None:
            if arguments[0] is not None:
                found[site] = arguments[0]
            values.append(batch if site == source else None)
        elif all(value is None for value in arguments):
            values.append(None)
        elif isinstance(node.layer, Shift):
            values.append(arguments[0])
        else:
            shapes = [
                network.in_shape if i == 0 else network.nodes[i - 1].shape
                for i in node.inputs
            ]
            filled = [
                batch.new_zeros(batch.shape[0], *shape) if value is None else value
                for value, shape in zip(arguments, shapes, strict=True)
            ]
            values.append(node.layer.apply(*filled))
    if values[-1] is not None:
        found[len(network.site_shapes) - 1] = values[-1]
    return found


def chain(layers: Iterable[tuple[Tensor, Tensor | None, Activation | None]]) -> Network:
    """Return the fully connected network of ``(weight, bias, activation)`` triples.

    Parameters
    ----------
    layers : iterable of (weight, bias or None, activation or None)
        ``weight`` of shape (out, in), ``bias`` of shape (out,).

    Raises
    ------
    InputError, ShapeError
        As :func:`make_network`.

    Examples
    --------
    >>> relu = Activation(kind="relu")
    >>> net = chain([(torch.eye(3), None, relu), (torch.ones(1, 3), None, None)])
    >>> net.num_neurons, net.out_shape
    (3, (1,))
    """
    triples = list(layers)
    if not triples:
        raise InputError("a network needs at least one layer; got none")
    nodes: list[tuple[Layer, tuple[int, ...]]] = []
    for weight, bias, activation in triples:
        added: list[Layer | None] = [
            Dense(weight=weight),
            None if bias is None else Shift(offset=bias),
            activation,
        ]
        for layer in added:
            if layer is not None:
                nodes.append((layer, (len(nodes),)))
    return make_network((triples[0][0].shape[1],), nodes)
