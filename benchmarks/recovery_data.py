"""Matrices with holes that are not of low rank: photographs, digits, ratings."""

import math
from collections.abc import Callable

import numpy as np
import torch
from recovery_job import Instance, entries_error
from sklearn.datasets import load_digits
from torch import Tensor

from tacit.recovery.completion.problem import completion_problem

try:  # an optional source of photographs
    from skimage import data as photographs
except ImportError:
    photographs = None

Matrix = Callable[[], Tensor | None]


def _photograph(name: str) -> Matrix:
    def load() -> Tensor | None:
        if photographs is None:
            return None
        if name == "camera":
            grey = photographs.camera().astype(np.float64)
        else:  # luminance of ITU-R BT.709
            grey = photographs.astronaut() @ np.array([0.2125, 0.7154, 0.0721])
        return torch.from_numpy(grey / 255.0)

    return load


def _digits() -> Tensor:
    images, _ = load_digits(return_X_y=True)
    return torch.from_numpy(images.astype(np.float64))


MATRICES: dict[str, Matrix] = {
    "camera": _photograph("camera"),
    "astronaut": _photograph("astronaut"),
    "digits": _digits,
}


def holes(name: str, removed: float) -> Callable[[torch.Generator, bool], Instance]:
    """Remove a part of all entries, at random; they are what a method is judged by."""

    def build(generator: torch.Generator, is_small: bool) -> Instance:  # noqa: FBT001
        matrix = MATRICES[name]()
        if matrix is None:
            raise ImportError("scikit-image is not installed")
        if is_small:
            matrix = matrix[:64, :64] if name == "digits" else matrix[::8, ::8]
        shape = (matrix.shape[0], matrix.shape[1])
        order = torch.randperm(matrix.numel(), generator=generator)
        count = round(removed * matrix.numel())
        return _instance(
            (order // shape[1], order % shape[1]),
            matrix.flatten()[order],
            count,
            shape,
        )

    return build


def ratings(generator: torch.Generator, is_small: bool) -> Instance:  # noqa: FBT001
    """Draw ratings from 1 to 5: biases, five tastes, noise; few of the many rate much.

    User and item biases have deviations 0.4 and 0.5, tastes 0.6, 0.45, ... (each three
    quarters of the last), noise 0.7. Activity and popularity are log-normal. A tenth is
    held out.
    """
    users, items, count = (80, 60, 1500) if is_small else (900, 600, 45_000)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tastes = 0.6 * 0.75 ** torch.arange(5, dtype=torch.float64)
    scores = 3.5 + 0.4 * normal(users, 1) + 0.5 * normal(1, items)
    scores = scores + (normal(users, 5) * tastes) @ normal(5, items)
    scores = (scores + 0.7 * normal(users, items)).round().clamp(1.0, 5.0)
    log_weights = normal(users, 1) + normal(1, items)
    # The largest keys of a Gumbel draw are a weighted sample without replacement.
    uniform = torch.rand(users, items, generator=generator, dtype=torch.float64)
    keys = 0.7 * log_weights - (-uniform.log()).log()
    places = keys.flatten().topk(count).indices
    places = places[torch.randperm(count, generator=generator)]
    pair = (places // items, places % items)
    return _instance(pair, scores.flatten()[places], count // 10, (users, items))


def _instance(
    places: tuple[Tensor, Tensor], values: Tensor, count: int, shape: tuple[int, int]
) -> Instance:
    """Hand over all entries but the first ``count``, which judge the answer."""
    unseen = (places[0][:count], places[1][:count], values[:count])
    rows, columns, seen = places[0][count:], places[1][count:], values[count:]
    mean = float(seen.mean())
    if math.isclose(float(seen.std()), 0.0):
        raise ValueError("all entries that are seen are equal")
    problem = completion_problem(rows, columns, seen, shape)
    return Instance(problem=problem, error_of=entries_error(*unseen, mean))
