r"""Extragradient for mini-batches: look ahead, then step from where it began."""

from collections.abc import Callable
from typing import Any, final, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from tacit.errors import InputError
from tacit.minimax.optimisers.rules import (
    adam_step,
    check_groups,
    copy_all,
    evaluate,
    sgd_step,
)

_ANCHOR = "anchor"  # where a parameter was before the look-ahead


@final
class ExtraAdam(Optimizer):
    r"""Adam with an extrapolation before each step.

    With u(g) the direction of Adam after the gradient g was added to its moments,

    .. math:: \bar\theta = \theta - \eta\, u(g(\theta)), \qquad
              \theta^+ = \theta - \eta\, u(g(\bar\theta)) .

    Both gradients enter the moments, and each counts as a step in their bias
    correction. Both players call ``extrapolate``, compute gradients anew and call
    ``step``; two gradients of each player in all. The step itself is torch's.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or groups of them, real floating point.
    lr : float
        :math:`\eta \ge 0`.
    betas : (float, float)
        Decay rates of the two moments, in [0, 1).
    eps : float
        Added to the root of the second moment, as in :class:`torch.optim.Adam`.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    InputError
        If a setting is out of range, or a parameter not real floating point.

    References
    ----------
    Gidel, Berard, Vignoud, Vincent and Lacoste-Julien, A variational inequality
    perspective on generative adversarial networks, ICLR 2019, algorithm 4.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    >>> optimiser = tacit.ExtraAdam([x], lr=0.1)
    >>> for move in (optimiser.extrapolate, optimiser.step):
    ...     optimiser.zero_grad()
    ...     x.square().sum().backward()
    ...     move()
    >>> round(float(x.detach()), 3)
    0.9
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        self._spare: dict[Tensor, Tensor] = {}
        Optimizer.__init__(self, params, {**settings, "fused": False})
        check_groups(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__setstate__(self, state)
        self._spare = {}

    @torch.no_grad()
    def extrapolate(self) -> None:
        """Move to the look-ahead point; where the parameters are now is kept.

        Raises
        ------
        InputError
            If it was called before, and ``step`` has not been called since.
        """
        _leave_anchors(self, self._spare)
        for group in self.param_groups:
            adam_step(self, group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Step from the point before ``extrapolate``, by the gradients at this one.

        Parameters
        ----------
        closure : callable or None
            Computes the gradients at the look-ahead point and returns the loss.

        Raises
        ------
        InputError
            If ``extrapolate`` has not been called before.
        """
        loss = evaluate(closure)
        _return_to_anchors(self, self._spare)
        for group in self.param_groups:
            adam_step(self, group)
        return loss


@final
class ExtraSGD(Optimizer):
    r"""SGD with an extrapolation before each step.

    .. math:: \bar\theta = \theta - \eta\, g(\theta), \qquad
              \theta^+ = \theta - \eta\, g(\bar\theta) .

    Used as :class:`ExtraAdam`. With momentum :math:`\beta` a gradient is replaced by
    :math:`v \leftarrow \beta v + g`, at both points.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or groups of them, real floating point.
    lr : float
        :math:`\eta \ge 0`.
    momentum : float
        :math:`\beta`, between -1 and 1; negative values damp rotations.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    InputError
        If a setting is out of range, or a parameter not real floating point.

    References
    ----------
    Korpelevich (1976) for exact gradients; Gidel et al. (2019), algorithm 2 without
    its averaging, for mini-batches.

    Examples
    --------
    >>> import tacit, torch
    >>> x, y = (torch.ones(1, requires_grad=True) for _ in range(2))
    >>> down = tacit.ExtraSGD([x], lr=0.5)
    >>> up = tacit.ExtraSGD([y], lr=0.5, maximize=True)
    >>> for move in ("extrapolate", "step"):
    ...     x.grad, y.grad = torch.autograd.grad((x * y).sum(), (x, y))
    ...     _ = getattr(down, move)(), getattr(up, move)()
    >>> float(x.detach()), float(y.detach())  # look-ahead: (0.5, 1.5)
    (0.25, 1.25)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "maximize": maximize}
        self._spare: dict[Tensor, Tensor] = {}
        Optimizer.__init__(self, params, {**settings, "fused": False})
        check_groups(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__setstate__(self, state)
        self._spare = {}

    @torch.no_grad()
    def extrapolate(self) -> None:
        """Move to the look-ahead point; where the parameters are now is kept.

        Raises
        ------
        InputError
            If it was called before, and ``step`` has not been called since.
        """
        _leave_anchors(self, self._spare)
        for group in self.param_groups:
            sgd_step(self, group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Step from the point before ``extrapolate``, by the gradients at this one.

        Parameters
        ----------
        closure : callable or None
            Computes the gradients at the look-ahead point and returns the loss.

        Raises
        ------
        InputError
            If ``extrapolate`` has not been called before.
        """
        loss = evaluate(closure)
        _return_to_anchors(self, self._spare)
        for group in self.param_groups:
            sgd_step(self, group)
        return loss


def _has_anchor(optimiser: Optimizer) -> list[bool]:
    """Return of every parameter whether it is at a look-ahead point."""
    state = optimiser.state
    return [
        parameter in state and _ANCHOR in state[parameter]
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]


def _leave_anchors(optimiser: Optimizer, spare: dict[Tensor, Tensor]) -> None:
    """Keep where all parameters are, in their state and in memory that is spare."""
    if any(_has_anchor(optimiser)):
        raise InputError("extrapolate must be followed by step; it was called twice")
    for group in optimiser.param_groups:
        anchors: list[Tensor] = []
        for parameter in group["params"]:
            anchor = spare.pop(parameter, None)
            anchors.append(torch.empty_like(parameter) if anchor is None else anchor)
            optimiser.state[parameter][_ANCHOR] = anchors[-1]
        copy_all(anchors, group["params"])


def _return_to_anchors(optimiser: Optimizer, spare: dict[Tensor, Tensor]) -> None:
    """Put all parameters back where they were, and the memory aside."""
    if not all(_has_anchor(optimiser)):
        raise InputError(
            "step must follow extrapolate: call it with the gradients at the present "
            "point, then compute gradients anew, then call step"
        )
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            spare[parameter] = optimiser.state[parameter].pop(_ANCHOR)
        copy_all(group["params"], [spare[p] for p in group["params"]])
