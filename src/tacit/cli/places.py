"""Places to write to: made and checked before the long work begins."""

import json
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from tacit.errors import InputError
from tacit.io import write_bytes


def result_places(
    json_file: Path | None,
    out: Path | None,
    *,
    others: Sequence[Path],
    inputs: Sequence[Path],
) -> tuple[Path, ...]:
    """Return where the JSON of a result goes, each place once.

    Parameters
    ----------
    json_file, out : Path or None
        ``--json`` and ``--out``; the folders are made.
    others : sequence of Path
        Files with other contents that will be written too.
    inputs : sequence of Path
        Files that were read, and must not be written.

    Returns
    -------
    tuple of Path

    Raises
    ------
    InputError
        If a place cannot be written to, or has two uses.
    """
    results: list[Path] = []
    if out is not None:
        _make_folder(out, "--out")
        results.append(out / "result.json")
    if json_file is not None:
        _make_folder(json_file.parent, "--json")
        if not any(_is_same(json_file, path) for path in results):
            results.insert(0, json_file)
    for path in results:
        if path.exists() and not path.is_file():
            raise InputError(f"cannot write {path}: it is not a file; name another one")
        if any(_is_same(path, other) for other in others):
            raise InputError(
                f"--json {path} is another result's file; name another one"
            )
    for path in inputs:
        if any(_is_same(path, place) for place in (*results, *others)):
            raise InputError(
                f"{path} would be overwritten; name another place to write to"
            )
    return tuple(results)


def _make_folder(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise InputError(
            f"{option} cannot write to {folder}: {reason}; name another folder"
        ) from None
    if not writable:
        raise InputError(
            f"{option} cannot write to {folder}: not permitted; name another folder"
        )


def _is_same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def json_bytes(content: Mapping[str, object]) -> bytes:
    """Return the text of a result for machines."""
    return (json.dumps(dict(content), indent=2, allow_nan=False) + "\n").encode()


def save_figure(figure: Figure, paths: Sequence[Path]) -> list[Path]:
    """Write a figure to each path, in the format of its suffix, and return the paths.

    The same figure gives the same bytes: no date is written.
    """
    for path in paths:
        buffer = BytesIO()
        kind = path.suffix.removeprefix(".")
        metadata = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
        write_bytes(path, buffer.getvalue())
    return list(paths)
