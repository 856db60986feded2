"""A run as one HTML page that loads nothing, runs no script and may be passed on."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Any

from lpbf_dataset import __version__
from lpbf_dataset.report.markup import Html, details, document, element, page_style, png, section, table
from lpbf_dataset.report.text import number, unit
from lpbf_dataset.schema import SPLITS
from pipelines.runs import files
from pipelines.scoring.evaluation import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lpbf_dataset.report.markup import Section
    from pipelines.runs.run import Run
    from pipelines.scoring.examples import Example

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
img { display: block; max-width: 100%; height: auto; margin: 0.75rem 0; background: white; }
#losses img { max-width: min(44rem, 100%); }
"""


def report(
    run: Run, metrics: Mapping[str, Any], environment: Mapping[str, Any], examples: Sequence[Example]
) -> str:
    """Write the page from what lies in the run folder.

    Parameters
    ----------
    run : Run
        Evaluated, with its plots and pictures, those that there are.
    metrics : mapping
        Contents of ``metrics.json``.
    environment : mapping
        Contents of ``environment.json``.
    examples : sequence of Example
        Whose pictures to show.
    """
    title = f"{run.description.model} on {', '.join(run.targets)}"
    sections = [part for part in _sections(run, metrics, environment, examples) if part.content]
    style = page_style() + _STYLE
    body = element(
        "body",
        element(
            "header",
            element("h1", title),
            element("p", f"a run of lpbf-train, lpbf-toolkit {__version__}", class_="subtitle"),
            _key(run, environment),
        ),
        element("nav", *(element("a", part.title, href=f"#{part.anchor}") for part in sections)),
        element("main", *(part.html() for part in sections)),
    )
    return document(title, _POLICY, Html(style), body)


def _key(run: Run, environment: Mapping[str, Any]) -> Html:
    cases = environment["store"]["cases"]
    figures = {
        "parameters": number(sum(parameter.numel() for parameter in run.model.parameters())),
        **({} if run.epoch is None else {"epoch of the weights": number(run.epoch)}),
        **{f"{split} cases": number(cases[split]) for split in SPLITS},
    }
    tiles = (element("div", element("dt", name), element("dd", value)) for name, value in figures.items())
    return element("dl", *tiles, class_="key")


def _sections(
    run: Run, metrics: Mapping[str, Any], environment: Mapping[str, Any], examples: Sequence[Example]
) -> Iterator[Section]:
    yield section("Metrics, mean over cases", "metrics", *starmap(_metrics, metrics["targets"].items()))
    yield section("Losses", "losses", _image(run.path / files.LOSS_PLOT, "losses over the epochs"))
    yield section(
        "Errors",
        "errors",
        *(_image(run.path / files.plot_of(target), f"errors of {target}") for target in run.targets),
    )
    yield section(
        "Errors over the build", "steps", _image(run.path / files.STEPS_PLOT, "errors against the step")
    )
    yield section("Examples", "examples", *(part for one in examples for part in _example(run, one)))
    configuration = (run.path / files.CONFIG).read_text(encoding="utf-8")
    yield section(
        "Configuration and environment",
        "configuration",
        details(files.CONFIG.name, element("pre", configuration)),
        *(_values(name, values) for name, values in environment.items()),
    )


def _metrics(target: str, of_target: Mapping[str, Any]) -> Html:
    symbol = unit(of_target["unit"])
    splits = [split for split in SPLITS if split in of_target]
    names = [name for name in COLUMNS if name in of_target[splits[0]]["mean"]]
    heads = [f"{COLUMNS[name]} [{symbol}]" if name.endswith("error") else COLUMNS[name] for name in names]
    rows = (
        (
            split,
            number(of_target[split]["cases"]),
            *(number(of_target[split]["mean"][name]) for name in names),
            number(of_target[split]["median"]["relative_l2"]),
        )
        for split in splits
    )
    headers = ("split", "cases", *heads, "median relative L2")
    return Html(element("h3", target) + table(headers, rows, numeric=range(1, len(headers))))


def _example(run: Run, example: Example) -> Iterator[Html]:
    yield element("h3", f"{example.standing.capitalize()} of the {example.split} cases: {example.case_id}")
    which = "" if len(run.targets) == 1 else ", mean over the targets"
    yield element("p", f"relative L2 error {number(example.error)}{which}")
    for target in run.targets:
        picture = run.path / files.picture_of(example.case_id, target)
        yield _image(picture, f"true and predicted {target} of {example.case_id}, and the error")


def _image(path: Path, description: str) -> Html:
    """Embed a picture; nothing where there is none."""
    return png(path.read_bytes(), description) if path.is_file() else Html("")


def _values(name: str, values: Mapping[str, Any]) -> Html:
    rows = (
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
        for key, value in values.items()
    )
    return Html(element("h3", name.capitalize()) + table(("", ""), rows))
