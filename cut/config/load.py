"""YAML and overrides in, a validated config out; a mistake is one line that names the key and what is allowed."""

import types
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cut.config import MethodConfig, RunConfig, Section
from cut.config.loader import LoaderConfig
from cut.config.networks import NetworkConfig
from cut.config.own_code import HINT, SECTIONS, is_own, own_section
from cut.config.packaged import find_config, hint
from cut.config.section import ExpandedPath
from cut.errors import UserError, did_you_mean, reason, shortened, shown
from cut.storage.files import real_path
from cut.storage.yaml import MAX_DEPTH, YamlError, parse_yaml, read_yaml

_MISTAKES_TOLD = 10
PathOrPaths = str | Path | Sequence[str | Path]
MethodConfigs = Callable[[str], type[MethodConfig]]  # a method's name -> its config class; raises UserError


def load_config(paths: PathOrPaths, overrides: Iterable[str], method_configs: MethodConfigs) -> RunConfig:
    """Reads YAMLs, a later one over an earlier one, applies `a.b=value` overrides and validates the result.

    Each YAML may name a `base`. The order of the overrides matters only where two of them set the same key: the last
    wins. What a YAML says of a section under another name than the section's last one is left out.

    Args:
        paths: Path of the YAML, or its name in the package, or several.
        overrides: Settings that go over all of them.
        method_configs: Finds a method's config class.

    Raises:
        UserError: One line per mistake, each with the file, the dotted key, what was given and what is allowed.
    """
    files, values = merged_values(paths, overrides)
    return parse_config(values, method_configs, where=" + ".join(map(str, files)))


