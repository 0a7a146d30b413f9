"""tacit on the instances of the benchmark, by each of its routes."""

import time
from typing import Any

import numpy as np
import torch
from deconvolution_conic import Answer
from deconvolution_data import Instance, draw, to_fourier

from tacit.recovery.deconvolution.problem import convolution_problem
from tacit.recovery.nuclear.minimise import minimise_nuclear_norm
from tacit.recovery.nuclear.result import NuclearResult
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.subspaces.matrix import MatrixSubspace
from tacit.recovery.subspaces.support import SupportSubspace
from tacit.rng import make_generator


def problem_of(instance: Instance) -> RecoveryProblem:
    dtype = torch.float64 if instance.is_real else torch.complex128
    short = SupportSubspace(
        indices=torch.from_numpy(instance.places),
        shape=(instance.length,),
        dtype=dtype,
    )
    signal = MatrixSubspace(matrix=torch.from_numpy(instance.signals))
    return convolution_problem(torch.from_numpy(instance.measured), short, signal)


def warm_up(instance: Instance, route: Any) -> None:
    """Load compiled code and plans: solve a small instance of the same kind."""
    noise = 0.05 if instance.bound > 0.0 else 0.0
    small = draw((4, 4, 40), seed=0, noise=noise, is_real=instance.is_real)
    minimise_nuclear_norm(
        problem_of(small),
        noise_bound=small.bound,
        route=route,
        generator=make_generator(0),
    )


def minimise(instance: Instance, route: Any) -> NuclearResult:
    return minimise_nuclear_norm(
        problem_of(instance),
        noise_bound=instance.bound,
        route=route,
        generator=make_generator(0),
    )


def solve_tacit(instance: Instance, route: Any) -> tuple[Answer, NuclearResult]:
    """Search, certificate and everything else inside the clock."""
    warm_up(instance, route)
    began = time.process_time()
    result = minimise(instance, route)
    seconds = time.process_time() - began
    left, right = result.left.numpy(), result.right.numpy()
    answer = Answer(
        matrix=left @ right.conj().T,
        duals=[to_fourier(np.asarray(result.dual.numpy()))],
        seconds=seconds,
        compile_seconds=0.0,
        notes=f"{result.num_steps} steps, rank {result.rank}, {result.status.name}",
    )
    return answer, result
