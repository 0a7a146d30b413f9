"""Whatever is guaranteed must happen, on problems whose Jacobian is known to move."""

import math

import pytest
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.iterate import iterate
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SaddleState,
    SimultaneousGDA,
)
from tacit.minimax.dynamics import guarantee as guarantee_module
from tacit.minimax.dynamics.guarantee import convergence_guarantee, regular_radius
from tacit.minimax.dynamics.jacobian import jacobian_distance
from tacit.minimax.dynamics.rates import linear_rate
from tacit.minimax.dynamics.spectrum import JacobianSpectrum, jacobian_spectrum
from tacit.minimax.extrapolation import Extragradient
from tacit.minimax.matching import MatchingProblem

SOLVERS: dict[str, AbstractDescentAscent] = {
    "simultaneous": SimultaneousGDA(min_step=0.2, max_step=0.8),
    "alternating": AlternatingGDA(min_step=0.5, max_step=0.9),
    "gradient descent": AlternatingGDA(min_step=0.8, max_step=1.0),
    "two updates": AlternatingGDA(min_step=0.5, max_step=0.5, max_updates=2),
}


def curved(bend: float, generator: torch.Generator) -> tuple[MatchingProblem, float]:
    """A generator with singular values in [0.8, 1] and a Jacobian of known constant.

    g(x) = A x + bend sin(B x): J = A + bend diag(cos(B x)) B, Lipschitz constant at
    most bend |B| max |b_i|, as the diagonal moves by |b_i| |x - x'| at most.
    """
    size, more = 4, 6
    left = torch.linalg.qr(torch.randn(size, size, generator=generator).double())[0]
    right = torch.linalg.qr(torch.randn(more, more, generator=generator).double())[0]
    scales = torch.linspace(0.8, 1.0, size, dtype=torch.float64)
    A = (left * scales) @ right[:size]
    B = torch.randn(size, more, generator=generator).double()

    def function(x: Tensor) -> Tensor:
        return A @ x + bend * torch.sin(B @ x)

    target = 0.3 * torch.randn(size, generator=generator).double()
    constant = float(bend * torch.linalg.matrix_norm(B, 2) * B.norm(dim=1).max())
    problem = MatchingProblem(
        generator_function=function, min_shape=(more,), target=target
    )
    return problem, constant


@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_guaranteed_happens(name: str, generator: torch.Generator) -> None:
    solver = SOLVERS[name]
    num_proved = 0
    for trial in range(12):
        problem, constant = curved(0.1 * 2.0**-trial, generator)
        x = 0.1 * torch.randn(6, generator=generator).double()
        d = 0.1 * torch.randn(4, generator=generator).double()
        residual = float(problem.linearise(x).residual.norm())
        found = convergence_guarantee(
            solver,
            jacobian_spectrum(problem, x),
            residual_norm=residual,
            jacobian_change=constant,
            max_player_norm=float(d.norm()),
        )
        if not found.holds:
            assert (found.rate, found.radius) == (1.0, math.inf)
            assert found.path_ratio > 1.0
            continue
        num_proved += 1
        state: list[SaddleState] = []
        iterate(
            problem,
            solver,
            (x, d),
            max_steps=60,
            observers=[lambda _, s, kept=state: kept.append(s)],
        )
        for step, now in enumerate(state, start=1):
            length = float(problem.linearise(now.min_player).residual.norm())
            bound = found.residual_factor * found.rate**step
            assert length <= bound * (1 + 1e-9) + 1e-14
            assert float((now.min_player - x).norm()) <= found.radius
            assert jacobian_distance(problem, now.min_player, x) <= (
                constant * found.radius
            )
    assert 4 <= num_proved < 12


@pytest.mark.parametrize("name", SOLVERS)
def test_a_jacobian_that_stays_gives_almost_the_linear_rate(name: str) -> None:
    values = torch.tensor([1.0, 0.9, 0.8]).double()
    solver = SOLVERS[name]
    found = convergence_guarantee(
        solver,
        JacobianSpectrum(singular_values=values),
        residual_norm=5.0,
        jacobian_change=0.0,
    )
    rate = float(linear_rate(solver, values))
    assert found.holds
    assert rate < found.rate <= rate + 0.021 * (1 - rate)


