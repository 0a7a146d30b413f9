"""What ``tacit gan`` refuses: data, options, and places to write to."""

from pathlib import Path

import numpy as np
import pytest

from commands import assert_refused, call, files_in

Capture = pytest.CaptureFixture[str]

# rich draws the identity of a link style from `random`.
pytestmark = pytest.mark.global_rng

FAST = ("--width", "2", "--batch-size", "8", "--steps", "2", "--evaluate-every", "2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits", "--width", "0"), "--width must be at least 1; got 0"),
        (("digits", "--generator-width", "-2"), "--generator-width must be at least 1"),
        (("digits", "--discriminator-width", "0"), "--discriminator-width must be"),
        (("digits", "--width", "2.5"), "must be an integer; got '2.5'"),
        (("digits", "--steps", "0"), "--steps must be at least 1; got 0"),
        (("digits", "--batch-size", "1"), "--batch-size must be at least 2; got 1"),
        (("digits", "--batch-size", "9999"), "at most the number of training samples"),
        (("digits", "--evaluate-every", "0"), "--evaluate-every must be at least 1"),
        (("digits", "--learning-rate", "nan"), "--learning-rate must be positive"),
        (("digits", "--loss", "lsgan"), '"lsgan" for --loss'),
        (("digits", "--architecture", "biggan"), '"biggan" for --architecture'),
        (
            ("digits", "--method", "alternating"),
            "--method of a GAN must be one of adam",
        ),
        (("digits", "--device", "abacus"), "device 'abacus' cannot be used"),
        (("digits", "--image-size", "30"), "resize to a size such as 28, 32"),
        (("digits", "--resume"), "--resume needs the folder"),
        (("digits", "--tensorboard"), "--tensorboard needs the folder"),
        (("digits", "--target-size", "3"), "--target-size is for mean-matching alone"),
        (("digits", "--num-latents", "3"), "--num-latents is for mean-matching alone"),
        (("digits", "--features", "none.onnx"), "none.onnx"),
        (("nothing",), "nothing does not exist; accepted are digits, gaussians"),
        (("gaussians", "--architecture", "dcgan"), "take architecture mlp"),
        (("gaussians", "--image-size", "8"), "image_size is for images"),
        (("gaussians", "--features", "f.onnx"), "--features is for images"),
        (("mean-matching", "--width", "0"), "--width must be at least 1"),
        (("mean-matching", "--num-latents", "0"), "--num-latents must be at least 1"),
        (("mean-matching", "--loss", "hinge"), "--loss is not for mean-matching"),
        (("mean-matching", "--resume"), "--resume is not for mean-matching"),
        (("mean-matching", "--image-size", "8"), "--image-size is not for"),
        (("mean-matching", "--method", "adam"), "must be one of alternating, simult"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(call(capsys, "gan", *arguments), words)
    assert files_in(tmp_path) == set()


def test_images_that_are_not_numbers_are_refused(
    capsys: Capture, tmp_path: Path
) -> None:
    images = np.zeros((20, 8, 8), dtype=np.float32)
    images[3, 2, 1] = np.nan
    np.savez(tmp_path / "bad.npz", images=images)
    assert_refused(call(capsys, "gan", tmp_path / "bad.npz", *FAST), "bad.npz")


def test_a_file_of_something_else_is_refused(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("no pictures")
    assert_refused(call(capsys, "gan", path), "data.txt is not known as data")


def test_features_that_are_no_network_are_refused(
    capsys: Capture, tmp_path: Path
) -> None:
    path = tmp_path / "features.onnx"
    path.write_bytes(b"no network")
    outcome = call(capsys, "gan", "digits", *FAST, "--features", path)
    assert_refused(outcome, "features.onnx")


def test_a_run_that_is_there_is_only_continued_as_it_is(
    capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = ("gan", "gaussians", "--width", "2", "--batch-size", "8", "--out", out)
    assert call(capsys, *arguments, "--steps", "2").code == 0
    before = {path: path.read_bytes() for path in out.glob("*.*")}
    again = call(capsys, *arguments, "--steps", "2")
    assert_refused(again, "holds a run already")
    other = call(capsys, *arguments, "--steps", "2", "--resume", "--seed", "1")
    assert_refused(other, "only the same run can be resumed", "seed was 0 and is 1")
    fewer = call(capsys, *arguments, "--steps", "1", "--resume")
    assert_refused(fewer, "2 steps that were taken")
    assert before == {path: path.read_bytes() for path in out.glob("*.*")}
    for path in out.glob("checkpoint-*.npz"):
        path.write_bytes(path.read_bytes()[:-200])
    damaged = call(capsys, *arguments, "--steps", "2", "--resume")
    assert_refused(damaged, "no checkpoint in", "delete them")


def test_no_place_has_two_uses(capsys: Capture, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, images=np.zeros((20, 8, 8), dtype=np.uint8))
    outcome = call(capsys, "gan", data, *FAST, "--json", data)
    assert_refused(outcome, "would be overwritten")
    options = ("--out", tmp_path, "--json", tmp_path / "samples.png")
    outcome = call(capsys, "gan", data, *FAST, *options)
    assert_refused(outcome, "another result's file")
    outcome = call(capsys, "gan", "mean-matching", "--out", data)
    assert_refused(outcome, "it is a file")
