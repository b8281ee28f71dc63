"""Methods, one paper per file, found by name."""

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING

from cut.config import MethodConfig
from cut.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from cut.methods.base import Method

_NOT_METHODS = ("base", "styled")


def known_methods() -> list[str]:
    """The names of the methods that come with the package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_METHODS)


def find_method(name: str) -> "type[Method]":
    """The class behind `method: {name: ...}`: a file of this folder, or `package.module:Class` of the user's own.

    Raises:
        UserError: no such method; the line lists the known ones.
    """
    module_name, colon, class_name = name.partition(":")
    known = known_methods()
    if not colon and name not in known:
        raise UserError(
            f"method.name: no such method '{name}'{did_you_mean(name, known)} "
            f"(known: {', '.join(known)}, or your own as package.module:Class)"
        )
    from cut.methods.base import Method  # only now, for it imports torch, and a name may be known to be wrong without

    if not colon:
        module = importlib.import_module(f"{__name__}.{name}")
        (method,) = [
            c
            for c in vars(module).values()
            if isinstance(c, type) and issubclass(c, Method) and c.__module__ == module.__name__
        ]
        return method
    if "" not in sys.path:
        sys.path.append("")  # a module in the current folder, which a console script does not see by itself
    try:
        method = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # noqa: BLE001  whatever the user's module raises
        raise UserError(f"method.name: cannot import '{name}' ({type(error).__name__}: {error})") from None
    if not (isinstance(method, type) and issubclass(method, Method) and method is not Method):
        raise UserError(f"method.name: '{name}' is not a subclass of cut.methods.base.Method")
    return method


def method_config(name: str) -> type[MethodConfig]:
    """The config class of the method `name`."""
    return find_method(name).Config
