"""Losses, scores and samples for TensorBoard, if it is installed."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from tacit.errors import InputError
from tacit.minimax.gan.events import Ended, Evaluated, Progressed, TrainingEvent
from tacit.minimax.gan.grid import sample_grid

_IMAGE_DIMENSIONS = 4


@final
class TensorBoardObserver:
    """An observer of :func:`train_gan` that writes a TensorBoard log.

    Parameters
    ----------
    folder : Path
        Where the log goes; ``tensorboard --logdir FOLDER`` shows it.

    Raises
    ------
    InputError
        If the package ``tensorboard`` is not installed.

    Examples
    --------
    >>> import tacit, tempfile
    >>> from pathlib import Path
    >>> config = tacit.TrainingConfig(architecture="mlp", width=4, num_steps=5)
    >>> with tempfile.TemporaryDirectory() as name:
    ...     log = tacit.TensorBoardObserver(Path(name))
    ...     data = tacit.read_data("gaussians")
    ...     _ = tacit.train_gan(data, config, observers=[log])
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise InputError(
                "TensorBoard logs need the package tensorboard, which is not "
                "installed; run: pip install tensorboard"
            )
        # Loaded on first use: it is slow to import and most runs do not need it.
        module = import_module("torch.utils.tensorboard")
        self._writer: Any = module.SummaryWriter(log_dir=str(folder))

    def __call__(self, event: TrainingEvent) -> None:
        """Write what happened.

        Parameters
        ----------
        event : TrainingEvent
            Losses, scores and samples are written; the end closes the log.
        """
        if isinstance(event, Progressed):
            losses = {
                "discriminator": event.discriminator_loss,
                "generator": event.generator_loss,
            }
            for name, value in losses.items():
                self._writer.add_scalar(f"loss/{name}", value, event.step)
        elif isinstance(event, Evaluated):
            for name, value in event.scores.items():
                self._writer.add_scalar(f"score/{name}", value, event.step)
            if event.samples.ndim == _IMAGE_DIMENSIONS:
                grid = sample_grid(event.samples)
                self._writer.add_image("samples", grid, event.step, dataformats="HWC")
            self._writer.flush()
        elif isinstance(event, Ended):
            self._writer.close()
