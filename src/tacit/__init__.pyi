# What `__init__.py` loads on first use, for readers of types: the same names.

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
from tacit.minimax.certificate import SaddleCertificate as SaddleCertificate
from tacit.minimax.certify import certify_saddle as certify_saddle
from tacit.minimax.cone import ConeFit as ConeFit
from tacit.minimax.cone import fit_cone as fit_cone
from tacit.minimax.consensus import ConsensusOptimisation as ConsensusOptimisation
from tacit.minimax.descent_ascent import AbstractDescentAscent as AbstractDescentAscent
from tacit.minimax.descent_ascent import AlternatingGDA as AlternatingGDA
from tacit.minimax.descent_ascent import SimultaneousGDA as SimultaneousGDA
from tacit.minimax.dynamics.forecast import predict_convergence as predict_convergence
from tacit.minimax.dynamics.guarantee import (
    convergence_guarantee as convergence_guarantee,
)
from tacit.minimax.dynamics.history import linear_history as linear_history
from tacit.minimax.dynamics.kernel_law import kernel_law as kernel_law
from tacit.minimax.dynamics.limits import check_stability as check_stability
from tacit.minimax.dynamics.limits import stability_limit as stability_limit
from tacit.minimax.dynamics.measured import measured_rate as measured_rate
from tacit.minimax.dynamics.path import PathRecorder as PathRecorder
from tacit.minimax.dynamics.rates import iteration_matrix as iteration_matrix
from tacit.minimax.dynamics.rates import linear_rate as linear_rate
from tacit.minimax.dynamics.rates import linearised_game as linearised_game
from tacit.minimax.dynamics.rates import local_rate as local_rate
from tacit.minimax.dynamics.rates import mode_rates as mode_rates
from tacit.minimax.dynamics.spectrum import JacobianSpectrum as JacobianSpectrum
from tacit.minimax.dynamics.spectrum import jacobian_spectrum as jacobian_spectrum
from tacit.minimax.dynamics.steps import best_steps as best_steps
from tacit.minimax.extrapolation import AlexGDA as AlexGDA
from tacit.minimax.extrapolation import Extragradient as Extragradient
from tacit.minimax.extrapolation import OptimisticGradient as OptimisticGradient
from tacit.minimax.find import find_saddle as find_saddle
from tacit.minimax.gan.config import TrainingConfig as TrainingConfig
from tacit.minimax.gan.data.coverage import mode_coverage as mode_coverage
from tacit.minimax.gan.data.dataset import AbstractDataset as AbstractDataset
from tacit.minimax.gan.data.dataset import ArrayDataset as ArrayDataset
from tacit.minimax.gan.data.dataset import GanData as GanData
from tacit.minimax.gan.data.gaussians import GaussianMixture as GaussianMixture
from tacit.minimax.gan.data.gaussians import draw_samples as draw_samples
from tacit.minimax.gan.data.gaussians import grid_mixture as grid_mixture
from tacit.minimax.gan.data.gaussians import log_density as log_density
from tacit.minimax.gan.data.gaussians import optimal_scores as optimal_scores
from tacit.minimax.gan.data.gaussians import ring_mixture as ring_mixture
from tacit.minimax.gan.data.read import gaussian_data as gaussian_data
from tacit.minimax.gan.data.read import read_data as read_data
from tacit.minimax.gan.features.digits import digits_features as digits_features
from tacit.minimax.gan.features.inception import (
    inception_features as inception_features,
)
from tacit.minimax.gan.features.interface import AbstractFeatures as AbstractFeatures
from tacit.minimax.gan.features.interface import extract_features as extract_features
from tacit.minimax.gan.features.module import ModuleFeatures as ModuleFeatures
from tacit.minimax.gan.features.preparation import Preparation as Preparation
from tacit.minimax.gan.features.read import read_features as read_features
from tacit.minimax.gan.load import load_generator as load_generator
from tacit.minimax.gan.losses import discriminator_loss as discriminator_loss
from tacit.minimax.gan.losses import generator_loss as generator_loss
from tacit.minimax.gan.networks import Gan as Gan
from tacit.minimax.gan.networks import build_gan as build_gan
from tacit.minimax.gan.result import GanResult as GanResult
from tacit.minimax.gan.scores.frechet import (
    extrapolated_frechet as extrapolated_frechet,
)
from tacit.minimax.gan.scores.frechet import frechet_distance as frechet_distance
from tacit.minimax.gan.scores.frechet import frechet_floor as frechet_floor
from tacit.minimax.gan.scores.frechet import (
    frechet_from_statistics as frechet_from_statistics,
)
from tacit.minimax.gan.scores.kernel import kernel_distance as kernel_distance
from tacit.minimax.gan.scores.kernel import (
    subset_kernel_distance as subset_kernel_distance,
)
from tacit.minimax.gan.scores.score import score_features as score_features
from tacit.minimax.gan.scores.sliced_wasserstein import (
    sliced_wasserstein as sliced_wasserstein,
)
from tacit.minimax.gan.scores.statistics import feature_statistics as feature_statistics
from tacit.minimax.gan.scores.statistics import load_statistics as load_statistics
from tacit.minimax.gan.scores.statistics import save_statistics as save_statistics
from tacit.minimax.gan.scores.statistics import (
    statistics_from_covariance as statistics_from_covariance,
)
from tacit.minimax.gan.tensorboard import TensorBoardObserver as TensorBoardObserver
from tacit.minimax.gan.train import train_gan as train_gan
from tacit.minimax.generators import deep_relu_generator as deep_relu_generator
from tacit.minimax.generators import draw_parameters as draw_parameters
from tacit.minimax.generators import generator_problem as generator_problem
from tacit.minimax.generators import module_generator as module_generator
from tacit.minimax.matching import AbstractMatchingProblem as AbstractMatchingProblem
from tacit.minimax.matching import MatchingProblem as MatchingProblem
from tacit.minimax.matching import ReachableCone as ReachableCone
from tacit.minimax.mean_matching import MeanMatchingGame as MeanMatchingGame
from tacit.minimax.mean_matching import draw_start as draw_start
from tacit.minimax.mean_matching import random_game as random_game
from tacit.minimax.optimisers.ahead import Extrapolation as Extrapolation
from tacit.minimax.optimisers.consensus import (
    consensus_gradients as consensus_gradients,
)
from tacit.minimax.optimisers.extra import ExtraAdam as ExtraAdam
from tacit.minimax.optimisers.extra import ExtraSGD as ExtraSGD
from tacit.minimax.optimisers.optimistic import OptimisticAdam as OptimisticAdam
from tacit.minimax.optimisers.optimistic import OptimisticSGD as OptimisticSGD
from tacit.minimax.packing import Packing as Packing
from tacit.minimax.predict import existence_probability as existence_probability
from tacit.minimax.predict import predict_game as predict_game
from tacit.minimax.predict import width_for_existence as width_for_existence
from tacit.minimax.problem import AbstractSaddleProblem as AbstractSaddleProblem
from tacit.minimax.problem import FunctionProblem as FunctionProblem
from tacit.minimax.quadratic import QuadraticGame as QuadraticGame
from tacit.minimax.quadratic import bilinear_game as bilinear_game
from tacit.minimax.quadratic import random_quadratic_game as random_quadratic_game
from tacit.minimax.quadratic import saddle_point as saddle_point
from tacit.minimax.random_features import RandomFeatures as RandomFeatures
from tacit.minimax.random_features import random_features as random_features
from tacit.minimax.result import SaddleResult as SaddleResult
from tacit.prediction import Prediction as Prediction
from tacit.recovery.adversary.worst_noise import WorstNoise as WorstNoise
from tacit.recovery.adversary.worst_noise import worst_noise as worst_noise
from tacit.recovery.bridges.deepinv import as_deepinv as as_deepinv
from tacit.recovery.bridges.deepinv import from_deepinv as from_deepinv
from tacit.recovery.bridges.functions import FunctionMap as FunctionMap
from tacit.recovery.bridges.scipy import as_scipy as as_scipy
from tacit.recovery.bridges.scipy import from_pylops as from_pylops
from tacit.recovery.bridges.scipy import from_scipy as from_scipy
from tacit.recovery.completion.problem import completion_problem as completion_problem
from tacit.recovery.deconvolution.coherence import Coherence as Coherence
from tacit.recovery.deconvolution.coherence import coherences as coherences
from tacit.recovery.deconvolution.deconvolve import deconvolve as deconvolve
from tacit.recovery.deconvolution.planted import (
    planted_deconvolution as planted_deconvolution,
)
from tacit.recovery.deconvolution.problem import (
    convolution_problem as convolution_problem,
)
from tacit.recovery.deconvolution.problem import demixing_problem as demixing_problem
from tacit.recovery.deconvolution.readers.read import KnownSubspaces as KnownSubspaces
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
from tacit.recovery.subspaces.scrambled import ScrambledSubspace as ScrambledSubspace
from tacit.recovery.subspaces.scrambled import scrambled_subspace as scrambled_subspace
from tacit.recovery.subspaces.subspace import AbstractSubspace as AbstractSubspace
from tacit.recovery.subspaces.support import SupportSubspace as SupportSubspace
from tacit.recovery.subspaces.support import centred_support as centred_support
from tacit.recovery.subspaces.wavelet import largest_wavelets as largest_wavelets
from tacit.recovery.subspaces.wavelet import wavelet_subspace as wavelet_subspace
from tacit.recovery.trajectory.recorder import TrajectoryRecorder as TrajectoryRecorder
from tacit.recovery.trajectory.split import principal_angles as principal_angles
from tacit.rng import make_generator as make_generator

__all__: list[str]

def __dir__() -> list[str]: ...
