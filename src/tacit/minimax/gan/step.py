r"""One step of both players.

With :math:`\theta` the generator's and w the discriminator's parameters:

* alternating: w moves by the gradient at :math:`(\theta, w)`, ``discriminator_steps``
  times with fresh samples; then :math:`\theta` by its gradient at
  :math:`(\theta, w^+)`, at the fake samples that the last discriminator step saw;
* simultaneous: the last discriminator step and the generator's are both taken with
  gradients at one point;
* extra-gradient (Gidel et al., A variational inequality perspective on GANs, 2019,
  with fresh samples for the second gradient): both players move to a look-ahead point,
  and step from where they were with the gradients found there.
"""

import torch
from torch import Tensor

from tacit.minimax.gan.losses import discriminator_loss, generator_loss
from tacit.minimax.gan.players import Players
from tacit.minimax.optimisers import ExtraAdam


def take_step(players: Players) -> tuple[Tensor, Tensor]:
    """Move both players once; nothing is read back from the device.

    Parameters
    ----------
    players : Players
        Changed in place.

    Returns
    -------
    discriminator_loss, generator_loss : Tensor, shape ()
        Before the moves, on the device, without a graph. Of several discriminator steps
        the last; of an extra-gradient step that at its look-ahead point.
    """
    for _ in range(players.config.discriminator_steps - 1):
        _discriminator_step(players)
    if players.config.method == "extra-adam":
        return _extra_step(players)
    if players.config.order == "simultaneous":
        losses = _both_gradients(players)
        players.discriminator_optimiser.step()
        players.generator_optimiser.step()
        return losses
    return _alternating_step(players)


def _discriminator_step(players: Players) -> None:
    with torch.no_grad():
        fake = players.gan.generator(players.draw_latents())
    _discriminator_gradient(players, fake)
    if isinstance(players.discriminator_optimiser, ExtraAdam):
        players.discriminator_optimiser.extrapolate()
        with torch.no_grad():
            fake = players.gan.generator(players.draw_latents())
        _discriminator_gradient(players, fake)
    players.discriminator_optimiser.step()


def _alternating_step(players: Players) -> tuple[Tensor, Tensor]:
    fake = players.gan.generator(players.draw_latents())
    loss_d = _discriminator_gradient(players, fake.detach())
    players.discriminator_optimiser.step()
    loss_g = _generator_gradient(players, fake)
    players.generator_optimiser.step()
    return loss_d, loss_g


def _extra_step(players: Players) -> tuple[Tensor, Tensor]:
    optimisers = (players.discriminator_optimiser, players.generator_optimiser)
    _both_gradients(players)
    for optimiser in optimisers:
        if isinstance(optimiser, ExtraAdam):
            optimiser.extrapolate()
    losses = _both_gradients(players)
    for optimiser in optimisers:
        optimiser.step()
    return losses


def _both_gradients(players: Players) -> tuple[Tensor, Tensor]:
    fake = players.gan.generator(players.draw_latents())
    loss_d = _discriminator_gradient(players, fake.detach())
    return loss_d, _generator_gradient(players, fake)


def _discriminator_gradient(players: Players, fake: Tensor) -> Tensor:
    loss = discriminator_loss(
        players.config.loss,
        players.gan.discriminator,
        players.draw_real(),
        fake,
        penalty_weight=players.config.penalty_weight,
        generator=players.penalty,
    )
    players.discriminator_optimiser.zero_grad(set_to_none=True)
    loss.backward()
    return loss.detach()


def _generator_gradient(players: Players, fake: Tensor) -> Tensor:
    discriminator, generator = players.gan.discriminator, players.gan.generator
    loss = generator_loss(players.config.loss, discriminator(fake))
    players.generator_optimiser.zero_grad(set_to_none=True)
    # Not the discriminator's gradients, which its next step would throw away.
    loss.backward(inputs=[p for p in generator.parameters() if p.requires_grad])
    return loss.detach()
