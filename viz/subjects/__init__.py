"""What can be looked at: cases of a store, results of a simulation, files of meshes and surfaces."""

from viz.subjects.base import FINAL, NO_COMPONENT, Field, Part, Subject, SubjectError
from viz.subjects.builds import BuildSubject
from viz.subjects.files import FILE_SUFFIXES, FileSubject
from viz.subjects.results import ResultsSubject
from viz.subjects.store import StoreSubject

__all__ = [
    "FILE_SUFFIXES",
    "FINAL",
    "NO_COMPONENT",
    "BuildSubject",
    "Field",
    "FileSubject",
    "Part",
    "ResultsSubject",
    "StoreSubject",
    "Subject",
    "SubjectError",
]
