import multiprocessing
import threading

import numba
import numpy as np
import pytest

from tacit.compiled import compiled, even_bounds, run_in_threads


@pytest.mark.parametrize("size", [0, 1, 5, 8, 100, 101])
@pytest.mark.parametrize("num_parts", [1, 2, 3, 8])
@pytest.mark.parametrize("tile", [1, 4])
def test_parts_cover_the_range_once(size: int, num_parts: int, tile: int) -> None:
    bounds = even_bounds(size, num_parts, tile)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, size, num_parts + 1)
    sizes = np.diff(bounds)
    assert sizes.min() >= 0
    assert all(bound % tile == 0 for bound in bounds[:-1])
    assert sizes.max() <= -(-size // num_parts) + tile


def test_parts_run_at_the_same_time() -> None:
    # Each part waits for the other: one after the other they would never end.
    meeting = threading.Barrier(2, timeout=60.0)
    calls: list[tuple[int, int, int]] = []

    def kernel(part: int, start: int, stop: int) -> None:
        meeting.wait()
        calls.append((part, start, stop))

    run_in_threads(kernel, [0, 4, 9])
    assert sorted(calls) == [(0, 0, 4), (1, 4, 9)]


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_in_a_part_comes_through(failing: int) -> None:
    def kernel(part: int, start: int, stop: int) -> None:
        if part == failing:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_in_threads(kernel, [0, 1, 2, 3])


def _fill_in_a_child(start: int) -> list[int]:
    done: list[int] = []
    run_in_threads(lambda part, _start, _stop: done.append(start + part), [0, 1, 2])
    return sorted(done)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert _fill_in_a_child(5) == [5, 6]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_fill_in_a_child, (7,)).get(timeout=60.0) == [7, 8]


def test_kernels_compile_where_nothing_can_be_stored() -> None:
    def kernel(number: int) -> int:
        return number + 1

    # A file that is not there has no place for results beside it, or anywhere.
    nowhere = kernel.__code__.replace(co_filename="/nowhere/kernel.py")
    kernel.__code__ = nowhere
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(kernel)
    assert compiled(kernel)(2) == 3
