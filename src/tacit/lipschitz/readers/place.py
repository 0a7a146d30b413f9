"""Errors that name the place in a file or graph where they happened."""

from collections.abc import Generator
from contextlib import contextmanager

from tacit.errors import InputError, ShapeError, UnsupportedLayerError


@contextmanager
def located(where: str) -> Generator[None, None, None]:
    """Put ``where`` before the message of any error that a user's file can cause.

    Raises
    ------
    UnsupportedLayerError, ShapeError, InputError
        The error itself, located; InputError for an error of torch or Python.
    """
    try:
        yield
    except UnsupportedLayerError as error:
        raise UnsupportedLayerError(f"{where}: {error}") from None
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (RuntimeError, ValueError, TypeError, LookupError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{where} cannot be read: {reason}") from None
