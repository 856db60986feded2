"""What can be looked at: cases of a store, results of a simulation, files of meshes and surfaces."""

from viz.subjects.base import NO_COMPONENT, Field, Part, Subject, SubjectError
from viz.subjects.files import FILE_SUFFIXES, FileSubject
from viz.subjects.results import ResultsSubject
from viz.subjects.store import StoreSubject

__all__ = [
    "FILE_SUFFIXES",
    "NO_COMPONENT",
    "Field",
    "FileSubject",
    "Part",
    "ResultsSubject",
    "StoreSubject",
    "Subject",
    "SubjectError",
]
