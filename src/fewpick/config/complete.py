"""Check a configuration and fill in its defaults.

Everything here is a pure function of the configuration.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from fewpick.config.labelling_rules import labelling_rule
from fewpick.errors import InputError
from fewpick.geometry import GRAIN
from fewpick.micrographs import expand

Config = dict[str, Any]


# Name of Topaz's row, and its key in `baselines`.
TOPAZ = "topaz"
# Baselines that use no labels: one row each, or one per data set if there are several.
RELION_LOG, GENERAL_ROW = "relion_log", "general"


def complete(config: Mapping[str, Any], schema: Config, source: str = "config.yaml") -> Config:
    """Check a configuration and fill in the defaults of the schema.

    Parameters
    ----------
    config : contents of a YAML file; not modified
    schema : JSON schema that provides the `default`s
    source : name of the file, for messages

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value cannot be used.
    """
    for path, value in _numbers(config):
        # The schema's limits do not reject NaN or, without a maximum, infinity, and YAML integers
        # may be too large for a float.
        if not abs(value) <= sys.float_info.max:
            raise InputError(f"{source}: {_dotted(path)} is {value!s:.40}; give a finite number")
    _check_names(config, schema, source)
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is not None:
        raise InputError(f"{source}: {_explain(error)}")
    full = _expanded(_fill(config, schema, schema))
    _check(full, source)
    return full


# Fractions that people tend to write in percent.
SHARES = ("labeled_ratios", "val_fraction", "test_fraction")
# Keys of data sets, and of sections, that hold a path.
PATHS = ("micrographs", "coordinates", "split_file", "areas", "negatives", "path")


def _check_names(config: Mapping[str, Any], schema: Config, source: str) -> None:
    """Reject keys of a data set in place of its name."""
    datasets = config.get("datasets")
    known = schema["properties"]["datasets"]["additionalProperties"]["properties"]
    if isinstance(datasets, Mapping):
        misplaced = [key for key in datasets if key in known]
        if misplaced and not isinstance(datasets[misplaced[0]], Mapping):
            raise InputError(
                f"{source}: datasets.{misplaced[0]} is a key of a data set, but the data set's "
                f"name is missing. Write datasets: {{mine: {{{misplaced[0]}: ...}}}}, with any "
                "name."
            )


def _expanded(config: Config) -> Config:
    """Replace `~` and variables such as `$HOME` in paths, as a shell would."""

    def paths(spec: Config) -> Config:
        return {
            key: expand(value) if key in PATHS and isinstance(value, str) else value
            for key, value in spec.items()
        }

    return config | {
        section: {name: paths(spec) for name, spec in config[section].items()}
        for section in ("datasets", "external_picks")
    }


def _fill(value: Any, schema: Config, root: Config, defaults: bool = True) -> Any:
    """Return a copy with defaults filled in, and numbers converted to the schema's type."""
    if "$ref" in schema:
        schema = _resolve(schema["$ref"], root) | {k: v for k, v in schema.items() if k != "$ref"}
    # Sections of an arm are overrides: keys they lack come from the shared section.
    defaults = defaults and not schema.get("overrides", False)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        if defaults:
            value = {k: sub["default"] for k, sub in properties.items() if "default" in sub} | value
        others = schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        return {
            key: _fill(item, properties.get(key, others), root, defaults)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_fill(item, schema.get("items", {}), root, defaults) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        kinds = schema.get("type", ())
        if "integer" in kinds:
            return int(value)
        if "number" in kinds:
            return float(value)
    return value


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], float]]:
    """Yield all numbers with their paths."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
    elif isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, held in items:
            yield from _numbers(held, (*path, key))


def _resolve(reference: str, root: Config) -> Config:
    node = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def _explain(error: ValidationError) -> str:
    """Return one line with the key, the value and what to do."""
    path, value = _dotted(error.absolute_path), cast(Any, error.instance)
    schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        key = next(key for key in value if key not in known)
        close = difflib.get_close_matches(str(key), known, n=1)
        cure = f"did you mean {close[0]}?" if close else f"the known keys are {', '.join(known)}."
        return f"{_dotted([*error.absolute_path, key])} is not a known key; {cure}"
    if error.validator == "required":
        key = next(key for key in cast(Any, error.validator_value) if key not in value)
        about = schema.get("properties", {}).get(key, {}).get("description", "")
        return f"{_dotted([*error.absolute_path, key])} is missing; {_lower(about)}"
    if error.validator == "pattern" or "propertyNames" in error.absolute_schema_path:
        return (
            f"{path + ': ' if path else ''}{value!r} is not a valid name; use letters, digits, "
            "'_', '-' and '.', starting with a letter or digit"
            + ("" if isinstance(value, str) else f', and quote it: "{value}"')
        )
    if error.validator == "uniqueItems":
        return f"{path} is {value!r}; list each value once"
    percent = ""
    is_share = not set(SHARES).isdisjoint(error.absolute_path)
    if is_share and error.validator in ("maximum", "exclusiveMaximum"):
        percent = f" ({value / 100:g} for {value:g} %)"
    text = " (text, not a number; in YAML write 1.0e-3, not 1e-3)" * (
        isinstance(value, str) and schema.get("type") in ("number", "integer")
    )
    return f"{path} is {value!r}{text}; give {_expected(schema)}{percent}"


def _expected(schema: Config) -> str:
    """Return in words what a schema accepts, for example "a number in (0, 1]"."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = {
        "number": "a number",
        "integer": "a whole number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list",
        "object": "a section of keys",
        "null": "null",
    }
    said = " or ".join(words[kind] for kind in kinds)
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    above, below = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    if low is not None and high is not None:
        said += f" in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
    elif low is not None:
        said += f" {'>' if above else '>='} {low:g}"
    elif high is not None:
        said += f" {'<' if below else '<='} {high:g}"
    if "multipleOf" in schema:
        said += f", a multiple of {schema['multipleOf']:g}"
    if schema.get("minItems"):
        said += f" of at least {schema['minItems']}"
    if "items" in schema:
        said += f", each {_expected(schema['items'])}" if "type" in schema["items"] else ""
    return said + (f" ({schema['unit']})" if "unit" in schema else "")


