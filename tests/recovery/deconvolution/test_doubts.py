import torch

from tacit.recovery.deconvolution.coherence import Coherence
from tacit.recovery.deconvolution.doubts import (
    answer_doubts,
    coherence_doubts,
    count_doubts,
)
from tacit.recovery.deconvolution.planted import planted_deconvolution
from tacit.recovery.deconvolution.problem import source_maps
from tacit.recovery.problem import hold_out


def test_unknowns_are_counted_against_the_measurements_fitted(
    generator: torch.Generator,
) -> None:
    problem = planted_deconvolution(5, 6, 20, generator=generator)  # 10 unknowns
    maps = source_maps(problem.linear_map)
    assert count_doubts(problem, maps) == ()
    fewer = hold_out(problem, 0.25, generator=generator)
    (text,) = count_doubts(fewer, maps)
    assert "15 measurements are only 1.5 times the 10 unknowns" in text
    few = hold_out(problem, 0.6, generator=generator)
    (text,) = count_doubts(few, maps)
    assert "8 measurements are fewer than the 10 unknowns" in text


def test_peaked_filters_are_named(generator: torch.Generator) -> None:
    problem = planted_deconvolution(5, 6, 20, num_channels=2, generator=generator)
    maps = source_maps(problem.linear_map)
    flat = Coherence(filter_max=1.0, signal_max=2.0, filter_flatness=2.0)
    peaked = Coherence(filter_max=4.0, signal_max=2.0, filter_flatness=10.0)
    assert coherence_doubts(maps, (flat, flat)) == ()
    subspace, spectrum = coherence_doubts(maps, (flat, peaked))
    assert "subspace of filter 1" in subspace
    assert "mu_max^2 K / L = 1.00" in subspace
    assert "filter 1 has much" in spectrum
    assert "mu_h^2 N / L = 3.0" in spectrum


def test_answers_that_do_not_explain_are_doubted() -> None:
    fine = {"misfit": 1.0, "noise_bound": 1.0, "size": 10.0}
    assert answer_doubts(energy=1.0, **fine) == ()
    (text,) = answer_doubts(energy=0.5, **fine)
    assert "prefers a matrix of which they are 50%" in text
    rank, misfit = answer_doubts(energy=0.5, misfit=3.0, noise_bound=1.0, size=10.0)
    assert "leading pair holds 50%" in rank
    assert "30.0% of the observation unexplained" in misfit
    assert "noise bound (10.0%)" in misfit
