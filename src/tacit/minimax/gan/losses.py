r"""What the two players of a GAN minimise, each its own loss.

D(x) is the discriminator's score, larger for what looks real. Where it stands for the
probability :math:`p(x) = 1 / (1 + e^{-D(x)})` of being real, :math:`-\log p` is
softplus(-D) and :math:`-\log (1 - p)` is softplus(D), which neither overflow nor lose
digits.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacit.errors import InputError, ShapeError

Loss = Literal["minimax", "non-saturating", "hinge", "wasserstein-gp"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# Numbers in both batches up to which one pass of both is faster than two on a CPU: it
# saves a quarter at 64 images of 8 x 8, and loses as much to its caches at 32 x 32.
_TOGETHER = 2**16


def discriminator_loss(
    loss: Loss,
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    *,
    penalty_weight: float = 10.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return what the discriminator minimises.

    ================== =============================================================
    minimax,           :math:`\overline{\mathrm{softplus}(-D(x))} +
    non-saturating     \overline{\mathrm{softplus}(D(G(z)))}` ([Goodfellow2014]_,
                       equation 1)
    hinge              :math:`\overline{\max(0, 1 - D(x))} +
                       \overline{\max(0, 1 + D(G(z)))}` ([Miyato2018]_, equation 16)
    wasserstein-gp     :math:`\overline{D(G(z))} - \overline{D(x)} + \lambda
                       \overline{(\|\nabla D(\hat x)\| - 1)^2}` ([Gulrajani2017]_,
                       equation 3)
    ================== =============================================================

    Bars are means over the batch; real and fake ones count as much as each other
    whatever their numbers.

    Parameters
    ----------
    loss : {"minimax", "non-saturating", "hinge", "wasserstein-gp"}
    discriminator : Module
        Samples (batch, *data_shape) to scores (batch,). Small batches pass it
        together unless it has batch norm: samples must not influence each other by
        anything else.
    real, fake : Tensor, shape (batch, *data_shape)
        On one device. Gradients reach ``fake`` unless it is detached.
    penalty_weight : float
        :math:`\lambda`, of ``wasserstein-gp`` alone; 10 as in [Gulrajani2017]_.
    generator : torch.Generator or None
        On the CPU; draws where the penalty is taken, for ``wasserstein-gp`` alone.

    Returns
    -------
    Tensor, shape ()

    Raises
    ------
    InputError
        If the loss is unknown, ``wasserstein-gp`` has no generator, or its
        discriminator has batch norm.
    ShapeError
        If real and fake samples, or the scores, have wrong shapes.

    References
    ----------
    .. [Goodfellow2014] Goodfellow et al., Generative adversarial nets, 2014,
       arXiv:1406.2661.
    .. [Gulrajani2017] Gulrajani et al., Improved training of Wasserstein GANs, 2017,
       arXiv:1704.00028.
    .. [Miyato2018] Miyato et al., Spectral normalization for generative adversarial
       networks, 2018, arXiv:1802.05957.

    Examples
    --------
    >>> import tacit, torch
    >>> gan = tacit.build_gan("mlp", data_shape=(2,), width=4, spectral_norm=False,
    ...     generator=tacit.make_generator(0))
    >>> blind = gan.discriminator.requires_grad_(False)
    >>> for weight in blind.parameters():
    ...     _ = weight.zero_()
    >>> x = torch.ones(5, 2)
    >>> tacit.discriminator_loss("minimax", blind, x, x)  # 2 log 2
    tensor(1.3863)
    """
    _check_loss(loss)
    if real.shape[1:] != fake.shape[1:]:
        raise ShapeError(
            "real and fake samples must have one shape; got "
            f"{tuple(real.shape[1:])} and {tuple(fake.shape[1:])}"
        )
    has_batch_norm = any(isinstance(m, _BATCH_NORMS) for m in discriminator.modules())
    if loss == "wasserstein-gp" and (generator is None or has_batch_norm):
        raise InputError(
            "wasserstein-gp must have a generator, and a discriminator without batch "
            f"norm; got {'batch norm' if generator else 'no generator'}; give one, or "
            "build the networks with batch_norm=False"
        )
    is_small = real.is_cuda or real.numel() + fake.numel() <= _TOGETHER
    if has_batch_norm or not is_small:
        # Batch norm has to normalise real and fake samples apart (Radford et al. 2016).
        on_real, on_fake = discriminator(real), discriminator(fake)
    else:
        both = discriminator(torch.cat((real, fake)))
        _check_scores(both, len(real) + len(fake))
        on_real, on_fake = both[: len(real)], both[len(real) :]
    _check_scores(on_real, len(real))
    _check_scores(on_fake, len(fake))
    if loss == "hinge":
        return (
            functional.relu(1.0 - on_real).mean()
            + functional.relu(1.0 + on_fake).mean()
        )
    if loss == "wasserstein-gp" and generator is not None:
        penalty = gradient_penalty(discriminator, real, fake, generator=generator)
        return on_fake.mean() - on_real.mean() + penalty_weight * penalty
    return functional.softplus(-on_real).mean() + functional.softplus(on_fake).mean()


