"""``lpbf-train``: train a surrogate on a store."""

from __future__ import annotations

import sys

from pipelines.console import UserError, run_command


def usage() -> str:
    """Help of the command without a model."""
    from pipelines.models import MODELS

    width = max(map(len, MODELS))
    models = "\n".join(f"  {name:<{width}}  {entry.citation}" for name, entry in sorted(MODELS.items()))
    return (
        "usage: lpbf-train MODEL --data STORE -o RUN [options]\n\n"
        "Train a surrogate that predicts fields on the nodes of a part from their positions.\n\n"
        f"models:\n{models}\n\n"
        "lpbf-train MODEL --help lists the options of a model."
    )


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    # Imported here so that a missing torch is told in one line.
    from baselines.registry import find_model
    from pipelines.models import MODELS
    from pipelines.options import parse_job

    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in {"-h", "--help"}:
        print(usage())
        return 0
    if name.startswith("-"):
        raise UserError(f"the model comes first: lpbf-train MODEL {name} ...; there are {', '.join(MODELS)}")
    try:
        entry = find_model(name, MODELS)
    except ValueError as error:
        raise UserError(str(error)) from error
    job = parse_job(entry, rest)
    # Lightning takes seconds to import, and help and mistakes do not need it.
    from pipelines.training import train

    return train(job)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-train``."""
    run_command(run, arguments)
