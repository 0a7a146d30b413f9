"""What a person who watches a training sees."""

import pytest
import torch

from tacit.cli.gan_progress import watching_training
from tacit.minimax.gan.events import Evaluated, Noted, Progressed, Started

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng


def _run() -> None:
    with watching_training("frechet_test") as observe:
        observe(Started(step=10, num_steps=40, num_parameters=5))
        observe(
            Progressed(
                step=20, num_steps=40, discriminator_loss=0.5, generator_loss=0.7
            )
        )
        observe(
            Evaluated(step=20, scores={"frechet_test": 12.5}, samples=torch.zeros(1, 2))
        )
        observe(Evaluated(step=20, scores={}, samples=torch.zeros(1, 2)))
        observe(Evaluated(step=20, scores={"frechet_test": 3}, samples=torch.ones(1)))
        observe(Noted(step=20, text="[b]the samples are alike[/b]"))


def test_steps_score_and_rate_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    _run()
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "20/40" in streams.err
    assert "frechet test 3" in streams.err
    assert "steps a second" in streams.err


def test_a_pipe_gets_notes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    _run()
    assert capsys.readouterr() == ("", "note: [b]the samples are alike[/b]\n")
