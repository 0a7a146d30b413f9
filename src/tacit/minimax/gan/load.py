"""A trained generator out of a checkpoint, without data or training."""

from pathlib import Path

from tacit.errors import InputError
from tacit.minimax.gan.averaging import MovingAverage
from tacit.minimax.gan.checkpoint import latest_checkpoint, read_checkpoint
from tacit.minimax.gan.config import config_from_header
from tacit.minimax.gan.device import choose_device
from tacit.minimax.gan.encode import module_tensors, restore_tensors
from tacit.minimax.gan.evaluate import evaluation_latents
from tacit.minimax.gan.players import make_gan
from tacit.minimax.gan.result import TrainedGenerator
from tacit.minimax.gan.resume import shape_of


def load_generator(path: Path, *, device: str = "cpu") -> TrainedGenerator:
    """Return the averaged generator of a checkpoint, ready for sampling.

    Parameters
    ----------
    path : Path
        A checkpoint, or the folder of a run, whose newest whole one is taken.
    device : str
        Where samples are made.

    Returns
    -------
    TrainedGenerator
        On the CPU bit-equal to that of the run's own result at the checkpoint's step.

    Raises
    ------
    InputError
        If there is no checkpoint, it is damaged or of another program, or there is no
        such device.

    Examples
    --------
    >>> import tacit, tempfile
    >>> from pathlib import Path
    >>> config = tacit.TrainingConfig(architecture="mlp", width=4, num_steps=5)
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = tacit.train_gan(tacit.read_data("gaussians"), config, out=Path(name))
    ...     trained = tacit.load_generator(Path(name))
    >>> trained.sample(3, generator=tacit.make_generator(0)).shape
    torch.Size([3, 2])
    """
    checkpoint = read_checkpoint(path) if path.is_file() else latest_checkpoint(path)[0]
    if checkpoint is None:
        raise InputError(f"{path} has no checkpoint; name a run's folder or its file")
    config = config_from_header(checkpoint.section("config"))
    where = choose_device(device)
    gan = make_gan(config, shape_of(checkpoint), where)
    restore_tensors("generator", module_tensors(gan.generator), checkpoint.arrays)
    average = MovingAverage(gan.generator, config.ema_decay)
    parameters = dict(average.module.named_parameters())
    restore_tensors("average", parameters, checkpoint.arrays)
    latents = evaluation_latents(config, config.num_score_samples, where)
    return TrainedGenerator(
        module=average.finish(latents),
        latent_dim=gan.latent_dim,
        shape=shape_of(checkpoint),
        step=checkpoint.step,
    )
