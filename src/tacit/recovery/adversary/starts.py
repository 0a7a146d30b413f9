r"""Noises from which an ascent begins, and random ones to compare with."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.recovery.adversary.descent_cone import (
    ConeMember,
    longest_member,
    near_kernel_direction,
)
from tacit.recovery.adversary.optimality import rank_system
from tacit.recovery.adversary.target import Answer, NoiseTarget, solve_for_noise

CONE = "descent cone"
TANGENT = "tangent space"
RANDOM = "random noise"
ZERO = "zero answer"

_SMALL = 1e-10  # relative: singular values that count as zero


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseStart:
    """A noise and where it comes from."""

    name: str
    noise: Tensor


def random_answers(
    target: NoiseTarget, count: int, generator: torch.Generator
) -> list[tuple[Tensor, Answer]]:
    """Draw noises and solve for them; the largest error comes first."""
    noises = [target.draw(generator) for _ in range(count)]
    pairs = [(noise, solve_for_noise(target, noise)) for noise in noises]
    return sorted(pairs, key=lambda pair: -pair[1].error)


def longest_of_cone(target: NoiseTarget, error: Tensor) -> ConeMember:
    """Search the longest member from a direction near the kernel and from an error."""
    members = [longest_member(target, near_kernel_direction(target))]
    if float(torch.linalg.matrix_norm(error)) > 0.0:
        members.append(longest_member(target, error))
    return max(members, key=lambda member: member.size)


def tangent_noise(target: NoiseTarget) -> Tensor:
    r"""Return the noise that a fit on the tangent space at the truth bears worst.

    While the optimum has the rank of the truth its error is, to first order, the
    shortest tangent :math:`\xi` in the sense of :math:`\langle U V^H, \cdot \rangle`
    with :math:`\|\mathcal{A}(\xi) - e\| \le \tau`, that is

    .. math:: \xi = \mathcal{A}_T^+ (e + \tau n), \qquad
              n = - \frac{\mathcal{A}_T^{+*} (U V^H)}{\|\mathcal{A}_T^{+*} (U V^H)\|}.

    The noise is tau times the left singular vector to the smallest singular value of
    :math:`\mathcal{A}_T`, with the sign (phase) that adds to n.

    Parameters
    ----------
    target : NoiseTarget

    Returns
    -------
    Tensor, shape (num_measurements,)
        Of length tau.
    """
    values = torch.linalg.svdvals(target.truth)
    rank = int((values > _SMALL * values[0]).sum())
    program = target.program(torch.zeros_like(target.problem.measurements))
    system = rank_system(program, target.truth, rank, 1.0)
    polar = system.pull(system.left[:, :rank] @ system.right[:, :rank].mH)
    left, sizes, right = torch.linalg.svd(system.images, full_matrices=False)
    last = int((sizes > _SMALL * sizes[0]).sum()) - 1
    along = -(right[last] @ polar)
    size = along.abs()
    phase = along / size if float(size) > 0.0 else torch.ones_like(along)
    return target.into_ball(left[:, last] * phase * target.noise_bound)


def noise_starts(
    target: NoiseTarget, member: ConeMember, random: list[Tensor], count: int
) -> list[NoiseStart]:
    """Return the first so many starts, and one more where the answer may be zero.

    Parameters
    ----------
    target : NoiseTarget
    member : ConeMember
        The longest found.
    random : list of Tensor
        Random noises, the worst first.
    count : int
        Descent cone, tangent space, then random noises in turn.
    """
    starts = [
        NoiseStart(name=CONE, noise=member.noise()),
        NoiseStart(name=TANGENT, noise=tangent_noise(target)),
        *(NoiseStart(name=RANDOM, noise=noise) for noise in random),
    ][:count]
    if target.relative_noise >= 0.5:  # then this noise leaves only tau to be fitted
        noise = target.into_ball(-0.5 * target.problem.measurements)
        starts.append(NoiseStart(name=ZERO, noise=noise))
    return starts
