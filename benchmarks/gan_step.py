"""A training step against the same networks in a plain PyTorch loop."""

import statistics
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import torch
from torch.nn import functional

from tacit.minimax.gan.config import TrainingConfig
from tacit.minimax.gan.data.dataset import AbstractDataset
from tacit.minimax.gan.data.read import read_data
from tacit.minimax.gan.players import make_gan, make_players
from tacit.minimax.gan.step import take_step

CPU = torch.device("cpu")
_ROUNDS, _STEPS = 15, 40


def step_costs() -> Iterator[dict[str, Any]]:
    """Time both in turns; ours has its moving average, the plain loop has none."""
    data = read_data("digits").train
    for width in (4, 16, 32):
        for spectral_norm in (True, False):
            config = TrainingConfig(width=width, spectral_norm=spectral_norm)
            runs = {"milliseconds": _ours(config, data), "plain": _plain(config, data)}
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(_ROUNDS):
                for name, run in runs.items():
                    start = process_time()
                    for _ in range(_STEPS):
                        run()
                    times[name].append(1e3 * (process_time() - start) / _STEPS)
            medians = {name: statistics.median(own[3:]) for name, own in times.items()}
            yield {
                "case": f"dcgan, k = {width}",
                "solver": "spectral norm" if spectral_norm else "batch norm",
                "ratio": medians["milliseconds"] / medians["plain"],
                **medians,
            }


def _ours(config: TrainingConfig, data: AbstractDataset) -> Callable[[], None]:
    players = make_players(config, data, CPU)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        take_step(players)
        players.average.update(count)

    return step


def _plain(config: TrainingConfig, data: AbstractDataset) -> Callable[[], None]:
    gan = make_gan(config, data.shape, CPU)
    make, judge = gan.generator.train(), gan.discriminator.train()
    of_make = torch.optim.Adam(make.parameters(), lr=2e-4, betas=(0.5, 0.999))
    of_judge = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    images = data.batch(torch.arange(data.num_samples))

    def step() -> None:
        real = images[torch.randint(len(images), (config.batch_size,))]
        fake = make(torch.randn(config.batch_size, config.latent_dim))
        loss = functional.softplus(-judge(real)).mean()
        loss = loss + functional.softplus(judge(fake.detach())).mean()
        of_judge.zero_grad()
        loss.backward()
        of_judge.step()
        loss = functional.softplus(-judge(fake)).mean()
        of_make.zero_grad()
        loss.backward()
        of_make.step()

    return step
