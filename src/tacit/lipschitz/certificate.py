"""A bracket as a file, and the stand-alone check of such a file against a model."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, final, get_args

import numpy as np
import torch
from torch import Tensor

from tacit import io
from tacit.bracket import Arithmetic, Bound, Bracket, Side
from tacit.errors import CertificateError, InputError
from tacit.lipschitz.certify import Multipliers, certify
from tacit.lipschitz.network import Network
from tacit.lipschitz.pair import evaluate_pair
from tacit.lipschitz.problem import NORMS, LipschitzProblem, Norm, margin

FORMAT = "tacit lipschitz certificate 1"
# A bound recomputed on another machine differs by rounding only.
_RTOL = 1e-9
# A check by Lanczos that may fail more often than this is no proof.
_MAX_FAILURE_PROBABILITY = 1e-6


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

    Examples
    --------
    The network x -> |x|, and a multiplier that proves sqrt(2):

    >>> import torch
    >>> from tacit import Activation, Certificate, chain, make_generator, verify
    >>> from tacit.lipschitz.certify import Multipliers
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> network = chain([(one, None, Activation(kind="abs")), (one, None, None)])
    >>> certificate = Certificate(
    ...     digest=network.digest,
    ...     norm="l2",
    ...     outputs=None,
    ...     lower=1.0,
    ...     upper=2.0**0.5,
    ...     arithmetic="float",
    ...     failure_probability=0.0,
    ...     pair=(0.0 * one[0], one[0]),
    ...     witness=(Multipliers(neurons=(2.0 * one[0],), inputs=one[0]),),
    ... )
    >>> bracket = verify(certificate, network, generator=make_generator(0))
    >>> round(bracket.upper.value, 6)
    1.414214
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
        If the network is another one, a witness does not fit it, proves less than is
        claimed, or a claimed number is not the one that its witness gives.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import replace
    >>> from tacit import Activation, chain, lipschitz_bracket, make_generator, verify
    >>> relu = Activation(kind="relu")
    >>> network = chain([(torch.eye(3), None, relu), (torch.ones(1, 3), None, None)])
    >>> certificate = lipschitz_bracket(network).certificate()
    >>> bracket = verify(certificate, network, generator=make_generator(7))
    >>> round(bracket.upper.value, 3)
    1.732
    >>> forged = replace(certificate, upper=1.0)
    >>> verify(forged, network, generator=make_generator(7))
    Traceback (most recent call last):
    ...
    tacit.errors.CertificateError: the upper bound is claimed to be 1.0 but ...
    """
    if certificate.digest != network.digest:
        raise CertificateError(
            f"the certificate is for the network {certificate.digest[:12]}..., "
            f"this one is {network.digest[:12]}...; give the model it was made from"
        )
    probability = certificate.failure_probability or 1e-9
    if not 0.0 < probability <= _MAX_FAILURE_PROBABILITY:
        raise CertificateError(
            f"the failure probability must be at most {_MAX_FAILURE_PROBABILITY:g}; "
            f"the certificate has {certificate.failure_probability!r}"
        )
    try:
        if certificate.outputs is not None:
            network = margin(network, *certificate.outputs)
        problem = LipschitzProblem(network=network, norm=certificate.norm)
        quotient = evaluate_pair(problem, *certificate.pair)
        upper = certify(
            problem,
            certificate.witness,
            generator=generator,
            failure_probability=probability,
        )
    except CertificateError:
        raise
    except (RuntimeError, ValueError) as error:
        raise CertificateError(
            f"the certificate does not fit the network: {error}"
        ) from None
    _compare("lower", certificate.lower, quotient)
    _compare("upper", certificate.upper, upper.value)
    claimed = (certificate.arithmetic, certificate.failure_probability)
    found = (upper.arithmetic, upper.failure_probability)
    if claimed != found:
        raise CertificateError(
            "the upper bound is claimed in {!r} arithmetic with failure probability "
            "{:g} but the check has {!r} and {:g}".format(*claimed, *found)
        )
    lower = Bound(
        value=quotient,
        side="lower",
        method="difference quotient",
        witness=certificate.pair,
    )
    return Bracket(lower=lower, upper=upper)


def _compare(side: Side, claimed: float, found: float) -> None:
    # Infinity and NaN are no claims: whatever is compared with them is close or false.
    is_same = abs(claimed - found) <= _RTOL * max(abs(claimed), abs(found))
    if not (math.isfinite(claimed) and math.isfinite(found) and is_same):
        raise CertificateError(
            f"the {side} bound is claimed to be {claimed!r} but its witness gives "
            f"{found!r}"
        )


def save_certificate(certificate: Certificate, path: str | Path) -> None:
    """Write a certificate as ``.npz`` with a JSON header.

    Parameters
    ----------
    certificate : Certificate
    path : str or Path
        Replaced in one step if it exists.

    Raises
    ------
    InputError
        If ``path`` is no plain file.

    Examples
    --------
    >>> import torch
    >>> from pathlib import Path
    >>> from tacit import chain, lipschitz_bracket, load_certificate, save_certificate
    >>> network = chain([(torch.eye(2), None, None)])
    >>> certificate = lipschitz_bracket(network).certificate()
    >>> save_certificate(certificate, Path("identity.npz"))
    >>> load_certificate(Path("identity.npz")).lower == certificate.lower
    True
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
    io.write_arrays(Path(path), header, arrays)


def load_certificate(path: str | Path) -> Certificate:
    """Read a certificate; its format is checked here, its claims by :func:`verify`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        If there is no such file.
    CertificateError
        If it is no certificate of this format or was altered after it was written.

    Examples
    --------
    See :func:`save_certificate`; what is no certificate is refused.

    >>> from pathlib import Path
    >>> from tacit import load_certificate
    >>> size = Path("letter.npz").write_text("upper bound: 1, trust me")
    >>> load_certificate(Path("letter.npz"))
    Traceback (most recent call last):
    ...
    tacit.errors.CertificateError: letter.npz is not a file of named arrays ...
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"cannot read {path}: there is no such file; check the path")
    try:
        header, arrays = io.read_arrays(path)
    except InputError as error:
        raise CertificateError(str(error)) from None
    if header.get("format") != FORMAT:
        raise CertificateError(
            f"{path} must be a certificate of format {FORMAT!r}; "
            f"got {str(header.get('format'))[:60]!r}"
        )
    content = header.pop("content", None)
    if content != _content_digest(header, arrays):
        raise CertificateError(
            f"{path} was altered after it was written; make it again"
        )
    try:
        return _parse(header, {name: torch.from_numpy(a) for name, a in arrays.items()})
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise CertificateError(f"{path} is not a valid certificate: {error}") from None


def _parse(header: dict[str, object], arrays: dict[str, Tensor]) -> Certificate:
    norm, arithmetic = header["norm"], header["arithmetic"]
    if norm not in NORMS or arithmetic not in get_args(Arithmetic):
        raise ValueError(f"unknown norm {norm!r} or arithmetic {arithmetic!r}")
    outputs = cast("list[int] | None", header["outputs"])
    if outputs is not None and [type(i) for i in outputs] != [int, int]:
        raise ValueError(f"outputs must be two integers; got {outputs!r}")
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
        outputs=None if outputs is None else (outputs[0], outputs[1]),
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
