"""A campaign between its settings and its stores: opened once, refused where it would be another, read back since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna

from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, SlotState
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.domain.failures import RETRIABLE, retriable
from hpo.domain.ledger_rules import made_by_code
from hpo.domain.metric import Metric, check_objective
from hpo.domain.ports import Ledger
from hpo.domain.trainable import Length, Prepared, Progress, Trainable
from hpo.engine.binding import check_turns, complete
from hpo.engine.constraints import check_constraints
from hpo.engine.earlier import EARLIER, memory_of, remembered
from hpo.engine.parameters import distributions
from hpo.engine.stage import decide_stage, stages
from hpo.engine.tiers import check_strict, plan_tiers
from hpo.trainable.loading import load_trainable
from hpo.usecases.fingerprints import CODE, code_fingerprint, code_parts, config_fingerprint, differences
from hpo.usecases.records import Stores
from search_spaces import Space, dump_space, parse_space


def trainable_of(config: SearchConfig) -> tuple[Trainable[Any], Any]:
    """What the campaign trains, and its settings. UsageError for settings that the trainable refuses."""
    trainable = load_trainable(config.trainable)
    return trainable, trainable.parse(complete(trainable, config.trainer))


def length_of(config: SearchConfig) -> Length:
    """How long a training of the campaign is."""
    trainable, settings = trainable_of(config)
    return trainable.length(settings)


def metrics_of(config: SearchConfig) -> list[Metric]:
    """What the campaign's trials are measured by. UsageError where its objective is none of it."""
    trainable, settings = trainable_of(config)
    metrics = trainable.metrics(settings)
    check_objective(config.objective, trainable.name, metrics)
    return list(metrics)


def prepare_data(cache: Path, config: SearchConfig, progress: Progress | None = None) -> Prepared:
    """The campaign's data in the cache (`Records.cache`), built if they are not there yet."""
    trainable, settings = trainable_of(config)
    return trainable.prepare(settings, cache, progress)


def recalled(stores: Stores, config: SearchConfig, space: Space) -> list[dict[str, Any]]:
    """What a campaign that does not exist yet is to remember of the one it starts from; nothing for others.

    Raises UsageError where that one is not there, maximises something else, has no finished trial, or has no dimension
    in common.
    """
    if config.warm_start is None or stores.ledger.find_campaign(config.study) is not None:
        return []
    earlier = stores.find(config.warm_start)
    if earlier.spec.objective.name != config.objective:
        raise UsageError(
            f"warm_start={earlier.name}: it maximises {earlier.spec.objective.name}, this campaign {config.objective}; "
            "start from one with the same objective."
        )
    names = [plan.study_name(earlier.name) for plan in earlier.spec.tiers]
    present = set(optuna.get_all_study_names(stores.storage))
    studies = (optuna.load_study(study_name=name, storage=stores.storage) for name in names if name in present)
    memory = memory_of(trial for study in studies for trial in study.get_trials(deepcopy=False))
    if not remembered(memory, space.dimensions, distributions(space.dimensions)):
        what = "no finished trial" if not memory else "no dimension in common with this one"
        raise UsageError(f"warm_start={earlier.name}: it has {what}; start from another, or without one.")
    return memory


def open_campaign(
    ledger: Ledger, config: SearchConfig, space: Space, prepared: Prepared, memory: Sequence[Mapping[str, Any]] = ()
) -> Campaign:
    """Create the campaign, or join the one of this name. memory: `recalled`.

    Raises:
        UsageError: it exists with another configuration, space, data, code or budget; or as `spec_of`.
    """
    spec = spec_of(config, space, prepared)
    if memory:
        spec = replace(spec, config={**spec.config, EARLIER: list(memory)})
    campaign = ledger.open_campaign(spec)
    changed = differences(campaign.spec, spec)
    if changed:
        raise UsageError(
            f"The campaign '{config.study}' exists with other settings ({'; '.join(changed)}). "
            f"{_how_to_go_on(campaign.spec, spec)}, or give this one another name (HPO_STUDY=..., or --fork NAME)."
        )
    return campaign


def spec_of(config: SearchConfig, space: Space, prepared: Prepared) -> CampaignSpec:
    """What a campaign of this configuration is; nothing is created. UsageError where the space, the sampler or the
    pruner is unusable."""
    check_turns(load_trainable(config.trainable), space, config.trainer)
    check_devices(config)
    check_constraints(space, metrics_of(config))
    if config.tiers.mode == "strict":
        check_strict(space)
    fingerprints = _fingerprints(config, space, prepared)
    spec = CampaignSpec(
        name=config.study,
        config={
            CODE: code_of(config, fingerprints["code"]),
            "search": config.model_dump(mode="json"),
            "space": {"name": space.name, "yaml": dump_space(space)},
            "num_epochs": length_of(config).num_epochs,
            "metrics": [asdict(metric) for metric in metrics_of(config)],
        },
        fingerprints=fingerprints,
        tiers=plan_tiers(config.trials, [tier.name for tier in space.tiers], config.tiers),
        seed=config.seed,
    )
    check_first_stage(spec, config, space)
    return spec


