"""Entry point of ``tacit``: dispatch, exit codes, and errors in one sentence."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper

from cyclopts import App, CycloptsError
from rich.console import Console

from tacit.errors import BracketError, TacitError

BAD_INPUT, NOT_PROVEN, INTERRUPTED, BUG = 2, 3, 130, 70

# Commands are named as strings, so that help does not wait for torch to load; their
# help stands here for the same reason.
app = App(
    name="tacit",
    help=(
        "How far can a neural network's output move? Which low-rank matrix is behind "
        "these numbers? Will a GAN of this width converge? Answers that say how far to "
        "trust them."
    ),
    help_epilogue=(
        "Example: `tacit lipschitz model.onnx --out result` bounds a network and "
        "writes figure, JSON and certificate; "
        "`tacit verify result/certificate.npz model.onnx` checks the certificate; "
        "`tacit recover entries.csv --out result` completes a matrix; "
        "`tacit gan digits --width 16 --out result` trains a GAN."
    ),
    version=lambda: version("tacit"),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(
    "tacit.cli.lipschitz:lipschitz",
    name="lipschitz",
    help=(
        "Bracket how far a network's output can move when its input moves.\n\n"
        "Prints every bound found and the bracket: a value reached at a pair of "
        "inputs, and a certified bound above it. The output is measured in l2. "
        "Nothing is written unless --json or --out is given. Exit codes: 0 answered, "
        "2 bad input, 130 stopped by Ctrl-C (the result so far is printed and "
        "written)."
    ),
    help_epilogue=(
        "Example: `tacit lipschitz model.onnx --norm linf --margin 3,5 --out result`"
    ),
)
app.command(
    "tacit.cli.recover:recover",
    name="recover",
    help=(
        "Find the low-rank matrix behind some entries, or linear measurements.\n\n"
        "Prints its rank, how it was found, and its error on measurements that were "
        "held out, with a confidence interval. Nothing is written unless --json or "
        "--out is given. Exit codes: 0 answered, 2 bad input, 130 stopped by Ctrl-C "
        "(the result so far is printed and written)."
    ),
    help_epilogue=(
        "Example: `tacit recover ratings.csv --columns user,film,stars --complete "
        "wanted.csv --out result`"
    ),
)
app.command(
    "tacit.cli.deconvolve:deconvolve",
    name="deconvolve",
    help=(
        "Find short filters and a signal from their convolution.\n\n"
        "An echo and what was said, a blur and what was photographed: from arrays, "
        "recordings or pictures, with what is known of both. Prints what is left "
        "unexplained and a certified bracket of the least nuclear norm. Nothing is "
        "written unless --json or --out is given. Exit codes: 0 answered, 2 bad input, "
        "130 stopped by Ctrl-C (the result so far is printed and written)."
    ),
    help_epilogue=(
        "Example: `tacit deconvolve first.png second.png --kernel-size 5 --out result`"
    ),
)
app.command(
    "tacit.cli.gan:gan",
    name="gan",
    help=(
        "Train a GAN of a given width and watch it, or play the paper's game.\n\n"
        "Prints the width, the parameters, the scores and whether they came to rest; "
        "for mean-matching, what was certified and the predicted and measured rates. "
        "Nothing is written unless --json or --out is given; a run in an --out folder "
        "can be continued with --resume. Exit codes: 0 answered, 1 training broke down "
        "(a loss or a weight overflowed), 2 bad input, 130 stopped by Ctrl-C (the "
        "result so far is printed and written)."
    ),
    help_epilogue=(
        "Example: `tacit gan digits --width 16 --steps 5000 --out result`; "
        "`tacit gan mean-matching --width 80`"
    ),
)
app.command(
    "tacit.cli.verify:verify",
    name="verify",
    help=(
        "Check a stored certificate against the model it is about.\n\n"
        "Both sides of the bracket are computed again from the network, the stored "
        "pair of inputs and the stored multipliers; no search code is used. Exit "
        "codes: 0 both sides hold, 2 bad input, 3 the certificate is refused."
    ),
    help_epilogue="Example: `tacit verify result/certificate.npz model.onnx`",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 answered; 1 training broke down; 2 bad input; 3 a certificate was
    refused; 130 Ctrl-C or the reader of the output went away; 70 a bug in tacit.
    """
    # Read when torch is imported: its threads would else spin while they wait, which on
    # a machine shared with others costs many times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if isinstance(sys.stdout, TextIOWrapper):
        # A file name that the terminal cannot spell is no reason to lose a result.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
    except BracketError as error:
        return _fail(str(error), BUG)
    except (CycloptsError, TacitError) as error:
        return _fail(str(error), BAD_INPUT)
    except MemoryError:
        return _fail("there is not enough memory for this input", BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was left half-written", INTERRUPTED)
    except (BrokenPipeError, SystemExit):
        # rich raises the latter when the reader of a pipe has gone.
        return INTERRUPTED
    except OSError as error:
        return _fail(f"cannot use {error.filename}: {error.strerror}", BAD_INPUT)
    return code if isinstance(code, int) else 0


def _fail(text: str, code: int) -> int:
    """Say in one line what went wrong."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    errors.print(f"tacit: {' '.join(text.split())}", markup=False)
    return code
