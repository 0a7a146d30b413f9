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
    from tacit.prediction import Prediction as Prediction
    from tacit.recovery.adversary.worst_noise import WorstNoise as WorstNoise
    from tacit.recovery.adversary.worst_noise import worst_noise as worst_noise
    from tacit.recovery.bridges.deepinv import as_deepinv as as_deepinv
    from tacit.recovery.bridges.deepinv import from_deepinv as from_deepinv
    from tacit.recovery.bridges.functions import FunctionMap as FunctionMap
    from tacit.recovery.bridges.scipy import as_scipy as as_scipy
    from tacit.recovery.bridges.scipy import from_pylops as from_pylops
    from tacit.recovery.bridges.scipy import from_scipy as from_scipy
    from tacit.recovery.completion.problem import (
        completion_problem as completion_problem,
    )
    from tacit.recovery.deconvolution.coherence import Coherence as Coherence
    from tacit.recovery.deconvolution.coherence import coherences as coherences
    from tacit.recovery.deconvolution.deconvolve import deconvolve as deconvolve
    from tacit.recovery.deconvolution.planted import (
        planted_deconvolution as planted_deconvolution,
    )
    from tacit.recovery.deconvolution.problem import (
        convolution_problem as convolution_problem,
    )
    from tacit.recovery.deconvolution.problem import (
        demixing_problem as demixing_problem,
    )
    from tacit.recovery.deconvolution.readers.read import (
        KnownSubspaces as KnownSubspaces,
    )
    from tacit.recovery.deconvolution.readers.read import (
        ObservedConvolution as ObservedConvolution,
    )
    from tacit.recovery.deconvolution.readers.read import (
        read_convolution as read_convolution,
    )
    from tacit.recovery.deconvolution.result import (
        DeconvolutionResult as DeconvolutionResult,
    )
    from tacit.recovery.deconvolution.theory.predict import noise_regime as noise_regime
    from tacit.recovery.deconvolution.theory.predict import (
        recovery_thresholds as recovery_thresholds,
    )
    from tacit.recovery.maps.blocks import BlockDiagonalMap as BlockDiagonalMap
    from tacit.recovery.maps.combine import StackedMap as StackedMap
    from tacit.recovery.maps.combine import SumMap as SumMap
    from tacit.recovery.maps.combine import TwoSidedMap as TwoSidedMap
    from tacit.recovery.maps.convolution import ConvolutionMap as ConvolutionMap
    from tacit.recovery.maps.entries import EntriesMap as EntriesMap
    from tacit.recovery.maps.linear_map import AbstractLinearMap as AbstractLinearMap
    from tacit.recovery.maps.linear_map import MapSpec as MapSpec
    from tacit.recovery.maps.linear_map import adjoint_test as adjoint_test
    from tacit.recovery.maps.rank_one import RankOneMap as RankOneMap
    from tacit.recovery.maps.rank_one import rank_one_map as rank_one_map
    from tacit.recovery.maps.stored import StoredMap as StoredMap
    from tacit.recovery.maps.stored import gaussian_map as gaussian_map
    from tacit.recovery.maps.structured import FourierMap as FourierMap
    from tacit.recovery.maps.structured import fourier_map as fourier_map
    from tacit.recovery.nuclear.certify import NuclearCertificate as NuclearCertificate
    from tacit.recovery.nuclear.certify import certify_nuclear as certify_nuclear
    from tacit.recovery.nuclear.minimise import (
        minimise_nuclear_norm as minimise_nuclear_norm,
    )
    from tacit.recovery.nuclear.program import NuclearProgram as NuclearProgram
    from tacit.recovery.nuclear.result import NuclearResult as NuclearResult
    from tacit.recovery.planted import planted_completion as planted_completion
    from tacit.recovery.planted import planted_problem as planted_problem
    from tacit.recovery.problem import RecoveryProblem as RecoveryProblem
    from tacit.recovery.problem import hold_out as hold_out
    from tacit.recovery.readers.entries import Entries as Entries
    from tacit.recovery.readers.read import LabelledProblem as LabelledProblem
    from tacit.recovery.readers.read import read_entries as read_entries
    from tacit.recovery.readers.read import read_pairs as read_pairs
    from tacit.recovery.readers.read import read_problem as read_problem
    from tacit.recovery.recover import recover as recover
    from tacit.recovery.result import RecoveryResult as RecoveryResult
    from tacit.recovery.subspaces.fourier import FourierSubspace as FourierSubspace
    from tacit.recovery.subspaces.fourier import lowest_modes as lowest_modes
    from tacit.recovery.subspaces.matrix import MatrixSubspace as MatrixSubspace
    from tacit.recovery.subspaces.matrix import gaussian_subspace as gaussian_subspace
    from tacit.recovery.subspaces.scrambled import (
        ScrambledSubspace as ScrambledSubspace,
    )
    from tacit.recovery.subspaces.scrambled import (
        scrambled_subspace as scrambled_subspace,
    )
    from tacit.recovery.subspaces.subspace import AbstractSubspace as AbstractSubspace
    from tacit.recovery.subspaces.support import SupportSubspace as SupportSubspace
    from tacit.recovery.subspaces.support import centred_support as centred_support
    from tacit.recovery.subspaces.wavelet import largest_wavelets as largest_wavelets
    from tacit.recovery.subspaces.wavelet import wavelet_subspace as wavelet_subspace
    from tacit.recovery.trajectory.recorder import (
        TrajectoryRecorder as TrajectoryRecorder,
    )
    from tacit.recovery.trajectory.split import principal_angles as principal_angles
    from tacit.rng import make_generator as make_generator

