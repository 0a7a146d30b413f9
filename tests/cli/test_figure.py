"""The picture says what the result says."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from cases import normal
from tacit.cli.figure import (
    FIGURES,
    bracket_figure,
    draw_bracket,
    product_growth,
    reached_growth,
)
from tacit.lipschitz.ensemble import random_network
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.predict import Prediction, ensemble_bound, typical_scale
from tacit.lipschitz.problem import NORMS, Norm
from tacit.lipschitz.solve import LipschitzResult, lipschitz_bracket
from tacit.rng import make_generator

PREDICTIONS = (typical_scale(5, 2.0), ensemble_bound(5, 12, 2))


def small_result(norm: Norm = "l2") -> LipschitzResult:
    """Return the bracket of a random network of two hidden layers."""
    network = random_network(5, 12, 2, generator=make_generator(0, "figure"))
    return lipschitz_bracket(network, norm=norm)


@pytest.fixture(scope="module")
def result() -> LipschitzResult:
    """Return the l2 bracket, found once."""
    return small_result()


def panels(figure: Figure) -> tuple[Axes, Axes]:
    """Return the two panels of a figure, drawn."""
    FigureCanvasAgg(figure).draw()
    left, right = figure.axes
    return left, right


def numbers_of(data: Any) -> list[float]:
    """Return the coordinates of a line."""
    return [float(number) for number in data]


def texts(axes: Axes) -> list[str]:
    """Return the annotations of a panel."""
    return [text.get_text() for text in axes.texts]


def names(axes: Axes) -> list[str]:
    """Return the labels of the rows, their lines joined."""
    return [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]


def test_every_bound_and_prediction_has_a_row_at_its_value(
    result: LipschitzResult,
) -> None:
    left, _ = panels(bracket_figure("title", result, PREDICTIONS))
    wanted = [(b.value, b.method) for b in result.bounds]
    wanted += [(p.value, f"{p.name} (predicted, {p.certainty})") for p in PREDICTIONS]
    wanted.sort(reverse=True)
    assert names(left) == [name for _, name in wanted]
    points = sorted(
        (*numbers_of(line.get_ydata()), *numbers_of(line.get_xdata()))
        for line in left.lines
    )
    assert [value for _, value in points] == [value for value, _ in wanted]
    assert texts(left) == [f"{value:.4g}" for value, _ in wanted]


def test_the_axes_say_what_they_show(result: LipschitzResult) -> None:
    figure = bracket_figure("some $\\nonsense$", result, ())
    left, right = panels(figure)
    assert figure.get_suptitle() == "some $\\nonsense$"
    assert left.get_xscale() == right.get_yscale() == "log"
    assert left.get_xlabel() == "Lipschitz constant of f, l2 inputs (logarithmic)"
    assert right.get_xlabel() == "activation (0: input, last: output)"
    assert right.get_ylabel() == "l2 change per unit of l2 input change"
    low, high = result.bracket.lower.value, result.bracket.upper.value
    assert left.get_title() == f"{low:.7g} (reached) to {high:.7g} (certified)"


def test_a_long_title_is_broken_and_stays_inside(result: LipschitzResult) -> None:
    figure = bracket_figure("n" * 250, result, ())
    panels(figure)
    (title,) = figure.texts
    (box,) = _boxes(figure, [title])
    assert title.get_text().count("n") == 250
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_the_shaded_band_is_the_bracket(result: LipschitzResult) -> None:
    left, _ = panels(bracket_figure("title", result, PREDICTIONS))
    (band,) = left.patches
    edges: Any = band.get_path().vertices
    corners = band.get_patch_transform().transform(edges)[:, 0]
    assert corners.min() == pytest.approx(result.bracket.lower.value)
    assert corners.max() == pytest.approx(result.bracket.upper.value)


def _boxes(figure: Figure, items: Sequence[Any]) -> list[Any]:
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [item.get_window_extent(renderer) for item in items if item.get_text()]


@pytest.mark.parametrize("count", [0, 2, 12])
def test_no_two_labels_overlap(result: LipschitzResult, count: int) -> None:
    predictions = tuple(
        replace(PREDICTIONS[i % 2], value=1.0 + i) for i in range(count)
    )
    figure = bracket_figure("title", result, predictions)
    left, _ = panels(figure)
    for group in (left.get_yticklabels(), left.texts, left.get_xticklabels()):
        boxes = _boxes(figure, group)
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
    inside = figure.bbox
    for box in _boxes(figure, [*left.get_yticklabels(), *left.texts]):
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1


def test_more_rows_make_a_taller_figure(result: LipschitzResult) -> None:
    heights = [
        bracket_figure("title", result, PREDICTIONS * n).get_figheight()
        for n in (0, 3, 6)
    ]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize("norm", NORMS)
def test_the_growth_has_a_point_for_every_site(
    result: LipschitzResult, norm: Norm
) -> None:
    bracket = result if norm == "l2" else small_result(norm)
    _, right = panels(bracket_figure("title", bracket, ()))
    num_sites = len(bracket.problem.network.activations)
    curves = {
        str(line.get_label()): numbers_of(line.get_ydata()) for line in right.lines
    }
    assert ("lifted network" in curves) == (norm != "l1")
    for name, values in curves.items():
        assert len(values) == num_sites + 2, name
        assert values[0] == 1.0, name
    legend = right.get_legend()
    assert legend is not None
    assert set(curves) == {text.get_text() for text in legend.get_texts()}
    assert curves["pair of inputs found"][-1] == pytest.approx(
        bracket.bracket.lower.value, rel=1e-4
    )
    product = curves["product of layer norms"]
    for reached, allowed in zip(curves["pair of inputs found"], product, strict=True):
        assert reached <= allowed * (1.0 + 1e-9)
    if norm == "l2":
        assert bracket.lifted is not None
        assert curves["lifted network"][-1] == pytest.approx(
            bracket.lifted.lifted_value, rel=1e-3
        )


def test_the_growth_of_a_linear_network_is_its_own(
    generator: torch.Generator,
) -> None:
    weight = normal(generator, 3, 3)
    result = lipschitz_bracket(chain([(weight, None, None)]), norm="linf")
    truth = max(
        float((weight @ torch.tensor([1.0, a, b], dtype=torch.float64)).norm())
        for a in (-1.0, 1.0)
        for b in (-1.0, 1.0)
    )
    assert reached_growth(result) == pytest.approx((1.0, truth), rel=1e-6)


def test_the_product_counts_the_slopes_of_the_activations() -> None:
    gelu = Activation(kind="gelu")
    one = torch.ones(1, 1)
    result = lipschitz_bracket(chain([(one, None, gelu), (one, None, None)]))
    steepest = max(abs(slope) for slope in gelu.slopes)
    assert steepest > 1.0
    assert product_growth(result) == pytest.approx((1.0, steepest, steepest))


# Results that are hard to draw


def _zero() -> Network:
    relu = Activation(kind="relu")
    return chain([(torch.zeros(2, 2), None, relu), (torch.zeros(1, 2), None, None)])


def test_a_constant_network_is_drawn_without_a_warning() -> None:
    result = lipschitz_bracket(_zero())
    left, right = panels(bracket_figure("zero", result, ()))
    assert len(left.texts) == len(result.bounds)
    assert texts(left).count("0 (off the axis)") >= 2
    assert right.get_yscale() == "linear"


def test_an_endless_prediction_is_named_at_the_end(result: LipschitzResult) -> None:
    endless = Prediction(
        name="endless", value=math.inf, certainty="derived", source="nobody"
    )
    left, _ = panels(bracket_figure("title", result, (endless,)))
    assert texts(left)[0] == "inf (off the axis)"
    assert math.isfinite(left.get_xlim()[1])


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_bounds_that_agree_are_told_on_a_readable_axis(factor: float) -> None:
    result = lipschitz_bracket(chain([(factor * torch.eye(2), None, None)]))
    left, _ = panels(bracket_figure("title", result, ()))
    low, high = left.get_xlim()
    assert low < 0.96 * factor
    assert high > 1.04 * factor
    shown = [label.get_text() for label in left.get_xticklabels()]
    inside = [
        text
        for text, tick in zip(shown, left.get_xticks(), strict=True)
        if low <= tick <= high
    ]
    assert len(inside) >= 2
    assert len(set(inside)) == len(inside)


# Files


def test_both_files_are_whole_and_the_same_again(
    result: LipschitzResult, tmp_path: Path
) -> None:
    first = draw_bracket("title", result, PREDICTIONS, tmp_path)
    assert [path.name for path in first] == list(FIGURES)
    contents = [path.read_bytes() for path in first]
    assert contents[1].startswith(b"%PDF")
    assert contents[1].rstrip().endswith(b"%%EOF")
    again = draw_bracket("title", result, PREDICTIONS, tmp_path)
    assert [path.read_bytes() for path in again] == contents
    assert {path.name for path in tmp_path.iterdir()} == set(FIGURES)


def test_the_image_is_large_enough_to_read_and_not_blank(
    result: LipschitzResult, tmp_path: Path
) -> None:
    draw_bracket("title", result, (), tmp_path)
    image = imread(tmp_path / "bracket.png")
    assert image.shape[0] >= 600
    assert image.shape[1] >= 1500
    assert image.min() < 0.1
    assert 0.8 < float(image[..., :3].mean()) < 1.0
