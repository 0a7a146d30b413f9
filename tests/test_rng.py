import hashlib

import pytest
import torch

from tacit.rng import make_generator


def _draw(seed: int, name: str = "") -> torch.Tensor:
    return torch.randn(1000, dtype=torch.float64, generator=make_generator(seed, name))


def test_the_same_seed_and_name_draw_the_same_numbers() -> None:
    assert torch.equal(_draw(3, "lower"), _draw(3, "lower"))


@pytest.mark.parametrize(
    "other", [(3, "start"), (4, "lower"), (3, ""), (-3, "lower"), (3, "lower ")]
)
def test_another_seed_or_name_draws_unrelated_numbers(other: tuple[int, str]) -> None:
    first, second = _draw(3, "lower"), _draw(*other)
    correlation = float(torch.corrcoef(torch.stack([first, second]))[0, 1])
    # 1000 independent pairs: standard deviation 1 / sqrt(1000), six of them.
    assert abs(correlation) < 6.0 / 1000**0.5


def test_seed_and_name_cannot_be_confused_with_each_other() -> None:
    assert not torch.equal(_draw(1, "2"), _draw(12, ""))
    assert not torch.equal(_draw(1, "2/3"), _draw(12, "3"))


def test_the_seed_is_the_first_63_bits_of_the_documented_hash() -> None:
    digest = hashlib.sha256(b"7/lower").hexdigest()
    assert make_generator(7, "lower").initial_seed() == int(digest[:16], 16) // 2


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64, -(2**70)])
def test_any_integer_is_a_seed(seed: int) -> None:
    generator = make_generator(seed)
    assert 0 <= generator.initial_seed() < 2**63
    assert generator.device.type == "cpu"


def test_drawing_from_one_stream_leaves_another_alone() -> None:
    first, second = make_generator(0, "a"), make_generator(0, "b")
    expected = torch.randn(5, generator=make_generator(0, "b"))
    torch.randn(100, generator=first)
    assert torch.equal(torch.randn(5, generator=second), expected)
