"""What the functions of this folder ask of their arguments."""

from tacit.errors import InputError, ShapeError


def checked_sizes(shape: tuple[int, int], num_measurements: int) -> tuple[int, int]:
    """Return the shape of the lifted matrix, if all sizes are positive.

    Raises
    ------
    ShapeError
        If one is not.
    """
    if min(*shape, num_measurements) < 1:
        raise ShapeError(
            f"shape and num_measurements must be positive; got {shape} and "
            f"{num_measurements}"
        )
    return shape


def require(is_met: bool, name: str, rule: str, received: float) -> None:  # noqa: FBT001
    """Refuse a number that is out of range.

    Raises
    ------
    InputError
        Naming argument, rule and what was received.
    """
    if not is_met:
        raise InputError(f"{name} must be {rule}; got {received}")
