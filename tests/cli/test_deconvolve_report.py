"""A deconvolution in words and as JSON."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deconvolution_answers import Answered, planted_answer
from tacit.cli.deconvolve_report import describe, planted_error, table_rows, to_json


@pytest.fixture
def planted(tmp_path: Path, generator: torch.Generator) -> Answered:
    """Return an instance with its truth."""
    return planted_answer(tmp_path, generator)


def test_words_and_json_say_the_same(planted: Answered) -> None:
    observed, result = planted
    assert describe("p.npz", observed) == (
        "p.npz: 1 channel of 40 (circular convolution); unknown are 2 coefficients of "
        "filters and 3 of the signal"
    )
    content: dict[str, Any] = to_json(
        "p.npz", observed, result, noise_source="w", seed=3
    )
    rows = dict(table_rows(observed, result, "w"))
    assert (
        f"{content['lower']:.9g} to {content['upper']:.9g}"
        in rows["least nuclear norm"]
    )
    assert rows["rank"].startswith(f"{content['rank']};")
    assert (content["unknowns"], content["measurements"]) == ([2, 3], 40)
    assert (content["seed"], content["noise_source"]) == (3, "w")
    np.testing.assert_allclose(content["noise"], 0.2)
    assert observed.truth is not None
    h, x = (vector.numpy() for vector in observed.truth)
    found = np.outer(result.filter_coefficients[0], result.signal_coefficients[0])
    error = np.linalg.norm(found - np.outer(h, x)) / np.linalg.norm(np.outer(h, x))
    assert content["error"] == planted_error(observed, result)
    np.testing.assert_allclose(content["error"], error, rtol=1e-6, atol=1e-9)
