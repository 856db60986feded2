"""What all commands share: exit codes, one-line errors, verbosity.

====  =====================================================================
code  meaning
====  =====================================================================
0     done
1     the work ended early or some of it failed; what was done is kept
2     bad usage or input: one line on standard error says what to do
130   interrupted (Ctrl-C) with nothing worth keeping
141   the reader of the output went away (``lpbf-info STORE | head``)
====  =====================================================================
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import DataclassInstance
    from jsonargparse import ArgumentParser, Namespace

    Options = TypeVar("Options", bound=DataclassInstance)

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_PACKAGES = frozenset({"lpbf_dataset", "flare", "baselines", "pipelines", "viz"})

EXTRA_OF = {
    "torch": "train",
    "torch_geometric": "train",
    "lightning": "train",
    "lion_pytorch": "train",
    "tensorboardX": "train",
    "pyvista": "viz",
    "vtk": "viz",
    "trame": "web",
    "trame_vtk": "web",
    "trame_vuetify": "web",
    "h5py": "export",
    "networkx": "solver",
    "manifold3d": "solver",
}
"""Extra of the project that installs an optional package."""

logger = logging.getLogger(__name__)


class UserError(ValueError):
    """A user's mistake: one line that names the thing and the remedy."""


def is_user_error(error: BaseException) -> bool:
    """Tell a user's mistake from a bug.

    Mistakes are the typed ValueErrors of this project (`StoreError`, `SourceError`, `UserError`,
    ...) and what the operating system refuses.  A plain ValueError may come from anywhere, so it
    counts as a bug.
    """
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or (isinstance(error, ValueError) and package in _PACKAGES)


def run_command(run: Callable[[list[str] | None], int], arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; a user's mistake becomes one line and exit code 2.

    Parameters
    ----------
    run : callable
        Takes the arguments, returns the exit code.  Usage errors of its argument parser pass through.
    arguments : list of str, optional
        Those of the process by default.

    Raises
    ------
    SystemExit
        Always, unless there is a bug: its exception passes through with the traceback.
    """
    try:
        code = run(with_underscores(sys.argv[1:] if arguments is None else arguments))
        # Otherwise a closed pipe shows only when the interpreter has shut down.
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        extra = EXTRA_OF[package]
        print(f"error: {package} is not installed: pip install 'lpbf-toolkit[{extra}]'", file=sys.stderr)
        code = EXIT_USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_BROKEN_PIPE
    except (ValueError, OSError) as error:
        if not is_user_error(error):
            raise
        logger.debug("the error came from here:", exc_info=error)
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_USAGE
    sys.exit(code)


def with_underscores(arguments: list[str]) -> list[str]:
    """Spell option names as jsonargparse does: ``--layer-thickness 0.03`` as ``--layer_thickness 0.03``."""
    spelled = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        is_option = name.startswith("--") and len(name) > 2
        spelled.append(f"--{name[2:].replace('-', '_')}{equals}{value}" if is_option else argument)
    return spelled


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'epochs'?`` for an error about a name, or nothing if no known one is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def from_options(options_type: type[Options], parsed: Namespace) -> Options:
    """Make a dataclass of the parsed options that are its fields; the others keep their defaults.

    Parameters
    ----------
    options_type : type
        A dataclass, whose options the parser has by ``add_class_arguments``.
    parsed : Namespace
        Among others, its options.
    """
    names = (field.name for field in fields(options_type))
    return options_type(**{name: parsed[name] for name in names if name in parsed})


def add_verbosity(parser: ArgumentParser) -> None:
    """Add ``-q/--quiet`` and ``-v/--verbose`` to a parser."""
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="more detail; tracebacks of errors")


class Verbosity(Protocol):
    """Parsed options among which are those of `add_verbosity`."""

    @property
    def quiet(self) -> bool:
        """No progress, errors only."""

    @property
    def verbose(self) -> bool:
        """More detail."""


def set_verbosity(options: Verbosity) -> None:
    """Let log records through to standard error as ``-q`` and ``-v`` ask for; warnings by default."""
    level = logging.DEBUG if options.verbose else logging.ERROR if options.quiet else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", force=True)
    if not options.verbose:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_is_not_dask)
    for package in _PACKAGES:
        logging.getLogger(package).setLevel(level)


def _is_not_dask(record: logging.LogRecord) -> bool:
    """Hold back what Dask says of every process it starts and stops; what matters the engine tells."""
    return record.name.partition(".")[0] != "distributed"
