"""Faults planted in the checker: the soundness campaign must see every one of them."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from campaign import campaign, lifted_only
from tacit.lipschitz import certify as certify_module
from tacit.lipschitz import gap_search as gap_search_module
from tacit.lipschitz import lifted_bound as lifted_bound_module
from tacit.lipschitz import reduced_form as reduced_form_module
from tacit.lipschitz.blocks import Blocks, dense_blocks
from tacit.lipschitz.network import Network


def _weaken_coupling(patch: pytest.MonkeyPatch) -> None:
    """A multiplier shrunk in the cross terms, but not on the diagonal."""
    original = reduced_form_module._Form.eliminate

    def eliminate(form: Any, site: int, coupling: dict[int, Tensor]) -> None:
        shrunk = {source: 0.99 * block for source, block in coupling.items()}
        original(form, site, shrunk)

    patch.setattr(reduced_form_module._Form, "eliminate", eliminate)


def _flip_schur_sign(patch: pytest.MonkeyPatch) -> None:
    """What elimination subtracts is added."""
    original = reduced_form_module._Form.add_gram

    def add_gram(form: Any, rows: dict[int, Tensor], factor: float) -> None:
        original(form, rows, abs(factor))

    patch.setattr(reduced_form_module._Form, "add_gram", add_gram)


def _forget_low_times_high(patch: pytest.MonkeyPatch) -> None:
    """The term of y^2 is left out, as if every lower slope were zero."""
    original = reduced_form_module._Form.add_gram

    def add_gram(form: Any, rows: dict[int, Tensor], factor: float) -> None:
        if factor == -1.0:
            original(form, rows, factor)

    patch.setattr(reduced_form_module._Form, "add_gram", add_gram)


def _change_blocks(
    patch: pytest.MonkeyPatch, change: Callable[[Blocks], Blocks]
) -> None:
    def changed(network: Network) -> Blocks:
        return change(dense_blocks(network))

    for module in (certify_module, lifted_bound_module):
        patch.setattr(module, "dense_blocks", changed)


def _drop_layer(patch: pytest.MonkeyPatch) -> None:
    """The last hidden layer is skipped: its neurons never move."""

    def change(blocks: Blocks) -> Blocks:
        last = max(target for target, _ in blocks) - 1
        return {(t, s): b * (t != last or last < 2) for (t, s), b in blocks.items()}

    _change_blocks(patch, change)


def _drop_link(patch: pytest.MonkeyPatch) -> None:
    """The path that skips most layers is overlooked."""

    def change(blocks: Blocks) -> Blocks:
        longest = max(blocks, key=lambda link: link[0] - link[1])
        return {link: b * (link != longest) for link, b in blocks.items()}

    _change_blocks(patch, change)


def _flip_link(patch: pytest.MonkeyPatch) -> None:
    """The path that skips most layers is subtracted."""

    def change(blocks: Blocks) -> Blocks:
        longest = max(blocks, key=lambda link: link[0] - link[1])
        return {link: -b if link == longest else b for link, b in blocks.items()}

    _change_blocks(patch, change)


def _take_largest_input_weight(patch: pytest.MonkeyPatch) -> None:
    """For linf the largest input weight is taken instead of their sum."""

    def input_factor(weights: Tensor, _: str) -> float:
        return float(weights.max())

    for module in (certify_module, gap_search_module):
        patch.setattr(module, "input_factor", input_factor)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "coupling weakened": (_weaken_coupling, "cones"),
    "sign of the Schur complement": (_flip_schur_sign, "cones"),
    "low times high forgotten": (_forget_low_times_high, "intervals"),
    "layer dropped": (_drop_layer, "cones"),
    "link dropped": (_drop_link, "graphs"),
    "sign of a link": (_flip_link, "graphs"),
    "largest input weight": (_take_largest_input_weight, "one-layer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, family = FAULTS[fault]
    assert campaign(family, 40, lifted_only) >= 39
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="lifted network"):
        campaign(family, 40, lifted_only)
