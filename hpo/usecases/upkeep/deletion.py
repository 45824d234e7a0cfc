"""A campaign taken out of every store; killed on its way, it is gone on with by asking again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpo.domain.campaign import Campaign
from hpo.runs.durable import writing
from hpo.usecases.host import Host
from hpo.usecases.records import Records, Stores
from hpo.usecases.refit.record import folder_of, places_of_finals


def delete(stores: Stores, host: Host, campaign: Campaign) -> None:
    """Remove the campaign's records in MLflow, its studies, its files, and at last its rows in the ledger. Prepared
    data stay: other campaigns share them.

    Raises:
        UsageError: somebody works on it. StoreUnavailable: a store does not answer; asking again goes on.
    """

    finals = places_of_finals(stores, campaign)  # while the ledger is free to be asked

    def elsewhere() -> None:
        stores.tracker.delete(campaign, stores.runs(campaign.name))
        _delete_studies(stores, campaign)
        _delete_uploads(stores, campaign, finals)
        for folder in folders(stores, campaign.name):
            with writing(folder):
                shutil.rmtree(folder)

    with stores.ledger.exclusive(f"champion of {campaign.name}"):  # nobody concludes it meanwhile
        stores.ledger.expire_dead(campaign.id, host.is_dead)
        stores.ledger.delete_campaign(campaign.id, elsewhere)


def folders(records: Records, name: str) -> Iterator[Path]:
    """The folders with a campaign's files that are there: runs, report, logs and what was trained again of it, alone or
    together with others."""
    finals = folder_of(records, name).parent
    together = [folder for folder in finals.glob("*+*") if name in folder.name.split("+")] if finals.is_dir() else []
    own = (records.runs(name), *(records.home / room / name for room in ("reports", "logs")), finals / name)
    yield from (folder for folder in (*own, *together) if folder.is_dir())


def _delete_uploads(stores: Stores, campaign: Campaign, finals: Sequence[str]) -> None:
    stored = stores.stored(campaign)
    if stored is not None:
        stored.drop_all()
        for place in finals:
            stored.store.delete(list(stored.store.sizes(place)))


def _delete_studies(stores: Stores, campaign: Campaign) -> None:
    import optuna

    present = set(optuna.get_all_study_names(stores.storage))
    for tier in campaign.spec.tiers:
        study = tier.study_name(campaign.name)
        if study in present:
            optuna.delete_study(study_name=study, storage=stores.storage)
