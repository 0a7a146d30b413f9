"""Entry point of ``tacit``: dispatch, exit codes, and errors in one sentence."""

import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError
from rich.console import Console

from tacit.errors import BracketError, TacitError

# Commands are named as strings, so that help does not wait for torch to load.
app = App(
    name="tacit",
    help="Bounds with a proof: how far can a neural network's output move?",
    help_epilogue=(
        "Example: `tacit lipschitz model.onnx --out result` bounds a network and writes "
        "figure, JSON and certificate; `tacit verify result/certificate.npz model.onnx` "
        "checks the certificate."
    ),
    version=lambda: version("tacit"),
)
app.command("tacit.cli.lipschitz:lipschitz", name="lipschitz")
app.command("tacit.cli.verify:verify", name="verify")

BAD_INPUT, NOT_PROVEN, INTERRUPTED, BUG = 2, 3, 130, 70


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 answered; 2 bad input; 3 a certificate was refused; 130 Ctrl-C;
    70 a bug in tacit.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        code = app(
            list(arguments),
            exit_on_error=False,
            print_error=True,
            error_console=Console(stderr=True),
            result_action="return_value",
        )
    except CycloptsError:
        return BAD_INPUT
    except BracketError as error:
        errors.print(f"tacit: {error}", style="bold red", markup=False)
        return BUG
    except TacitError as error:
        errors.print(f"tacit: {error}", markup=False)
        return BAD_INPUT
    except KeyboardInterrupt:
        errors.print("tacit: interrupted; nothing was left half-written")
        return INTERRUPTED
    except BrokenPipeError:
        return INTERRUPTED
    return code if isinstance(code, int) else 0
