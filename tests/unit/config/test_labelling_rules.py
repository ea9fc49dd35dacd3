"""The registry of labelling rules agrees with the functions, the schema and itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from fewpick.config.labelling_rules import LABELLING_RULES, labelling_rule, readers
from fewpick.config.schema import load_schema
from fewpick.errors import InputError
from fewpick.training import labelling


@pytest.mark.parametrize("name", LABELLING_RULES)
def test_a_rule_takes_the_settings_of_its_line(name: str) -> None:
    function: Callable[..., Any] = getattr(labelling, name)
    assert set(labelling_rule(name).reads) <= set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", LABELLING_RULES)
def test_a_rule_that_has_to_know_the_count_says_so(name: str) -> None:
    function: Callable[..., Any] = getattr(labelling, name)
    asks = "particle_share" in inspect.signature(function).parameters
    assert labelling_rule(name).counts == asks


def test_the_schema_lists_the_rules() -> None:
    schema = load_schema()
    assert schema["$defs"]["labelling"]["enum"] == list(LABELLING_RULES)
    settings = {key for rule in LABELLING_RULES.values() for key in rule.settings}
    keys = schema["$defs"]["fixmatch"]["properties"]
    assert settings <= set(keys)
    assert keys["labelling"]["default"] in LABELLING_RULES


def test_which_rules_read_a_key() -> None:
    assert readers("pseudo_label_threshold") == ["two_thresholds", "unmasked"]
    assert readers("views") == ["positive_unlabelled", "prevalence", "two_thresholds", "unmasked"]
    assert readers("rounds") == ["objects"]
    assert readers("weight") == []


def test_an_unknown_rule_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(InputError) as told:
        labelling_rule("object")
    assert str(told.value) == (
        "fixmatch.labelling: unknown rule 'object' "
        "(choose from objects, positive_unlabelled, prevalence, two_thresholds, unmasked)"
    )
