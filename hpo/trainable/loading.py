"""From the name of a trainable to the trainable: the ranker, or a user's own by import path."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hpo.domain.campaign import DEFAULT_TRAINABLE
from hpo.domain.errors import UsageError, nearest
from hpo.domain.trainable import Trainable

BUILT_IN = {DEFAULT_TRAINABLE: "hpo.ranking.ranker:Ranker"}
"""Names of the trainables that come along -> their import paths."""


@cache
def load_trainable(name: str) -> Trainable[Any]:
    """The trainable of that name; made once a process.

    name: a row of BUILT_IN, or `module:object` where object is a Trainable class or a function of (settings, trial).
    Modules are looked for among installed packages first and then in the working directory.

    Raises:
        UsageError: no such module or object, one that cannot be imported, or something that is no trainable.
    """
    path = BUILT_IN.get(name, name)
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute.isidentifier():
        raise UsageError(
            f"trainable={name}: write the import path of your own as my_module:MyTrainable, or one of "
            f"{', '.join(BUILT_IN)}.{nearest(name, BUILT_IN)}"
        )
    found = getattr(_module(name, module_name), attribute, None)
    if found is None:
        raise UsageError(f"trainable={name}: the module {module_name} has no '{attribute}'.")
    trainable = _made(name, found)
    trainable.name = name
    return trainable


def libraries(name: str) -> Sequence[str]:
    """The installed modules that a trainable's module names: what a fork server may import ahead of the trials. The
    module itself it may not, because a user's first lines may ask for a GPU, which does not survive a fork."""
    module = sys.modules[BUILT_IN.get(name, name).partition(":")[0]]
    things = vars(module).values()
    named = {getattr(thing, "__module__", None) or getattr(thing, "__name__", None) for thing in things}
    return sorted(name for name in named if isinstance(name, str) and _is_installed(name))


def _is_installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    folders = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    return file is not None and any(Path(file).is_relative_to(folder) for folder in folders)


def as_trainable(found: Any) -> Trainable[Any]:
    """A trainable from an instance, a class or a function of (settings, trial). UsageError for anything else."""
    from hpo.trainable.own import FunctionTrainable

    if isinstance(found, Trainable):
        return found
    if inspect.isclass(found) and issubclass(found, Trainable):
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise UsageError(f"the class {found.__name__} lacks the methods {', '.join(missing)}.")
        return found()
    if inspect.isfunction(found):
        return FunctionTrainable(found)
    kind = f"the class {found.__name__}" if inspect.isclass(found) else f"a {type(found).__name__}"
    raise UsageError(
        f"{kind} is no trainable; derive the class from hpo.trainable.OwnTrainable, or name a function "
        "train(settings, trial)."
    )


def _made(name: str, found: Any) -> Trainable[Any]:
    try:
        return as_trainable(found)
    except UsageError as error:
        raise UsageError(f"trainable={name}: {error}") from None
    except Exception as error:  # the user's constructor may raise anything
        raise _broken(name, error) from error


def _module(name: str, module: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a file of the user's never stands in the way of an installed package
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise UsageError(
                f"trainable={name}: there is no module '{module}', neither installed nor in {here}; start from the "
                "folder it lies in, or install its package."
            ) from None
        raise _broken(name, error) from error
    except Exception as error:  # the user's code may raise anything
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> UsageError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error}"
    return UsageError(f"trainable={name} cannot be imported: {said} ({frame.filename}, line {frame.lineno}).")
