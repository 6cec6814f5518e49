"""Where passages come from: BM25 and ColBERT over a corpus, and the session's searches with their indexes.

Each retriever is a frozen value that reads nothing until a cell needs it. Knows data sources and the journal.
"""

from .bm25 import BM25, Corpus
from .colbert import ColBERT
from .corpora import Chosen, PassageFile, Passages, Pool, Wiki2017

__all__ = ["BM25", "Chosen", "ColBERT", "Corpus", "PassageFile", "Passages", "Pool", "Wiki2017"]