# The one list of public names: where each is defined.
_HOMES = {
    "AbstractLinearMap": "tacit.recovery.maps.linear_map",
    "AbstractSubspace": "tacit.recovery.subspaces.subspace",
    "Activation": "tacit.lipschitz.layers",
    "BlockDiagonalMap": "tacit.recovery.maps.blocks",
    "Bound": "tacit.bracket",
    "Bracket": "tacit.bracket",
    "BracketError": "tacit.errors",
    "Certificate": "tacit.lipschitz.certificate",
    "CertificateError": "tacit.errors",
    "Coherence": "tacit.recovery.deconvolution.coherence",
    "ConvolutionMap": "tacit.recovery.maps.convolution",
    "DeconvolutionResult": "tacit.recovery.deconvolution.result",
    "Entries": "tacit.recovery.readers.entries",
    "EntriesMap": "tacit.recovery.maps.entries",
    "FourierMap": "tacit.recovery.maps.structured",
    "FourierSubspace": "tacit.recovery.subspaces.fourier",
    "FunctionMap": "tacit.recovery.bridges.functions",
    "ImportMismatchError": "tacit.errors",
    "InputError": "tacit.errors",
    "KnownSubspaces": "tacit.recovery.deconvolution.readers.read",
    "LabelledProblem": "tacit.recovery.readers.read",
    "LipschitzProblem": "tacit.lipschitz.problem",
    "LipschitzResult": "tacit.lipschitz.solve",
    "MapSpec": "tacit.recovery.maps.linear_map",
    "MatrixSubspace": "tacit.recovery.subspaces.matrix",
    "Network": "tacit.lipschitz.network",
    "NuclearCertificate": "tacit.recovery.nuclear.certify",
    "NuclearProgram": "tacit.recovery.nuclear.program",
    "NuclearResult": "tacit.recovery.nuclear.result",
    "ObservedConvolution": "tacit.recovery.deconvolution.readers.read",
    "Prediction": "tacit.prediction",
    "RankOneMap": "tacit.recovery.maps.rank_one",
    "RecoveryProblem": "tacit.recovery.problem",
    "RecoveryResult": "tacit.recovery.result",
    "ScrambledSubspace": "tacit.recovery.subspaces.scrambled",
    "ShapeError": "tacit.errors",
    "StackedMap": "tacit.recovery.maps.combine",
    "Status": "tacit.errors",
    "StoredMap": "tacit.recovery.maps.stored",
    "SumMap": "tacit.recovery.maps.combine",
    "SupportSubspace": "tacit.recovery.subspaces.support",
    "TacitError": "tacit.errors",
    "TrajectoryRecorder": "tacit.recovery.trajectory.recorder",
    "TwoSidedMap": "tacit.recovery.maps.combine",
    "UnsupportedLayerError": "tacit.errors",
    "WorstNoise": "tacit.recovery.adversary.worst_noise",
    "adjoint_test": "tacit.recovery.maps.linear_map",
    "as_deepinv": "tacit.recovery.bridges.deepinv",
    "as_scipy": "tacit.recovery.bridges.scipy",
    "centred_support": "tacit.recovery.subspaces.support",
    "certify_nuclear": "tacit.recovery.nuclear.certify",
    "chain": "tacit.lipschitz.network",
    "coherences": "tacit.recovery.deconvolution.coherence",
    "completion_problem": "tacit.recovery.completion.problem",
    "convolution_problem": "tacit.recovery.deconvolution.problem",
    "deconvolve": "tacit.recovery.deconvolution.deconvolve",
    "demixing_problem": "tacit.recovery.deconvolution.problem",
    "fourier_map": "tacit.recovery.maps.structured",
    "from_deepinv": "tacit.recovery.bridges.deepinv",
    "from_module": "tacit.lipschitz.readers.from_torch",
    "from_pylops": "tacit.recovery.bridges.scipy",
    "from_scipy": "tacit.recovery.bridges.scipy",
    "gaussian_map": "tacit.recovery.maps.stored",
    "gaussian_subspace": "tacit.recovery.subspaces.matrix",
    "hold_out": "tacit.recovery.problem",
    "largest_wavelets": "tacit.recovery.subspaces.wavelet",
    "lipschitz_bracket": "tacit.lipschitz.solve",
    "load_certificate": "tacit.lipschitz.certificate",
    "lowest_modes": "tacit.recovery.subspaces.fourier",
    "make_generator": "tacit.rng",
    "minimise_nuclear_norm": "tacit.recovery.nuclear.minimise",
    "noise_regime": "tacit.recovery.deconvolution.theory.predict",
    "planted_completion": "tacit.recovery.planted",
    "planted_deconvolution": "tacit.recovery.deconvolution.planted",
    "planted_problem": "tacit.recovery.planted",
    "principal_angles": "tacit.recovery.trajectory.split",
    "random_network": "tacit.lipschitz.ensemble",
    "rank_one_map": "tacit.recovery.maps.rank_one",
    "read_convolution": "tacit.recovery.deconvolution.readers.read",
    "read_entries": "tacit.recovery.readers.read",
    "read_network": "tacit.lipschitz.readers.read",
    "read_pairs": "tacit.recovery.readers.read",
    "read_problem": "tacit.recovery.readers.read",
    "recover": "tacit.recovery.recover",
    "recovery_thresholds": "tacit.recovery.deconvolution.theory.predict",
    "save_certificate": "tacit.lipschitz.certificate",
    "scrambled_subspace": "tacit.recovery.subspaces.scrambled",
    "verify": "tacit.lipschitz.certificate",
    "wavelet_subspace": "tacit.recovery.subspaces.wavelet",
    "worst_noise": "tacit.recovery.adversary.worst_noise",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tacit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
