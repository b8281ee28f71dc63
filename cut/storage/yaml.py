"""Reads YAML that anybody may have written: bounded in size, depth and aliases, and never running code."""

import codecs
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from cut.errors import reason
from cut.storage.files import open_regular

MAX_BYTES = 200_000  # of a file; the largest config here has 3,000
# With every alias written out, for nine lines of aliases of aliases can stand for a billion values; a long text counts
# once per 100 characters.
MAX_VALUES = 20_000
MAX_DEPTH = 50
_MOST_BITS = 256
_TOO_LARGE = f"more than {MAX_BYTES} bytes"


class YamlError(ValueError):
    """Its text is the reason, on one line, without the file's name."""


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file.

    Raises:
        YamlError: it is no YAML, or larger, deeper or more entangled than the bounds of this module.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    # What PowerShell's `>` writes begins with a mark.
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if len(data) > MAX_BYTES:  # it may be cut within a character
            raise YamlError(_TOO_LARGE) from None
        raise YamlError(f"byte {error.start} is not {encoding.upper()}; save it as UTF-8") from None
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """The plain values of a YAML text.

    Raises:
        YamlError: see `read_yaml`.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise YamlError(_TOO_LARGE)
    try:
        return yaml.load(text, Loader=_BoundedLoader)  # noqa: S506  a SafeLoader
    except YamlError:
        raise
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        why = f"line {mark.line + 1}: {problem}" if mark and problem else reason(error)
    except RecursionError:
        why = f"more than {MAX_DEPTH} levels"
    # Dates that do not exist, numbers with more digits than Python converts, ...
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        why = reason(error)
    raise YamlError((why.splitlines() or ["malformed"])[0][:200]) from None


class _BoundedLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice instead of keeping the last."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _check_size(node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)  # merge keys, <<: *anchor
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _construct_int(loader: _BoundedLoader, node: yaml.ScalarNode) -> int:
    """Python writes out no number of thousands of digits, as hexadecimal ones can have; errors could not show it."""
    value = loader.construct_yaml_int(node)
    if value.bit_length() > _MOST_BITS:
        raise YamlError(f"line {node.start_mark.line + 1}: a whole number of more than {_MOST_BITS} bits")
    return value


_BoundedLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def _check_size(root: yaml.Node) -> None:
    """Counts the nodes as often as they are referred to, before anything is made of them."""
    count, waiting = 0, [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        count += 1 + (len(node.value) // 100 if isinstance(node, yaml.ScalarNode) else 0)
        if count > MAX_VALUES:
            raise YamlError(f"more than {MAX_VALUES} values, with all aliases written out")
        if depth > MAX_DEPTH:
            raise YamlError(f"more than {MAX_DEPTH} levels")
        if isinstance(node, yaml.SequenceNode):
            waiting += [(value, depth + 1) for value in node.value]
        elif isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
