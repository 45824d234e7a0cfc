"""Clocks that are wrong, within one process."""

from __future__ import annotations

import datetime
import importlib
import sys
import time
from typing import Any

_real = datetime.datetime


class _Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _real)


class _Shifted(_real, metaclass=_Kind):
    """`datetime` whose now is another; every value it makes is an ordinary one."""

    by = datetime.timedelta()

    def __new__(cls, *parts: Any, **named: Any) -> Any:
        return _real(*parts, **named)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + cls.by

    @classmethod
    def utcnow(cls) -> Any:
        return _real.now(datetime.UTC).replace(tzinfo=None) + cls.by


def shift(seconds: float) -> None:
    """Let `time.time` and every module's `datetime.now` of this process be off by so much."""
    if not seconds:
        return
    importlib.import_module("optuna_dashboard")  # it brings pandas along, which loads only with the true class
    _Shifted.by = datetime.timedelta(seconds=seconds)
    real = time.time
    time.time = lambda: real() + seconds
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items() if hasattr(module, "__dict__") else ()):
            if value is _real and module is not sys.modules[__name__]:
                setattr(module, name, _Shifted)
