"""Parsing of the small texts that commands take."""

from tacit.errors import InputError


def parse_integers(
    text: str, *, option: str, example: str, least: int
) -> tuple[int, ...]:
    """Return the comma-separated integers of ``text``, each at least ``least``.

    Raises
    ------
    InputError
        If a part is no integer or too small.
    """
    try:
        numbers = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < least:
        raise InputError(
            f"{option} must be integers of at least {least}, as in {example}; got {text!r}"
        )
    return numbers


def parse_pair(text: str | None) -> tuple[int, int] | None:
    """Return the two outputs of ``--margin i,j``."""
    if text is None:
        return None
    numbers = parse_integers(text, option="--margin", example="3,5", least=0)
    if len(numbers) != 2:
        raise InputError(f"--margin takes two outputs, as in 3,5; got {text!r}")
    return numbers[0], numbers[1]


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes of ``--input-shape``."""
    if text is None:
        return None
    return parse_integers(text, option="--input-shape", example="3,32,32", least=1)
