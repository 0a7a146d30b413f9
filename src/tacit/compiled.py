"""Compiled kernels: at first use, kept on disk, and in threads of their own."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from filelock import FileLock

Array = npt.NDArray[Any]
# Sums may be reordered and fused; infinities and NaN keep their meaning.
FAST = {"contract", "nsz", "reassoc"}


def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at first use, keep the result on disk, and run without Python's lock.

    Processes that share the cache take turns to compile: Numba numbers its files
    without looking whether another process is about to take the same number, and could
    load code that was compiled for other types.
    """
    try:
        jitted = numba.njit(nogil=True, fastmath=FAST, cache=True)(kernel)
        folder = Path(str(jitted.stats.cache_path))
    except RuntimeError:  # neither beside the package nor in the home directory
        return numba.njit(nogil=True, fastmath=FAST)(kernel)
    seen: set[tuple[object, ...]] = set()

    def call(*arguments: Any) -> Any:
        kinds = tuple(map(_kind, arguments))
        if kinds in seen:
            return jitted(*arguments)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "tacit-kernels.lock"):
            result = jitted(*arguments)
        seen.add(kinds)
        return result

    return call


def _kind(argument: Any) -> object:
    """Return what a compiled kernel depends on."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.carray
    return type(argument)


def even_bounds(size: int, num_parts: int, tile: int) -> list[int]:
    """Cut ``range(size)`` into parts of about one size, at multiples of ``tile``."""
    tiles = -(-size // tile)
    return [tiles * part // num_parts * tile for part in range(num_parts)] + [size]


def run_in_threads(
    kernel: Callable[[int, int, int], object], bounds: Sequence[int]
) -> None:
    """Call ``kernel(part, bounds[part], bounds[part + 1])`` for all parts at once."""
    others = [
        _pool().submit(kernel, part, bounds[part], bounds[part + 1])
        for part in range(1, len(bounds) - 1)
    ]
    kernel(0, bounds[0], bounds[1])
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that stay: starting new ones would cost more than a small pass."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tacit")


if sys.platform != "win32":
    # A forked process inherits the pool, but not its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
