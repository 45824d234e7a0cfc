"""Trials in Optuna's tables, one statement for each step of a trial: what Optuna's own storage does in four to eight,
object by object. The tables stay Optuna's; whether they are those of the installed version is checked by Optuna."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, text

WHOLE = """
SELECT t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete,
  (SELECT json_agg(json_build_array(v.value_type, v.value) ORDER BY v.objective)
     FROM trial_values v WHERE v.trial_id = t.trial_id) AS scores,
  (SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json) ORDER BY p.param_id)
     FROM trial_params p WHERE p.trial_id = t.trial_id) AS params,
  (SELECT json_agg(json_build_array(a.key, a.value_json) ORDER BY a.trial_user_attribute_id)
     FROM trial_user_attributes a WHERE a.trial_id = t.trial_id) AS user_attrs,
  (SELECT json_agg(json_build_array(a.key, a.value_json) ORDER BY a.trial_system_attribute_id)
     FROM trial_system_attributes a WHERE a.trial_id = t.trial_id) AS system_attrs,
  (SELECT json_agg(json_build_array(i.step, i.intermediate_value_type, i.intermediate_value)
     ORDER BY i.trial_intermediate_value_id)
     FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS curve
FROM trials t """

READ_ONE = text(WHOLE + "WHERE t.trial_id = :trial")
READ_ALL = text(WHOLE + "WHERE t.study_id = :study ORDER BY t.trial_id")
READ_NEWS = text(
    WHOLE + "WHERE t.study_id = :study AND (t.trial_id > :newest OR t.trial_id = ANY(:known)) ORDER BY t.trial_id"
)

# A statement sees what was committed before it began, so that the number is counted in one after the lock's.
LOCK_STUDY = text("SELECT study_id FROM studies WHERE study_id = :study FOR NO KEY UPDATE")
CREATE = text("""
WITH made AS (
  INSERT INTO trials (study_id, number, state, datetime_start, datetime_complete)
  SELECT :study, COALESCE((SELECT number FROM trials WHERE study_id = :study ORDER BY trial_id DESC LIMIT 1) + 1, 0),
    CAST(:state AS trialstate), CAST(:started AS timestamp), CAST(:completed AS timestamp)
  RETURNING trial_id, number),
scored AS (
  INSERT INTO trial_values (trial_id, objective, value, value_type)
  SELECT made.trial_id, s.objective - 1, s.value, CAST(s.kind AS trialvaluetype) FROM made,
    unnest(CAST(:scores AS double precision[]), CAST(:kinds AS text[])) WITH ORDINALITY s (value, kind, objective)),
given AS (
  INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
  SELECT made.trial_id, p.* FROM made,
    unnest(CAST(:params AS text[]), CAST(:values AS double precision[]), CAST(:distributions AS text[])) p),
said AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT made.trial_id, a.* FROM made, unnest(CAST(:keys AS text[]), CAST(:contents AS text[])) a),
noted AS (
  INSERT INTO trial_system_attributes (trial_id, key, value_json)
  SELECT made.trial_id, a.* FROM made, unnest(CAST(:system_keys AS text[]), CAST(:system_contents AS text[])) a),
drawn AS (
  INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
  SELECT made.trial_id, c.step, c.value, CAST(c.kind AS trialintermediatevaluetype) FROM made,
    unnest(CAST(:steps AS integer[]), CAST(:heights AS double precision[]), CAST(:height_kinds AS text[]))
      c (step, value, kind))
SELECT trial_id, number FROM made""")

WRITE = text("""
WITH live AS (SELECT trial_id FROM trials WHERE trial_id = :trial AND state = 'RUNNING' FOR UPDATE),
given AS (
  INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
  SELECT live.trial_id, p.* FROM live,
    unnest(CAST(:params AS text[]), CAST(:values AS double precision[]), CAST(:distributions AS text[])) p
  ON CONFLICT (trial_id, param_name) DO NOTHING),
said AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT live.trial_id, a.* FROM live, unnest(CAST(:keys AS text[]), CAST(:contents AS text[])) a
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json)
SELECT trial_id FROM live""")

REPORT = text("""
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
SELECT trial_id, :step, CAST(:value AS double precision), CAST(:kind AS trialintermediatevaluetype)
FROM trials WHERE trial_id = :trial AND state = 'RUNNING'
ON CONFLICT (trial_id, step) DO UPDATE
SET intermediate_value = excluded.intermediate_value, intermediate_value_type = excluded.intermediate_value_type
RETURNING trial_id""")

FINISH = text("""
WITH ended AS (
  UPDATE trials SET state = CAST(:state AS trialstate), datetime_complete = now() AT TIME ZONE 'UTC'
  WHERE trial_id = :trial AND state = 'RUNNING' RETURNING trial_id),
scored AS (
  INSERT INTO trial_values (trial_id, objective, value, value_type)
  SELECT ended.trial_id, s.objective - 1, s.value, CAST(s.kind AS trialvaluetype) FROM ended,
    unnest(CAST(:values AS double precision[]), CAST(:kinds AS text[])) WITH ORDINALITY s (value, kind, objective)
  ON CONFLICT (trial_id, objective) DO UPDATE SET value = excluded.value, value_type = excluded.value_type),
said AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT ended.trial_id, a.* FROM ended, unnest(CAST(:keys AS text[]), CAST(:contents AS text[])) a
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json)
SELECT trial_id FROM ended""")

_WORDS = {math.inf: "INF_POS", -math.inf: "INF_NEG"}
_NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


def read(connection: Connection, study_id: int, newest: int, known: Collection[int]) -> list[FrozenTrial]:
    """The study's trials that came after the id `newest`, and those of the known ids, by id. newest < 0: all."""
    if newest < 0:
        rows = connection.execute(READ_ALL, {"study": study_id})
    else:
        rows = connection.execute(READ_NEWS, {"study": study_id, "newest": newest, "known": [-1, *known]})
    return [frozen(row) for row in rows]


def read_one(connection: Connection, trial_id: int) -> FrozenTrial | None:
    """The trial; None if there is none."""
    row = connection.execute(READ_ONE, {"trial": trial_id}).one_or_none()
    return None if row is None else frozen(row)


def whole(template: FrozenTrial) -> dict[str, Any]:
    """All that a trial holds but for its place, as values of a statement."""
    kinds = template.distributions
    scores = [_stored(score) for score in template.values or ()]
    heights = [_stored(height) for height in template.intermediate_values.values()]
    system = _attributes(template.system_attrs)
    return {
        "state": template.state.name,
        "started": _utc(template.datetime_start),
        "completed": _utc(template.datetime_complete),
        "scores": [value for value, _ in scores],
        "kinds": [kind for _, kind in scores],
        **_parameters({name: (kind.to_internal_repr(template.params[name]), kind) for name, kind in kinds.items()}),
        **_attributes(template.user_attrs),
        "system_keys": system["keys"],
        "system_contents": system["contents"],
        "steps": list(template.intermediate_values),
        "heights": [value for value, _ in heights],
        "height_kinds": [kind for _, kind in heights],
    }


def create(connection: Connection, study_id: int, template: FrozenTrial) -> FrozenTrial:
    """A new trial with everything the template has. KeyError if there is no such study."""
    if connection.scalar(LOCK_STUDY, {"study": study_id}) is None:
        raise KeyError(f"there is no study with the id {study_id}")
    made = connection.execute(CREATE, {"study": study_id, **whole(template)}).one()
    trial = deepcopy(template)
    trial._trial_id, trial.number = made.trial_id, made.number
    return trial


def write(
    connection: Connection,
    trial_id: int,
    params: Mapping[str, tuple[float, BaseDistribution]],
    user_attrs: Mapping[str, Any],
) -> bool:
    """Give a RUNNING trial parameters (values as Optuna stores them) and attributes; a parameter that it has already
    stays. False, and nothing was written, if it is not RUNNING."""
    values = {
        "trial": trial_id,
        **_parameters(params),
        **_attributes(user_attrs),
    }
    return connection.scalar(WRITE, values) is not None


def report(connection: Connection, trial_id: int, step: int, value: float) -> bool:
    """Record an intermediate value. False, and nothing was written, if the trial is not RUNNING."""
    stored, kind = _stored(value)
    values = {"trial": trial_id, "step": step, "value": stored, "kind": kind}
    return connection.scalar(REPORT, values) is not None


def finish(
    connection: Connection, trial_id: int, state: TrialState, scores: Sequence[float], user_attrs: Mapping[str, Any]
) -> bool:
    """End a trial, with its last attributes. False, and nothing was written, if it is not RUNNING."""
    stored = [_stored(score) for score in scores]
    values = {
        "trial": trial_id,
        "state": state.name,
        "values": [value for value, _ in stored],
        "kinds": [kind for _, kind in stored],
        **_attributes(user_attrs),
    }
    return connection.scalar(FINISH, values) is not None


def _parameters(params: Mapping[str, tuple[float, BaseDistribution]]) -> dict[str, list[Any]]:
    return {
        "params": list(params),
        "values": [value for value, _ in params.values()],
        "distributions": [distribution_to_json(distribution) for _, distribution in params.values()],
    }


def _attributes(user_attrs: Mapping[str, Any]) -> dict[str, list[str]]:
    return {"keys": list(user_attrs), "contents": [json.dumps(value) for value in user_attrs.values()]}


def frozen(row: Row[Any]) -> FrozenTrial:
    """The trial of a row of `WHOLE`."""
    kinds = {name: _distribution(text) for name, _, text in row.params or ()}
    return FrozenTrial(
        number=row.number,
        state=TrialState[row.state],
        value=None,
        values=[_number(kind, value) for kind, value in row.scores] if row.scores else None,
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params={name: kinds[name].to_external_repr(float(value)) for name, value, _ in row.params or ()},
        distributions=kinds,
        user_attrs={key: json.loads(content) for key, content in row.user_attrs or ()},
        system_attrs={key: json.loads(content) for key, content in row.system_attrs or ()},
        intermediate_values={step: _number(kind, value) for step, kind, value in row.curve or ()},
        trial_id=row.trial_id,
    )


@lru_cache(maxsize=4096)
def _distribution(stored: str) -> BaseDistribution:
    """Read once: thousands of trials name the same few."""
    return json_to_distribution(stored)


def _local(time: datetime | None) -> datetime | None:
    """Optuna's tables hold UTC, its trials local time, both without saying so."""
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def _stored(value: float) -> tuple[float | None, str]:
    """A number as Optuna's tables hold it: the infinities and NaN as words."""
    if math.isnan(value):
        return None, "NAN"
    return (None, _WORDS[value]) if value in _WORDS else (float(value), "FINITE")


def _number(kind: str, value: float | None) -> float:
    return _NUMBERS[kind] if value is None else float(value)
