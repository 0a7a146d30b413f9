"""The table of the literature says how sure each line is, and has no constants."""

from tacit.recovery.deconvolution.theory.published import PUBLISHED


def test_powers_of_logarithms_are_recalled() -> None:
    # Abstracts were read, theorems were not: a power of a logarithm is from memory.
    for claim in PUBLISHED:
        if "log^" in claim.statement or "power of" in claim.statement:
            assert claim.certainty == "recalled"


def test_every_line_has_a_source_and_stands_once() -> None:
    lines = [(c.source, c.method, c.quantity, c.statement) for c in PUBLISHED]
    assert len(set(lines)) == len(lines)
    assert all("arXiv:" in c.source and c.statement for c in PUBLISHED)


def test_the_three_regimes_and_the_random_law_are_there() -> None:
    errors = " | ".join(c.statement for c in PUBLISHED if c.quantity == "error")
    assert "square-root" in errors
    assert "random noise" in errors
    lower = [c for c in PUBLISHED if c.quantity == "lower bound"]
    assert {c.certainty for c in lower} == {"published", "recalled"}
