from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.io import read_arrays, write_arrays
from tacit.minimax.gan.scores import statistics as module
from tacit.minimax.gan.scores.statistics import (
    FeatureStatistics,
    check_comparable,
    feature_statistics,
    load_statistics,
    save_statistics,
    statistics_from_covariance,
)
from tacit.rng import make_generator


def _samples(num: int, dimension: int, generator: torch.Generator) -> Tensor:
    mixing = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    noise = torch.randn(num, dimension, generator=generator, dtype=torch.float64)
    return noise @ mixing + 3.0


@pytest.mark.parametrize(("num", "dimension"), [(50, 7), (7, 50), (8, 8), (2, 3)])
def test_mean_and_covariance_are_those_of_numpy(
    num: int, dimension: int, generator: torch.Generator
) -> None:
    x = _samples(num, dimension, generator)
    found = feature_statistics(x)
    assert found.count == num
    assert found.dimension == dimension
    assert len(found.factor) <= min(num, dimension)
    wanted = np.cov(x.numpy(), rowvar=False, ddof=1)
    np.testing.assert_allclose(found.mean.numpy(), x.numpy().mean(0), rtol=1e-13)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found.covariance.numpy(), wanted, atol=1e-13 * scale)
    np.testing.assert_allclose(found.total_variance, np.trace(wanted), rtol=1e-13)


@given(
    st.integers(2, 40),
    st.integers(1, 12),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.sampled_from([1, 3, 1024]),
)
def test_batches_of_any_sizes_give_the_same(
    num: int, dimension: int, cuts: list[int], chunk: int
) -> None:
    x = _samples(num, dimension, make_generator(num, f"{dimension}{cuts}"))
    sizes: list[int] = []
    while sum(sizes) < num:
        sizes.append(
            min(cuts[len(sizes) % len(cuts)] + len(sizes) % 2, num - sum(sizes))
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MIN_CHUNK", chunk)
        found = feature_statistics(x.split(sizes))
    whole = feature_statistics(x)
    assert found.count == num
    scale = float(x.square().max())
    torch.testing.assert_close(found.mean, whole.mean, rtol=0, atol=1e-13 * scale)
    torch.testing.assert_close(
        found.covariance, whole.covariance, rtol=0, atol=1e-12 * scale
    )
    assert len(found.factor) <= max(dimension, num)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MIN_CHUNK", 4)
    stream = make_generator(0, "long")
    batches = (torch.randn(3, 2, generator=stream) for _ in range(100))
    assert feature_statistics(batches).factor.shape == (2, 2)


@pytest.mark.parametrize("batches", [[], [torch.zeros(1, 3)], [torch.zeros(0, 3)] * 2])
def test_too_few_samples_are_refused(batches: list[Tensor]) -> None:
    with pytest.raises(ShapeError, match="samples must be at least 2; got"):
        feature_statistics(batches)
    with pytest.raises(ShapeError, match="samples must hold at least 2 samples; got 1"):
        feature_statistics(torch.zeros(1, 3))


def test_batches_of_different_widths_are_refused() -> None:
    with pytest.raises(ShapeError, match="of one dimension; got 3 and 2"):
        feature_statistics([torch.zeros(2, 3), torch.zeros(2, 2)])
    late = [torch.zeros(2000, 3), torch.zeros(2, 2)]
    with pytest.raises(ShapeError, match="of one dimension; got 3 and 2"):
        feature_statistics(late)


def test_a_covariance_from_elsewhere(generator: torch.Generator) -> None:
    x = _samples(30, 6, generator)
    whole = feature_statistics(x, digest="abc")
    found = statistics_from_covariance(
        whole.mean.float(), whole.covariance, 30, digest="abc"
    )
    torch.testing.assert_close(found.covariance, whole.covariance)
    assert (found.count, found.digest) == (30, "abc")


def test_rounding_of_a_singular_covariance_is_left_out(
    generator: torch.Generator,
) -> None:
    x = _samples(5, 20, generator)
    whole = feature_statistics(x)
    found = statistics_from_covariance(whole.mean, whole.covariance, 5)
    assert found.factor.shape == (4, 20)
    torch.testing.assert_close(found.covariance, whole.covariance)


@pytest.mark.parametrize(
    ("covariance", "error", "message"),
    [
        (torch.eye(3), ShapeError, "must have shapes"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), InputError, "symmetric; it is off by"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), InputError, "eigenvalue -1"),
        (torch.full((2, 2), float("nan")), InputError, "must be finite"),
    ],
)
def test_what_is_no_covariance_is_refused(
    covariance: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        statistics_from_covariance(torch.zeros(2), covariance, 9)


def test_comes_back_from_a_file(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "real.npz"
    for digest in (None, "abc"):
        statistics = feature_statistics(_samples(9, 4, generator), digest=digest)
        save_statistics(path, statistics)
        found = load_statistics(str(path))
        assert torch.equal(found.mean, statistics.mean)
        assert torch.equal(found.factor, statistics.factor)
        assert (found.count, found.digest) == (9, digest)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "another"},
        {"version": 2},
        {"count": "9"},
        {"digest": 3},
        {"count": 1},
    ],
)
def test_another_file_is_refused(
    change: dict[str, object], tmp_path: Path, generator: torch.Generator
) -> None:
    path = tmp_path / "real.npz"
    save_statistics(path, feature_statistics(_samples(9, 4, generator)))
    header, arrays = read_arrays(path)
    write_arrays(path, header | change, arrays)
    with pytest.raises(InputError, match=r"real\.npz"):
        load_statistics(path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("mean", np.zeros(3)),
        ("mean", np.full(4, np.nan)),
        ("factor", np.zeros(4)),
        ("more", np.zeros(4)),
    ],
)
def test_damaged_arrays_are_refused(
    name: str, array: np.ndarray, tmp_path: Path, generator: torch.Generator
) -> None:
    path = tmp_path / "real.npz"
    save_statistics(path, feature_statistics(_samples(9, 4, generator)))
    header, arrays = read_arrays(path)
    write_arrays(path, header, arrays | {name: array})
    with pytest.raises(InputError, match=r"real\.npz"):
        load_statistics(path)
    with pytest.raises(InputError, match="there is no such file"):
        load_statistics(tmp_path / "absent.npz")


def test_other_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"mean must be finite float64; got torch\.fl"):
        FeatureStatistics(
            mean=torch.zeros(2), factor=torch.zeros(2, 2).double(), count=3
        )


def test_features_of_different_extractors_are_not_compared() -> None:
    x = torch.eye(3)
    a, b, c = (feature_statistics(x, digest=name) for name in ("a", "b", None))
    with pytest.raises(InputError, match="digests are a and b"):
        check_comparable(a, b)
    check_comparable(a, c)
    check_comparable(a, a)
    with pytest.raises(ShapeError, match="of one dimension; got 3 and 2"):
        check_comparable(a, feature_statistics(x[:, :2]))
