"""The paper's game from the command line: match the mean of data, and certify it."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, final, get_args

import torch
from torch import Tensor

from tacit.cli.gan_options import GameOptions, check_counts
from tacit.cli.gan_report import finite
from tacit.cli.places import json_bytes, result_places, save_figure
from tacit.cli.terminal import open_console, print_rows, watching_solver
from tacit.errors import InputError, Status
from tacit.io import write_bytes
from tacit.minimax.descent_ascent import (
    AbstractDescentAscent,
    AlternatingGDA,
    SimultaneousGDA,
)
from tacit.minimax.dynamics.spectrum import jacobian_spectrum
from tacit.minimax.dynamics.steps import best_steps
from tacit.minimax.extrapolation import Extragradient, OptimisticGradient
from tacit.minimax.find import find_saddle
from tacit.minimax.mean_matching import MeanMatchingGame, draw_start, random_game
from tacit.minimax.predict import predict_game
from tacit.minimax.result import SaddleResult
from tacit.prediction import Prediction
from tacit.rng import make_generator

GameMethod = Literal["alternating", "simultaneous", "extragradient", "optimistic"]
GAME_METHODS: tuple[GameMethod, ...] = get_args(GameMethod)

INTERRUPTED = 130
_TARGET_SIZE, _NUM_LATENTS = 20, 50
FIGURES = ("scores.png", "scores.pdf")
# Room for a Jacobian that moves, as in find_saddle.
_WIDENING = 1.5
# The discriminator's step of the paper's analysis, where its own mode dies at once.
_MAX_STEP = 1.0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GameTask:
    """What is asked, and where the answer goes."""

    width: int
    latent_dim: int
    options: GameOptions
    method: GameMethod | None
    max_steps: int
    seed: int
    json_file: Path | None
    out: Path | None

    @property
    def target_size(self) -> int:
        """m, the dimension of the data."""
        return self.options.target_size or _TARGET_SIZE

    @property
    def num_latents(self) -> int:
        """n, the number of latents."""
        return self.options.num_latents or _NUM_LATENTS

    @property
    def num_parameters(self) -> int:
        """Numbers that both players choose."""
        return self.width * self.latent_dim + self.target_size


def play_game(task: GameTask) -> int:
    """Play, print, write, and return the exit code."""
    check_counts(asdict(task.options))
    results = result_places(
        task.json_file,
        task.out,
        others=[] if task.out is None else [task.out / name for name in FIGURES],
        inputs=[],
    )
    result = _play(task)
    console = open_console()
    written: list[Path] = []
    try:
        console.print(_describe(task), markup=False, soft_wrap=True)
        print_rows(console, game_rows(task, result))
    finally:
        # Also if the reader of a pipe has gone: the files were asked for.
        written = _write(task, results, result)
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    return INTERRUPTED if result.status is Status.INTERRUPTED else 0


def _play(task: GameTask) -> SaddleResult:
    game = random_game(
        task.width,
        num_features=task.target_size,
        latent_dim=task.latent_dim,
        num_latents=task.num_latents,
        generator=make_generator(task.seed, "game"),
    )
    start = draw_start(game, generator=make_generator(task.seed, "start"))
    stream = make_generator(task.seed, "saddle")
    with watching_solver() as (on_phase, on_step):
        on_phase("descent-ascent")
        return find_saddle(
            game,
            start,
            solver=_solver(task.method, game, start[0], stream),
            max_steps=task.max_steps,
            observers=(on_step,),
            generator=stream,
        )


def _solver(
    method: GameMethod | None,
    game: MeanMatchingGame,
    min_player: Tensor,
    generator: torch.Generator,
) -> AbstractDescentAscent | None:
    """Return a method with the best steps for the Jacobian at the start."""
    if method is None:
        return None
    spectrum = jacobian_spectrum(game, min_player, generator=generator)
    if method == "simultaneous":
        return best_steps(
            SimultaneousGDA(min_step=1.0, max_step=1.0),
            spectrum,
            max_step=_MAX_STEP,
            widening=_WIDENING,
        ).solver
    if method == "alternating":
        kind = AlternatingGDA(min_step=1.0, max_step=1.0)
        return best_steps(kind, spectrum, widening=_WIDENING).solver
    if method == "extragradient":
        return best_steps(
            Extragradient(min_step=1.0, max_step=1.0), spectrum, widening=_WIDENING
        ).solver
    return best_steps(
        OptimisticGradient(min_step=1.0, max_step=0.5), spectrum, widening=_WIDENING
    ).solver


def _describe(task: GameTask) -> str:
    return (
        f"mean-matching: a mean of {task.target_size} numbers by {task.width} ReLU "
        f"neurons on {task.num_latents} latents of dimension {task.latent_dim}"
    )


def game_rows(task: GameTask, result: SaddleResult) -> list[tuple[str, str]]:
    """Return the lines of the answer: what it is, and its value."""
    certificate = result.certificate
    bracket = certificate.bracket
    generator = task.width * task.latent_dim
    return [
        ("outcome", certificate.outcome),
        ("how known", certificate.kind),
        ("predicted rate", f"{_number(result.predicted_rate)} a step, at the end"),
        ("", f"{_number(result.predicted_rate_at_start)} a step, at the start"),
        ("measured rate", f"{_number(result.measured_rate)} a step"),
        ("value reached", _number(certificate.primal_value)),
        (
            "least value",
            f"{bracket.lower.value:.6g} to {bracket.upper.value:.6g} (certified)",
        ),
        ("gap", f"{certificate.gap:.2e} (tolerance {certificate.tolerance:.2e})"),
        ("converged", "yes" if result.is_saddle else "no"),
        *_prediction_rows(task),
        ("width", f"{task.width} (the generator's hidden neurons)"),
        (
            "parameters",
            f"{task.num_parameters} (generator {generator}, discriminator "
            f"{task.target_size})",
        ),
        ("method", type(result.solver).__name__),
        ("player's steps", _steps(result.solver)),
        ("why", result.reason),
        ("steps", f"{result.num_steps} ({result.seconds:.1f} s)"),
        ("status", result.status.advice),
    ]


def _predictions(task: GameTask) -> tuple[Prediction, ...]:
    return predict_game(
        width=task.width,
        num_features=task.target_size,
        latent_dim=task.latent_dim,
        num_latents=task.num_latents,
    )


def _prediction_rows(task: GameTask) -> list[tuple[str, str]]:
    """Return what the sizes alone say of a saddle of value zero."""
    chance, enough, *_, published = _predictions(task)
    return [
        (
            "beforehand",
            f"a saddle of value 0 exists with probability {chance.value:.4g}",
        ),
        ("", f"(0.99 from width {enough.value:.0f} on)"),
        (
            "",
            f"published sufficient width {published.value:.3g}, without its constant "
            f"({published.certainty})",
        ),
    ]


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def _steps(solver: AbstractDescentAscent) -> str:
    return f"generator {solver.min_step:.4g}, discriminator {solver.max_step:.4g}"


def game_json(task: GameTask, result: SaddleResult) -> dict[str, object]:
    """Return the machine-readable result; its keys are stable.

    A number that is not finite becomes None.
    """
    certificate, bracket = result.certificate, result.certificate.bracket
    scores = {
        "primal_value": certificate.primal_value,
        "lower_bound": bracket.lower.value,
        "upper_bound": bracket.upper.value,
        "gap": certificate.gap,
        "min_gradient_norm": certificate.min_gradient_norm,
        "max_gradient_norm": certificate.max_gradient_norm,
    }
    return {
        "width": task.width,
        "generator_width": task.width,
        "discriminator_width": None,
        "parameters": task.num_parameters,
        "generator_parameters": task.width * task.latent_dim,
        "discriminator_parameters": task.target_size,
        "scores": {name: finite(value) for name, value in scores.items()},
        "score_name": "gap",
        "steps": result.num_steps,
        "converged": result.is_saddle,
        "outcome": certificate.outcome,
        "kind": certificate.kind,
        "tolerance": certificate.tolerance,
        "status": result.status.name.lower(),
        "advice": result.status.advice,
        "predicted_rate": finite(result.predicted_rate),
        "predicted_rate_at_start": finite(result.predicted_rate_at_start),
        "measured_rate": finite(result.measured_rate),
        "loss": "linear discriminator, quadratic regulariser",
        "method": type(result.solver).__name__,
        "method_steps": {
            "generator": result.solver.min_step,
            "discriminator": result.solver.max_step,
        },
        "reason": result.reason,
        "predictions": [
            {
                "name": prediction.name,
                "value": finite(prediction.value),
                "certainty": prediction.certainty,
                "source": prediction.source,
            }
            for prediction in _predictions(task)
        ],
        "seed": task.seed,
        "data": {
            "name": "mean-matching",
            "target_size": task.target_size,
            "latent_dim": task.latent_dim,
            "num_latents": task.num_latents,
        },
        "seconds": result.seconds,
        "version": version("tacit"),
        "torch": torch.__version__,
    }


def _write(
    task: GameTask, results: tuple[Path, ...], result: SaddleResult
) -> list[Path]:
    written: list[Path] = []
    try:
        for path in results:
            write_bytes(path, json_bytes(game_json(task, result)))
            written.append(path)
        if task.out is not None:
            paths = [task.out / name for name in FIGURES]
            written += save_figure(result.plot(), paths)
    except OSError as error:
        raise InputError(
            f"cannot write the result: {error.strerror}; name another place"
        ) from None
    return written
