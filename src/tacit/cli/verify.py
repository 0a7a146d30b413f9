"""``tacit verify``: re-check a stored certificate against a model."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from tacit.cli.inputs import Integer, parse_shape
from tacit.errors import CertificateError
from tacit.lipschitz.certificate import load_certificate
from tacit.lipschitz.certificate import verify as verify_certificate
from tacit.lipschitz.readers.read import read_network
from tacit.rng import make_generator

REFUSED = 3


def verify(
    certificate: Path,
    model: Path,
    /,
    *,
    seed: Integer = 0,
    input_shape: Annotated[str | None, Parameter(name="--input-shape")] = None,
) -> int:
    """Re-check a certificate against the model it is about.

    Parameters
    ----------
    certificate
        File written by `tacit lipschitz`.
    model
        The .onnx or .pt2 file it was made from.
    seed
        Of the random start of Lanczos, used for networks too large for a factorisation.
    input_shape
        Sizes of one input sample, as given when the certificate was made.
    """
    console = Console(soft_wrap=True, highlight=False)
    network = read_network(model, in_shape=parse_shape(input_shape))
    try:
        loaded = load_certificate(certificate)
        bracket = verify_certificate(
            loaded, network, generator=make_generator(seed, "verify")
        )
    except CertificateError as error:
        console.print(f"refused: {' '.join(str(error).split())}", markup=False)
        return REFUSED
    subject = "f" if loaded.outputs is None else "f[{}] - f[{}]".format(*loaded.outputs)
    known: str = bracket.upper.arithmetic
    if bracket.upper.failure_probability:
        known += f", fails with probability {bracket.upper.failure_probability:.0e}"
    console.print(
        f"holds: {bracket.lower.value:.9g} <= Lip({subject}, {loaded.norm}) <= "
        f"{bracket.upper.value:.9g} ({known}), both sides recomputed",
        markup=False,
    )
    return 0
