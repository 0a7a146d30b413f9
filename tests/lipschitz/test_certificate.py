"""A certificate proves what it says or is refused, whoever wrote it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cases import normal
from tacit import io
from tacit.errors import CertificateError, InputError
from tacit.lipschitz import certify as checker
from tacit.lipschitz.certificate import (
    Certificate,
    load_certificate,
    save_certificate,
    verify,
)
from tacit.lipschitz.certify import Multipliers
from tacit.lipschitz.ensemble import random_network
from tacit.lipschitz.layers import Activation
from tacit.lipschitz.network import Network, chain
from tacit.lipschitz.problem import NORMS, Norm
from tacit.lipschitz.solve import lipschitz_bracket
from tacit.rng import make_generator

Change = Callable[[Certificate], Certificate]


def small_network() -> Network:
    """Return a network of two hidden layers, three inputs and two outputs."""
    generator = make_generator(0, "certificate")
    relu = Activation(kind="relu")
    return chain(
        [
            (normal(generator, 4, 3), normal(generator, 4), relu),
            (normal(generator, 5, 4), None, relu),
            (normal(generator, 2, 5), normal(generator, 2), None),
        ]
    )


NETWORK = small_network()
CERTIFICATES: dict[tuple[Norm, tuple[int, int] | None], Certificate] = {}


def certificate_for(
    norm: Norm = "l2", outputs: tuple[int, int] | None = None
) -> Certificate:
    """Return the certificate of the small network, found once."""
    if (norm, outputs) not in CERTIFICATES:
        found = lipschitz_bracket(
            NETWORK, norm=norm, outputs=outputs, methods=("ascent", "lifted")
        ).certificate()
        assert found is not None
        CERTIFICATES[norm, outputs] = found
    return CERTIFICATES[norm, outputs]


def check(certificate: Certificate, network: Network = NETWORK) -> tuple[float, float]:
    """Return both sides as the checker finds them."""
    bracket = verify(certificate, network, generator=make_generator(5))
    return bracket.lower.value, bracket.upper.value


# What was found holds, and says what it said


@pytest.mark.parametrize("outputs", [None, (1, 0)])
@pytest.mark.parametrize("norm", NORMS)
def test_what_was_found_holds_after_a_round_trip(
    tmp_path: Path, norm: Norm, outputs: tuple[int, int] | None
) -> None:
    written = certificate_for(norm, outputs)
    save_certificate(written, tmp_path / "c.npz")
    read = load_certificate(tmp_path / "c.npz")
    assert (read.norm, read.outputs) == (norm, outputs)
    assert (read.lower, read.upper) == (written.lower, written.upper)
    assert torch.equal(torch.stack(read.pair), torch.stack(written.pair))
    lower, upper = check(read)
    assert lower == pytest.approx(written.lower, rel=1e-9)
    assert upper == pytest.approx(written.upper, rel=1e-9)
    assert lower <= upper


def test_paths_may_be_given_as_text(tmp_path: Path) -> None:
    save_certificate(certificate_for(), str(tmp_path / "c.npz"))
    assert load_certificate(str(tmp_path / "c.npz")).digest == NETWORK.digest


def test_the_lower_side_is_reached_by_the_stored_pair() -> None:
    certificate = certificate_for()
    x, x_prime = certificate.pair
    values = torch.stack([x, x_prime])
    for node in NETWORK.nodes:
        values = node.layer.apply(values)
    quotient = (values[1] - values[0]).norm() / (x_prime - x).norm()
    assert certificate.lower == pytest.approx(float(quotient), rel=1e-6)


# Forgeries, each with a checksum of its own: the mathematics refuses them


def scaled(part: Multipliers, factor: float) -> Multipliers:
    """Return the multipliers of all neurons times a factor."""
    return Multipliers(
        neurons=tuple(factor * m for m in part.neurons), inputs=part.inputs
    )


def with_entry(part: Multipliers, value: float) -> Multipliers:
    """Return the multipliers with one of them replaced."""
    first = part.neurons[0].clone()
    first[0] = value
    return Multipliers(neurons=(first, *part.neurons[1:]), inputs=part.inputs)


def with_witness(change: Callable[[Multipliers], Multipliers]) -> Change:
    """Return the change of a certificate that changes each part of its witness."""
    return lambda c: replace(c, witness=tuple(change(part) for part in c.witness))


FORGERIES: dict[str, Change] = {
    "upper lowered": lambda c: replace(c, upper=c.upper * (1.0 - 1e-6)),
    "upper raised": lambda c: replace(c, upper=c.upper * 2.0),
    "upper nan": lambda c: replace(c, upper=float("nan")),
    "upper infinite": lambda c: replace(c, upper=float("inf")),
    "upper negative": lambda c: replace(c, upper=-c.upper),
    "lower raised": lambda c: replace(c, lower=c.lower * (1.0 + 1e-6)),
    "lower nan": lambda c: replace(c, lower=float("nan")),
    "lower zero": lambda c: replace(c, lower=0.0),
    "multipliers halved": with_witness(lambda part: scaled(part, 0.5)),
    "multipliers doubled": with_witness(lambda part: scaled(part, 2.0)),
    "one multiplier tripled": with_witness(
        lambda part: with_entry(part, 3.0 * float(part.neurons[0][0]))
    ),
    "one multiplier negative": with_witness(lambda part: with_entry(part, -1.0)),
    "one multiplier zero": with_witness(lambda part: with_entry(part, 0.0)),
    "one multiplier nan": with_witness(lambda part: with_entry(part, float("nan"))),
    "one multiplier infinite": with_witness(
        lambda part: with_entry(part, float("inf"))
    ),
    "one multiplier huge": with_witness(lambda part: with_entry(part, 1e300)),
    "one multiplier tiny": with_witness(lambda part: with_entry(part, 1e-300)),
    "inputs negative": with_witness(lambda part: replace(part, inputs=-part.inputs)),
    "inputs of another shape": with_witness(
        lambda part: replace(part, inputs=part.inputs[:-1])
    ),
    "a layer missing": with_witness(
        lambda part: replace(part, neurons=part.neurons[:-1])
    ),
    "no witness": lambda c: replace(c, witness=()),
    "another pair": lambda c: replace(c, pair=(c.pair[0], c.pair[1] + 1.0)),
    "pair of one input": lambda c: replace(c, pair=(c.pair[0], c.pair[0])),
    "pair not finite": lambda c: replace(c, pair=(c.pair[0], c.pair[1] * torch.inf)),
    "pair of another shape": lambda c: replace(c, pair=(c.pair[0], c.pair[1][:-1])),
    "another norm": lambda c: replace(c, norm="linf"),
    "another margin": lambda c: replace(c, outputs=(0, 1)),
    "margin out of range": lambda c: replace(c, outputs=(0, 7)),
    "another digest": lambda c: replace(c, digest="0" * 64),
    "another arithmetic": lambda c: replace(c, arithmetic="verified"),
    "half a proof": lambda c: replace(
        c, arithmetic="probabilistic", failure_probability=0.5
    ),
    "probability nan": lambda c: replace(c, failure_probability=float("nan")),
    "probability negative": lambda c: replace(c, failure_probability=-1e-9),
    "needless probability": lambda c: replace(c, failure_probability=1e-9),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_certificate_is_refused(name: str) -> None:
    forged = FORGERIES[name](certificate_for())
    with pytest.raises(CertificateError):
        check(forged)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_a_checksum_of_its_own_is_refused(
    name: str, tmp_path: Path
) -> None:
    forged = FORGERIES[name](certificate_for())
    path = tmp_path / "forged.npz"
    try:
        save_certificate(forged, path)
    except (IndexError, ValueError):
        return  # not even written: not a number, or no witness at all
    with pytest.raises(CertificateError):
        check(load_certificate(path))


def test_larger_multipliers_prove_a_larger_bound_and_no_smaller_one() -> None:
    # The forgeries are refused because the number changes, in the right direction.
    certificate = certificate_for()
    doubled = tuple(scaled(part, 2.0) for part in certificate.witness)
    with pytest.raises(CertificateError) as caught:
        check(replace(certificate, witness=doubled))
    found = float(str(caught.value).rsplit(" ", 1)[1])
    assert found > certificate.upper


def test_a_certificate_is_for_one_network() -> None:
    other = random_network(3, 4, 2, generator=make_generator(0))
    with pytest.raises(CertificateError, match="give the model it was made from"):
        check(certificate_for(), other)
    # Nor does it help to write the other network's digest into it.
    with pytest.raises(CertificateError, match="does not fit the network"):
        check(replace(certificate_for(), digest=other.digest), other)


def test_a_certificate_is_for_the_last_digit_of_every_weight() -> None:
    relu = Activation(kind="relu")
    weight = torch.ones(2, 2, dtype=torch.float64)
    near = weight.clone()
    near[0, 0] += 2.0**-52
    networks = [chain([(w, None, relu), (weight, None, None)]) for w in (weight, near)]
    certificate = lipschitz_bracket(
        networks[0], methods=("ascent", "lifted")
    ).certificate()
    assert certificate is not None
    check(certificate, networks[0])
    with pytest.raises(CertificateError, match="certificate is for the network"):
        check(certificate, networks[1])


# Networks too large for elimination: Lanczos, which may fail


@pytest.fixture(scope="module")
def found_by_lanczos() -> Certificate:
    """Return a certificate found without elimination."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checker, "MAX_SITE_SIZE", 1)
        found = lipschitz_bracket(NETWORK, methods=("ascent", "lifted")).certificate()
    assert found is not None
    return found


