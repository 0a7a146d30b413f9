r"""Random places of a matrix, without ever listing all of them."""

import torch
from torch import Tensor

from tacit.errors import InputError

_CHUNK = 2**16  # places looked at one by one before the next are listed


def draw_entries(
    shape: tuple[int, int],
    num_entries: int,
    *,
    min_per_line: int = 0,
    is_symmetric: bool = False,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    r"""Draw distinct places of a matrix uniformly, none of its lines left too empty.

    Every set of ``num_entries`` places has the same probability. Then each row and
    column that has fewer than ``min_per_line`` of them is given new ones, uniform among
    its free places, and as many are taken away again, one by one, each uniform among
    the places whose row and column can spare it.

    Parameters
    ----------
    shape : tuple of int
        ``(num_rows, num_columns)``.
    num_entries : int
        At most the number of places.
    min_per_line : int
        At most the smaller side. 0 leaves the uniform draw as it is.
    is_symmetric : bool
        Draw on and above the diagonal. A line is then a row together with the column
        of the same number.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    rows, columns : Tensor, shape (num_entries,)
        int64, sorted by row, then by column.

    Raises
    ------
    InputError
        If there are too few places, or too few entries for the lines.

    Notes
    -----
    O(num_entries) memory and O(num_entries log num_entries) time, whatever the shape.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.draw_entries import draw_entries
    >>> rows, columns = draw_entries((10**6, 10**6), 3,
    ...     generator=tacit.make_generator(0))
    >>> rows.shape, bool((rows.diff() >= 0).all())
    (torch.Size([3]), True)
    """
    num_rows, num_columns = shape
    population = num_rows * num_columns
    if is_symmetric:
        population = num_rows * (num_rows + 1) // 2
    lines = num_rows if is_symmetric else max(shape)
    if not 1 <= num_entries <= population:
        raise InputError(
            f"the number of entries must be in 1..{population} for shape "
            f"{tuple(shape)}; got {num_entries}; lower oversampling or the rank"
        )
    if not 0 <= min_per_line <= min(shape):
        raise InputError(
            f"min_per_line must be in 0..min(shape) = {min(shape)}; got {min_per_line}"
        )
    # An entry off the diagonal of a symmetric matrix serves two lines.
    if num_entries * (2 if is_symmetric else 1) < min_per_line * lines:
        raise InputError(
            f"{num_entries} entries cannot give each of {lines} lines {min_per_line}; "
            "raise oversampling"
        )
    keys = distinct_integers(population, num_entries, generator=generator)
    rows, columns = _places(keys, shape, is_symmetric=is_symmetric)
    if min_per_line == 0:
        return rows, columns
    keys = rows * num_columns + columns
    filled = _fill_lines(
        keys, shape, min_per_line, is_symmetric=is_symmetric, generator=generator
    )
    if filled.shape[0] > num_entries:
        keys = _take_away(
            filled,
            filled.shape[0] - num_entries,
            shape,
            min_per_line,
            is_symmetric=is_symmetric,
            generator=generator,
        )
        rows, columns = keys // num_columns, keys % num_columns
    return rows, columns


def distinct_integers(
    population: int, count: int, *, generator: torch.Generator
) -> Tensor:
    """Return a uniform set of ``count`` of ``range(population)``, sorted, int64.

    The distinct values of independent draws form a uniform set of their number, and a
    uniform part of such a set is one too.
    """
    if 2 * count > population:
        left_out = distinct_integers(
            population, population - count, generator=generator
        )
        is_kept = torch.ones(population, dtype=torch.bool)
        is_kept[left_out] = False
        return is_kept.nonzero().squeeze(1)
    kept = torch.empty(0, dtype=torch.int64)
    # The same number of 63-bit integers for every remainder; torch.randint with fewer
    # bits prefers some values by percents.
    last = 2**63 // population * population - 1
    while kept.shape[0] < count:
        missing = count - kept.shape[0]
        drawn = torch.empty(missing, dtype=torch.int64).random_(generator=generator)
        drawn = drawn[drawn <= last].remainder_(population)
        kept = torch.unique(torch.cat((kept, drawn)))
    return kept


def _places(
    keys: Tensor, shape: tuple[int, int], *, is_symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Rows and columns of the places with these numbers, counted row by row."""
    if not is_symmetric:
        return keys // shape[1], keys % shape[1]
    size = torch.arange(shape[0], dtype=torch.int64)
    starts = size * shape[0] - size * (size - 1) // 2
    rows = torch.searchsorted(starts, keys, right=True) - 1
    return rows, keys - starts[rows] + rows


def _lines(
    keys: Tensor, shape: tuple[int, int], *, is_symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two lines each place lies in, and how many places a line has."""
    rows, columns = keys // shape[1], keys % shape[1]
    if not is_symmetric:
        columns = columns + shape[0]
        number = shape[0] + shape[1]
        counts = torch.bincount(rows, minlength=number)
        return rows, columns, counts + torch.bincount(columns, minlength=number)
    twice = torch.bincount(rows[rows == columns], minlength=shape[0])
    counts = torch.bincount(rows, minlength=shape[0]) - twice
    return rows, columns, counts + torch.bincount(columns, minlength=shape[0])


def _fill_lines(
    keys: Tensor,
    shape: tuple[int, int],
    min_per_line: int,
    *,
    is_symmetric: bool,
    generator: torch.Generator,
) -> Tensor:
    """Add uniform free places to lines that have too few, until none has."""
    num_rows, num_columns = shape
    while True:
        _, _, counts = _lines(keys, shape, is_symmetric=is_symmetric)
        missing = (min_per_line - counts).clamp_min_(0)
        if int(missing.sum()) == 0:
            return keys
        line = torch.repeat_interleave(torch.arange(len(counts)), missing)
        bits = torch.empty(len(line), dtype=torch.int64).random_(generator=generator)
        is_row = line < num_rows
        partner = bits % torch.where(is_row, num_columns, num_rows)
        rows = torch.where(is_row, line, partner)
        columns = torch.where(is_row, partner, line - num_rows)
        if is_symmetric:
            rows, columns = torch.minimum(rows, columns), torch.maximum(rows, columns)
        # A place that is taken, or drawn twice, counts once: the next round draws anew.
        keys = torch.unique(torch.cat((keys, rows * num_columns + columns)))


def _take_away(
    keys: Tensor,
    excess: int,
    shape: tuple[int, int],
    min_per_line: int,
    *,
    is_symmetric: bool,
    generator: torch.Generator,
) -> Tensor:
    """Drop places in random order, passing over those a line could not spare."""
    first, second, counts = _lines(keys, shape, is_symmetric=is_symmetric)
    can_spare = counts > min_per_line
    candidates = (can_spare[first] & can_spare[second]).nonzero().squeeze(1)
    bits = torch.empty(len(candidates), dtype=torch.int64)
    candidates = candidates[torch.argsort(bits.random_(generator=generator))]
    left = counts.tolist()
    dropped: list[int] = []
    for part in candidates.split(_CHUNK):
        lines = zip(first[part].tolist(), second[part].tolist(), strict=True)
        for place, (one, other) in zip(part.tolist(), lines, strict=True):
            if min(left[one], left[other]) <= min_per_line:
                continue
            for line in {one, other}:
                left[line] -= 1
            dropped.append(place)
            if len(dropped) == excess:
                is_kept = torch.ones(len(keys), dtype=torch.bool)
                is_kept[dropped] = False
                return keys[is_kept]
    raise InputError(
        f"no more entries can be spared with {min_per_line} left in each row and "
        "column; raise oversampling"
    )
