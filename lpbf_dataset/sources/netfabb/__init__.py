"""Results of Autodesk Netfabb Local Simulation, zipped or unpacked."""

from lpbf_dataset.sources.netfabb.layout import LOG_FILE, PROVENANCE_FILE
from lpbf_dataset.sources.netfabb.source import NetfabbCase, NetfabbSource
from lpbf_dataset.sources.netfabb.writer import write_results

__all__ = ["LOG_FILE", "PROVENANCE_FILE", "NetfabbCase", "NetfabbSource", "write_results"]
