"""Ctrl-C put off until the end of a step, when both players are whole."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import final


@final
class StopRequest:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.is_made = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Remember the first Ctrl-C; a second one does not wait.

        Parameters
        ----------
        number : int
        frame : frame or None
            As Python calls a signal's handler.

        Raises
        ------
        KeyboardInterrupt
            The second time.
        """
        if self.is_made:
            raise KeyboardInterrupt
        self.is_made = True


@contextmanager
def deferred_interrupt() -> Generator[StopRequest, None, None]:
    """Turn the first Ctrl-C into a request that the caller asks for.

    Python's own handler is replaced, and put back at the end. Anybody else's handler
    stays, as do all outside the main thread, where Ctrl-C never arrives.
    """
    request = StopRequest()
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if is_ours:
        signal.signal(signal.SIGINT, request.handle)
    try:
        yield request
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
