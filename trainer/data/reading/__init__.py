"""From files as vendors ship them to one market: formats, headings, keys, and which prices belong together."""

from trainer.data.reading.files import files_of
from trainer.data.reading.loader import load
from trainer.data.reading.membership import restrict

__all__ = ["files_of", "load", "restrict"]
