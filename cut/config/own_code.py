"""Code of the user's own that a config names as `package.module:Class`: methods, networks, kinds of data."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from cut.config.section import Section
from cut.errors import UserError

SECTIONS = ("method", "generator", "discriminator", "data")  # whose name may be code of the user's own
HINT = "or your own as package.module:Class"


def is_own(name: Any) -> bool:
    return isinstance(name, str) and ":" in name


def own_code(values: Mapping[str, Any]) -> dict[str, str]:
    """The code that the plain values of a config name, by dotted key; reading the config imports it and so runs it."""
    sections = {key: values.get(key) for key in SECTIONS}
    return {
        f"{key}.name": section["name"]
        for key, section in sections.items()
        if isinstance(section, dict) and is_own(section.get("name"))
    }


def import_own(name: str, key: str) -> Any:
    """What `package.module:Class` names.

    Args:
        name: Name in the config.
        key: Dotted key in the config, for errors.

    Raises:
        UserError: It cannot be imported.
    """
    module_name, _, class_name = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")  # a module in the current folder, which a console script does not see by itself
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # noqa: BLE001  whatever the user's module raises
        raise UserError(f"{key}: cannot import '{name}' ({type(error).__name__}: {error})") from None


def own_section(name: str, key: str, base: type[Section]) -> type[Section]:
    """The class attribute `Config` of a class of the user's own, which describes its section.

    Args:
        name: Name in the config.
        key: Dotted key in the config, for errors.
        base: What `Config` must be a subclass of.

    Raises:
        UserError: It cannot be imported, or has no such `Config`.
    """
    config = getattr(import_own(name, key), "Config", None)
    if not (isinstance(config, type) and issubclass(config, base)):
        raise UserError(f"{key}: '{name}' needs a class attribute Config, a subclass of cut.config.{base.__name__}")
    if config.model_fields["name"].annotation is not str:  # that of the built-in section that it was made from
        raise UserError(f"{key}: the Config of '{name}' needs a field of its own `name: str`")
    return config
