r"""Generators of samples, and the matching problems that fit them to data.

A generator takes n fixed latents to n samples; what is trained is one flat vector
theta. The discriminator is linear in the samples or in features of them:

.. math:: f(\theta, d) = \Big\langle d,\ \frac1n \sum_{i=1}^n \phi(G_\theta(z_i))
          - \frac1N \sum_{j=1}^N \phi(x_j) \Big\rangle - \tfrac12 \|d\|^2
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tacit.errors import InputError, ShapeError
from tacit.minimax.matching import MatchingProblem, ReachableCone
from tacit.minimax.packing import Packing
from tacit.minimax.problem import check_data
from tacit.minimax.random_features import RandomFeatures


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SampleGenerator:
    """A function of trained parameters that returns samples from fixed latents.

    Parameters
    ----------
    function : callable
        Takes theta of shape ``(packing.size,)`` and returns the samples, shape
        ``(num_latents, sample_dim)``.
    packing : Packing
        Names and shapes of what theta holds.
    latents : Tensor, shape (num_latents, ...)
        What the samples are made of; gives dtype and device.
    cone : ReachableCone or None
        Where the mean of the samples is known to lie.

    Examples
    --------
    >>> import tacit, torch
    >>> latents = torch.randn(5, 3, generator=tacit.make_generator(0))
    >>> generator = tacit.deep_relu_generator(latents, (8, 6), sample_dim=2)
    >>> generator.function(torch.zeros(generator.packing.size)).shape
    torch.Size([5, 2])
    """

    function: Callable[[Tensor], Tensor]
    packing: Packing
    latents: Tensor
    cone: ReachableCone | None = None


def deep_relu_generator(
    latents: Tensor,
    hidden_widths: Sequence[int],
    *,
    output_weights: Tensor | None = None,
    sample_dim: int | None = None,
) -> SampleGenerator:
    r"""Return a ReLU generator with several hidden layers.

    .. math:: G_\theta(z) = V\, \mathrm{relu}(W_L \cdots \mathrm{relu}(W_1 z))

    theta holds W_1, ..., W_L (``"hidden1"``, ...) and, if it is trained as well, V
    (``"output"``).

    If V is fixed, the mean of the samples is V h with :math:`h \ge 0` at any depth, and
    every such h is reached if a latent differs from zero: the first layers can be
    chosen such that a last hidden input differs from zero, and each row of W_L then
    sets its h_j on its own. So the best value is that of a non-negative least squares
    problem at every depth (ours).

    Parameters
    ----------
    latents : Tensor, shape (num_latents, latent_dim)
        The rows z_i, fixed.
    hidden_widths : sequence of int
        The widths of the hidden layers, one at least.
    output_weights : Tensor, shape (sample_dim, hidden_widths[-1]), or None
        V, fixed.
    sample_dim : int or None
        Where V is trained as well, the number of its rows.

    Returns
    -------
    SampleGenerator
        With a cone exactly if V is fixed.

    Raises
    ------
    InputError
        If not exactly one of ``output_weights`` and ``sample_dim`` is given, an entry
        is not finite, or dtypes or devices differ.
    ShapeError
        If a width is below 1 or shapes do not fit.

    References
    ----------
    Balaji et al. (2021), paper 5: its general theorem covers deeper generators.

    Examples
    --------
    >>> import tacit, torch
    >>> latents = torch.randn(5, 3, generator=tacit.make_generator(0))
    >>> generator = tacit.deep_relu_generator(latents, (8, 6), sample_dim=2)
    >>> dict(generator.packing.shapes)
    {'hidden1': (8, 3), 'hidden2': (6, 8), 'output': (2, 6)}
    """
    if (output_weights is None) == (sample_dim is None):
        raise InputError(
            "give either output_weights, which stay fixed, or sample_dim, for an "
            "output layer that is trained; got "
            + ("neither" if sample_dim is None else "both")
        )
    data = {"latents": latents}
    if output_weights is not None:
        data["output_weights"] = output_weights
    check_data(data)
    _check_latents(latents)
    widths = tuple(hidden_widths)
    if min(widths, default=0) < 1 or (sample_dim is not None and sample_dim < 1):
        raise ShapeError(
            "hidden_widths and sample_dim must be at least 1, with one hidden layer or "
            f"more; got {widths} and {sample_dim}"
        )
    inputs = (latents.shape[1], *widths[:-1])
    shapes: dict[str, tuple[int, ...]] = {
        f"hidden{layer}": shape
        for layer, shape in enumerate(zip(widths, inputs, strict=True), 1)
    }
    cone = None
    if output_weights is not None:
        cone = _output_cone(output_weights, widths[-1], latents)
    elif sample_dim is not None:
        shapes["output"] = (sample_dim, widths[-1])
    packing = Packing(shapes=shapes)

    def samples(theta: Tensor) -> Tensor:
        layers = list(packing.unpack(theta).values())
        last = layers.pop() if output_weights is None else output_weights
        hidden = latents
        for weights in layers:
            hidden = torch.relu(hidden @ weights.mT)
        return hidden @ last.mT

    return SampleGenerator(
        function=samples, packing=packing, latents=latents, cone=cone
    )


def draw_parameters(
    generator_of_samples: SampleGenerator,
    *,
    generator: torch.Generator,
    gain: float = 2.0,
    batch: tuple[int, ...] = (),
) -> Tensor:
    r"""Draw a start for a generator whose parameters are all matrices.

    Entries of a matrix with c columns are from :math:`N(0, \gamma / c)`; the default
    keeps the size of the signal through ReLU layers.

    Parameters
    ----------
    generator_of_samples : SampleGenerator
        Gives names, shapes, dtype and device.
    generator : torch.Generator
        Draws, matrix by matrix, in float64 (on the CPU).
    gain : float
        :math:`\gamma > 0`.
    batch : tuple of int
        Batch dimensions: starts that are drawn independently.

    Returns
    -------
    Tensor, shape (*batch, packing.size)
        theta.

    Raises
    ------
    InputError
        If the gain is not positive and finite, or a parameter is no matrix.

    References
    ----------
    He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers", section 2.2.

    Examples
    --------
    >>> import tacit, torch
    >>> stream = tacit.make_generator(0)
    >>> deep = tacit.deep_relu_generator(torch.randn(5, 3, generator=stream), (8, 6),
    ...     sample_dim=2)
    >>> tacit.draw_parameters(deep, generator=stream, batch=(4,)).shape
    torch.Size([4, 84])
    """
    if not (math.isfinite(gain) and gain > 0):
        raise InputError(f"gain must be positive and finite; got {gain}")
    drawn: dict[str, Tensor] = {}
    packing = generator_of_samples.packing
    for name, shape in packing.shapes.items():
        if len(shape) != 2:
            raise InputError(
                f"only matrices are drawn; {name} has shape {shape}; start from "
                "packing.pack of parameters of your own"
            )
        entries = torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)
        drawn[name] = entries * math.sqrt(gain / shape[1])
    return packing.pack(drawn).to(generator_of_samples.latents)


def module_generator(module: nn.Module, latents: Tensor) -> SampleGenerator:
    """Return the generator that a PyTorch module is.

    What is trained are the parameters that require a gradient; all others, and the
    buffers, stay as they are. The module is copied.

    Parameters
    ----------
    module : torch.nn.Module
        Takes ``latents`` to samples of shape ``(num_latents, ...)``, which are
        flattened to ``(num_latents, sample_dim)``. In evaluation mode: it must be a
        fixed function of its parameters. (Batch normalisation over the latents
        themselves is one: with ``track_running_stats=False``.)
    latents : Tensor, shape (num_latents, ...)
        Its input, fixed.

    Returns
    -------
    SampleGenerator
        Without a cone. ``packing.pack(dict(module.named_parameters()))`` is where the
        module stands, if all its parameters require a gradient.

    Raises
    ------
    InputError
        If the module is in training mode, has nothing to train, an entry is not finite,
        or dtypes or devices differ.
    ShapeError
        If there are no latents.

    Examples
    --------
    >>> import tacit, torch
    >>> layer = torch.nn.utils.skip_init(torch.nn.Linear, 2, 1)
    >>> _ = layer.load_state_dict({"weight": torch.ones(1, 2), "bias": torch.ones(1)})
    >>> generator = tacit.module_generator(layer.eval(), torch.eye(2))
    >>> theta = generator.packing.pack(dict(layer.named_parameters()))
    >>> generator.function(theta.detach())
    tensor([[2.],
            [2.]])
    """
    if any(part.training for part in module.modules()):
        raise InputError(
            "module must be in evaluation mode, a fixed function of its parameters; "
            "call module.eval() first"
        )
    trained = {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    if not trained:
        raise InputError(
            "module must have a parameter that requires a gradient; got none to train"
        )
    check_data({"latents": latents, **trained})
    if latents.ndim < 1 or latents.shape[0] < 1:
        raise ShapeError(
            f"latents must have shape (num_latents, ...); got {tuple(latents.shape)}"
        )
    packing = Packing(
        shapes={name: tuple(tensor.shape) for name, tensor in trained.items()}
    )
    own = copy.deepcopy(module)

    def samples(theta: Tensor) -> Tensor:
        output = functional_call(own, packing.unpack(theta), (latents,))
        return output.reshape(output.shape[0], -1)

    return SampleGenerator(function=samples, packing=packing, latents=latents)


def generator_problem(
    generator_of_samples: SampleGenerator,
    data: Tensor,
    *,
    features: RandomFeatures | None = None,
) -> MatchingProblem:
    r"""Return the game of a generator against a discriminator linear in features.

    .. math:: g(\theta) = \frac1n \sum_i \phi(G_\theta(z_i)), \qquad
              b = \frac1N \sum_j \phi(x_j)

    Parameters
    ----------
    generator_of_samples : SampleGenerator
        G with its latents.
    data : Tensor, shape (num_samples, ...)
        The x_j, flattened to ``(num_samples, sample_dim)``.
    features : RandomFeatures or None
        phi; the sample itself by default.

    Returns
    -------
    MatchingProblem
        With the generator's cone if there are no features.

    Raises
    ------
    ShapeError
        If there are no data, or samples and data have different sizes.
    InputError
        If an entry is not finite, or dtypes or devices differ.

    Examples
    --------
    >>> import tacit, torch
    >>> stream = tacit.make_generator(0)
    >>> deep = tacit.deep_relu_generator(torch.randn(5, 3, generator=stream), (8, 6),
    ...     output_weights=torch.randn(2, 6, generator=stream))
    >>> problem = tacit.generator_problem(deep, torch.randn(50, 2, generator=stream))
    >>> problem.spec.min_shape, problem.reachable_cone.columns.shape
    ((72,), torch.Size([2, 6]))
    """
    check_data({"data": data, "latents": generator_of_samples.latents})
    if data.ndim < 2 or 0 in data.shape:
        raise ShapeError(
            "data must have shape (num_samples, ...), each at least 1; got "
            f"{tuple(data.shape)}"
        )
    rows = data.flatten(1)
    if features is not None:
        check_data({"data": data, "weights": features.weights})
        if features.weights.shape[1] != rows.shape[1]:
            raise ShapeError(
                f"features must be of samples of size {rows.shape[1]} as the data are; "
                f"got features of samples of size {features.weights.shape[1]}"
            )

    def mean_features(samples: Tensor) -> Tensor:
        return (samples if features is None else features.apply(samples)).mean(0)

    size = generator_of_samples.packing.size
    samples = generator_of_samples.function(data.new_zeros(size))
    if samples.ndim != 2 or samples.shape[1] != rows.shape[1]:
        raise ShapeError(
            f"data must be samples of size {samples.shape[-1]} as the generator makes "
            f"them; got {tuple(data.shape)}"
        )
    return MatchingProblem(
        generator_function=lambda theta: mean_features(
            generator_of_samples.function(theta)
        ),
        min_shape=(size,),
        target=mean_features(rows),
        cone=generator_of_samples.cone if features is None else None,
    )


def _check_latents(latents: Tensor) -> None:
    if latents.ndim != 2 or 0 in latents.shape:
        raise ShapeError(
            "latents must have shape (num_latents, latent_dim), each at least 1; got "
            f"{tuple(latents.shape)}"
        )


def _output_cone(output_weights: Tensor, width: int, latents: Tensor) -> ReachableCone:
    if output_weights.ndim != 2 or output_weights.shape[1] != width:
        raise ShapeError(
            f"output_weights must have shape (sample_dim, {width}) as the last hidden "
            f"layer has that width; got {tuple(output_weights.shape)}"
        )
    return ReachableCone(columns=output_weights, is_exact=bool((latents != 0).any()))
