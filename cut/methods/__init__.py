"""Methods, one paper per file, found by name."""

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

from cut.config import MethodConfig
from cut.config.own_code import HINT, import_own, is_own
from cut.errors import UserError, did_you_mean, shortened

if TYPE_CHECKING:
    from cut.methods.base import Method
    from cut.methods.stylizer import Stylizer

NOT_TRAINED = "is not trained: it makes each picture anew, from a photograph and a painting"
_NOT_METHODS = ("base", "conditional", "known_pixels", "patch_contrast", "styled", "stylizer", "translator", "two_way")


@functools.cache
def known_methods() -> tuple[str, ...]:
    """The names of the methods that come with the package: trained ones, and those that make each picture anew."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_METHODS))


@functools.cache
def trained_methods() -> tuple[str, ...]:
    """The names of those that cut-train trains."""
    from cut.methods.base import Method

    return tuple(name for name in known_methods() if issubclass(find_translator(name), Method))


def find_translator(name: str) -> "type[Method] | type[Stylizer]":
    """The class behind `method: {name: ...}`: a file of this folder, or `package.module:Class` of the user's own.

    Raises:
        UserError: no such method; the line lists the known ones.
    """
    known = known_methods()
    if not is_own(name) and name not in known:
        meant = did_you_mean(name, known)
        raise UserError(f"method.name: no such method '{shortened(name)}'{meant} (known: {', '.join(known)}, {HINT})")
    from cut.methods.base import Method  # only now, for it imports torch, and a name may be known to be wrong without
    from cut.methods.stylizer import Stylizer

    if not is_own(name):
        module = importlib.import_module(f"{__name__}.{name}")
        (method,) = [
            c
            for c in vars(module).values()
            if isinstance(c, type) and issubclass(c, (Method, Stylizer)) and c.__module__ == module.__name__
        ]
        return method
    method = import_own(name, "method.name")
    if not (isinstance(method, type) and issubclass(method, (Method, Stylizer)) and method not in (Method, Stylizer)):
        raise UserError(
            f"method.name: '{name}' is not a subclass of cut.methods.base.Method, nor of cut.methods.stylizer.Stylizer"
        )
    return method


def find_method(name: str) -> "type[Method]":
    """The class of a method that is trained.

    Raises:
        UserError: no such method, or a stylizer.
    """
    from cut.methods.base import Method

    method = find_translator(name)
    if not issubclass(method, Method):
        raise UserError(f"method.name: {name} {NOT_TRAINED}; run it with: cut-test --config FILE --output DIR")
    return method


def find_stylizer(name: str) -> "type[Stylizer]":
    """The class of a method that makes each picture anew.

    Raises:
        UserError: no such method, or a trained one.
    """
    from cut.methods.stylizer import Stylizer

    method = find_translator(name)
    if not issubclass(method, Stylizer):
        raise UserError(f"method.name: {name} is trained first: cut-train --config FILE, then cut-test --run RUN")
    return method


def method_config(name: str) -> type[MethodConfig]:
    """The config class of the method `name`."""
    return find_translator(name).Config
