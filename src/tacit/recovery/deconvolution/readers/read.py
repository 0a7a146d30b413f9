r"""Files with observed convolutions become problems of blind deconvolution."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.files import checked_file, reading
from tacit.recovery.deconvolution.problem import convolution_problem
from tacit.recovery.deconvolution.readers.arrays import Members, number
from tacit.recovery.deconvolution.readers.bases import filters_from, signal_from
from tacit.recovery.deconvolution.readers.from_npz import (
    boundary_from,
    observed_from,
    require_observed,
    truth_from,
)
from tacit.recovery.deconvolution.readers.images import SUFFIXES, read_image
from tacit.recovery.deconvolution.readers.observation import (
    Observation,
    rounding_bound,
)
from tacit.recovery.deconvolution.readers.pictures import picture_signal
from tacit.recovery.deconvolution.readers.wav import read_wav
from tacit.recovery.maps.convolution import ConvolutionMap
from tacit.recovery.maps.convolution_grid import Boundary
from tacit.recovery.nuclear.minimise import noise_bound_of
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.readers.archive import read_members
from tacit.recovery.subspaces.subspace import AbstractSubspace

ACCEPTED = (
    "accepted are arrays y, B, C (.npz), recordings (.wav), and pictures (.png, .jpg, "
    ".tif)"
)
_KINDS = {
    ".npz": "an archive of arrays",
    ".wav": "a wav recording",
} | SUFFIXES
_ROUNDED = "rounding of the file, taken as independent and uniform"
_MAX_FILES = 64


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class KnownSubspaces:
    r"""What is known besides the observation; None where it is not said.

    Parameters
    ----------
    filters : Path or None
        An ``.npz`` file with one of the arrays that :func:`filters_from` reads.
    filter_size : tuple of int or None
        Instead: filters of this size, each entry unknown.
    signal : Path or None
        An ``.npz`` file with one of the arrays that :func:`signal_from` reads.
    wavelet : str
        Of a picture's subspace.
    coefficients : int or None
        How many of the observed picture's largest wavelets span the true one; None
        takes a sixth of the number of pixels, or, of several pictures, every picture.
    boundary : {"circular", "full", "valid", "same"} or None
        What was seen of the convolution; None is ``full`` for recordings, ``valid`` for
        pictures and ``circular`` for arrays that do not say it.

    Examples
    --------
    >>> import tacit
    >>> tacit.KnownSubspaces(filter_size=(5, 5)).wavelet
    'haar'
    """

    filters: Path | None = None
    filter_size: tuple[int, ...] | None = None
    signal: Path | None = None
    wavelet: str = "haar"
    coefficients: int | None = None
    boundary: Boundary | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ObservedConvolution:
    r"""A problem of blind deconvolution read from files.

    Parameters
    ----------
    observed : Observation
        As it enters the problem: a picture may have lost some rows and columns.
    problem : RecoveryProblem
    boundary : {"circular", "full", "valid", "same"}
    noise_bound : float
        What the file says of the noise: :math:`\|e\|_2` in the unit of y; 0 if it says
        nothing.
    noise_source : str
        In words, where that comes from.
    is_exact_subspace : bool
        Whether the subspaces hold the truth, as far as the file says; False where a
        picture is approximated by some wavelets, so that least squares would fit what
        is missing.
    truth : tuple of Tensor or None
        Coefficients h and x of a planted file.
    notes : tuple of str
        What a person should know about the reading.

    Examples
    --------
    >>> import tempfile, pathlib, numpy, tacit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "observed.npz"
    ...     numpy.savez(path, y=numpy.arange(6.0), B=numpy.eye(6, 2), C=numpy.eye(6, 3))
    ...     found = tacit.read_convolution([path])
    >>> found.boundary, found.problem.linear_map.in_shape
    ('circular', (2, 3))
    """

    observed: Observation
    problem: RecoveryProblem
    boundary: Boundary
    noise_bound: float
    noise_source: str
    is_exact_subspace: bool = True
    truth: tuple[Tensor, Tensor] | None = None
    notes: tuple[str, ...] = ()

    def true_signal(self) -> Tensor | None:
        """Return the true signal on its grid, where it is known."""
        convolution = self.problem.linear_map
        if self.truth is None or not isinstance(convolution, ConvolutionMap):
            return None
        return convolution.signal.synthesise(self.truth[1])


def read_convolution(
    paths: Sequence[str | Path], known: KnownSubspaces | None = None
) -> ObservedConvolution:
    r"""Return the problem of telling apart what was convolved in files.

    Nothing in the files is executed and nothing is unpickled.

    Parameters
    ----------
    paths : sequence of str or Path
        One ``.npz`` file with everything: ``y``, ``(*grid)`` or ``(num_channels,
        *grid)`` with ``num_channels``; one of the arrays of :func:`filters_from`
        and one of :func:`signal_from`; optionally ``boundary`` (text), ``noise_bound``
        (:math:`\|e\|_2`) or ``noise_level`` (standard deviation of every entry), and
        the true coefficients ``h`` and ``x``. Or recordings (``.wav``), or pictures
        (``.png``, ``.jpg``, ``.tif``) of one size, each with its own filter and all of
        one signal; every channel of a recording counts.
    known : KnownSubspaces or None
        For recordings and pictures: filters and signal.

    Returns
    -------
    ObservedConvolution

    Raises
    ------
    InputError
        If a file is missing, empty, damaged, too large or of another kind, or what it
        says does not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from tacit.recovery.deconvolution.readers.read import read_convolution
    >>> np.savez("echo.npz", y=np.arange(1.0, 9.0), filter_support=[0, 3],
    ...     C=np.eye(5, 2), boundary="full")
    >>> read_convolution(["echo.npz"]).problem.linear_map.in_shape
    (2, 2)
    """
    known = known if known is not None else KnownSubspaces()
    files = [checked_file(Path(path), _KINDS, ACCEPTED) for path in paths]
    if not files or len(files) > _MAX_FILES:
        raise InputError(f"give 1 to {_MAX_FILES} files; got {len(files)}")
    suffixes = [file.suffix.lower() for file in files]
    if ".npz" in suffixes:
        if len(files) > 1:
            raise InputError(
                "an .npz file holds all channels; give it alone: got "
                f"{', '.join(map(str, files))}"
            )
        return _from_arrays(files[0], known)
    kinds = {"audio" if suffix == ".wav" else "image" for suffix in suffixes}
    if len(kinds) > 1:
        raise InputError("give recordings or pictures, not both together")
    observed = _together([_observation(file) for file in files], files)
    is_audio = observed.kind == "audio"
    boundary: Boundary = known.boundary or ("full" if is_audio else "valid")
    filters_known = _filter_members(known, is_audio=is_audio)
    filters = filters_from(filters_known, observed)
    if is_audio:
        return _recording(observed, filters, known, boundary)
    picture = picture_signal(
        observed,
        filters,
        boundary,
        wavelet=known.wavelet,
        coefficients=known.coefficients,
        basis=None if known.signal is None else _members(known.signal),
    )
    bound = rounding_bound(observed.step, picture.observed.values.numel())
    return ObservedConvolution(
        observed=picture.observed,
        problem=convolution_problem(
            picture.observed.values, filters, picture.signal, boundary=boundary
        ),
        boundary=boundary,
        noise_bound=bound + picture.discarded,
        noise_source=_ROUNDED
        + (", and what the wavelets lack of the observation" * (picture.discarded > 0)),
        is_exact_subspace=picture.discarded == 0.0,
        notes=picture.observed.notes,
    )


def _recording(
    observed: Observation,
    filters: tuple[AbstractSubspace, ...],
    known: KnownSubspaces,
    boundary: Boundary,
) -> ObservedConvolution:
    if known.coefficients is not None:
        raise InputError("--coefficients is for pictures; leave it out")
    if known.signal is not None:
        members = _members(known.signal)
    elif observed.num_channels > 1:
        members = {"signal_basis": np.array("identity")}
    else:
        raise InputError(
            "one channel alone does not tell a filter from a signal of which nothing "
            "is known: give a subspace of the signal (--signal-basis FILE.npz with C, "
            "signal_support, signal_modes, or onset, frequency, decay), or more "
            "channels"
        )
    signal = signal_from(members, observed, filters[0].grid, boundary)
    return ObservedConvolution(
        observed=observed,
        problem=convolution_problem(
            observed.values, filters, signal, boundary=boundary
        ),
        boundary=boundary,
        noise_bound=rounding_bound(observed.step, observed.values.numel()),
        noise_source=_ROUNDED,
        notes=observed.notes,
    )


def _from_arrays(file: Path, known: KnownSubspaces) -> ObservedConvolution:
    given = (known.filters, known.filter_size, known.signal, known.coefficients)
    if any(value is not None for value in given):
        raise InputError(
            f"{file} must say itself what is known of filters and signal; leave "
            "options about them out"
        )
    with reading(file, _KINDS[".npz"]):
        members = read_members(file)
        require_observed(members)
        observed = observed_from(members)
        boundary = boundary_from(members, known.boundary)
        filters = filters_from(members, observed)
        signal = signal_from(members, observed, filters[0].grid, boundary)
        problem = convolution_problem(
            observed.values, filters, signal, boundary=boundary
        )
        bound, level = number(members, "noise_bound"), number(members, "noise_level")
        if bound is not None and level is not None:
            raise InputError("give noise_bound or noise_level, not both")
        for name, value in (("noise_bound", bound), ("noise_level", level)):
            if value is not None and value < 0.0:
                raise InputError(f"{name} must be at least 0; got {value}")
        if level is not None:
            problem = replace(problem, noise_level=level)
            bound = noise_bound_of(problem)
        name = "noise_bound" if level is None else "noise_level"
        source = "nothing known, taken as exact" if bound is None else f"{name} of file"
        return ObservedConvolution(
            observed=observed,
            problem=problem,
            boundary=boundary,
            noise_bound=bound or 0.0,
            noise_source=source,
            truth=truth_from(members, problem),
        )


def _observation(file: Path) -> Observation:
    suffix = file.suffix.lower()
    with reading(file, _KINDS[suffix]):
        return read_wav(file) if suffix == ".wav" else read_image(file)


def _together(parts: Sequence[Observation], files: Sequence[Path]) -> Observation:
    """Return the channels of all files as one observation."""
    first = parts[0]
    for part, file in zip(parts, files, strict=True):
        if (part.grid, part.rate) != (first.grid, first.rate):
            raise InputError(
                f"all files must have one size and rate; {files[0]} has "
                f"{_size(first)}, {file} {_size(part)}"
            )
        if not bool(part.values.any()):
            raise InputError(f"{file} is zero throughout: nothing can be told from it")
    return Observation(
        values=torch.cat([part.values for part in parts]),
        kind=first.kind,
        step=max(part.step for part in parts),
        rate=first.rate,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _size(observed: Observation) -> str:
    if observed.kind == "audio":
        return f"{observed.grid[0]} samples at {observed.rate} a second"
    return f"{observed.grid[1]} x {observed.grid[0]} pixels"


def _filter_members(known: KnownSubspaces, *, is_audio: bool) -> Members:
    if (known.filters is None) == (known.filter_size is None):
        option = "--taps" if is_audio else "--kernel-size"
        raise InputError(
            f"the filters must be known to be short: give either {option}, or "
            "--filter-support FILE.npz with B, filter_support or filter_size"
        )
    if known.filters is not None:
        return _members(known.filters)
    return {"filter_size": np.array(known.filter_size)}


def _members(file: Path) -> Members:
    if file.suffix.lower() != ".npz":
        raise InputError(f"{file} must be an .npz file; save its arrays so")
    with reading(checked_file(file, _KINDS, ACCEPTED), _KINDS[".npz"]):
        return read_members(file)
