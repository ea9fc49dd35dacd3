"""Match the micrograph names in a coordinate file to the micrographs.

Programs write the same micrograph with or without folder, suffix, number prefix or job suffix. Each
spelling is tried in turn, the closest first, and only unambiguous matches count. Folders are
compared from the innermost up, as far as needed to distinguish names: paths are relative to
different folders, and files are copied, so a different folder alone is not a contradiction.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewpick.errors import InputError
from fewpick.micrographs import stem

FILE_SUFFIX = re.compile(r"\.(mrcs?|tiff?|eer|star|csv|c?box|txt|cs|json)$", re.IGNORECASE)
IMAGE_NUMBER = re.compile(r"^\d+@")  # RELION's image of a stack
CRYOSPARC_PREFIX = re.compile(r"^\d+_")
# Suffixes added by pickers: RELION, Gautomatch, EMAN2, crYOLO, Topaz, cryoSPARC.
JOB_SUFFIX = re.compile(
    r"(_(autopick|manualpick|extractpick|extract|automatch|topazpicks|cryolo|picks?|particles"
    r"|coordinates|coords|boxes|info|pred))+$",
    re.IGNORECASE,
)
# Suffixes added by motion correction and denoising: MotionCor2, RELION, cryoSPARC, Scipion, EPU.
MOTION_SUFFIX = re.compile(
    r"([_-](((patch|rigid|local)_)?aligned(_mic)?|doseweighted|dws?|nodw|denoised|evn|odd|fractions"
    r"|eer|a(?=-dw)))+$",
    re.IGNORECASE,
)
SHOWN = 5  # names listed in a message; the rest are counted

Micrographs = Sequence[str] | Mapping[str, str | Path]


def _parts(name: str) -> list[str]:
    return IMAGE_NUMBER.sub("", name.strip()).replace("\\", "/").split("/")


def _base(name: str) -> str:
    return _parts(name)[-1].strip()


def _stem(name: str) -> str:
    base = stem(_base(name))
    return FILE_SUFFIX.sub("", base) or base


def _without(*patterns: re.Pattern[str]) -> Callable[[str], str]:
    def strip(name: str) -> str:
        name = _stem(name)
        for pattern in patterns:
            name = pattern.sub("", name) or name
        return name

    return strip


def _number(name: str) -> str:
    """Write a name of digits as a spreadsheet does, without leading zeros."""
    base = _stem(name)
    return base.lstrip("0") or "0" if base.isdecimal() else base


_tail = _without(JOB_SUFFIX, MOTION_SUFFIX)
_bare = _without(JOB_SUFFIX, MOTION_SUFFIX, CRYOSPARC_PREFIX)

# (spelling of the key, spelling of the micrograph). A number prefix is removed on one side at a
# time; removed on both, 001_mic would match 002_mic.
SPELLINGS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str, str),
    (_base, _base),
    (_stem, _stem),
    (_without(JOB_SUFFIX), _stem),
    (_without(CRYOSPARC_PREFIX), _stem),
    (_stem, _without(CRYOSPARC_PREFIX)),
    (_tail, _stem),
    (_stem, _tail),
    (_tail, _tail),
    (_bare, _stem),
    (_stem, _bare),
    (_bare, _tail),
    (_tail, _bare),
    (_number, _number),
)


@dataclass(frozen=True)
class Match:
    """The micrograph that each key matches.

    Attributes
    ----------
    matched : dict
        Key in the file to micrograph.
    unmatched_keys : dict
        Key to the reason why it matches none, with the closest micrographs.
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
        text += f"{len(self.matched)} of {keys} names in the file"
        reasons = [f"{key!r} {why}" for key, why in list(self.unmatched_keys.items())[:SHOWN]]
        more = len(self.unmatched_keys) - len(reasons)
        if more > 0:
            reasons.append(f"and {more} more")
        return "; ".join([text, *reasons])


