"""``tacit gan``: train a GAN of a given width, or play the paper's game."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tacit.cli.gan_game import GAME_METHODS, GameMethod, GameTask, play_game
from tacit.cli.gan_options import GameOptions, TrainingOptions, check_counts, given
from tacit.cli.gan_training import TrainingTask, train
from tacit.cli.inputs import Integer
from tacit.errors import InputError
from tacit.minimax.gan.config import Method as TrainingMethod

GAME = "mean-matching"
AnyMethod = Literal[TrainingMethod, GameMethod]

_WIDTH, _LATENT_DIM, _GAME_STEPS = 16, 10, 20_000
_NO_TRAINING_OPTIONS, _NO_GAME_OPTIONS = TrainingOptions(), GameOptions()


def gan(
    data: str,
    /,
    *,
    width: Integer | None = None,
    steps: Integer | None = None,
    method: AnyMethod | None = None,
    latent_dim: Integer | None = None,
    training: Annotated[TrainingOptions, Parameter(name="*")] = _NO_TRAINING_OPTIONS,
    game: Annotated[GameOptions, Parameter(name="*")] = _NO_GAME_OPTIONS,
    seed: Integer = 0,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Train a GAN of a given width and watch it, or play the paper's game.

    Parameters
    ----------
    data
        digits, gaussians, gaussians-grid, a folder of pictures, CIFAR-10 or CIFAR-100
        in the binary version (its folder or .tar.gz), or arrays (.npz, .npy); or
        mean-matching: the game of Balaji et al. (2021), which is solved and certified.
    width
        Channels or neurons that both players are multiples of; by default 16.
    steps
        Steps of the generator; by default 5000 (mean-matching: at most 20000).
    method
        GANs: adam (the default), extra-adam, optimistic-adam. mean-matching:
        alternating, simultaneous, extragradient, optimistic, with the best steps for
        the start; by default alternating, and shorter steps where it stalls.
    latent_dim
        Numbers that the generator is given; by default 64 (mean-matching: 10).
    training
        Settings of a GAN.
    game
        Settings of mean-matching.
    seed
        Of all random draws.
    json_file
        Write the result as JSON.
    out
        Folder for result.json, samples.png, scores.png and .pdf, tables, checkpoints.
    resume
        Go on with the run in the --out folder, with the same options.
    """
    check_counts({"width": width, "steps": steps, "latent_dim": latent_dim})
    if data == GAME:
        _refuse([*given(training), *["--resume"] * resume], f"is not for {GAME}")
        return play_game(
            GameTask(
                width=width or _WIDTH,
                latent_dim=latent_dim or _LATENT_DIM,
                options=game,
                method=_game_method(method),
                max_steps=steps or _GAME_STEPS,
                seed=seed,
                json_file=json_file,
                out=out,
            )
        )
    _refuse(given(game), f"is for {GAME} alone")
    task = TrainingTask(
        source=data,
        options=training,
        width=width,
        method=_training_method(method),
        num_steps=steps,
        latent_dim=latent_dim,
        seed=seed,
        json_file=json_file,
        out=out,
        resume=resume,
    )
    return train(task)


def _refuse(names: list[str], reason: str) -> None:
    if names:
        raise InputError(f"{', '.join(names)} {reason}; leave it out")


def _game_method(method: AnyMethod | None) -> GameMethod | None:
    for known in GAME_METHODS:
        if method == known:
            return known
    if method is None:
        return None
    raise InputError(
        f"--method of {GAME} must be one of {', '.join(GAME_METHODS)}; got {method}"
    )


def _training_method(method: AnyMethod | None) -> TrainingMethod | None:
    if method is None or method in ("adam", "extra-adam", "optimistic-adam"):
        return method
    raise InputError(
        "--method of a GAN must be one of adam, extra-adam, optimistic-adam; got "
        f"{method}; see also --order"
    )
