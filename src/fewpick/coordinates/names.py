"""Match the micrograph names in a coordinate file to the micrographs at hand.

Programs write the same micrograph with and without folder, suffix, number prefix or job suffix.
Each spelling is tried in turn, the closest first, and only an unambiguous one counts.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fewpick.errors import InputError
from fewpick.micrographs import stem

FILE_SUFFIX = re.compile(r"\.(mrcs?|tiff?|eer|star|csv|c?box|txt|cs|json)$", re.IGNORECASE)
CRYOSPARC_PREFIX = re.compile(r"^\d+_")
JOB_SUFFIX = re.compile(
    r"(_(autopick|manualpick|extractpick|topazpicks|cryolo|picks?|particles|coordinates))+$",
    re.IGNORECASE,
)
MOTION_SUFFIX = re.compile(r"(_(patch|rigid|local)_aligned)?(_doseweighted|_dw)?$", re.IGNORECASE)
SHOWN = 5  # names listed in a message; the counts tell of the rest


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1].strip()


def _stem(name: str) -> str:
    base = stem(_base(name))
    return FILE_SUFFIX.sub("", base) or base


def _without(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def strip(name: str) -> str:
        return pattern.sub("", _stem(name)) or _stem(name)

    return strip


def _bare(name: str) -> str:
    name = _stem(name)
    for pattern in (JOB_SUFFIX, CRYOSPARC_PREFIX, MOTION_SUFFIX):
        name = pattern.sub("", name) or name
    return name


# (spelling of the key, spelling of the micrograph). A number prefix is removed on one side at a
# time: removed on both, 001_mic would match 002_mic.
SPELLINGS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str, str),
    (_base, _base),
    (_stem, _stem),
    (_without(JOB_SUFFIX), _stem),
    (_without(CRYOSPARC_PREFIX), _stem),
    (_stem, _without(CRYOSPARC_PREFIX)),
    (_bare, _stem),
    (_stem, _bare),
)


@dataclass(frozen=True)
class Match:
    """Which key means which micrograph.

    Attributes
    ----------
    matched : dict
        Key in the coordinate file to micrograph.
    unmatched_keys : dict
        Key to the reason why it matches none, with the nearest micrographs.
    unmatched_micrographs : list
        Micrographs that no key names: not annotated.
    """

    matched: dict[str, str]
    unmatched_keys: dict[str, str]
    unmatched_micrographs: list[str]

    def summary(self) -> str:
        """Return the counts and the first reasons on one line."""
        micrographs = len(self.matched) + len(self.unmatched_micrographs)
        keys = len(self.matched) + len(self.unmatched_keys)
        text = f"{len(self.matched)} of {micrographs} micrographs matched, "
        text += f"{len(self.matched)} of {keys} names in the coordinates"
        reasons = [f"{key!r} {why}" for key, why in list(self.unmatched_keys.items())[:SHOWN]]
        more = len(self.unmatched_keys) - len(reasons)
        if more > 0:
            reasons.append(f"and {more} more")
        return "; ".join([text, *reasons])


def match_names(micrographs: Sequence[str], keys: Iterable[str]) -> Match:
    """Match each key to the one micrograph it can mean.

    Raises
    ------
    InputError
        When no key matches, or two mean the same micrograph.
    """
    open_keys = list(dict.fromkeys(keys))
    matched: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    both = [(of_key, of_name) for of_key, of_name in SPELLINGS]
    folded = [(_folded(of_key), _folded(of_name)) for of_key, of_name in SPELLINGS]
    for of_key, of_name in both + folded:
        index: dict[str, list[str]] = {}
        for name in micrographs:
            index.setdefault(of_name(name), []).append(name)
        for key in open_keys:
            found = index.get(of_key(key), [])
            if len(found) == 1:
                matched[key] = found[0]
            elif found:
                ambiguous.setdefault(key, found)
        open_keys = [key for key in open_keys if key not in matched]
    taken: dict[str, str] = {}
    for key, name in matched.items():
        other = taken.setdefault(name, key)
        if other != key:
            raise InputError(
                f"{name}: both {other!r} and {key!r} mean this micrograph. Remove or rename one."
            )
    shown = {key: _reason(key, micrographs, ambiguous) for key in open_keys[:SHOWN]}
    match = Match(
        matched,
        {key: shown.get(key, "matches no micrograph") for key in open_keys},
        [name for name in micrographs if name not in taken],
    )
    if not matched:
        raise InputError(
            f"coordinates: {match.summary()}; the micrographs are called "
            f"{', '.join(map(repr, micrographs[:3]))}. Check that both belong together, or "
            "rename either."
        )
    return match


def _folded(spelling: Callable[[str], str]) -> Callable[[str], str]:
    # One name may be spelled with composed or with combining letters: macOS writes the latter.
    return lambda name: unicodedata.normalize("NFC", spelling(name)).casefold()


def _reason(key: str, micrographs: Sequence[str], ambiguous: dict[str, list[str]]) -> str:
    if key in ambiguous:
        return f"could be any of {', '.join(ambiguous[key][:SHOWN])}"
    near = difflib.get_close_matches(_stem(key), [_stem(name) for name in micrographs], n=2)
    return "matches no micrograph" + (f" (nearest: {', '.join(near)})" if near else "")
