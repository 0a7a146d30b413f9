"""Metrics against inverses formed in the open."""

from typing import cast

import pytest
import torch

from cases import normal
from tacit.errors import InputError
from tacit.recovery.descent.metric import (
    Metric,
    current_damping,
    require_metric,
    solve_gram,
)


@pytest.mark.parametrize("is_complex", [False, True])
def test_solving_is_multiplying_by_the_inverse(
    is_complex: bool, generator: torch.Generator
) -> None:
    product, factor = normal(generator, 2, 5, 3), normal(generator, 2, 8, 3)
    if is_complex:
        product = product + 1j * normal(generator, 2, 5, 3)
        factor = factor + 1j * normal(generator, 2, 8, 3)
    damping = torch.tensor([0.0, 0.7], dtype=torch.float64)
    solved = solve_gram(product, factor, damping)
    for run in range(2):
        gram = (
            factor[run].mH @ factor[run] + float(damping[run]) * torch.eye(3).double()
        )
        expected = product[run] @ torch.linalg.inv(gram)
        torch.testing.assert_close(solved[run], expected, rtol=1e-11, atol=1e-12)


def test_the_size_of_a_factor_does_not_matter(generator: torch.Generator) -> None:
    product, factor = normal(generator, 5, 3), normal(generator, 8, 3)
    zero = torch.zeros((), dtype=torch.float64)
    tiny = solve_gram(product, 1e-100 * factor, zero) * 1e-200
    torch.testing.assert_close(
        tiny, solve_gram(product, factor, zero), rtol=1e-10, atol=0
    )


def test_a_singular_gram_matrix_spoils_its_own_run_alone(
    generator: torch.Generator,
) -> None:
    product, factor = normal(generator, 2, 5, 3), normal(generator, 2, 8, 3)
    factor[0, :, 1] = 0.0
    solved = solve_gram(product, factor, torch.zeros(2, dtype=torch.float64))
    assert bool(solved[0].isnan().all())
    assert bool(solved[1].isfinite().all())


def test_damping_follows_the_loss_where_it_should() -> None:
    losses = torch.tensor([4.0, 9.0], dtype=torch.float64)
    assert current_damping("loss_damped", 0.5, losses).tolist() == [1.0, 1.5]
    assert current_damping("damped", 0.5, losses).tolist() == [0.5, 0.5]
    assert current_damping("scaled", 0.0, losses).tolist() == [0.0, 0.0]


def test_options_that_make_sense_are_accepted() -> None:
    for metric, damping in {
        "euclidean": 0.0,
        "scaled": 0.0,
        "damped": 1e-3,
        "loss_damped": 0.5,
    }.items():
        require_metric(metric, damping)


@pytest.mark.parametrize(
    ("metric", "damping", "message"),
    [
        ("scaledgd", 0.0, r"one of euclidean, scaled, damped, loss_damped; got "),
        ("euclidean", 0.1, r"left at 0 with the metric 'euclidean'; got 0\.1"),
        ("scaled", 0.1, r"left at 0 with the metric 'scaled'; got 0\.1"),
        ("damped", 0.0, r"a positive number with the metric 'damped'; got 0\.0"),
        ("loss_damped", -1.0, r"a positive number .* got -1\.0"),
        ("damped", float("inf"), r"a positive number .* got inf"),
        ("damped", float("nan"), r"a positive number .* got nan"),
    ],
)
def test_other_options_are_refused(metric: str, damping: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_metric(cast(Metric, metric), damping)
