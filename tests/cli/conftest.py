"""Models that several tests of the command line bound."""

from pathlib import Path

import pytest

from commands import dense_model


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """Return a model of three inputs, four neurons and two outputs."""
    return dense_model(tmp_path / "dense.onnx", 3, 4, 2)


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """Return a linear model of three inputs and two outputs."""
    return dense_model(tmp_path / "linear.onnx", 3, 2)
