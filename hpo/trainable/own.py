"""What a user writes: a class with a training loop and, as far as wanted, data, holdout scores and predictions; or one
function."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import shutil
import sys
import typing
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.metric import Metric
from hpo.domain.settings import first_problem, without
from hpo.domain.trainable import Length, Predicted, Prepared, Progress, Scored, Serving, Trainable
from hpo.domain.training import Ending, FitResult, Reporter
from hpo.runs.durable import flush, sha256_of, writing
from hpo.trainable import states
from hpo.trainable.trial import Trial, TrialStopped, recorded_before

if TYPE_CHECKING:
    import pandas as pd

S = TypeVar("S")

DATA = "data.pkl"


class OwnTrainable(Trainable[S]):
    """A training of your own.

    Give it `schema` (a dataclass or pydantic class whose fields all have defaults, with a field `epochs`) and `train`.
    The rest adds what a loop cannot say. A field of type Path names a file or a folder: it is made absolute, and its
    content is part of the campaign's data fingerprint. Of several, `source` names the one that `--data` sets.
    """

    metric: Metric = Metric("score")
    """What `trial.report` is given."""

    def __init__(self) -> None:
        try:
            defaults = self.parse({})
        except ValidationError as error:
            raise UsageError(
                f"the settings {self.schema.__name__} need a default for every field: {first_problem(error)[1]}."
            ) from None
        self._files = tuple(name for name, kind in _types(self.schema).items() if _is_path(kind))
        names = list(_types(self.schema))
        if "epochs" not in names:
            raise UsageError(
                f"the settings {self.schema.__name__} have no field 'epochs': add `epochs: int = 10`, the number of "
                "epochs of a full training."
            )
        self.shared = (*self.shared, *self._files, *(name for name in ("seed", "score_epochs") if name in names))
        self.follows = {"seed": "seed"} if "seed" in names else {}
        if self.source is None and len(self._files) == 1:
            self.source = self._files[0]
        self.files = tuple(name for name in self._files if name != self.source)
        self.length(defaults)

    @abstractmethod
    def train(self, settings: S, trial: Trial) -> None:
        """The training loop. See `Trial`."""

    def split(self, settings: S) -> tuple[Any, Any]:
        """The data, once for the whole campaign: what trials are given as `trial.data`, and the holdout or None.
        Anything that can be pickled."""
        return None, None

    def evaluate(self, state: Any, holdout: Any) -> Sequence[float] | None:
        """The metric of a saved state on the holdout, unit by unit; None: holdout scores are not given."""
        return None

    def answer(self, state: Any, table: pd.DataFrame) -> pd.DataFrame:
        """Predictions of a saved state for a table of new rows."""
        raise UsageError(f"The trainable '{self.name}' cannot predict: give it a method answer(state, table).")

    def length(self, settings: S) -> Length:
        return Length(int(getattr(settings, "epochs")), int(getattr(settings, "score_epochs", 1)))  # noqa: B009 - S

    def metrics(self, settings: S) -> Sequence[Metric]:
        return (self.metric,)

    def prepare(self, settings: S, cache: Path, progress: Progress | None = None) -> Prepared:
        digest = self._data_digest(settings)
        folder = cache / digest[:16]
        if not (folder / DATA).exists():
            search, holdout = self.split(settings)
            _write(folder, search, holdout)
        given = folder / "holdout" if (folder / "holdout" / DATA).exists() else None
        files = {name: path.name for name, path in self._given_files(settings).items()}
        return Prepared(folder, given, digest, summary=files)

    def fit(self, settings: S, data: Path, reporter: Reporter, folder: Path, *, seed: int = 0) -> FitResult:
        trial = Trial(
            reporter,
            folder,
            self.metric,
            self.length(settings),
            seed=seed,
            data=_read(data),
            recorded=recorded_before(folder),
        )
        try:
            self.train(settings, trial)
        except TrialStopped:
            return FitResult(Ending.STOPPED, 0.0, trial.epoch)
        return trial.conclude()

    def is_whole(self, checkpoint: Path) -> bool:
        return states.is_whole(checkpoint)

    def score(self, checkpoint: Path, part: Path, *, details: bool = False) -> Scored | None:
        import numpy as np

        found = self.evaluate(states.load(checkpoint).state, _read(part))
        if found is None:
            return None
        sign = 1.0 if self.metric.direction == "maximize" else -1.0
        series = sign * np.asarray(found, dtype=np.float32).reshape(-1)
        return Scored(np.arange(len(series)), {self.metric.name: series})

    def predict(self, checkpoint: Path, source: Path | pd.DataFrame, *, everything: bool = False) -> Predicted:
        table = _table(source) if isinstance(source, Path) else source
        return Predicted(self.answer(states.load(checkpoint).state, table), (f"{len(table):,} rows",))

    def serving(self, checkpoint: Path) -> Serving | None:
        if type(self).answer is OwnTrainable.answer:
            return None
        return Serving({}, {}, {}, ("tiertune", "mlflow", "pandas", *self.packages), self.module_files())

    def module_files(self) -> tuple[Path, ...]:
        """The module or package to send along with a registered model, unless it is installed."""
        found = module_to_send(self._module(), self.code()[0])
        return () if found is None else (found,)

    def code(self) -> Sequence[Path]:
        """The module's file; of a module in a package, every file of that package."""
        file = inspect.getsourcefile(sys.modules[self._module()])
        if file is None:
            return ()
        return tuple(sorted(Path(file).parent.rglob("*.py"))) if "." in self._module() else (Path(file),)

    def _module(self) -> str:
        return type(self).__module__

    def _given_files(self, settings: S) -> dict[str, Path]:
        """Setting -> the file or folder that it names."""
        given = {name: getattr(settings, name) for name in self._files}
        return {name: Path(str(path)) for name, path in given.items() if path is not None}

    def _data_digest(self, settings: S) -> str:
        plain = self.plain(settings)
        for name in self._files:
            plain = without(plain, name)
        parts = [json.dumps(plain, sort_keys=True), *(sha256_of(file) for file in self.code())]
        parts += [f"{name}\0{_content(path, name)}" for name, path in self._given_files(settings).items()]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class FunctionTrainable(OwnTrainable[Any]):
    """A function of (settings, trial), its settings' class named by the first annotation.

    A function `predict(state, table)` in the same module answers for `hpo predict`.
    """

    def __init__(self, function: Callable[[Any, Trial], None]) -> None:
        self._function = function
        self.schema = _schema_of(function)
        super().__init__()

    def train(self, settings: Any, trial: Trial) -> None:
        self._function(settings, trial)

    def answer(self, state: Any, table: pd.DataFrame) -> pd.DataFrame:
        predict = getattr(sys.modules[self._module()], "predict", None)
        if predict is None:
            raise UsageError(f"The trainable '{self.name}' cannot predict: add predict(state, table) beside it.")
        made: pd.DataFrame = predict(state, table)
        return made

    def serving(self, checkpoint: Path) -> Serving | None:
        return super().serving(checkpoint) if hasattr(sys.modules[self._module()], "predict") else None

    def _module(self) -> str:
        return self._function.__module__


