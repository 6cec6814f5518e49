"""Where examples and passages come from: files, the hub, search over a corpus.

Each source is a frozen value that reads nothing until a cell needs it. Libraries that they use (`datasets`, `bm25s`)
are extras and imported when used.
"""

from .bm25 import BM25, Corpus
from .colbert import ColBERT
from .corpora import Chosen, PassageFile, Pool, Wiki2017
from .files import files
from .hub import hub_dataset
from .tables import Part

__all__ = ["BM25", "Chosen", "ColBERT", "Corpus", "Part", "PassageFile", "Pool", "Wiki2017", "files", "hub_dataset"]
