"""What a person holds in memory, as a file that trial processes read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

Data: TypeAlias = "str | Path | pd.DataFrame | pa.Table"
"""A path of a file or folder, `planted:...` for a built-in market, or a table with a row per day and stock."""


def source_of(data: Data, home: Path) -> str:
    """The data as a source that a campaign names. Tables are written below the state folder, once per content."""
    if isinstance(data, str | Path):
        return str(data)
    table = data if isinstance(data, pa.Table) else pa.Table.from_pandas(_flat(data), preserve_index=False)
    folder = home / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{os.getpid()}.parquet"
    try:
        pa.parquet.write_table(table, draft)
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        written = folder / f"{digest[:16]}.parquet"
        draft.replace(written)
    finally:
        draft.unlink(missing_ok=True)
    return str(written)


def _flat(frame: pd.DataFrame) -> Any:
    """Named levels of the index (`datetime`, `instrument`) are columns like any other."""
    return frame.reset_index() if any(name is not None for name in frame.index.names) else frame
