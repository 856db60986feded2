"""Parts predicted one by one or many at a time, each into a folder of its own, and not twice."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import lpbf_dataset as lpbf
from lpbf_dataset.engine import SerialEngine, TaskError
from lpbf_dataset.export import ExportError
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.steps import Steps
from pipelines.prediction.assessment import AssessmentOptions, assess
from pipelines.prediction.build_files import BUILD_PICTURE, write_build
from pipelines.prediction.figures import figures
from pipelines.prediction.files import FIGURES, REPORT, write_fields
from pipelines.prediction.pictures import COMPENSATION_PICTURE, PICTURE, TRUTH_PICTURE, drawings
from pipelines.prediction.predict import Predictor
from pipelines.prediction.report import prediction_report
from pipelines.runs import files
from pipelines.runs.run import Run, RunError
from pipelines.scoring.case_metrics import evaluation_key
from pipelines.scoring.pictures import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lpbf_dataset.engine import Engine
    from lpbf_dataset.simulation.job import PartSetup
    from lpbf_dataset.sources.part_files import PartReference
    from pipelines.prediction.prediction import Prediction


@dataclass(frozen=True)
class StoredCase:
    """A case of a store, to be predicted; nothing is read yet.

    Parameters
    ----------
    store : str
        Path or URL.
    name : str
        Case id.
    """

    store: str
    name: str


@dataclass(frozen=True)
class PredictionJob:
    """What is done with each part; picklable.

    Parameters
    ----------
    run : Path
        Folder of the run.
    setup : PartSetup
        How parts are placed, meshed and simulated.
    options : AssessmentOptions
        What is done with predictions.
    output : Path
        Folder of one folder for each part.
    device : str
        Where the model computes.
    """

    run: Path
    setup: PartSetup
    options: AssessmentOptions
    output: Path
    device: str = "cpu"


@dataclass(frozen=True)
class PartOutcome:
    """What became of one part.

    Parameters
    ----------
    name : str
        Of the part.
    status : {"predicted", "reused", "failed"}
        Whether it was predicted now, had been before by the same run from the same file, or cannot be.
    figures : dict
        Contents of its ``prediction.json``; empty for a failure.
    detail : str
        Reason of a failure, else empty.
    """

    name: str
    status: Literal["predicted", "reused", "failed"]
    figures: dict[str, Any]
    detail: str = ""


def predict_parts(
    parts: Sequence[PartReference | StoredCase], job: PredictionJob, engine: Engine | None = None
) -> Iterator[PartOutcome]:
    """Predict parts into ``output/<name>``, as they finish.

    Parameters
    ----------
    parts : sequence of PartReference or StoredCase
        Names are unique.
    job : PredictionJob
        What to do with each.
    engine : Engine, optional
        Works on several at a time; by default one after the other in this process.
    """
    job.output.mkdir(parents=True, exist_ok=True)
    one = functools.partial(predict_part, job=job)
    for index, result in (engine or SerialEngine()).map(one, parts):
        if isinstance(result, TaskError):
            yield PartOutcome(parts[index].name, "failed", {}, f"{result.kind}: {result.detail}")
        else:
            yield result


def predict_part(part: PartReference | StoredCase, job: PredictionJob) -> PartOutcome:
    """Predict one part, unless that was done before; a part that cannot be predicted is no error.

    Raises
    ------
    RunError, OSError
        If the run cannot be opened, or nothing can be written.
    """
    folder = job.output / part.name
    try:
        key = _key(part, job)
        if (done := _done(folder, key)) is not None:
            return PartOutcome(part.name, "reused", done)
        return PartOutcome(part.name, "predicted", _predict(part, job, folder, key))
    except (CaseError, lpbf.StoreError, ExportError, RunError) as error:
        # What an earlier file of this name led to is not what this one does.
        (folder / FIGURES).unlink(missing_ok=True)
        return PartOutcome(part.name, "failed", {}, str(error))


def _predict(
    part: PartReference | StoredCase, job: PredictionJob, folder: Path, key: dict[str, Any]
) -> dict[str, Any]:
    predictor = _predictor(job)
    assessment = assess(predictor, _prediction(part, predictor), job.options)
    folder.mkdir(exist_ok=True)
    # A part is done when its figures are there, and these are of an earlier one.
    for stale in (FIGURES, PICTURE, TRUTH_PICTURE, COMPENSATION_PICTURE, BUILD_PICTURE):
        (folder / stale).unlink(missing_ok=True)
    names = [*write_fields(assessment, folder), *write_build(assessment, folder)]
    draw(list(drawings(assessment, folder)))
    values = figures(assessment, predictor)
    files.write_text(folder / REPORT, prediction_report(values, folder, names))
    values |= {"files": [*names, REPORT], "key": key}
    files.write_json(folder / FIGURES, values)
    return values


def _prediction(part: PartReference | StoredCase, predictor: Predictor) -> Prediction:
    if isinstance(part, StoredCase):
        return predictor.of_case(lpbf.open_dataset(part.store)[part.name])
    return predictor.of_part(part.read())


@functools.lru_cache(maxsize=1)
def _opened(run: Path, setup: PartSetup, device: str) -> Predictor:
    return Predictor.open(Run.open(run, device), setup)


def _predictor(job: PredictionJob) -> Predictor:
    """Open a run once for all the parts that a process works on."""
    return _opened(job.run, job.setup, job.device)


@functools.lru_cache(maxsize=1)
def _of_run(run: Path) -> dict[str, str]:
    return evaluation_key(run, "")


def _key(part: PartReference | StoredCase, job: PredictionJob) -> dict[str, Any]:
    """Everything that decides what a part is predicted to do, as JSON values."""
    parts = {"content": _content(part), "run": _of_run(job.run), **asdict(job.setup), **asdict(job.options)}
    values: dict[str, Any] = json.loads(json.dumps(parts))
    return values


def _content(part: PartReference | StoredCase) -> str:
    """SHA-256 of the file, or of the arrays of a case and the table of its steps."""
    if isinstance(part, StoredCase):
        case = lpbf.open_dataset(part.store)[part.name]
        digest = hashlib.sha256()
        for name, array in case.variables.items():
            digest.update(name.encode() + array.tobytes())
        if isinstance(case.steps, Steps):
            digest.update(json.dumps(case.steps.table.to_json()).encode())
        return digest.hexdigest()
    try:
        with part.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        detail = f"{part.path} cannot be read: {error.strerror or error}"
        raise CaseError(FailureReason.MISSING_FILE, detail) from error


def _done(folder: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """Figures of a part that was predicted from the same things, if all its files are there."""
    try:
        values: dict[str, Any] = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        whole = values["key"] == key and all((folder / name).is_file() for name in values["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return values if whole else None
