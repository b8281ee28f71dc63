"""A config as YAML, with what each setting means as comments."""

import textwrap
import typing
from collections.abc import Collection, Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cut.config.run import RunConfig

_WIDTH = 118


def to_explained_yaml(config: RunConfig, sections: Collection[str] | None = None) -> str:
    """`RunConfig.to_yaml`, with the text of each field above the line that holds its value.

    Args:
        config: Config to print.
        sections: Settings of the whole run that are printed; None prints all.
    """
    values = config.to_dict()
    return "\n".join(_lines(config, {k: v for k, v in values.items() if sections is None or k in sections}, "")) + "\n"


def _lines(section: BaseModel, values: dict[str, Any], indent: str) -> Iterator[str]:
    fields = {key: field for key, field in type(section).model_fields.items() if key in values}
    for place, (key, field) in enumerate(fields.items()):
        value, part = values[key], getattr(section, key)
        flow = None if isinstance(value, dict | list) else False
        lines = yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=flow, width=_WIDTH).splitlines()
        if place and not indent:
            yield ""
        yield from _comment(_text(field), f"{indent}# ")
        if isinstance(part, BaseModel) and lines[0] == f"{key}:":  # each of its settings on a line of its own
            yield f"{indent}{key}:"
            yield from _lines(part, value, f"{indent}  ")
            continue
        if isinstance(part, BaseModel):
            texts = {name: _text(inner) for name, inner in type(part).model_fields.items()}
            for name, text in texts.items():
                yield from _comment(f"{name}: {text}" if text else "", f"{indent}#   ")
        yield from (f"{indent}{line}" for line in lines)


def _comment(text: str, start: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=f"{start}    ")


def _text(field: FieldInfo) -> str:
    """What the field means and, where only some words or numbers are allowed, which."""
    allowed = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is typing.Literal else ()
    choice = f"[{' | '.join(map(str, allowed))}]" if len(allowed) > 1 else ""
    return " ".join(f"{field.description or ''} {choice}".split())
