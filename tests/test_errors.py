import inspect
import re

import pytest

from tacit import errors
from tacit.errors import Status, TacitError

ERRORS = [
    item
    for item in vars(errors).values()
    if inspect.isclass(item) and issubclass(item, Exception) and item is not TacitError
]


def test_the_module_has_errors_at_all() -> None:
    assert len(ERRORS) >= 5


@pytest.mark.parametrize("error", ERRORS)
def test_each_error_is_caught_as_a_tacit_error_and_as_a_builtin(
    error: type[Exception],
) -> None:
    assert issubclass(error, TacitError)
    assert issubclass(error, ValueError | RuntimeError)
    with pytest.raises(TacitError, match="rows must be 3; got 4"):
        raise error("rows must be 3; got 4")


@pytest.mark.parametrize("error", ERRORS)
def test_each_error_says_what_it_is_for(error: type[Exception]) -> None:
    assert error.__doc__
    assert error.__doc__ != TacitError.__doc__


def test_wrong_input_is_a_value_error_and_a_bug_of_ours_is_not() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.CertificateError, ValueError)
    assert not issubclass(errors.BracketError, ValueError)
    assert not issubclass(errors.ImportMismatchError, ValueError)


@pytest.mark.parametrize("status", Status)
def test_each_status_has_advice_of_its_own(status: Status) -> None:
    others = [other.advice for other in Status if other is not status]
    assert status.advice
    assert status.advice not in others
    assert Status(status.advice) is status


@pytest.mark.parametrize(
    "status", [s for s in Status if s is not Status.CONVERGED], ids=lambda s: s.name
)
def test_a_run_that_fell_short_says_what_to_do(status: Status) -> None:
    fact, _, next_step = status.advice.partition("; ")
    assert fact
    verbs = r"\b(raise|loosen|rescale|run longer|take smaller steps)\b"
    assert re.search(verbs, next_step)
