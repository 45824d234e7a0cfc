"""A campaign as an object: what it has tried, what it recommends, and its scores of new data."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.wiring import home_folder, open_app
from tiertune.display import current_display
from tiertune.errors import in_one_sentence
from tiertune.sources import Data, source_of

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 900
"""Pixels that a report takes in a notebook."""


@dataclass(frozen=True)
class Trial:
    """One trial. parameters: what the search gave it, by dotted name. settings: everything it was trained with."""

    number: int
    score: float | None
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """A written report; a notebook shows the page, `print` its summary.

    path: the HTML page. figures: all that stands in it. summary: what the command line says of it.
    """

    path: Path
    figures: Mapping[str, Any] = field(repr=False)
    summary: str = field(repr=False)

    def __str__(self) -> str:
        return self.summary

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'


@dataclass(frozen=True)
class Campaign:
    """A campaign of the database, by name; it is read anew at every call. All methods raise Error."""

    name: str

    @property
    def state(self) -> str:
        """`running` or `complete`."""
        with in_one_sentence(), open_app() as app:
            return app.records.find(self.name).state.value

    def trials(self) -> pd.DataFrame:
        """A row for each trial of the budget: `trial` (its number), `tier`, `state`, `score`, `epoch` (the last one),
        `started_at`, `finished_at`, `seconds`, `reason`, `run_folder`, and `params.NAME` for each thing searched. What
        is not known yet is missing."""
        import pandas as pd

        from hpo.usecases.inspection.listing import trial_rows

        with in_one_sentence(), open_app() as app:
            frame = pd.DataFrame(trial_rows(app.records, app.records.find(self.name)))
        moments = ["started_at", "finished_at"]
        frame[moments] = frame[moments].apply(pd.to_datetime, utc=True)
        return frame

    @property
    def best(self) -> Trial:
        """The single champion, or the best complete trial so far. What is deployed may be a committee: `summary`."""
        from hpo.usecases import results

        with in_one_sentence(), open_app() as app:
            campaign = app.records.find(self.name)
            number = results.best_slot(app.records, campaign)
            score = next(slot.score for slot in app.ledger.slots(campaign.id) if slot.slot == number)
            run = results.run_of(app.records, campaign, number)
            return Trial(number, score, run.run()["params"], run.config())

    def summary(self) -> str:
        """What is deployed and the single champion, or the best trial so far, in words."""
        from hpo.usecases import results

        with in_one_sentence(), open_app() as app:
            return "\n".join(results.standing(app.records, app.records.find(self.name)))

    def report(self, folder: str | Path | None = None) -> Report:
        """Write the report as it stands now. Of a complete campaign the holdout is opened, and that is counted.

        folder: where to; None: below the state folder.
        """
        from hpo.usecases import conclusion
        from hpo.usecases.campaigns import frozen_config, prepare_data

        said: list[str] = []
        view = current_display()

        def say(line: str) -> None:
            if line.endswith(" ..."):  # what it is busy with
                view.say(line)
            else:
                said.append(line)

        with in_one_sentence(), open_app() as app:
            campaign = app.records.find(self.name)
            prepared = prepare_data(app.records.cache, frozen_config(campaign)[0])
            output = None if folder is None else Path(folder)
            written = conclusion.report(app.records, app.host, campaign, prepared, say, output)
        return Report(written.html, json.loads(written.json.read_text(encoding="utf-8")), "\n".join(said))

    def predict(self, data: Data, *, trial: int | None = None, everything: bool = False) -> pd.DataFrame:
        """Scores of new data by what the campaign deploys (trial: by that trial alone), a row per day and stock.

        data: in the columns of the training data, with enough earlier days to look back on. everything: also the days
        up to the last one that the search was given.
        """
        from hpo.usecases import results

        with in_one_sentence(), open_app() as app:
            source = Path(source_of(data, home_folder()))
            campaign = app.records.find(self.name)
            return results.scores(app.records, campaign, source, everything=everything, trial=trial).table

    def compare(self, other: Campaign | int, trial: int | None = None) -> pd.DataFrame:
        """What this campaign deploys (trial: that trial) less the other, paired on the days both were measured on.

        other: another campaign, or the number of a trial of this one. Columns: `window`, `metric`, `first`, `second`,
        `difference`, `low`, `high`; missing below twenty days in common.
        """
        import pandas as pd

        from hpo.cli.selection import sides
        from hpo.report.comparison import compare

        first = self.name if trial is None else f"{self.name}#{trial}"
        second = other.name if isinstance(other, Campaign) else f"{self.name}#{other}"
        with in_one_sentence(), open_app() as app:
            found = compare(*sides(app, first, second))
        return pd.DataFrame(
            {
                "window": window,
                "metric": each.metric.name,
                "first": each.first and each.first.estimate,
                "second": each.second and each.second.estimate,
                "difference": each.difference and each.difference.estimate,
                "low": each.difference and each.difference.low,
                "high": each.difference and each.difference.high,
            }
            for window, differences in found.items()
            for each in differences
        )

    def resume(
        self, trials: int | None = None, timeout: timedelta | None = None, *, epochs: int | None = None
    ) -> Campaign:
        """Go on after an interruption, with a larger budget if one is given, in what the campaign's is; what `hpo
        resume` does."""
        from hpo.cli.selection import frozen
        from hpo.usecases import session

        budget = [f"{name}={value}" for name, value in (("trials", trials), ("epochs", epochs)) if value is not None]
        with in_one_sentence(), open_app() as app:
            campaign, config, space = frozen(app, [f"study={self.name}", *budget], allowed=("trials=", "epochs="))
            limit = timeout or config.worker.timeout
            session.resume(app.stores, app.machine, campaign, config, space, current_display(), limit, retries=False)
        return self
