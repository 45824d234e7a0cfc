"""From files as vendors ship them to one market: formats, headings, keys, and which prices belong together."""

from trainer.data.reading.files import files_of
from trainer.data.reading.loader import load
from trainer.data.reading.membership import restrict
from trainer.data.reading.tables import Rows, as_table, keep_table

__all__ = ["Rows", "as_table", "files_of", "keep_table", "load", "restrict"]
