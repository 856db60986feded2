"""``lpbf-verify``: whether a store is sound.

Exit codes: 0 nothing is wrong, 1 problems were found, 2 there is no store.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser
from tqdm import tqdm

from lpbf_dataset.store.verification.problems import EXPLANATIONS
from lpbf_dataset.store.verify import verify_store
from pipelines.console import add_verbosity, run_command, set_verbosity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lpbf_dataset.store.verify import Code, Item, Problem

EXIT_PROBLEMS = 1

LINES_PER_CODE = 10
"""Problems of one kind that are shown without ``-v``."""


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-verify",
        description="Check a dataset store: files, metadata, tables, and with --deep every value. "
        "Exits with 0 if nothing is wrong, 1 if something is, 2 if there is no store.",
    )
    parser.add_argument("store", type=str, help="path or URL of the store")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="read everything: hash each file, decode each chunk, check each case, compute statistics again",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every problem")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Verify a store; return the exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)

    def progress(items: Sequence[Item], unit: str) -> Iterable[Item]:
        return tqdm(items, desc=f"{unit}s", unit=unit, disable=options.quiet or not options.deep)

    problems = verify_store(options.store, deep=options.deep, progress=progress)
    if options.json:
        print(json.dumps(as_json(options.store, problems, deep=options.deep), indent=1))
    else:
        for line in describe(problems, len(problems) if options.verbose else LINES_PER_CODE):
            print(line)
        if not options.quiet:
            print(f"{options.store}: {summary(problems, deep=options.deep)}")
    return 0 if all(problem.is_warning for problem in problems) else EXIT_PROBLEMS


def as_json(store: str, problems: Sequence[Problem], *, deep: bool) -> dict[str, object]:
    """Return the result for other programs: ``ok``, each problem, and how many there are of each code."""
    return {
        "store": store,
        "deep": deep,
        "ok": all(problem.is_warning for problem in problems),
        "counts": dict(Counter(problem.code for problem in problems)),
        "problems": [
            {
                "code": problem.code,
                "level": "warning" if problem.is_warning else "error",
                "where": problem.where,
                "message": problem.message,
                "remedy": EXPLANATIONS[problem.code].remedy,
            }
            for problem in problems
        ],
    }


def describe(problems: Sequence[Problem], limit: int) -> Iterator[str]:
    """Yield a line for each problem, at most `limit` of one code."""
    by_code: defaultdict[Code, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_code[problem.code].append(problem)
    for code, same in by_code.items():
        remedy = EXPLANATIONS[code].remedy
        for problem in same[:limit]:
            level = "warning: " if problem.is_warning else ""
            yield f"{level}{code}: {problem.where}: {problem.message}; {remedy}"
        if len(same) > limit:
            yield f"{code}: {len(same) - limit} more; -v shows all"


def summary(problems: Sequence[Problem], *, deep: bool) -> str:
    """Return the result in one phrase."""
    errors = sum(not problem.is_warning for problem in problems)
    if errors:
        return f"{errors} problem{'s' if errors > 1 else ''} found"
    return "no problem found" + ("" if deep else "; --deep checks every value, too")


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-verify``."""
    run_command(run, arguments)