def generator_loss(loss: Loss, scores_fake: Tensor) -> Tensor:
    r"""Return what the generator minimises.

    ================== =============================================================
    minimax            :math:`-\overline{\mathrm{softplus}(D(G(z)))}`, the part of
                       minus the discriminator's loss that it can move; its gradient
                       vanishes where D is sure ([Goodfellow2014]_, equation 1)
    non-saturating     :math:`\overline{\mathrm{softplus}(-D(G(z)))}`
                       ([Goodfellow2014]_, section 3)
    hinge,             :math:`-\overline{D(G(z))}` ([Miyato2018]_, equation 17;
    wasserstein-gp     [Gulrajani2017]_, algorithm 1)
    ================== =============================================================

    Parameters
    ----------
    loss : {"minimax", "non-saturating", "hinge", "wasserstein-gp"}
    scores_fake : Tensor, shape (batch,)
        D(G(z)).

    Returns
    -------
    Tensor, shape ()

    Raises
    ------
    InputError
        If the loss is unknown.

    References
    ----------
    As for :func:`discriminator_loss`.

    Examples
    --------
    >>> import tacit, torch
    >>> tacit.generator_loss("hinge", torch.tensor([1.0, 3.0]))
    tensor(-2.)
    """
    _check_loss(loss)
    if loss == "minimax":
        return -functional.softplus(scores_fake).mean()
    if loss == "non-saturating":
        return functional.softplus(-scores_fake).mean()
    return -scores_fake.mean()


def gradient_penalty(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    *,
    generator: torch.Generator,
) -> Tensor:
    r"""Return how far the critic's gradients are from length 1, between the samples.

    .. math:: \frac{1}{B} \sum_{i=1}^{B} (\|\nabla D(\hat x_i)\|_2 - 1)^2, \quad
              \hat x_i = \epsilon_i x_i + (1 - \epsilon_i)\,G(z_i)

    with :math:`\epsilon_i` uniform in [0, 1).

    Parameters
    ----------
    discriminator : Module
        Scores each sample by itself, so without batch norm.
    real, fake : Tensor, shape (batch, *data_shape)
        As many of each; both are taken as constants.
    generator : torch.Generator
        On the CPU; draws :math:`\epsilon`.

    Returns
    -------
    Tensor, shape ()
        Differentiable with respect to the discriminator's parameters.

    Raises
    ------
    ShapeError
        If there are not as many real as fake samples.

    References
    ----------
    [Gulrajani2017]_, equation 3 and algorithm 1.
    """
    if real.shape != fake.shape:
        raise ShapeError(
            "a gradient penalty needs as many real as fake samples; got shapes "
            f"{tuple(real.shape)} and {tuple(fake.shape)}"
        )
    sizes = (len(real), *[1] * (real.ndim - 1))
    weights = torch.rand(sizes, dtype=real.dtype, generator=generator).to(real.device)
    between = torch.lerp(fake.detach(), real.detach(), weights).requires_grad_()
    (gradients,) = torch.autograd.grad(
        discriminator(between).sum(), between, create_graph=True
    )
    lengths = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
    return (lengths - 1.0).square().mean()


def _check_loss(loss: str) -> None:
    if loss not in get_args(Loss):
        raise InputError(
            f"loss must be one of {', '.join(get_args(Loss))}; got {loss!r}"
        )


def _check_scores(scores: Tensor, count: int) -> None:
    if scores.shape != (count,):
        raise ShapeError(
            f"a discriminator must return one score per sample, shape ({count},); got "
            f"{tuple(scores.shape)}; flatten it"
        )
