"""The moving average of the generator, which is what samples and scores are made of."""

import copy
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

# Steps after which a tenth of the start is left: (1 + t) / (10 + t).
_WARM_UP = 10.0
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@final
class MovingAverage:
    r"""Exponential moving average of a generator's parameters.

    After step t = 1, 2, ... every parameter becomes

    .. math:: \bar\theta \leftarrow \beta_t \bar\theta + (1 - \beta_t)\,\theta,
              \quad \beta_t = \min(\beta, (1 + t) / (10 + t)).

    Buffers are not averaged. :meth:`finish` copies them from the trained generator
    (vectors of a spectral norm belong to its weights up to one power step), and then
    recomputes the statistics of batch normalisation at the averaged parameters, as the
    plain mean over batches of given latents: those gathered in training belong to
    other parameters.

    Parameters
    ----------
    generator : Module
        The generator in training; it is read, never changed.
    decay : float
        beta, in [0, 1); 0 makes the average the generator itself.

    References
    ----------
    Averaged generators: Yazici et al., The unusual effectiveness of averaging in GAN
    training (2019), recalled. Recomputed statistics: as ``torch.optim.swa_utils
    .update_bn``; doing so at every evaluation is our choice.
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        self._decay = decay
        self._live = generator
        self.module: nn.Module = copy.deepcopy(generator).requires_grad_(
            requires_grad=False
        )
        self._averaged: list[Tensor] = list(self.module.parameters())
        self._trained: list[Tensor] = list(generator.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the parameters after ``step`` into the average.

        Parameters
        ----------
        step : int
            Counted from 1.
        """
        decay = min(self._decay, (1.0 + step) / (_WARM_UP + step))
        torch._foreach_lerp_(self._averaged, self._trained, 1.0 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage] - its only name

    @torch.no_grad()
    def finish(self, latents: Sequence[Tensor]) -> nn.Module:
        """Return the averaged generator ready for sampling, in evaluation mode.

        Parameters
        ----------
        latents : sequence of Tensor, each of shape (batch, latent_dim)
            On the generator's device; used if there is batch normalisation.

        Returns
        -------
        Module
            Not a copy: the next :meth:`update` and :meth:`finish` change it.
        """
        for own, live in zip(self.module.buffers(), self._live.buffers(), strict=True):
            own.copy_(live)
        self.module.eval()  # before: in training mode a spectral norm moves its vectors
        recompute_statistics(self.module, latents)
        return self.module


@torch.no_grad()
def recompute_statistics(module: nn.Module, latents: Sequence[Tensor]) -> None:
    """Set running means and variances of batch normalisation to those of ``latents``.

    Parameters
    ----------
    module : Module
        Changed in place; without batch normalisation nothing happens.
    latents : sequence of Tensor
        Batches; each counts the same.
    """
    norms = [
        layer
        for layer in module.modules()
        if isinstance(layer, _NORMS) and layer.track_running_stats
    ]
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    was_training = [layer.training for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.train()
    for batch in latents:
        module(batch)
    for layer, momentum, training in zip(norms, momenta, was_training, strict=True):
        layer.momentum = momentum
        layer.train(training)
