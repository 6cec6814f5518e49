"""Where examples come from: files, the hub, tables.

Each source is a frozen value that reads nothing until a cell needs it. Libraries that they use (`datasets`) are extras
and imported when used.
"""

from .files import files
from .hub import hub_dataset
from .tables import Part

__all__ = ["Part", "files", "hub_dataset"]
