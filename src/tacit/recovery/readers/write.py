"""A recovered matrix in files, with the labels of its rows and columns."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import torch
from torch import Tensor

from tacit.recovery.readers.labels import Indices, Labels
from tacit.recovery.readers.read import LabelledProblem

_BLOCK = 2**16  # entries computed at a time


def factors_bytes(labelled: LabelledProblem, left: Tensor, right: Tensor) -> bytes:
    r"""Return an ``.npz`` file with the factors and the labels.

    Its arrays are ``left`` and ``right``, :math:`\hat X = L R^H`, and ``row_labels``
    and ``column_labels``, each the bytes of a JSON list, where rows and columns have
    labels. Nothing in it needs pickle.

    Parameters
    ----------
    labelled : LabelledProblem
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)

    Returns
    -------
    bytes

    Examples
    --------
    >>> import json
    >>> from io import BytesIO
    >>> import numpy as np
    >>> import torch
    >>> from tacit.recovery.readers.read import read_problem
    >>> from tacit.recovery.readers.write import factors_bytes
    >>> from pathlib import Path
    >>> _ = Path("stars.csv").write_text("ann,film,5\nann,play,2\nbob,film,4\n")
    >>> ones = torch.ones(2, 1, dtype=torch.float64)
    >>> content = factors_bytes(read_problem("stars.csv"), ones, ones)
    >>> with np.load(BytesIO(content)) as stored:
    ...     json.loads(bytes(stored["column_labels"]))
    ['film', 'play']
    """
    members: dict[str, npt.NDArray[Any]] = {
        "left": left.cpu().numpy(),
        "right": right.cpu().numpy(),
    }
    for name, labels in (
        ("row_labels", labelled.row_labels),
        ("column_labels", labelled.column_labels),
    ):
        if labels is not None:
            text = json.dumps(list(labels)).encode()
            members[name] = np.frombuffer(text, dtype=np.uint8)
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **members)
    return buffer.getvalue()


def completed_bytes(
    labelled: LabelledProblem,
    left: Tensor,
    right: Tensor,
    rows: Indices,
    columns: Indices,
) -> bytes:
    r"""Return a CSV table of entries of :math:`\hat X = L R^H`.

    Its columns are called as in the problem's file: row labels, column labels, values;
    of a complex matrix the real and the imaginary parts of the values.

    Parameters
    ----------
    labelled : LabelledProblem
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)
    rows, columns : int64 array, shape (num_asked,)
        Which entries.

    Returns
    -------
    bytes

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from tacit.recovery.readers.read import read_problem
    >>> from tacit.recovery.readers.write import completed_bytes
    >>> from pathlib import Path
    >>> _ = Path("stars.csv").write_text("ann,film,5\nann,play,2\nbob,film,4\n")
    >>> left = torch.tensor([[1.0], [2.0]])
    >>> print(completed_bytes(read_problem("stars.csv"), left, left, np.array([1]),
    ...     np.array([0])).decode())
    "row","column","value"
    "bob","film",2
    <BLANKLINE>
    """
    row, column, value = labelled.names
    values = fitted_entries(left, right, rows, columns)
    content = [
        (row, _label(labelled.row_labels, rows)),
        (column, _label(labelled.column_labels, columns)),
    ]
    if np.iscomplexobj(values):
        content += [
            (f"{value}_real", np.real(values)),
            (f"{value}_imag", np.imag(values)),
        ]
    else:
        content.append((value, values))
    table = pa.table([pa.array(array) for _, array in content], [n for n, _ in content])
    buffer = BytesIO()
    pa_csv.write_csv(
        table, buffer, pa_csv.WriteOptions(include_header=True, quoting_style="needed")
    )
    return buffer.getvalue()


def fitted_entries(
    left: Tensor, right: Tensor, rows: Indices, columns: Indices
) -> npt.NDArray[Any]:
    r"""Return entries :math:`\hat X_{ij} = \sum_k L_{ik} \bar R_{jk}`.

    Parameters
    ----------
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)
    rows, columns : int64 array, shape (num_asked,)

    Returns
    -------
    array, shape (num_asked,)
    """
    i, j = torch.from_numpy(rows), torch.from_numpy(columns)
    parts = [
        (left[a] * right[b].conj()).sum(-1)
        for a, b in zip(i.split(_BLOCK), j.split(_BLOCK), strict=True)
    ]
    return torch.cat(parts).cpu().numpy()


def _label(labels: Labels | None, indices: Indices) -> Any:
    if labels is None:
        return indices
    kind = pa.string() if isinstance(labels[0], str) else None
    return pa.array(labels, kind).take(pa.array(indices))
