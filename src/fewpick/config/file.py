"""Read a configuration file, more strictly than YAML requires."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from fewpick.errors import InputError

MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Reject duplicate keys, of which YAML silently uses the last, and expanding aliases."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for at, ((key_node, _), key) in enumerate(zip(node.value, keys, strict=True)):
            if key in keys[:at] and key != "<<":
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {key!r}", problem_mark=key_node.start_mark
                )
        return super().construct_mapping(node, deep)

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        # A few lines of nested aliases can expand to billions of values.
        if node is not None and _size(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases expand to more than {MOST_VALUES} values")
        return node


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values, counting those of an alias each time it is used."""
    if id(node) not in known:
        held = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for item in held for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def read_configs(paths: Sequence[str | Path]) -> dict[str, Any]:
    """Read several configurations as one, as `snakemake --configfile` with several files does.

    Sections are merged, and the value of a later file replaces that of an earlier one.

    Raises
    ------
    InputError
        As `read_config`, for any of the files.
    """
    from snakemake.utils import update_config  # costs a quarter of a second

    merged: dict[str, Any] = {}
    for path in paths:
        update_config(merged, read_config(path))
    return merged


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration.

    Raises
    ------
    InputError
        If the file is missing, is not YAML in UTF-8, is empty, contains no keys or a duplicate key,
        or if aliases make it contain itself.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = yaml.load(text, _Loader)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Correct the path.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is not UTF-8 text. Save the file as UTF-8."
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{path}: {where}{error.problem}. {_cure(text, mark)}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({reason}). Correct the file.") from None
    except RecursionError:
        raise InputError(
            f"{path}: values are nested too deeply, or one contains itself (&name ... *name). "
            "Correct the file."
        ) from None
    except ValueError as error:  # a date like 2001-13-45, or an integer with thousands of digits
        raise InputError(f"{path}: a value cannot be read ({error}). Correct it.") from None
    if not isinstance(content, dict):
        held = "is empty" if content is None else f"contains {content!r:.60} instead of keys"
        raise InputError(f"{path}: {held}. fewpick init writes a configuration to start from.")
    return content


def _cure(text: str, mark: yaml.Mark | None) -> str:
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line:
        return "Indent with spaces; YAML does not allow tabs."
    return "Correct that line."
