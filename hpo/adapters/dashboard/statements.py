"""The campaign's study in Optuna's tables: what Optuna's own interface cannot say, since it closes finished trials and
counts trials itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, text

from hpo.adapters.optuna.trial_statements import LOCK_STUDY, WHOLE, frozen, whole

FIND = text("SELECT study_name, study_id FROM studies WHERE study_name = ANY(:names)")
MAKE = text("INSERT INTO studies (study_name) VALUES (:name) ON CONFLICT (study_name) DO NOTHING RETURNING study_id")
MAXIMISE = text("INSERT INTO study_directions (direction, study_id, objective) VALUES ('MAXIMIZE', :study, 0)")
MARK = text("INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (:study, :key, :content)")

READ_NUMBERS = text(WHOLE + "WHERE t.study_id = :study AND t.number = ANY(:numbers) ORDER BY t.trial_id DESC")
READ_SLOTS = text(
    WHOLE
    + """WHERE t.study_id = ANY(:studies) AND t.trial_id IN (
  SELECT trial_id FROM trial_user_attributes WHERE key = 'slot' AND value_json = ANY(:slots))
ORDER BY t.trial_id"""
)
NEWEST_SLOT = text("""
SELECT max(CAST(a.value_json AS integer)) FROM trial_user_attributes a JOIN trials t USING (trial_id)
WHERE t.study_id = ANY(:studies) AND a.key = 'slot'""")
PLACES = text("SELECT trial_id, number FROM trials WHERE study_id = :study ORDER BY trial_id")

PLACE = text("""
INSERT INTO trials (study_id, number, state) VALUES (:study, :number, 'WAITING') RETURNING trial_id""")
PUT = text("""
WITH told AS (
  UPDATE trials SET state = CAST(:state AS trialstate), datetime_start = CAST(:started AS timestamp),
    datetime_complete = CAST(:completed AS timestamp) WHERE trial_id = :trial),
unscored AS (DELETE FROM trial_values WHERE trial_id = :trial AND objective >= cardinality(CAST(:kinds AS text[]))),
scored AS (
  INSERT INTO trial_values (trial_id, objective, value, value_type)
  SELECT :trial, s.objective - 1, s.value, CAST(s.kind AS trialvaluetype) FROM
    unnest(CAST(:scores AS double precision[]), CAST(:kinds AS text[])) WITH ORDINALITY s (value, kind, objective)
  ON CONFLICT (trial_id, objective) DO UPDATE SET value = excluded.value, value_type = excluded.value_type),
ungiven AS (DELETE FROM trial_params WHERE trial_id = :trial AND param_name <> ALL(CAST(:params AS text[]))),
given AS (
  INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
  SELECT :trial, p.* FROM
    unnest(CAST(:params AS text[]), CAST(:values AS double precision[]), CAST(:distributions AS text[])) p
  ON CONFLICT (trial_id, param_name)
    DO UPDATE SET param_value = excluded.param_value, distribution_json = excluded.distribution_json),
unsaid AS (
  DELETE FROM trial_user_attributes
  WHERE trial_id = :trial AND key <> ALL(CAST(:keys AS text[])) AND key <> ALL(CAST(:kept AS text[]))),
said AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT :trial, a.* FROM unnest(CAST(:keys AS text[]), CAST(:contents AS text[])) a
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json),
noted AS (
  INSERT INTO trial_system_attributes (trial_id, key, value_json)
  SELECT :trial, a.* FROM unnest(CAST(:system_keys AS text[]), CAST(:system_contents AS text[])) a
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json),
undrawn AS (
  DELETE FROM trial_intermediate_values WHERE trial_id = :trial AND step <> ALL(CAST(:steps AS integer[])))
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
SELECT :trial, c.step, c.value, CAST(c.kind AS trialintermediatevaluetype) FROM
  unnest(CAST(:steps AS integer[]), CAST(:heights AS double precision[]), CAST(:height_kinds AS text[]))
    c (step, value, kind)