def _dotted(path: Iterable[str | int]) -> str:
    """Write a path as a user would: datasets.mine.border, splits.seeds[1]."""
    said = ""
    for part in path:
        said += f"[{part}]" if isinstance(part, int) else f".{part}" if said else f"{part}"
    return said


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _check(config: Config, source: str) -> None:
    """Check what a schema cannot express."""
    for name, spec in config["datasets"].items():
        where = f"{source}: datasets.{name}"
        if name == "all":
            raise InputError(
                f"{where}: the name 'all' is reserved for the row that pools data "
                "sets; choose another"
            )
        if ("simulate" in spec) == ("micrographs" in spec):
            raise InputError(
                f"{where}: set either micrographs (with coordinates) or simulate, not both"
            )
        if "micrographs" in spec and "coordinates" not in spec:
            raise InputError(
                f"{where}.coordinates is missing; name the file or folder of particle centres"
            )
        _check_annotation(spec, where)
        if ("particle_radius" in spec) == ("particle_diameter_angstrom" in spec):
            raise InputError(
                f"{where}: set either particle_radius (px of the original micrograph) or "
                "particle_diameter_angstrom, not both"
            )
    if all(spec["labels"] != "use" for spec in config["datasets"].values()):
        raise InputError(
            f"{source}: no data set has labels: use, so there are no labels to train on; set "
            "labels: use for at least one"
        )
    if not any("simulate" in spec or spec["coordinates"] for spec in config["datasets"].values()):
        raise InputError(
            f"{source}: no data set has coordinates, so there is nothing to train on. Mark "
            "particles on a few micrographs (fewpick label) and set coordinates to that file."
        )
    splits = config["splits"]
    if splits["val_fraction"] + splits["test_fraction"] >= 1:
        raise InputError(
            f"{source}: splits.val_fraction {splits['val_fraction']:g} and splits.test_fraction "
            f"{splits['test_fraction']:g} leave nothing to train on; choose two that sum to less "
            "than 1"
        )
    for name, spec in config["arms"].items():
        if spec["method"] == "supervised" and not {"labelling", "fixmatch"}.isdisjoint(spec):
            raise InputError(
                f"{source}: arms.{name} has FixMatch keys, but its method is supervised; "
                "remove them or set method: fixmatch"
            )
        rule = spec.get("labelling", config["fixmatch"]["labelling"])
        if spec["method"] == "fixmatch" and labelling_rule(rule).counts:
            _check_counts(config, f"{source}: arms.{name}")
        training = config["training"] | spec.get("training", {})
        if training["warm_start_steps"] > training["steps"]:
            raise InputError(
                f"{source}: arm {name}: training.warm_start_steps is "
                f"{training['warm_start_steps']}, but training.steps, which includes them, is "
                f"{training['steps']}; lower the first or raise the second"
            )
        model = config["model"] | spec.get("model", {})
        reduction = model["stem_stride"] * 2 ** (len(model["widths"]) - 1)
        if reduction > GRAIN:
            raise InputError(
                f"{source}: arm {name}: model.stem_stride {model['stem_stride']} and "
                f"{len(model['widths'])} model.widths downsample images {reduction} times; "
                f"choose a smaller stride or fewer widths, for at most {GRAIN} times"
            )
    for name, spec in config["external_picks"].items():
        if spec["dataset"] not in config["datasets"]:
            raise InputError(
                f"{source}: external_picks.{name}.dataset is {spec['dataset']!r}; choose one of "
                f"the data sets {', '.join(config['datasets'])}"
            )
        if name in config["arms"]:
            raise InputError(f"{source}: external_picks.{name} is also an arm; rename one")
    uncounted = [name for name, s in config["datasets"].items() if s["expected_particles"] is None]
    if config["final"]["folds"] == 0 and uncounted:
        raise InputError(
            f"{source}: final.folds is 0, and datasets.{uncounted[0]}.expected_particles is "
            "missing; the target picks needs one of them to set its score threshold"
        )
    topaz = config["baselines"].get(TOPAZ)
    if topaz is not None:
        _check_topaz(topaz, config, f"{source}: baselines.{TOPAZ}")
    for name, (baseline, _) in label_free_rows(config).items():
        _check_row_name(name, config, f"{source}: baselines.{baseline}")
    reference = config["evaluation"]["reference_arm"]
    if reference not in config["arms"]:
        raise InputError(
            f"{source}: evaluation.reference_arm is {reference!r}; choose one of the arms "
            f"{', '.join(config['arms'])}"
        )


