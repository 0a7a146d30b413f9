"""tacit: low-rank recovery, Lipschitz constants and saddle points, each with a proof.

Names load when they are first used, so that ``import tacit`` and ``tacit --help`` do
not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tacit.bracket import Bound as Bound
    from tacit.bracket import Bracket as Bracket
    from tacit.errors import BracketError as BracketError
    from tacit.errors import CertificateError as CertificateError
    from tacit.errors import ImportMismatchError as ImportMismatchError
    from tacit.errors import InputError as InputError
    from tacit.errors import ShapeError as ShapeError
    from tacit.errors import Status as Status
    from tacit.errors import TacitError as TacitError
    from tacit.errors import UnsupportedLayerError as UnsupportedLayerError
    from tacit.lipschitz.certificate import Certificate as Certificate
    from tacit.lipschitz.certificate import load_certificate as load_certificate
    from tacit.lipschitz.certificate import save_certificate as save_certificate
    from tacit.lipschitz.certificate import verify as verify
    from tacit.lipschitz.ensemble import random_network as random_network
    from tacit.lipschitz.layers import Activation as Activation
    from tacit.lipschitz.network import Network as Network
    from tacit.lipschitz.network import chain as chain
    from tacit.lipschitz.problem import LipschitzProblem as LipschitzProblem
    from tacit.lipschitz.readers.from_torch import from_module as from_module
    from tacit.lipschitz.readers.read import read_network as read_network
    from tacit.lipschitz.solve import LipschitzResult as LipschitzResult
    from tacit.lipschitz.solve import lipschitz_bracket as lipschitz_bracket
    from tacit.rng import make_generator as make_generator

# The one list of public names: where each is defined.
_HOMES = {
    "Activation": "tacit.lipschitz.layers",
    "Bound": "tacit.bracket",
    "Bracket": "tacit.bracket",
    "BracketError": "tacit.errors",
    "Certificate": "tacit.lipschitz.certificate",
    "CertificateError": "tacit.errors",
    "ImportMismatchError": "tacit.errors",
    "InputError": "tacit.errors",
    "LipschitzProblem": "tacit.lipschitz.problem",
    "LipschitzResult": "tacit.lipschitz.solve",
    "Network": "tacit.lipschitz.network",
    "ShapeError": "tacit.errors",
    "Status": "tacit.errors",
    "TacitError": "tacit.errors",
    "UnsupportedLayerError": "tacit.errors",
    "chain": "tacit.lipschitz.network",
    "from_module": "tacit.lipschitz.readers.from_torch",
    "lipschitz_bracket": "tacit.lipschitz.solve",
    "load_certificate": "tacit.lipschitz.certificate",
    "make_generator": "tacit.rng",
    "random_network": "tacit.lipschitz.ensemble",
    "read_network": "tacit.lipschitz.readers.read",
    "save_certificate": "tacit.lipschitz.certificate",
    "verify": "tacit.lipschitz.certificate",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tacit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
