"""Whether a checkpoint belongs to the run that asks for it."""

from tacit.errors import InputError
from tacit.minimax.gan.checkpoint import Checkpoint
from tacit.minimax.gan.config import TrainingConfig, config_from_header, differences
from tacit.minimax.gan.data.dataset import GanData
from tacit.minimax.gan.features.interface import AbstractFeatures


def describe_run(
    data: GanData, config: TrainingConfig, features: AbstractFeatures | None
) -> dict[str, object]:
    """Return what identifies a run, for a checkpoint's header.

    Parameters
    ----------
    data : GanData
    config : TrainingConfig
    features : AbstractFeatures or None
    """
    return {
        "config": config.as_header(),
        "data": {
            "name": data.name,
            "digest": data.digest,
            "shape": list(data.train.shape),
        },
        "features": {
            "name": None if features is None else features.name,
            "digest": None if features is None else features.digest,
        },
    }


def check_same_run(
    checkpoint: Checkpoint,
    data: GanData,
    config: TrainingConfig,
    features: AbstractFeatures | None,
) -> None:
    """Refuse to resume another run.

    Parameters
    ----------
    checkpoint : Checkpoint
    data : GanData
    config : TrainingConfig
    features : AbstractFeatures or None

    Raises
    ------
    InputError
        If settings, data or features differ, saying which and how; if the checkpoint
        has taken more steps than are asked for.
    """
    now = describe_run(data, config, features)
    odd = differences(config_from_header(checkpoint.section("config")), config)
    for kind in ("data", "features"):
        before, after = checkpoint.section(kind), now[kind]
        if isinstance(after, dict):
            odd += [
                f"the {kind}'s {name} was {before.get(name)!r} and is {value!r}"
                for name, value in after.items()
                if before.get(name) != value
            ]
    if odd:
        raise InputError(
            f"only the same run can be resumed, but {'; '.join(odd)}; name another "
            "folder, or repeat the settings of the run"
        )
    if checkpoint.step > config.num_steps:
        raise InputError(
            f"num_steps must be at least the {checkpoint.step} steps that were taken; "
            f"got {config.num_steps}; raise it"
        )


def shape_of(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the shape of one sample.

    Parameters
    ----------
    checkpoint : Checkpoint

    Raises
    ------
    InputError
        If the header has none.
    """
    shape = checkpoint.section("data").get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
        raise InputError(f"the checkpoint's data have no shape; got {shape!r}")
    return tuple(shape)
