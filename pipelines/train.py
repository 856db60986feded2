"""``lpbf-train``: train a surrogate on a store, or fit a floor to it."""

from __future__ import annotations

import sys

from pipelines.console import UserError, run_command


def usage() -> str:
    """Help of the command without a model."""
    from baselines.floors import FLOORS
    from pipelines.runs.models import ALL_MODELS, MODELS

    width = max(map(len, ALL_MODELS))
    models, floors = (
        "\n".join(f"  {name:<{width}}  {entry.citation}" for name, entry in sorted(entries.items()))
        for entries in (MODELS, FLOORS)
    )
    return (
        "usage: lpbf-train MODEL --data STORE -o RUN [options]\n\n"
        "Train a surrogate that predicts fields on the nodes of a part from their positions.\n\n"
        f"models:\n{models}\n\n"
        f"floors, which are fitted node by node and which a model has to beat:\n{floors}\n\n"
        "lpbf-train MODEL --help lists the options of a model."
    )


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    # Imported here so that a missing torch is told in one line.
    from baselines.floors import FLOORS
    from baselines.registry import find_model
    from pipelines.runs.models import ALL_MODELS
    from pipelines.training.parsing import parse_fit, parse_job

    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in {"-h", "--help"}:
        print(usage())
        return 0
    if name.startswith("-"):
        known = ", ".join(ALL_MODELS)
        raise UserError(f"the model comes first: lpbf-train MODEL {name} ...; there are {known}")
    try:
        entry = find_model(name, ALL_MODELS)
    except ValueError as error:
        raise UserError(str(error)) from error
    # Lightning takes seconds to import, and help and mistakes do not need it.
    if entry.name in FLOORS:
        fit_job = parse_fit(entry, rest)
        from pipelines.training.fit import fit

        return fit(fit_job)
    job = parse_job(entry, rest)
    if job.training.members > 1:
        from pipelines.training.ensemble import train_ensemble

        return train_ensemble(job)
    from pipelines.training.train import train

    return train(job)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-train``."""
    run_command(run, arguments)


if __name__ == "__main__":
    main()