@pytest.fixture
def by_lanczos(
    found_by_lanczos: Certificate, monkeypatch: pytest.MonkeyPatch
) -> Certificate:
    """Return that certificate while the checker goes without elimination too."""
    monkeypatch.setattr(checker, "MAX_SITE_SIZE", 1)
    return found_by_lanczos


def test_a_bound_by_lanczos_says_how_often_it_may_fail(by_lanczos: Certificate) -> None:
    assert by_lanczos.arithmetic == "probabilistic"
    assert 0.0 < by_lanczos.failure_probability <= 1e-6
    bracket = verify(by_lanczos, NETWORK, generator=make_generator(11))
    assert bracket.upper.failure_probability == by_lanczos.failure_probability
    assert bracket.upper.value >= certificate_for().lower


def test_a_check_that_may_often_fail_is_no_proof(by_lanczos: Certificate) -> None:
    with pytest.raises(CertificateError, match="failure probability must be at most"):
        check(replace(by_lanczos, failure_probability=0.5))


def test_a_bound_by_lanczos_is_refused_if_lowered(by_lanczos: Certificate) -> None:
    with pytest.raises(CertificateError, match="its witness gives"):
        check(replace(by_lanczos, upper=0.99 * by_lanczos.upper))
    smaller = tuple(
        replace(part, inputs=0.9 * part.inputs) for part in by_lanczos.witness
    )
    with pytest.raises(CertificateError, match="prove no bound"):
        check(replace(by_lanczos, witness=smaller))


