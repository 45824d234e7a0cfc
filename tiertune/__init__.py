"""Tiertune from Python: start a campaign, look at what it found, score new data.

    import tiertune

    campaign = tiertune.run(data="prices.parquet", trials=20, name="mine")
    campaign.trials()                      # a DataFrame, a row for each trial
    campaign.report()                      # shown in a notebook
    scores = campaign.predict("new.parquet")

A campaign is the same thing that `hpo` on the command line works on: it lives in the database of HPO_HOME (`.hpo` in
the working directory, unless that variable names another folder) or of HPO_DATABASE_URL, and goes on after a crash.
Everything that can be wrong with what is passed is raised as `tiertune.Error`, in one sentence.
"""

from hpo import __version__
from tiertune.campaign import Campaign, Report, Trial
from tiertune.errors import Error
from tiertune.start import campaigns, open, run

__all__ = ["Campaign", "Error", "Report", "Trial", "__version__", "campaigns", "open", "run"]
