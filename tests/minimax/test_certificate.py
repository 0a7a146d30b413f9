"""What a certificate says of itself."""

import math

import pytest

from tacit.bracket import Bound, Bracket
from tacit.minimax.certificate import Kind, Outcome, SaddleCertificate


@pytest.mark.parametrize(
    ("outcome", "kind", "is_saddle", "is_global"),
    [
        ("zero-value saddle", "global, by a bound", True, True),
        ("positive-value saddle", "global, by non-negative least squares", True, True),
        ("saddle", "duality gap", True, True),
        ("local Nash", "local second-order", True, False),
        ("local minimax", "local second-order", True, False),
        ("not converged", "duality gap", False, False),
        ("not converged", "local second-order", False, False),
    ],
)
def test_what_counts_as_a_saddle(
    outcome: Outcome, kind: Kind, is_saddle: bool, is_global: bool
) -> None:
    certificate = SaddleCertificate(
        outcome=outcome,
        kind=kind,
        bracket=Bracket(
            lower=Bound(value=-math.inf, side="lower", method="none"),
            upper=Bound(value=math.inf, side="upper", method="none"),
        ),
        gap=1.0,
        tolerance=1.0,
        value=0.0,
        primal_value=None,
        min_gradient_norm=0.0,
        max_gradient_norm=0.0,
    )
    assert certificate.is_saddle is is_saddle
    assert certificate.is_global is is_global