def match_names(micrographs: Micrographs, keys: Iterable[str], where: object) -> Match:
    """Match each key to a single micrograph.

    Parameters
    ----------
    micrographs: names, or name to path
        With paths, a key whose folders are those of other micrographs matches none: of
        `Grid1/a.mrc` and `Grid2/a.mrc` only the first is the `a.mrc` in a folder Grid1.
    keys: names in the file of coordinates, areas or splits
    where: this file, for messages

    Raises
    ------
    InputError
        When no key matches, or two mean the same micrograph.
    """
    names = list(micrographs)
    open_keys = list(dict.fromkeys(keys))
    matched: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    both = [(of_key, of_name) for of_key, of_name in SPELLINGS]
    folded = [(_folded(of_key), _folded(of_name)) for of_key, of_name in SPELLINGS]
    for of_key, of_name in both + folded:
        if not open_keys:
            break
        index: dict[str, list[str]] = {}
        for name in names:
            index.setdefault(of_name(name), []).append(name)
        for key in open_keys:
            found = index.get(of_key(key), [])
            if len(found) == 1:
                matched[key] = found[0]
            elif found:
                ambiguous.setdefault(key, found)
        open_keys = [key for key in open_keys if key not in matched]
    elsewhere: dict[str, str] = {}
    if isinstance(micrographs, Mapping):
        elsewhere = _elsewhere(micrographs, matched)
        matched = {key: name for key, name in matched.items() if key not in elsewhere}
    taken: dict[str, str] = {}
    for key, name in matched.items():
        other = taken.setdefault(name, key)
        if other != key:
            raise InputError(
                f"{where}: both {other!r} and {key!r} match the micrograph {name}. Remove or "
                "rename one."
            )
    shown = {key: _reason(key, names, ambiguous) for key in open_keys[:SHOWN]}
    match = Match(
        matched,
        elsewhere | {key: shown.get(key, "matches no micrograph") for key in open_keys},
        [name for name in names if name not in taken],
    )
    if not matched:
        raise InputError(
            f"{where}: {match.summary()}; the micrographs are named "
            f"{', '.join(map(repr, names[:3]))}. Check that this file and the micrographs belong "
            "together, or rename one of them."
        )
    return match


def _folders(name: str) -> tuple[str, ...]:
    """Folders of a name, the nearest first."""
    parts = [part.casefold() for part in _parts(name)[-2::-1]]
    return tuple(part for part in parts if part not in ("", ".") and not part.endswith(":"))


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Count the folders that two paths share, from the nearest up to the first that differs."""
    differ = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _elsewhere(micrographs: Mapping[str, str | Path], matched: Mapping[str, str]) -> dict[str, str]:
    """Find matched keys whose folders are not those of the micrograph.

    Folders that differ count only if another key fits this micrograph better, or if they are those
    of another micrograph at hand.
    """
    here = {name: _folders(str(Path(path).absolute())) for name, path in micrographs.items()}
    at_hand = set(here.values())
    written = {key: _folders(key) for key in matched}
    pairs = {(written[key], here[name]) for key, name in matched.items()}
    shared = {(folders, place): _common(folders, place) for folders, place in pairs}
    best: dict[tuple[str, ...], int] = {}
    for (_, place), count in shared.items():
        best[place] = max(count, best.get(place, 0))
    of_others = {
        folders
        for folders in set(written.values())
        if folders and any(_common(folders, place) == len(folders) for place in at_hand)
    }
    found = {}
    for key, name in matched.items():
        folders, place = written[key], here[name]
        count = shared[folders, place]
        if count < len(folders) and (count < best[place] or folders in of_others):
            found[key] = f"is in a different folder from {micrographs[name]}"
    return found


def _folded(spelling: Callable[[str], str]) -> Callable[[str], str]:
    # The same name may use composed or combining letters; macOS writes the latter.
    return lambda name: unicodedata.normalize("NFC", spelling(name)).casefold()


def _reason(key: str, micrographs: Sequence[str], ambiguous: dict[str, list[str]]) -> str:
    if key in ambiguous:
        return f"could be any of {', '.join(ambiguous[key][:SHOWN])}"
    near = difflib.get_close_matches(_stem(key), [_stem(name) for name in micrographs], n=2)
    return "matches no micrograph" + (f" (nearest: {', '.join(near)})" if near else "")
