"""Training: the loop, the step, and what a run keeps. The package itself can be called: `cut.train(config)`."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Python binds a package's name in its parent as soon as a part of it is imported, whatever stood there."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_module("cut.api.training").train(*args, **options)

    @property
    def __wrapped__(self) -> Any:
        """What `help` and `inspect.signature` show."""
        return import_module("cut.api.training").train


sys.modules[__name__].__class__ = _CallablePackage
