"""``tacit gan mean-matching``: the paper's game, its certificate and its rates."""

from pathlib import Path
from typing import Any

import pytest

from commands import call, files_in, strict_json
from tacit.cli import gan_game
from tacit.minimax.find import find_saddle

Capture = pytest.CaptureFixture[str]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng

KEYS = {
    *("width", "parameters", "scores", "steps", "converged", "predicted_rate"),
    *("measured_rate", "seconds", "version", "seed", "outcome", "method", "data"),
}


def test_a_wide_generator_reaches_the_mean(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "game"
    outcome = call(capsys, "gan", "mean-matching", "--width", "400", "--out", out)
    assert outcome.code == 0, outcome
    assert files_in(out) == {"result.json", "scores.png", "scores.pdf"}
    result = strict_json(out / "result.json")
    assert result.keys() >= KEYS
    assert result["outcome"] == "zero-value saddle"
    assert result["converged"] is True
    assert result["parameters"] == 400 * 10 + 20
    assert result["scores"]["primal_value"] < 1e-16
    # The paper's claim: linear convergence, at the rate of the linearisation.
    assert abs(result["measured_rate"] / result["predicted_rate"] - 1.0) < 0.05
    text = " ".join(outcome.out.split())
    assert "outcome zero-value saddle" in text
    assert "predicted rate 0." in text


def test_a_narrow_one_is_told_how_near_it_can_come(
    capsys: Capture, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    options = ("--width", "5", "--steps", "4000", "--json", target)
    assert call(capsys, "gan", "mean-matching", *options).code == 0
    result = strict_json(target)
    scores = result["scores"]
    assert result["outcome"] in ("positive-value saddle", "not converged")
    assert 0.0 < scores["lower_bound"] <= scores["primal_value"]
    assert result["status"] in ("stalled", "max_steps", "converged")


def test_sizes_and_seed_are_those_asked_for(capsys: Capture, tmp_path: Path) -> None:
    def play(name: str, *options: str) -> dict[str, object]:
        target = tmp_path / f"{name}.json"
        sizes = ("--width", "30", "--target-size", "4", "--latent-dim", "3")
        more = ("--num-latents", "12", *options, "--json", target)
        assert call(capsys, "gan", "mean-matching", *sizes, *more).code == 0
        return strict_json(target)

    first, again, other = play("a"), play("b"), play("c", "--seed", "1")
    assert first["data"] == {
        "name": "mean-matching",
        "target_size": 4,
        "latent_dim": 3,
        "num_latents": 12,
    }
    assert first["parameters"] == 30 * 3 + 4
    assert first["scores"] == again["scores"]
    assert first["scores"] != other["scores"]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("alternating", "AlternatingGDA"),
        ("simultaneous", "SimultaneousGDA"),
        ("extragradient", "Extragradient"),
        ("optimistic", "OptimisticGradient"),
    ],
)
def test_every_method_reaches_the_saddle(
    capsys: Capture, tmp_path: Path, method: str, name: str
) -> None:
    target = tmp_path / "r.json"
    options = ("--width", "200", "--target-size", "10", "--method", method)
    outcome = call(capsys, "gan", "mean-matching", *options, "--json", target)
    assert outcome.code == 0, outcome
    result = strict_json(target)
    assert result["outcome"] == "zero-value saddle"
    assert result["method"] == name


def test_ctrl_c_keeps_the_point_and_certifies_it(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(step: int, _: object) -> None:
        if step == 5:
            raise KeyboardInterrupt

    def find(*arguments: Any, observers: tuple[Any, ...], **options: Any) -> Any:
        return find_saddle(*arguments, observers=(*observers, stop), **options)

    monkeypatch.setattr(gan_game, "find_saddle", find)
    target = tmp_path / "r.json"
    outcome = call(capsys, "gan", "mean-matching", "--json", target)
    assert outcome.code == 130, outcome
    assert "stopped by Ctrl-C" in outcome.out
    result = strict_json(target)
    assert (result["status"], result["steps"]) == ("interrupted", 5)
    assert result["outcome"] == "not converged"
