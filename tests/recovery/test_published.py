"""The table of the literature says where each line is from and how sure it is."""

from tacit.recovery.published import PUBLISHED, published_exponent


def test_what_was_not_read_is_marked_as_recalled() -> None:
    # Exponents and constants of the papers reached us second-hand.
    assert all(
        claim.certainty == "recalled"
        for claim in PUBLISHED
        if claim.exponent is not None
    )


def test_every_claim_names_its_source_once() -> None:
    lines = [(c.source, c.method, c.quantity) for c in PUBLISHED]
    assert len(set(lines)) == len(lines)
    assert all(c.source and c.statement for c in PUBLISHED)


def test_exponents_stand_in_their_statements() -> None:
    for claim in PUBLISHED:
        if claim.exponent is not None:
            power = next(
                f"^({p}/{q})"
                for p in range(1, 30)
                for q in range(2, 20)
                if p / q == claim.exponent
            )
            assert power in claim.statement


def test_the_papers_exponents_are_found() -> None:
    assert published_exponent(is_symmetric=True).exponent == 21 / 16
    assert published_exponent(is_symmetric=False).exponent == 3 / 5