def test_two_witnesses_where_one_is_read_are_refused(by_lanczos: Certificate) -> None:
    with pytest.raises(CertificateError):
        check(replace(by_lanczos, witness=by_lanczos.witness * 2))


# Files


def tampered(
    path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]
) -> Path:
    """Change what a certificate's file holds but not its checksum."""
    header, arrays = io.read_arrays(path)
    copies = {name: array.copy() for name, array in arrays.items()}
    change(header, copies)
    io.write_arrays(path, header, copies)
    return path


Alteration = Callable[[dict[str, Any], dict[str, Any]], None]


def _set_header(key: str, value: object) -> Alteration:
    def change(header: dict[str, Any], arrays: dict[str, Any]) -> None:
        header[key] = value

    return change


def _nudge(name: str) -> Alteration:
    def change(header: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[name].flat[0] *= 1.0 + 2.0**-50

    return change


ALTERATIONS: dict[str, Alteration] = {
    "upper": _set_header("upper", 1.0),
    "norm": _set_header("norm", "linf"),
    "outputs": _set_header("outputs", [0, 1]),
    "network": _set_header("network", "0" * 64),
    "multiplier": _nudge("neurons_0_1"),
    "pair": _nudge("pair_0"),
    "one more array": lambda header, arrays: arrays.update(more=arrays["pair_0"]),
    "one array less": lambda header, arrays: arrays.__delitem__("pair_0"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_file_is_refused_before_anything_is_computed(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.npz"
    save_certificate(certificate_for(), path)
    with pytest.raises(CertificateError, match="was altered after it was written"):
        load_certificate(tampered(path, ALTERATIONS[name]))


def test_the_last_digit_of_a_bound_is_under_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    save_certificate(certificate_for(), path)
    digits = json.dumps(certificate_for().upper)
    other = digits[:-1] + ("1" if digits[-1] != "1" else "2")
    with pytest.raises(CertificateError, match="was altered"):
        load_certificate(tampered(path, _set_header("upper", json.loads(other))))


MALFORMED: dict[str, tuple[str, object]] = {
    "unknown norm": ("norm", "l3"),
    "norm of another type": ("norm", ["l2"]),
    "unknown arithmetic": ("arithmetic", "exact"),
    "one output": ("outputs", [1]),
    "outputs in words": ("outputs", "ab"),
    "outputs as truths": ("outputs", [True, False]),
    "outputs as a number": ("outputs", 5),
    "no parts": ("parts", 0),
    "many parts": ("parts", 10**9),
    "parts in words": ("parts", "1"),
    "many sites": ("sites", 10**9),
    "other sites": ("sites", 3),
    "upper in words": ("upper", "small"),
    "upper missing": ("upper", None),
    "upper beyond float": ("upper", 10**400),
    "probability in a list": ("failure_probability", [0.0]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_header_is_refused_in_words(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, value = MALFORMED[name]
    path = tmp_path / "c.npz"
    save_certificate(certificate_for(), path)
    tampered(path, _set_header(key, value))

    def as_stored(header: dict[str, Any], arrays: dict[str, Any]) -> object:
        return io.read_arrays(path)[0]["content"]

    monkeypatch.setattr("tacit.lipschitz.certificate._content_digest", as_stored)
    with pytest.raises(CertificateError, match="is not a valid certificate"):
        load_certificate(path)


def test_another_file_of_arrays_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    io.write_arrays(path, {"format": "x" * 10**4}, {})
    with pytest.raises(CertificateError, match="must be a certificate of format") as e:
        load_certificate(path)
    assert len(str(e.value)) < 400


def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.npz"
    path.write_text("upper: 1")
    with pytest.raises(CertificateError, match="not a file of named arrays"):
        load_certificate(path)


def test_a_certificate_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.npz", tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            load_certificate(path)
