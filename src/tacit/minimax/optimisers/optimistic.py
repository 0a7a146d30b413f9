r"""Optimistic steps for mini-batches: each is corrected by the one before.

If u is the direction of a rule (Adam, SGD), the optimistic one moves by

.. math:: \theta_{t+1} = \theta_t - 2 \eta_t u_t + \eta_{t-1} u_{t-1}, \qquad u_0 = 0 :

the rule's own step, its last move once more, less that of the step before.
"""

from collections.abc import Callable
from typing import Any, final, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from tacit.minimax.optimisers.rules import (
    Group,
    adam_step,
    add_all,
    check_groups,
    copy_all,
    evaluate,
    sgd_step,
    subtract_all,
    with_gradient,
)

_LAST = "last_move_back"  # of the rule alone: before less after


@final
class OptimisticAdam(Optimizer):
    r"""Adam that takes back what its last step anticipated.

    .. math:: \theta_{t+1} = \theta_t - 2 \eta\, u_t + \eta\, u_{t-1}, \qquad
              u_t = \hat m_t / (\sqrt{\hat v_t} + \epsilon), \qquad u_0 = 0

    with the bias-corrected moments of Adam: one gradient of each player a step, two
    copies of the parameters besides Adam's. If the rate changes between two steps, each
    u is multiplied by the rate of its own step. A parameter without a gradient stays
    where it is.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or groups of them, real floating point.
    lr : float
        :math:`\eta \ge 0`.
    betas : (float, float)
        Decay rates of the two moments, in [0, 1).
    eps : float
        :math:`\epsilon \ge 0`.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    InputError
        If a setting is out of range, or a parameter not real floating point.

    References
    ----------
    Daskalakis, Ilyas, Syrgkanis and Zeng, Training GANs with optimism, ICLR 2018,
    algorithm 1.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    >>> optimiser = tacit.OptimisticAdam([x], lr=0.1)
    >>> x.square().sum().backward()
    >>> optimiser.step()
    >>> round(float(x.detach()), 6)  # u_1 = 1
    0.8
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
        self._spare: dict[Tensor, Tensor] = {}
        settings = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        Optimizer.__init__(self, params, {**settings, "fused": False})
        check_groups(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__setstate__(self, state)
        self._spare = {}

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step by the gradients that the parameters hold.

        Parameters
        ----------
        closure : callable or None
            Computes the gradients and returns the loss.
        """
        loss = evaluate(closure)
        _optimistic_step(self, self._spare, adam_step)
        return loss


@final
class OptimisticSGD(Optimizer):
    r"""SGD that takes back what its last step anticipated.

    .. math:: \theta_{t+1} = \theta_t - 2 \eta\, g_t + \eta\, g_{t-1}, \qquad g_0 = 0

    One gradient of each player a step. With momentum :math:`\beta` a gradient is
    replaced by :math:`v_t = \beta v_{t-1} + g_t`. Otherwise as :class:`OptimisticAdam`.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or groups of them, real floating point.
    lr : float
        :math:`\eta \ge 0`.
    momentum : float
        :math:`\beta`, between -1 and 1.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    InputError
        If a setting is out of range, or a parameter not real floating point.

    References
    ----------
    Popov (1980) for exact gradients; Daskalakis et al. (2018), section 2.

    Examples
    --------
    >>> import tacit, torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> optimiser = tacit.OptimisticSGD([x], lr=0.25)
    >>> for _ in range(2):
    ...     optimiser.zero_grad()
    ...     x.square().sum().backward()
    ...     optimiser.step()
    >>> float(x.detach())  # 1, then 0, then 0 - 0 + 0.25 * 2
    0.5
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        self._spare: dict[Tensor, Tensor] = {}
        settings = {"lr": lr, "momentum": momentum, "maximize": maximize}
        Optimizer.__init__(self, params, {**settings, "fused": False})
        check_groups(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__setstate__(self, state)
        self._spare = {}

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step by the gradients that the parameters hold.

        Parameters
        ----------
        closure : callable or None
            Computes the gradients and returns the loss.
        """
        loss = evaluate(closure)
        _optimistic_step(self, self._spare, sgd_step)
        return loss


def _optimistic_step(
    optimiser: Optimizer,
    spare: dict[Tensor, Tensor],
    rule: Callable[[Optimizer, Group], None],
) -> None:
    """Take the rule's step, its move once more, less its last one.

    The parameters themselves stay the state of the method: who averages, clips or loads
    them between two steps is not undone.
    """
    for group in optimiser.param_groups:
        parameters = with_gradient(group)
        backs: list[Tensor] = []
        for parameter in parameters:
            back = spare.pop(parameter, None)
            backs.append(torch.empty_like(parameter) if back is None else back)
        copy_all(backs, parameters)
        rule(optimiser, group)
        subtract_all(backs, parameters)
        subtract_all(parameters, backs)
        for parameter, back in zip(parameters, backs, strict=True):
            last = optimiser.state[parameter].get(_LAST)
            spare[parameter] = torch.zeros_like(parameter) if last is None else last
            optimiser.state[parameter][_LAST] = back
        add_all(parameters, [spare[parameter] for parameter in parameters])
