"""A bracket as a file, and the stand-alone check of such a file against a model."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, final, get_args

import numpy as np
import torch
from torch import Tensor

from tacit import io
from tacit.bracket import Arithmetic, Bound, Bracket
from tacit.errors import CertificateError
from tacit.lipschitz.certify import Multipliers, certify
from tacit.lipschitz.network import Network
from tacit.lipschitz.pair import evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm, margin

FORMAT = "tacit lipschitz certificate 1"
# A bound recomputed on another machine differs by rounding only.
_RTOL = 1e-9


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """A bracket of a network's Lipschitz constant with all that proves it.

    Parameters
    ----------
    digest : str
        ``Network.digest`` of the network as read, before ``outputs`` is applied.
    norm : {"l2", "linf", "l1"}
        Norm of the input difference.
    outputs : tuple of int or None
        ``(i, j)`` if the scalar ``f_i - f_j`` was bounded.
    lower, upper : float
        The two sides.
    arithmetic : {"float", "probabilistic", "verified"}
        Of the upper side.
    failure_probability : float
        Of the upper side.
    pair : tuple of Tensor
        Two inputs whose difference quotient is ``lower``.
    witness : tuple of Multipliers
        What proves ``upper``; never empty.
    """

    digest: str
    norm: Norm
    outputs: tuple[int, int] | None
    lower: float
    upper: float
    arithmetic: Arithmetic
    failure_probability: float
    pair: tuple[Tensor, Tensor] = field(repr=False)
    witness: tuple[Multipliers, ...] = field(repr=False)


def verify(
    certificate: Certificate, network: Network, *, generator: torch.Generator
) -> Bracket:
    """Recompute both sides of a certificate for a network.

    Parameters
    ----------
    certificate : Certificate
        As loaded; nothing in it is trusted.
    network : Network
        The network that it is said to be about.
    generator : torch.Generator
        Start of Lanczos, where elimination does not fit; use a fresh seed.

    Returns
    -------
    Bracket
        Recomputed from the network and the witnesses alone.

    Raises
    ------
    CertificateError
        If the network is another one, a witness proves less than is claimed, or
        a claimed number is not the one that its witness gives.
    """
    if certificate.digest != network.digest:
        raise CertificateError(
            f"the certificate is for the network {certificate.digest[:12]}..., "
            f"this one is {network.digest[:12]}...; give the model it was made from"
        )
    if certificate.outputs is not None:
        network = margin(network, *certificate.outputs)
    problem = LipschitzProblem(network=network, norm=certificate.norm)
    quotient = evaluate_pair(problem, *certificate.pair)
    upper = certify(
        problem,
        certificate.witness,
        generator=generator,
        failure_probability=certificate.failure_probability or 1e-9,
    )
    for side, claimed, found in (
        ("lower", certificate.lower, quotient),
        ("upper", certificate.upper, upper.value),
    ):
        if abs(claimed - found) > _RTOL * max(abs(claimed), abs(found)):
            raise CertificateError(
                f"the {side} bound is claimed to be {claimed!r} but its witness gives {found!r}"
            )
    if certificate.arithmetic != upper.arithmetic:
        raise CertificateError(
            f"the upper bound is claimed in {certificate.arithmetic!r} arithmetic but the "
            f"check is {upper.arithmetic!r}"
        )
    lower = Bound(
        value=quotient,
        side="lower",
        method="difference quotient",
        witness=certificate.pair,
    )
    return Bracket(lower=lower, upper=upper)


def save_certificate(certificate: Certificate, path: Path) -> None:
    """Write a certificate as ``.npz`` with a JSON header.

    Parameters
    ----------
    certificate : Certificate
    path : Path
        Replaced in one step if it exists.
    """
    arrays = {
        "pair_0": _array(certificate.pair[0]),
        "pair_1": _array(certificate.pair[1]),
    }
    for i, part in enumerate(certificate.witness):
        arrays[f"inputs_{i}"] = _array(part.inputs)
        for site, neurons in enumerate(part.neurons, 1):
            arrays[f"neurons_{i}_{site}"] = _array(neurons)
    header: dict[str, object] = {
        "format": FORMAT,
        "network": certificate.digest,
        "norm": certificate.norm,
        "outputs": certificate.outputs,
        "lower": certificate.lower,
        "upper": certificate.upper,
        "arithmetic": certificate.arithmetic,
        "failure_probability": certificate.failure_probability,
        "parts": len(certificate.witness),
        "sites": len(certificate.witness[0].neurons),
    }
    header["content"] = _content_digest(header, arrays)
    io.write_arrays(path, header, arrays)


def load_certificate(path: Path) -> Certificate:
    """Read a certificate; its format is checked here, its claims by :func:`verify`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        If the file cannot be read as a file of arrays.
    CertificateError
        If it is no certificate of this format or was altered after it was written.
    """
    header, arrays = io.read_arrays(path)
    if header.get("format") != FORMAT:
        raise CertificateError(
            f"{path} must be a certificate of format {FORMAT!r}; got {header.get('format')!r}"
        )
    content = header.pop("content", None)
    if content != _content_digest(header, arrays):
        raise CertificateError(
            f"{path} was altered after it was written; make it again"
        )
    try:
        return _parse(header, {name: torch.from_numpy(a) for name, a in arrays.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateError(f"{path} is not a valid certificate: {error}") from None


def _parse(header: dict[str, object], arrays: dict[str, Tensor]) -> Certificate:
    norm, arithmetic = header["norm"], header["arithmetic"]
    if norm not in NORMS or arithmetic not in get_args(Arithmetic):
        raise ValueError(f"unknown norm {norm!r} or arithmetic {arithmetic!r}")
    outputs = cast("list[int] | None", header["outputs"])
    num_parts, num_sites = cast(int, header["parts"]), cast(int, header["sites"])
    if not 1 <= num_parts <= len(arrays) or not 0 <= num_sites <= len(arrays):
        raise ValueError(
            f"{num_parts} parts of {num_sites} sites do not fit its arrays"
        )
    witness = tuple(
        Multipliers(
            neurons=tuple(
                arrays[f"neurons_{i}_{site}"] for site in range(1, num_sites + 1)
            ),
            inputs=arrays[f"inputs_{i}"],
        )
        for i in range(num_parts)
    )
    return Certificate(
        digest=str(header["network"]),
        norm=norm,
        outputs=None if outputs is None else (int(outputs[0]), int(outputs[1])),
        lower=float(cast(float, header["lower"])),
        upper=float(cast(float, header["upper"])),
        arithmetic=cast(Arithmetic, arithmetic),
        failure_probability=float(cast(float, header["failure_probability"])),
        pair=(arrays["pair_0"], arrays["pair_1"]),
        witness=witness,
    )


def _array(tensor: Tensor) -> io.Array:
    return np.ascontiguousarray(tensor.detach().cpu().double().numpy())


def _content_digest(header: dict[str, object], arrays: dict[str, io.Array]) -> str:
    """Return a checksum against accidents; the proof itself is what is verified."""
    state = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        state.update(f"{name}{arrays[name].shape}".encode())
        state.update(np.ascontiguousarray(arrays[name]).astype("<f8").tobytes())
    return state.hexdigest()
