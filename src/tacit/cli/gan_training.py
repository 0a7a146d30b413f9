"""A GAN trained from the command line: data, progress, and what is written."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from tacit.cli.gan_options import TrainingOptions, check_options, make_config
from tacit.cli.gan_progress import watching_training
from tacit.cli.gan_report import describe, table_rows, to_json
from tacit.cli.places import json_bytes, result_places, save_figure
from tacit.cli.terminal import open_console, print_rows
from tacit.errors import InputError, Status
from tacit.io import write_bytes
from tacit.minimax.gan.config import Method, TrainingConfig
from tacit.minimax.gan.data.dataset import GanData
from tacit.minimax.gan.data.read import read_data
from tacit.minimax.gan.device import choose_device
from tacit.minimax.gan.events import TrainingObserver
from tacit.minimax.gan.features.digits import digits_features
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.minimax.gan.features.read import read_features
from tacit.minimax.gan.figures import scatter_png
from tacit.minimax.gan.grid import png_bytes, sample_grid
from tacit.minimax.gan.result import GanResult
from tacit.minimax.gan.tensorboard import TensorBoardObserver
from tacit.minimax.gan.train import train_gan
from tacit.rng import make_generator

INTERRUPTED, BROKE_DOWN = 130, 1
SAMPLES = "samples.png"
FIGURES = ("scores.png", "scores.pdf")
_SHOWN_IMAGES, _SHOWN_VECTORS = 64, 1000
_SEEN_PIXELS = 48  # sides below half of it are magnified


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingTask:
    """What is asked, and where the answer goes."""

    source: str
    options: TrainingOptions
    width: int | None
    method: Method | None
    num_steps: int | None
    latent_dim: int | None
    seed: int
    json_file: Path | None
    out: Path | None
    resume: bool


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Answer:
    data: GanData
    features: AbstractFeatures | None
    result: GanResult
    device: str


def train(task: TrainingTask) -> int:
    """Train, print, write, and return the exit code."""
    check_options(task.options)
    if task.out is None:
        for name, is_given in (
            ("--resume", task.resume),
            ("--tensorboard", task.options.tensorboard),
        ):
            if is_given:
                raise InputError(f"{name} needs the folder of the run: name it, --out")
    with warnings.catch_warnings():
        # Packages that read pictures warn of what is then refused, or can be done
        # without.
        warnings.simplefilter("ignore")
        results = _places(task)
        answer = _run(task)
    console = open_console()
    written: list[Path] = []
    try:
        line = describe(answer.data, answer.result)
        console.print(line, markup=False, soft_wrap=True)
        print_rows(console, table_rows(answer.result, answer.features))
    finally:
        # Also if the reader of a pipe has gone: the files were asked for.
        written = _write(task, results, answer)
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    codes = {Status.INTERRUPTED: INTERRUPTED, Status.NON_FINITE: BROKE_DOWN}
    return codes.get(answer.result.status, 0)


def _places(task: TrainingTask) -> tuple[Path, ...]:
    """Return where the JSON goes; no place may be that of the data or of a model."""
    inputs = [] if task.options.features is None else [task.options.features]
    if Path(task.source).is_file():
        inputs.append(Path(task.source))
    others = [] if task.out is None else [task.out / n for n in (SAMPLES, *FIGURES)]
    return result_places(task.json_file, task.out, others=others, inputs=inputs)


def _run(task: TrainingTask) -> _Answer:
    options = task.options
    device = str(choose_device(options.device or "auto"))
    data = read_data(task.source, image_size=options.image_size)
    config = make_config(
        options,
        data_shape=data.train.shape,
        width=task.width,
        method=task.method,
        num_steps=task.num_steps,
        latent_dim=task.latent_dim,
        seed=task.seed,
    )
    features = _features(data, options.features)
    observers: list[TrainingObserver] = []
    if options.tensorboard and task.out is not None:
        observers.append(TensorBoardObserver(task.out / "tensorboard"))
    with watching_training(_shown_score(data, features)) as observer:
        result = train_gan(
            data,
            config,
            out=task.out,
            resume=task.resume,
            features=features,
            device=device,
            observers=(*observers, observer),
        )
    return _Answer(data=data, features=features, result=result, device=device)


def _features(data: GanData, file: Path | None) -> AbstractFeatures | None:
    if file is not None:
        if len(data.train.shape) != 3:
            raise InputError(
                "--features is for images; vectors are their own features: leave it out"
            )
        return read_features(file)
    if data.name == "digits" and data.train.shape == (1, 8, 8):
        return digits_features()
    return None


def _shown_score(data: GanData, features: AbstractFeatures | None) -> str:
    is_scored = features is not None or len(data.train.shape) == 1
    kind = "frechet" if is_scored else "sliced_wasserstein"
    return f"{kind}_{'train' if data.test is None else 'test'}"


def _write(
    task: TrainingTask, results: tuple[Path, ...], answer: _Answer
) -> list[Path]:
    content = to_json(answer.data, answer.result, answer.features, device=answer.device)
    written: list[Path] = []
    try:
        for path in results:
            write_bytes(path, json_bytes(content))
            written.append(path)
        if task.out is not None:
            write_bytes(task.out / SAMPLES, _picture(answer))
            written.append(task.out / SAMPLES)
            paths = [task.out / name for name in FIGURES]
            written += save_figure(answer.result.plot(), paths)
    except OSError as error:
        raise InputError(
            f"cannot write the result: {error.strerror}; name another place"
        ) from None
    return written


def _picture(answer: _Answer) -> bytes:
    """Return samples of the same latents as the pictures that training writes."""
    config: TrainingConfig = answer.result.config
    is_image = len(answer.data.train.shape) == 3
    samples = answer.result.sample(
        _SHOWN_IMAGES if is_image else _SHOWN_VECTORS,
        generator=make_generator(config.seed, "evaluation"),
    )
    if is_image:
        magnification = max(1, _SEEN_PIXELS // max(samples.shape[2:]))
        return png_bytes(sample_grid(samples, magnification=magnification))
    train = answer.data.train
    real = train.batch(torch.arange(min(_SHOWN_VECTORS, train.num_samples)))
    return scatter_png(samples, real)