def module_to_send(module: str, file: Path) -> Path | None:
    """The file of a module or the folder of its package; None where it is installed."""
    top = module.partition(".")[0]
    root = next((folder for folder in file.parents if folder.name == top), file)
    return None if "site-packages" in root.parts else root


def _schema_of(function: Callable[..., Any]) -> type[Any]:
    name = getattr(function, "__name__", "the function")
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 2:
        raise UsageError(f"{name}({', '.join(parameters)}) must take two parameters: {name}(settings, trial).")
    schema = typing.get_type_hints(function).get(parameters[0])
    if not inspect.isclass(schema) or not (is_dataclass(schema) or issubclass(schema, BaseModel)):
        raise UsageError(
            f"{name}({parameters[0]}, ...): annotate {parameters[0]} with a dataclass or pydantic class, as in "
            f"def {name}({parameters[0]}: Settings, {parameters[1]})."
        )
    return schema


def _types(schema: type[Any]) -> Mapping[str, Any]:
    """Field -> its type, of a dataclass or pydantic class."""
    if issubclass(schema, BaseModel):
        return {name: field.annotation for name, field in schema.model_fields.items()}
    if not is_dataclass(schema):
        TypeAdapter(schema)
        return {}
    hints = typing.get_type_hints(schema)
    return {field.name: hints[field.name] for field in fields(schema)}


def _is_path(kind: Any) -> bool:
    return kind is Path or Path in typing.get_args(kind)


def _content(path: Path, name: str) -> str:
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return "\0".join(f"{file.relative_to(path)}\0{sha256_of(file)}" for file in files)
        return sha256_of(path)
    except FileNotFoundError:
        raise UsageError(f"trainer.{name}={path}: there is no such file or folder.") from None


def _write(folder: Path, search: Any, holdout: Any) -> None:
    """Both parts into the cache, whole or not at all; whoever comes first counts."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    with writing(folder):
        (draft / "holdout").mkdir(parents=True)
        for part, value in ((draft, search), (draft / "holdout", holdout)):
            if value is None and part is not draft:
                continue
            with (part / DATA).open("wb") as file:
                pickle.dump(value, file)
                flush(file)
        try:
            draft.rename(folder)
        except OSError:
            shutil.rmtree(draft)
            if not (folder / DATA).exists():
                raise


def _read(part: Path) -> Any:
    try:
        with (part / DATA).open("rb") as file:
            return pickle.load(file)
    except (FileNotFoundError, EOFError, pickle.UnpicklingError) as error:
        raise EnvironmentFault(f"The prepared data {part / DATA} are damaged or gone ({error}); resume.") from None


def _table(source: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(source) if source.suffix == ".parquet" or source.is_dir() else pd.read_csv(source)
    except (ValueError, OSError) as error:
        raise UsageError(
            f"--data {source}: it cannot be read as Parquet or CSV ({str(error).splitlines()[0]})."
        ) from None