ON CONFLICT (trial_id, step) DO UPDATE
SET intermediate_value = excluded.intermediate_value, intermediate_value_type = excluded.intermediate_value_type""")

_PARTS = (
    "trial_values",
    "trial_params",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_intermediate_values",
    "trial_heartbeats",
)
_EMPTIED = ",\n".join(f"p{n} AS (DELETE FROM {table} WHERE trial_id = ANY(:trials))" for n, table in enumerate(_PARTS))
REMOVE = text(f"WITH {_EMPTIED}\nDELETE FROM trials WHERE trial_id = ANY(:trials)")

ATTRIBUTES = text("""
SELECT key, value_json FROM trial_system_attributes WHERE trial_id = :trial AND key = ANY(:keys)
UNION ALL SELECT key, value_json FROM trial_user_attributes WHERE trial_id = :trial AND key = ANY(:keys)""")
ATTACH = text("""
WITH present AS (SELECT trial_id FROM trials WHERE trial_id = :trial),
detached AS (DELETE FROM trial_system_attributes WHERE trial_id = :trial AND key = ANY(CAST(:gone AS text[]))),
linked AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT present.trial_id, a.* FROM present, unnest(CAST(:links AS text[]), CAST(:addresses AS text[])) a
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json)
INSERT INTO trial_system_attributes (trial_id, key, value_json)
SELECT present.trial_id, a.* FROM present, unnest(CAST(:keys AS text[]), CAST(:contents AS text[])) a
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json""")


def find(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Name -> id of those of the studies that are there."""
    return {row.study_name: row.study_id for row in connection.execute(FIND, {"names": list(names)})}


def make(connection: Connection, name: str, marks: Mapping[str, Any]) -> None:
    """A study that maximises, with user attributes, whole at once. Nothing where there is one of this name."""
    study = connection.scalar(MAKE, {"name": name})
    if study is not None:
        connection.execute(MAXIMISE, {"study": study})
        rows = [{"study": study, "key": key, "content": json.dumps(value)} for key, value in marks.items()]
        connection.execute(MARK, rows)


def lock(connection: Connection, study_id: int) -> bool:
    """Hold the study until the transaction ends; False where there is none."""
    return connection.scalar(LOCK_STUDY, {"study": study_id}) is not None


def read_numbers(connection: Connection, study_id: int, numbers: Iterable[int]) -> dict[int, FrozenTrial]:
    """The study's trials by number; of several of one number the oldest."""
    rows = connection.execute(READ_NUMBERS, {"study": study_id, "numbers": list(numbers)})
    return {row.number: frozen(row) for row in rows}


def read_slots(connection: Connection, studies: Iterable[int], slots: Iterable[int]) -> list[FrozenTrial]:
    """All trials of these studies that belong to these slots, copies and duplicates too."""
    named = {"studies": list(studies), "slots": [str(slot) for slot in slots]}
    return [frozen(row) for row in connection.execute(READ_SLOTS, named)]


def put(connection: Connection, study_id: int, trial_id: int | None, trial: FrozenTrial, kept: Collection[str]) -> None:
    """Let a trial of the study hold exactly this, but for user attributes named in `kept` and further system
    attributes. trial_id: None for a new one."""
    if trial_id is None:
        trial_id = connection.scalar(PLACE, {"study": study_id, "number": trial.number})
    connection.execute(PUT, {"trial": trial_id, "kept": list(kept), **whole(trial)})


def remove_strays(connection: Connection, study_id: int, studies: Iterable[int]) -> int:
    """Take out of the study what is no slot that was begun in one of `studies`, and second trials of one number."""
    newest = connection.scalar(NEWEST_SLOT, {"studies": list(studies)}) or 0
    seen: set[int] = set()
    strays = []
    for trial_id, number in connection.execute(PLACES, {"study": study_id}):
        if number in seen or not 1 <= number <= newest:
            strays.append(trial_id)
        seen.add(number)
    if strays:
        connection.execute(REMOVE, {"trials": strays})
    return len(strays)


def attach(connection: Connection, trial_id: int, files: Mapping[str, str | None], links: Mapping[str, str]) -> bool:
    """Let a trial have these system attributes, without those that are None, and these user attributes; False where it
    has them already."""
    there = {name: content for name, content in files.items() if content is not None}
    known = connection.execute(ATTRIBUTES, {"trial": trial_id, "keys": [*files, *links]})
    if {row.key: json.loads(row.value_json) for row in known} == {**there, **links}:
        return False
    values = {
        "trial": trial_id,
        "gone": [name for name, content in files.items() if content is None],
        "keys": list(there),
        "contents": [json.dumps(content) for content in there.values()],
        "links": list(links),
        "addresses": [json.dumps(address) for address in links.values()],
    }
    connection.execute(ATTACH, values)
    return True
