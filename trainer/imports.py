"""From the import path of something of the user's, `my_package.my_module:MyRanker`, to the thing itself."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from trainer.errors import InputError

OURS = ("trainer", "torch", "pydantic", "builtins", "abc", "typing")
"""Packages whose classes a user's are derived from, that are not the user's."""


def is_path(name: str) -> bool:
    """Whether a name is written as an import path, `module:object`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()


def load(path: str) -> Any:
    """The object at an import path.

    Modules are looked for among installed packages first and then in the working directory. Raises InputError: no such
    module or object, or one that cannot be imported.
    """
    module_name, _, attribute = path.partition(":")
    found = getattr(_module(module_name), attribute, None)
    if found is None:
        raise InputError(f"the module {module_name} has no '{attribute}'.")
    return found


def files_of(path: str) -> tuple[Path, ...]:
    """The source files of the module at an import path, of the object there, and of the user's classes that the object
    is derived from."""
    found = load(path)
    parts = [sys.modules[path.partition(":")[0]], *(inspect.getmro(found) if inspect.isclass(found) else (found,))]
    own = [part for part in parts if getattr(part, "__module__", "").partition(".")[0] not in OURS]
    return tuple(dict.fromkeys(Path(file) for part in own if (file := inspect.getsourcefile(part))))


def parameters_of(path: str) -> list[str]:
    """The names of the parameters of the function at an import path. Raises InputError where it is no function."""
    found = load(path)
    if not inspect.isfunction(found):
        raise InputError(f"{path.partition(':')[2]} is no function.")
    return list(inspect.signature(found).parameters)


def _module(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a file of the user's never stands in the way of an installed package
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module '{name}', neither installed nor in {here}; start from the folder it lies "
                "in, or install its package."
            ) from None
        raise _broken(name, error) from error
    except Exception as error:  # the user's code may raise anything
        raise _broken(name, error) from error


def _broken(module: str, error: Exception) -> InputError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}"
    return InputError(f"{module} cannot be imported: {what} ({frame.filename}, line {frame.lineno}).")