def refuse_changes(campaign: Campaign, config: SearchConfig, space: Space, prepared: Prepared) -> None:
    """Raise UsageError where settings, space, data or code here are not those that the campaign was started with."""
    fingerprints = _fingerprints(config, space, prepared)
    here = {**campaign.spec.config, CODE: code_of(config, fingerprints["code"])}
    wanted = replace(campaign.spec, config=here, fingerprints=fingerprints)
    changed = differences(campaign.spec, wanted)
    if changed:
        raise UsageError(
            f"This is not what the campaign '{campaign.name}' was started with: {'; '.join(changed)}. "
            f"{_how_to_go_on(campaign.spec, wanted)}."
        )


def retry_failed(
    ledger: Ledger,
    campaign: Campaign,
    config: SearchConfig,
    space: Space,
    prepared: Prepared,
    say: Callable[[str], None],
) -> None:
    """Give back the slots whose trials failed through the code or the machine; each gets another trial. The campaign
    goes on with mended code, as long as nothing that counts was made by the code before.

    Raises:
        UsageError: somebody works on the campaign, or it cannot go on with what is here.
    """
    slots = ledger.slots(campaign.id)
    running = [slot.slot for slot in slots if slot.state is SlotState.RUNNING]
    if running:
        raise UsageError(f"Trials {running} of '{campaign.name}' are running; stop its workers, then try again.")
    chosen, code = retriable(slots), _fingerprints(config, space, prepared)["code"]
    takes_code_over = bool(chosen) and code != campaign.spec.fingerprints["code"] and not made_by_code(slots)
    spec = campaign.spec
    if takes_code_over:
        spec = replace(spec, fingerprints={**spec.fingerprints, "code": code})
    refuse_changes(replace(campaign, spec=spec), config, space, prepared)
    if not chosen:
        say(f"No trial of '{campaign.name}' failed through the code or the machine ({', '.join(RETRIABLE)}).")
        return
    ledger.retry(campaign.id, chosen, code if takes_code_over else None)
    if takes_code_over:
        say("The code was changed since, and nothing that counts was made by it before: the campaign goes on with it.")
    say(f"{len(chosen)} failed trials are tried again: {', '.join(map(str, chosen))}.")


def _fingerprints(config: SearchConfig, space: Space, prepared: Prepared) -> dict[str, str]:
    return {
        "config": config_fingerprint(config),
        "space": space.fingerprint(),
        "data": prepared.fingerprint,
        "code": code_fingerprint(*trainable_of(config)),
    }


def code_of(config: SearchConfig, fingerprint: str) -> dict[str, Any]:
    """The code that is here, as a campaign keeps it to say one day what differs."""
    return {"fingerprint": fingerprint, "parts": code_parts(*trainable_of(config))}


def _how_to_go_on(stored: CampaignSpec, wanted: CampaignSpec) -> str:
    """What differs is asked for back where no command can: the campaign's settings are kept, its code and data not."""
    gone = [name for name in ("code", "data") if stored.fingerprints[name] != wanted.fingerprints[name]]
    if gone:
        return (
            f"Go on with it with the {' and '.join(gone)} it was started with, or start another with what is here now "
            f"(`hpo resume study={stored.name} --fork NAME`)"
        )
    return f"Go on with it as it was (`hpo resume study={stored.name}`)"


def check_devices(config: SearchConfig) -> None:
    """Raise UsageError where trainings over several devices share one, or take more than this machine has, if it is the
    one that trains."""
    trainable, settings = trainable_of(config)
    number = trainable.num_devices(settings)
    if number > 1 and config.worker.per_gpu > 1:
        raise UsageError(
            f"A training takes {number} devices whole: worker.per_gpu={config.worker.per_gpu} would share them; set it "
            "to 1."
        )
    if config.worker.engine == "local":
        trainable.check_devices(settings)


def check_first_stage(spec: CampaignSpec, config: SearchConfig, space: Space) -> None:
    """Raise UsageError now for a sampler or pruner that would fail in every trial."""
    unborn = Campaign(id=0, spec=spec, state=CampaignState.RUNNING)
    stage = stages(unborn, config, space, length_of(config))[1]
    stage.sampler(seed=0)
    stage.pruner()


def frozen_config(campaign: Campaign) -> tuple[SearchConfig, Space]:
    """The configuration and space a campaign was created with."""
    stored: Mapping[str, Any] = campaign.spec.config
    space = parse_space(stored["space"]["yaml"], stored["space"]["name"], f"the campaign '{campaign.name}'")
    return SearchConfig.model_validate(stored["search"]), space


def decide_rest(stores: Stores, campaign: Campaign, config: SearchConfig, space: Space) -> Campaign:
    """Decide every tier whose slots are done and that is not decided yet; the campaign as it is then."""
    for tier in campaign.spec.tiers:
        if tier.number not in campaign.decisions:
            stage = stages(campaign, config, space, length_of(config))[tier.number]
            decision = decide_stage(stage, stores.storage, stores.ledger)
            stores.ledger.decide_tier(campaign.id, tier.number, decision)
            campaign = stores.find(campaign.name)
    return campaign
