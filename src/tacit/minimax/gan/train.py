"""Training that survives kills: from data and settings to samples and scores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch

from tacit.errors import Status
from tacit.minimax.gan.checkpoint import Checkpoint
from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.data.dataset import GanData
from tacit.minimax.gan.device import choose_device
from tacit.minimax.gan.evaluate import Evaluator, evaluate, make_evaluator
from tacit.minimax.gan.events import (
    Ended,
    Evaluated,
    Progressed,
    Saved,
    Started,
    TrainingObserver,
)
from tacit.minimax.gan.features.interface import AbstractFeatures
from tacit.minimax.gan.folder import (
    find_checkpoint,
    locked_folder,
    save_checkpoint,
    save_samples,
    save_tables,
)
from tacit.minimax.gan.health import (
    Breakdown,
    bad_loss,
    bad_parameters,
    silent_discriminator,
    vanished_variance,
)
from tacit.minimax.gan.history import ScorePoint, TrainingHistory
from tacit.minimax.gan.interrupt import StopRequest, deferred_interrupt
from tacit.minimax.gan.journal import Journal
from tacit.minimax.gan.plateau import find_plateau
from tacit.minimax.gan.players import (
    Players,
    encode_players,
    make_players,
    restore_players,
)
from tacit.minimax.gan.result import GanResult, TrainedGenerator
from tacit.minimax.gan.resume import check_same_run, describe_run
from tacit.minimax.gan.step import take_step


@final
@dataclass(kw_only=True, eq=False)
class _Run:
    """Everything of one call; the step counter and what was done at it change."""

    config: TrainingConfig
    data: GanData
    players: Players
    evaluator: Evaluator
    journal: Journal
    folder: Path | None
    identity: dict[str, object]
    began: float
    step: int = 0
    saved_step: int = -1
    is_whole: bool = True  # False within a step, when neither player may be kept
    last_good: dict[str, torch.Tensor]
    good_step: int = 0


def train_gan(
    data: GanData,
    config: TrainingConfig,
    *,
    out: Path | None = None,
    resume: bool = False,
    features: AbstractFeatures | None = None,
    device: str = "auto",
    observers: Sequence[TrainingObserver] = (),
) -> GanResult:
    r"""Train a GAN, watch it, and be able to go on after a kill.

    Every random draw comes from a stream of its own, named after its use and
    ``config.seed``, on the CPU whatever the device. On the CPU with the same number of
    threads two runs of one seed are bit-equal, and so is a run that was stopped at any
    point, by Ctrl-C or by force, and resumed. On a GPU that holds as far as its kernels
    are deterministic.

    Parameters
    ----------
    data : GanData
        What is imitated.
    config : TrainingConfig
        How.
    out : Path, optional
        Folder of the run: ``checkpoint-<step>.npz`` (the last two), ``losses.csv``,
        ``scores.csv`` and ``samples-<step>.png``. None: nothing is written.
    resume : bool
        Continue the run in ``out``; from the start if it has no checkpoint yet.
        ``config.num_steps`` may then be another.
    features : AbstractFeatures, optional
        What images are scored on, by Frechet and kernel distances. Without it images
        are scored by sliced Wasserstein distance of pixels alone; vectors are their
        own features.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ...
    observers : sequence of callables
        Each is called with every event: :class:`Started`, :class:`Progressed`,
        :class:`Evaluated`, :class:`Saved`, :class:`Noted`, :class:`Ended`.

    Returns
    -------
    GanResult
        Ctrl-C ends the step under way, writes a checkpoint and gives a result with
        ``Status.INTERRUPTED``; a second one does not wait. A loss or parameter that is
        not finite ends the run with ``Status.NON_FINITE``.

    Raises
    ------
    InputError
        If a setting, the data or the device cannot be used; if ``out`` holds a run and
        ``resume`` is False, or another run than this one; if no checkpoint in it is
        whole; if it cannot be written to.
    ShapeError
        If the architecture cannot make samples of this shape.

    Examples
    --------
    >>> import tacit
    >>> data = tacit.read_data("gaussians")
    >>> config = tacit.TrainingConfig(architecture="mlp", width=8, num_steps=20)
    >>> result = tacit.train_gan(data, config, device="cpu")
    >>> result.sample(5, generator=tacit.make_generator(1)).shape
    torch.Size([5, 2])
    """
    with locked_folder(out), deferred_interrupt() as stop:
        run = _prepare(
            data, config, out, choose_device(device), features, observers, resume=resume
        )
        run.journal.tell(
            Started(
                step=run.step,
                num_steps=config.num_steps,
                num_parameters=run.players.gan.num_parameters,
            )
        )
        breakdown = None
        try:
            breakdown = _loop(run, stop)
        except KeyboardInterrupt:
            # From an observer. Within a step, or the second time, the last checkpoint
            # is what remains.
            if stop.is_made or not run.is_whole:
                raise
            stop.is_made = True
        result = _finish(run, breakdown, is_stopped=stop.is_made)
        run.journal.tell(Ended(step=run.step, status=result.status))
    return result


def _prepare(
    data: GanData,
    config: TrainingConfig,
    folder: Path | None,
    device: torch.device,
    features: AbstractFeatures | None,
    observers: Sequence[TrainingObserver],
    *,
    resume: bool,
) -> _Run:
    began = time.perf_counter()
    checkpoint, notes = find_checkpoint(folder, resume=resume)
    if checkpoint is not None:
        check_same_run(checkpoint, data, config, features)
    players = make_players(config, data.train, device)
    run = _Run(
        config=config,
        data=data,
        players=players,
        evaluator=make_evaluator(data, config, features, device),
        journal=Journal(observers),
        folder=folder,
        identity=describe_run(data, config, features),
        began=began,
        last_good={},
    )
    if checkpoint is not None:
        restore_players(players, checkpoint.arrays)
        run.journal.restore(checkpoint)
        run.step = run.saved_step = checkpoint.step
        run.began -= checkpoint.seconds
    for note in notes:
        run.journal.note(run.step, note)
    _remember(run)
    return run


def _loop(run: _Run, stop: StopRequest) -> Breakdown | None:
    """Step until the end, a breakdown or Ctrl-C; what is due at a step comes after it.

    What is due is done once, so that a run resumed between a step and its score, say,
    goes on with the score.
    """
    config = run.config
    while True:
        breakdown = _do_what_is_due(run)
        if breakdown or stop.is_made or run.step >= config.num_steps:
            return breakdown
        run.is_whole = False
        losses = take_step(run.players)
        run.step += 1
        run.players.average.update(run.step)
        run.journal.add_losses(*losses)
        run.is_whole = True


def _do_what_is_due(run: _Run) -> Breakdown | None:
    step, config, journal = run.step, run.config, run.journal
    if step == 0:
        return None
    is_log_due = step % config.log_every == 0 and journal.last_loss_step != step
    is_score_due = step % config.evaluate_every == 0 and journal.last_score_step != step
    is_save_due = (
        run.folder is not None
        and step % config.checkpoint_every == 0
        and run.saved_step != step
    )
    if not (is_log_due or is_score_due or is_save_due):
        return None
    if breakdown := _breakdown(run):
        return breakdown
    if is_log_due:
        _log(run)
    if is_score_due:
        _score(run)
    if is_save_due:
        _save(run)
    return None


def _breakdown(run: _Run) -> Breakdown | None:
    gan = run.players.gan
    return bad_loss(run.journal.pending(), run.step) or bad_parameters(
        gan.discriminator, gan.generator, run.step
    )


def _log(run: _Run) -> None:
    point = run.journal.mean_loss(run.step)
    if point is None:
        return
    run.journal.close_losses(point)
    if not run.config.has_gradient_penalty:  # whose loss has no least value
        run.journal.note(
            run.step,
            silent_discriminator(run.journal.history.losses),
            once="discriminator's loss has been below",
        )
    run.journal.tell(
        Progressed(
            step=run.step,
            num_steps=run.config.num_steps,
            discriminator_loss=point.discriminator,
            generator_loss=point.generator,
        )
    )


def _score(run: _Run) -> None:
    scores, samples = evaluate(run.evaluator, run.players.average)
    run.journal.add_scores(ScorePoint(step=run.step, values=scores))
    _remember(run)
    if run.folder is not None:
        save_samples(run.folder, run.step, samples, run.evaluator.shown_real)
        save_tables(run.folder, run.journal.history)
    _, ratios = run.journal.history.curve("variance_ratio")
    run.journal.note(
        run.step,
        vanished_variance(ratios, run.step),
        once="generator makes nearly one sample",
    )
    run.journal.tell(Evaluated(step=run.step, scores=scores, samples=samples))


def _save(run: _Run) -> None:
    if run.folder is None:
        return
    header = {
        **run.identity,
        **run.journal.header(),
        "step": run.step,
        "seconds": time.perf_counter() - run.began,
    }
    arrays = {**encode_players(run.players), **run.journal.arrays()}
    path = save_checkpoint(
        run.folder, run.step, Checkpoint(header=header, arrays=arrays)
    )
    run.saved_step = run.step
    run.journal.tell(Saved(step=run.step, path=path))


def _remember(run: _Run) -> None:
    """Keep the averaged generator, in case that what comes next is not finite."""
    module = run.players.average.finish(run.evaluator.latents)
    run.good_step = run.step
    run.last_good = {name: value.clone() for name, value in module.state_dict().items()}


def _finish(run: _Run, breakdown: Breakdown | None, *, is_stopped: bool) -> GanResult:
    module = run.players.average.finish(run.evaluator.latents)
    generator_step = run.step
    if breakdown is not None:
        run.journal.note(run.step, str(breakdown))
        module.load_state_dict(run.last_good)
        generator_step = run.good_step
    else:
        if run.saved_step != run.step:
            _save(run)
        if not is_stopped and run.journal.last_score_step != run.step:
            # After the checkpoint: a longer run has no score at this step.
            _score(run)
    return _result(run, module, generator_step, breakdown, is_stopped=is_stopped)


def _result(
    run: _Run,
    module: torch.nn.Module,
    generator_step: int,
    breakdown: Breakdown | None,
    *,
    is_stopped: bool,
) -> GanResult:
    history = run.journal.history
    if breakdown is None and (point := run.journal.mean_loss(run.step)):
        history = TrainingHistory(
            losses=(*history.losses, point), scores=history.scores
        )
    if run.folder is not None:
        save_tables(run.folder, history)
    name = run.evaluator.score_name
    # Evenly spaced ones: a score of a last odd step is left out.
    plateau = find_plateau(
        [
            point.values[name]
            for point in history.scores
            if point.step % run.config.evaluate_every == 0
        ]
    )
    if breakdown is not None:
        status = Status.NON_FINITE
    elif is_stopped:
        status = Status.INTERRUPTED
    else:
        status = Status.MAX_STEPS
    result = GanResult(
        config=run.config,
        gan=run.players.gan,
        generator=TrainedGenerator(
            module=module,
            latent_dim=run.players.gan.latent_dim,
            shape=run.data.train.shape,
            step=generator_step,
        ),
        status=status,
        num_steps=run.step,
        history=history,
        score_name=name,
        plateau=plateau,
        num_parameters=run.players.gan.num_parameters,
        seconds=time.perf_counter() - run.began,
        notes=run.journal.notes,
        folder=run.folder,
    )
    if status == Status.MAX_STEPS and result.converged:
        return replace(result, status=Status.CONVERGED)
    return result