def label_free_rows(config: Config) -> dict[str, tuple[str, str]]:
    """Return table row -> label-free baseline and data set."""
    datasets = sorted(config["datasets"])
    return {
        baseline if len(datasets) == 1 else f"{baseline}_{name}": (baseline, name)
        for baseline in (RELION_LOG, GENERAL_ROW)
        if config["baselines"].get(baseline, False) is not False
        for name in datasets
    }


def _check_annotation(spec: Config, where: str) -> None:
    """Check that `areas` and `negatives` fit the kind of annotation."""
    kind = spec["annotation"]
    if kind == "areas" and spec["areas"] is None:
        raise InputError(
            f"{where}.areas is missing; name the table of areas in which every particle is marked, "
            "or set annotation: clicks"
        )
    if kind != "areas" and spec["areas"] is not None:
        raise InputError(
            f"{where}.areas is {spec['areas']!r}, but annotation is {kind}; set annotation: areas, "
            "or remove areas"
        )
    if kind == "full" and spec["negatives"] is not None:
        raise InputError(
            f"{where}.negatives is {spec['negatives']!r}, but annotation is full, where "
            "everything unmarked is background; set annotation: clicks or areas, or remove "
            "negatives"
        )
    if kind != "full" and "simulate" in spec:
        raise InputError(
            f"{where}.annotation is {kind}, but simulated micrographs are fully annotated; "
            "remove annotation"
        )


def _check_row_name(name: str, config: Config, where: str) -> None:
    for section in ("arms", "external_picks"):
        if name in config[section]:
            raise InputError(
                f"{where}: the name {name} is taken by its rows; rename {section}.{name}"
            )


def _check_topaz(topaz: Config, config: Config, where: str) -> None:
    _check_row_name(TOPAZ, config, where)
    splits = config["splits"]
    strangers = set(topaz["ratios"] or ()) - set(splits["labeled_ratios"])
    if strangers:
        raise InputError(
            f"{where}.ratios: {min(strangers):g} is not in splits.labeled_ratios; add it there, or "
            "remove it here"
        )
    _check_counts(config, where)


def _check_counts(config: Config, where: str) -> None:
    """Require expected_particles for methods that need a particle count that clicks do not give."""
    for name, spec in config["datasets"].items():
        if config["splits"]["unit"] == "particle" and spec["expected_particles"] is None:
            raise InputError(
                f"{where}: datasets.{name}.expected_particles is missing; clicked particles "
                "(splits.unit) do not show how many there are, so set the approximate number "
                "per micrograph"
            )