def test_worst_change_allowed_does_not_break_the_rate(
    generator: torch.Generator,
) -> None:
    # The proof uses |G_t - J_0 J_0^T| <= delta alone: try matrices that use it up.
    values = torch.tensor([1.0, 0.9, 0.8]).double()
    for solver in SOLVERS.values():
        spectrum = JacobianSpectrum(singular_values=values)
        found = convergence_guarantee(
            solver, spectrum, residual_norm=1.0, jacobian_change=0.002
        )
        assert found.holds
        epsilon = 0.002 * found.radius
        delta = epsilon * (2 * 1.0 + epsilon)
        gram = torch.diag(values**2)
        mu = guarantee_module._max_step(solver)
        for _ in range(20):
            d = torch.zeros(3).double()
            r = torch.nn.functional.normalize(
                torch.randn(3, generator=generator).double(), dim=0
            )
            path = 0.0
            for step in range(1, 40):
                moved = torch.randn(3, 3, generator=generator).double()
                moved *= delta / torch.linalg.matrix_norm(moved, 2)
                after = d + mu * (r - d)
                used = after if isinstance(solver, AlternatingGDA) else d
                path += solver.min_step * (1.0 + epsilon) * float(used.norm())
                r = r - solver.min_step * (gram + moved) @ used
                d = after
                bound = found.residual_factor * found.rate**step
                assert float(r.norm()) <= bound * (1 + 1e-9)
            assert path <= found.radius


def test_norm_contracts_as_the_proof_says() -> None:
    values = torch.tensor([1.0, 0.6]).double()
    for solver in SOLVERS.values():
        T = guarantee_module._residual_form(solver, values)
        q = float(linear_rate(solver, values)) * 0.9 + 0.1
        P = guarantee_module._contracted_norm(T, q, 3.0)
        missing = P - T.mT @ P @ T / (q * q)
        assert float(torch.linalg.eigvalsh(missing).min()) > 0.0
        assert float(torch.linalg.eigvalsh(P).min()) > 0.0


def test_too_much_change_proves_nothing() -> None:
    spectrum = JacobianSpectrum(singular_values=torch.tensor([1.0, 0.8]).double())
    found = convergence_guarantee(
        SOLVERS["alternating"], spectrum, residual_norm=1.0, jacobian_change=10.0
    )
    assert not found.holds
    # A change that jumps at once, as that of a ReLU network may, proves nothing either.
    jump = convergence_guarantee(
        SOLVERS["alternating"],
        spectrum,
        residual_norm=1.0,
        jacobian_change=lambda _: 2.0,
    )
    assert not jump.holds
    unstable = convergence_guarantee(
        SimultaneousGDA(min_step=2.0, max_step=1.0),
        spectrum,
        residual_norm=1.0,
        jacobian_change=0.0,
    )
    assert not unstable.holds


def test_a_bounded_change_proves_as_much_as_a_constant() -> None:
    spectrum = JacobianSpectrum(singular_values=torch.tensor([1.0, 0.8]).double())
    one = convergence_guarantee(
        SOLVERS["alternating"], spectrum, residual_norm=0.1, jacobian_change=0.02
    )
    two = convergence_guarantee(
        SOLVERS["alternating"],
        spectrum,
        residual_norm=0.1,
        jacobian_change=lambda radius: 0.02 * radius,
    )
    assert one.holds
    assert (one.rate, one.radius) == (two.rate, two.radius)


def test_rank_is_kept_within_the_regular_radius(generator: torch.Generator) -> None:
    problem, constant = curved(0.05, generator)
    x = torch.randn(6, generator=generator).double()
    spectrum = jacobian_spectrum(problem, x)
    radius = regular_radius(spectrum, constant)
    for _ in range(50):
        step = torch.nn.functional.normalize(
            torch.randn(6, generator=generator).double(), dim=0
        )
        there = jacobian_spectrum(problem, x + radius * step)
        assert there.smallest >= spectrum.smallest / 2


def test_what_the_proof_does_not_cover_is_refused() -> None:
    values = torch.tensor([1.0, 0.8]).double()
    spectrum = JacobianSpectrum(singular_values=values)
    solver = SOLVERS["alternating"]
    with pytest.raises(InputError, match="got Extragradient"):
        convergence_guarantee(
            Extragradient(min_step=0.1, max_step=0.1),
            spectrum,
            residual_norm=1.0,
            jacobian_change=1.0,
        )
    extremes = JacobianSpectrum(singular_values=values, is_complete=False)
    batch = JacobianSpectrum(singular_values=values.expand(2, 2))
    for wrong in (extremes, batch):
        with pytest.raises(InputError, match="all singular values"):
            convergence_guarantee(solver, wrong, residual_norm=1.0, jacobian_change=1.0)
    with pytest.raises(InputError, match="residual_norm"):
        convergence_guarantee(
            solver, spectrum, residual_norm=math.nan, jacobian_change=1.0
        )
    with pytest.raises(InputError, match="jacobian_change"):
        convergence_guarantee(solver, spectrum, residual_norm=1.0, jacobian_change=-1.0)
    with pytest.raises(InputError, match="lipschitz"):
        regular_radius(spectrum, 0.0)
