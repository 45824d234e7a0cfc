"""A campaign of boosted trees as a user runs it: killed, resumed, asked for scores, and served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from support.command import clean_environment, hpo, kill_tree, start_hpo, wait_for

from trainer.data.market import OHLCV
from trainer.data.planted import generate

NUM_DAYS, NUM_KNOWN = 440, 410
SERVE = """
import sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/tiertune-trees/1")
model.predict(pd.read_parquet(sys.argv[1])).to_parquet(sys.argv[2], index=False)
"""


def write_market(folder: Path) -> tuple[Path, Path]:
    """The bars of a planted market: those the search is given, and the same with thirty more days behind them."""
    market = generate(f"planted:clean?stocks=30&days={NUM_DAYS}", (1,))
    days, stocks = np.nonzero(market.rows)
    bars = {name: market.read(name)[days, stocks] for name in OHLCV}
    table = pd.DataFrame({"date": market.dates[days], "symbol": np.array(market.symbols)[stocks], **bars})
    known, new = folder / "known.parquet", folder / "new.parquet"
    table[table["date"] < market.dates[NUM_KNOWN]].to_parquet(known, index=False)
    table.to_parquet(new, index=False)
    return known, new


def test_boosted_trees_are_searched_killed_resumed_and_served(session_database_url: str, tmp_path: Path) -> None:
    home, log, scores, served = (tmp_path / name for name in ("home", "log", "scores.parquet", "served.parquet"))
    known, new = write_market(tmp_path)
    words = ["study=trees", "trials=3", "--space", "trees", "--data", str(known), "trainer.data.horizons=[1,5]"]
    store = {"HPO_DATABASE_URL": session_database_url}
    process = start_hpo(home, "run", *words, "trainer.train.epochs=3", log=log, **store)
    wait_for(lambda: [*home.glob("runs/trees/slot-0002/attempt-1/metrics.jsonl")], seconds=240)
    kill_tree(process.pid)
    process.wait()

    resumed = hpo(home, "resume", "study=trees", **store)
    assert resumed.returncode == 0, resumed.stderr + log.read_text()
    assert "models:/tiertune-trees/1" in resumed.stdout
    predicted = hpo(home, "predict", "study=trees", "--data", str(new), "--output", str(scores), **store)
    assert predicted.returncode == 0, predicted.stderr

    environment = clean_environment(tmp_path, MLFLOW_TRACKING_URI=hpo(home, "url", "mlflow", **store).stdout.strip())
    subprocess.run([sys.executable, "-c", SERVE, str(new), str(served)], env=environment, check=True, timeout=240)
    both = pd.read_parquet(scores).merge(pd.read_parquet(served), on=["date", "symbol"], suffixes=("", "_served"))
    assert len(both) == 30 * both["date"].nunique() >= 30 * (NUM_DAYS - NUM_KNOWN)
    np.testing.assert_allclose(both["score_5d"], both["score_5d_served"], atol=1e-6)