def merged_values(paths: PathOrPaths, overrides: Iterable[str]) -> tuple[list[Path], dict[str, Any]]:
    """The files behind `paths`, and what they and the overrides say together, not validated; see `load_config`.

    Raises:
        UserError: A file cannot be read.
    """
    files = [find_config(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    layers = [_read_with_base(path, ()) for path in files]
    settings = [_parse_override(override) for override in overrides]
    names: dict[str, Any] = {}
    for setting in settings:
        names = _merge(names, _names_in(setting), keep_renamed=True)
    for layer in reversed(layers):
        names = _merge(_names_in(layer), names)
    values: dict[str, Any] = {}
    for layer in (*(_under_names(layer, names) for layer in layers), *settings):
        values = _merge(values, layer, keep_renamed=True)
    return files, values


def parse_config(values: dict[str, Any], method_configs: MethodConfigs, where: str) -> RunConfig:
    """Validates plain values; `where` names their source in errors.

    Imports the code that they name: what comes from elsewhere than the user is asked for `own_code` before.
    """
    method = values.get("method")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise UserError(f"{where}: method: must be a mapping with a name, e.g. method: {{name: cut}}")
    data = _checked_own(values.get("data"), LoaderConfig, where, "data")
    values = values | ({"data": data} if "data" in values else {})
    # The sections that are known without torch come first, so that their mistakes are found at once.
    known = {k: v for k, v in values.items() if k not in ("generator", "discriminator")}
    unnamed = isinstance(data, dict) and "name" not in data  # the method knows which kind is meant
    if not unnamed:
        _validate(RunConfig, {**known, "method": {"name": method["name"]}}, where)
    config_class = method_configs(method["name"])
    if isinstance(data, dict) and unnamed:
        values = values | {"data": {"name": config_class.data_names[0], **data}}
    checked = _validate(config_class, method, where, prefix=("method",))
    networks = {
        section: _with_default(values.get(section), default, f"{where}: {section}: {method['name']}")
        for section, default in (
            ("generator", config_class.default_generator),
            ("discriminator", config_class.default_discriminator),
        )
    }
    networks = {section: _checked_own(value, NetworkConfig, where, section) for section, value in networks.items()}
    config = _validate(RunConfig, {**values, **networks, "method": checked}, where)
    if config.data.kind not in config_class.data_names:
        allowed = ", ".join(config_class.data_names)
        raise UserError(
            f"{where}: data.name: {method['name']} cannot learn from {config.data.name} (allowed: {allowed})"
        )
    return config


def _checked_own(section: Any, base: type[Section], where: str, key: str) -> Any:
    """A section whose name is code of the user's own, validated by its own `Config`; any other as it is."""
    if not (isinstance(section, dict) and is_own(section.get("name"))):
        return section
    return _validate(own_section(section["name"], f"{where}: {key}.name", base), section, where, prefix=(key,))


def _with_default(given: Any, default: dict[str, Any] | None, where: str) -> Any:
    """A network's section as given, over the method's default."""
    if default is None and given is not None:
        raise UserError(f"{where} has its own networks, in its own section; remove this one")
    return _merge(default, given or {}) if default is not None and isinstance(given, dict | None) else given


# What may change between two starts of one run: none of it touches the weights.
_HARMLESS = (
    "data.num_workers",
    "data.cache_mib",
    "data.max_megapixels",
    "train.log_every_steps",
    "train.sample_every_steps",
    "train.num_samples",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
    "train.tensorboard",
    "train.loggers",
)


def changes_of_run(before: RunConfig, after: RunConfig) -> list[str]:
    """`key: before -> after` for each setting in which the two would train differently."""
    changes = changed_keys(before.to_dict(written=False), after.to_dict(written=False))
    # Scores change a run only where its rate or its end depends on them.
    decided = any(c.schedule.name == "plateau" or (c.eval and c.eval.patience) for c in (before, after))
    harmless = _HARMLESS if decided else (*_HARMLESS, "eval")
    return [c for c in changes if not any(c.startswith((f"{key}:", f"{key}.")) for key in harmless)]


# What each machine may have for itself.
_LOCAL = ("data.root", "data.a", "data.b", "data.num_workers", "data.cache_mib", "data.max_megapixels")


def changes_between_processes(first: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """`key: first -> other` for each setting that must be the same in all processes of a run, and is not."""
    return [c for c in changed_keys(first, other) if not c.startswith(tuple(f"{key}:" for key in _LOCAL))]


def changed_keys(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """`key: before -> after` for each dotted key in which two dumped configs differ."""
    changes = []
    for key in [*before, *(k for k in after if k not in before)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += changed_keys(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{key}: {shortened(str(old))} -> {shortened(str(new))}")
    return changes


def _parse_override(override: str) -> dict[str, Any]:
    """`a.b=value` as nested mappings."""
    key, equals, text = override.partition("=")
    if not equals or not key or key.count(".") > MAX_DEPTH:
        raise UserError(f"--set {shortened(override)}: write it as key=value, e.g. --set train.max_steps=100")
    try:
        value = parse_yaml(text)
    except YamlError as error:
        raise UserError(f"--set {shortened(override)}: the value is not YAML ({error})") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _names_in(values: dict[str, Any]) -> dict[str, Any]:
    """The names of the sections, and nothing else."""
    sections = {key: _names_in(value) for key, value in values.items() if isinstance(value, dict)}
    names = {"name": values["name"]} if "name" in values else {}
    return names | {key: section for key, section in sections.items() if section}


def _under_names(values: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """The values without sections that have another name in `names`."""
    kept = {}
    for key, value in values.items():
        last = names.get(key)
        if isinstance(value, dict) and isinstance(last, dict):
            renamed = "name" in value and "name" in last and value["name"] != last["name"]
            value = {} if renamed else _under_names(value, last)
        kept[key] = value
    return kept


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    where = shortened(str(path), 400)  # a base may be any text
    whole = real_path(path)
    if whole in seen:
        raise UserError(f"{where}: base: the files inherit from each other in a circle")
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{where}: no such config file{hint(path)}") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read as a config file ({reason(error)})") from None
    except ValueError as error:  # of YAML, or a name with a zero byte
        raise UserError(f"{where}: not valid YAML ({error})") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{where}: must be a mapping of settings (method: ..., data: ..., ...)")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise UserError(f"{where}: base: must be the path of another YAML, got {shown(base)}")
    return _merge(_read_with_base(path.parent / ExpandedPath(base), (*seen, whole)), values)


def _merge(below: dict[str, Any], above: dict[str, Any], keep_renamed: bool = False) -> dict[str, Any]:
    """`above` over `below`, key by key; a section that changes its name starts afresh unless `keep_renamed`."""
    renamed = "name" in above and "name" in below and above["name"] != below["name"]
    merged = {} if renamed and not keep_renamed else dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merge(old, value, keep_renamed)
        merged[key] = value
    return merged


def _validate(model: type[Section], values: dict[str, Any], where: str, prefix: tuple[str, ...] = ()) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [f"{where}: {_describe(model, problem, prefix)}" for problem in problems[:_MISTAKES_TOLD]]
        more = [f"and {len(problems) - _MISTAKES_TOLD} more"] if len(problems) > _MISTAKES_TOLD else []
        raise UserError("; ".join([*dict.fromkeys(lines), *more])) from None


def _describe(model: type[BaseModel], problem: ErrorDetails, prefix: tuple[str, ...]) -> str:
    """One pydantic error in our words: the dotted key, what was given, what is allowed."""
    models: list[type[BaseModel]] = [model]
    keys: list[str] = []
    for part in problem["loc"]:
        fields = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        if fields:
            models = [m for f in fields for m in _models_in(f.annotation)]
        elif named := [m for m in models if part == getattr(m.model_fields.get("name"), "default", None)]:
            models = named  # a discriminated union puts the chosen name into the location
            continue
        keys.append(shortened(str(part), 60))
    dotted = ".".join((*prefix, *keys))
    got: Any = problem.get("input")
    if problem["type"] == "extra_forbidden":
        known = sorted({name for m in models for name in m.model_fields})
        return f"{dotted}: unknown key{did_you_mean(keys[-1], known)} (known here: {', '.join(known)})"
    if problem["type"] == "missing":
        return f"{dotted}: required, but not given"
    if problem["type"] == "union_tag_invalid":
        names = [str(m.model_fields["name"].default) for m in models]
        name, own = shown(got.get("name"), quoted=False), f", {HINT}" if dotted in SECTIONS else ""
        return f"{dotted}.name: no such name '{name}'{did_you_mean(name, names)} (known here: {', '.join(names)}{own})"
    if problem["type"] == "union_tag_not_found":
        return f"{dotted}: needs a name ({', '.join(str(m.model_fields['name'].default) for m in models)})"
    message = problem["msg"].removeprefix("Value error, ")
    given = f", got {shown(got)}" if not isinstance(got, (dict, BaseModel)) else ""
    return f"{dotted + ': ' if dotted else ''}{message[:1].lower()}{message[1:]}{given}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated, list, tuple, dict):
        return [m for part in typing.get_args(annotation) for m in _models_in(part)]
    return []
