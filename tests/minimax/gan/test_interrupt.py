"""Ctrl-C waits for the end of a step; a second one does not."""

import signal
import threading
from types import FrameType

import pytest

from tacit.minimax.gan.interrupt import deferred_interrupt


def test_the_first_ctrl_c_is_a_request() -> None:
    with deferred_interrupt() as request:
        assert not request.is_made
        signal.raise_signal(signal.SIGINT)
        assert request.is_made
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_ctrl_c_interrupts() -> None:
    with deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_of_somebody_else_stays() -> None:
    calls: list[int] = []

    def theirs(number: int, frame: FrameType | None) -> None:
        calls.append(number)

    old = signal.signal(signal.SIGINT, theirs)
    try:
        with deferred_interrupt() as request:
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, old)
    assert calls == [signal.SIGINT]
    assert not request.is_made


def test_outside_the_main_thread_nothing_is_replaced() -> None:
    seen: list[object] = []

    def look() -> None:
        with deferred_interrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
