"""Options of commands that spread their work over the cores of a machine, or over a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from jsonargparse.typing import PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


class EngineOptions(TypedDict):
    """What `lpbf_dataset.engine.open_engine` takes."""

    workers: int
    scheduler: str
    timeout: float | None
    memory_limit: str


def add_engine_options(parser: ArgumentParser, *items: str) -> None:
    """Add ``--workers``, ``--scheduler``, ``--memory_limit`` and a ``--<item>_timeout`` for each item.

    Parameters
    ----------
    parser : ArgumentParser
        Of a command.
    *items : str
        What the command works on, as in "case" and "part".
    """
    several = " or ".join(f"{item}s" for item in items)
    parser.add_argument("--workers", type=PositiveInt, default=1, help=f"{several} worked on at a time")
    parser.add_argument(
        "--scheduler",
        type=str,
        default="",
        help="address of a running Dask scheduler, tcp://HOST:PORT, whose workers see the same files",
    )
    parser.add_argument("--memory_limit", type=str, default="", help="memory of each worker, as in '4 GiB'")
    for item in items:
        parser.add_argument(
            f"--{item}_timeout", type=PositiveFloat | None, help=f"seconds after which one {item} fails"
        )


def engine_options(options: Namespace, item: str) -> EngineOptions:
    """Return what was chosen for work on items of one kind.

    Parameters
    ----------
    options : Namespace
        Parsed options, with those of `add_engine_options`.
    item : str
        One of the items given there.
    """
    return EngineOptions(
        workers=options.workers,
        scheduler=options.scheduler,
        timeout=options[f"{item}_timeout"],
        memory_limit=options.memory_limit,
    )
