"""What a build made, told to people and to dataset catalogues."""

from lpbf_dataset.report.card import dataset_card
from lpbf_dataset.report.croissant import croissant_metadata
from lpbf_dataset.report.curation import Curation
from lpbf_dataset.report.extremes import extreme_cases
from lpbf_dataset.report.page import report_html

__all__ = ["Curation", "croissant_metadata", "dataset_card", "extreme_cases", "report_html"]
