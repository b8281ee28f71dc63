"""Methods, one paper per file, found by name."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from cut.config import MethodConfig
from cut.config.own_code import HINT, import_own, is_own
from cut.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from cut.methods.base import Method

_NOT_METHODS = ("base", "conditional", "styled")


def known_methods() -> list[str]:
    """The names of the methods that come with the package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_METHODS)


def find_method(name: str) -> "type[Method]":
    """The class behind `method: {name: ...}`: a file of this folder, or `package.module:Class` of the user's own.

    Raises:
        UserError: no such method; the line lists the known ones.
    """
    known = known_methods()
    if not is_own(name) and name not in known:
        raise UserError(
            f"method.name: no such method '{name}'{did_you_mean(name, known)} (known: {', '.join(known)}, {HINT})"
        )
    from cut.methods.base import Method  # only now, for it imports torch, and a name may be known to be wrong without

    if not is_own(name):
        module = importlib.import_module(f"{__name__}.{name}")
        (method,) = [
            c
            for c in vars(module).values()
            if isinstance(c, type) and issubclass(c, Method) and c.__module__ == module.__name__
        ]
        return method
    method = import_own(name, "method.name")
    if not (isinstance(method, type) and issubclass(method, Method) and method is not Method):
        raise UserError(f"method.name: '{name}' is not a subclass of cut.methods.base.Method")
    return method


def method_config(name: str) -> type[MethodConfig]:
    """The config class of the method `name`."""
    return find_method(name).Config
