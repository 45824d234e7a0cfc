"""Where campaigns come from: a run, or the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.domain.campaign import DEFAULT_STUDY
from hpo.domain.settings import nest, quoted
from hpo.wiring import home_folder, open_app
from tiertune.campaign import Campaign
from tiertune.display import current_display
from tiertune.errors import in_one_sentence
from tiertune.sources import Data, source_of

if TYPE_CHECKING:
    import pandas as pd


def run(
    data: Data | None = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    name: str = DEFAULT_STUDY,
    space: str | Path | None = None,
    workers: int = 1,
    timeout: timedelta | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Campaign:
    """Run a campaign to its full budget, or go on with the one of this name; what `hpo run` does.

    data: see `Data`; None: the built-in market. trials: the whole budget; None: 20, or as
    many as epochs, a budget in epochs, pay for. space: a name of the catalog (`hpo spaces`)
    or a YAML file; None: `quickstart`. workers: processes that train side by side. timeout: take no new trial after
    this long. settings: any further setting by its dotted name, such as `{"trainer.train.epochs": 8, "seed": 1}`
    (`hpo config` prints all there are).

    Progress and the summary are shown while it runs. An interruption saves what runs: call it again to go on. Raises
    Error.
    """
    view = current_display()
    from hpo.cli import config_loader
    from hpo.usecases import session

    with in_one_sentence():
        budget = {key: value for key, value in (("trials", trials), ("epochs", epochs)) if value is not None}
        given = {**budget, "study": name, "worker.num_workers": workers, **(settings or {})}
        overrides = config_loader.as_overrides(nest(given))
        if space is not None:
            overrides.append(f"space={quoted(str(space))}")
        source = None if data is None else source_of(data, home_folder())
        config, chosen = config_loader.load(overrides, data=source)
        with open_app() as app:
            session.run(app.stores, app.machine, config, chosen, view, timeout or config.worker.timeout)
    return Campaign(config.study)


def open(name: str = DEFAULT_STUDY) -> Campaign:
    """The campaign of this name. Raises Error where there is none, with the names there are."""
    with in_one_sentence(), open_app() as app:
        return Campaign(app.records.find(name).name)


def campaigns() -> pd.DataFrame:
    """All campaigns of the database, newest first: name, state, trials done, budget, best score, data, space."""
    import pandas as pd

    from hpo.usecases.inspection.listing import campaign_rows

    with in_one_sentence(), open_app() as app:
        return pd.DataFrame(campaign_rows(app.records))
