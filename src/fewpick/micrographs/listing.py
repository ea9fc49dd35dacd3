"""Find micrographs among the image files."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from fewpick.errors import InputError

logger = logging.getLogger(__name__)

MRC_SUFFIXES = (".mrc", ".map", ".mrc.gz", ".mrc.bz2")
TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
IMAGE_SUFFIXES = MRC_SUFFIXES + TIFF_SUFFIXES + PICTURE_SUFFIXES

# Files that programs write for one exposure, by the end of the name, the best for picking first:
# dose weighted (MotionCor2, cryoSPARC, Scipion), the micrograph itself (RELION's is dose weighted),
# then others that must not count as separate micrographs: not weighted, partly weighted, denoised,
# sums of even and odd frames, power spectra, backgrounds, previews.
COMPANIONS = (
    "dw|doseweighted",
    "",
    "nodw",
    "dws",
    "denoised",
    "evn|even",
    "odd",
    "ps|powerspectrum|ctf|background|avrot|thumb(nail)?(_@\\dx)?|preview(_@\\dx)?",
)
NAMED = "|".join(f"(?P<rank{i}>{names})" for i, names in enumerate(COMPANIONS) if names)
COMPANION = re.compile(f"[_-]({NAMED})$", re.IGNORECASE)
ALIGNED = re.compile("_((patch|local)|rigid)_aligned$", re.IGNORECASE)  # cryoSPARC, the best first
# Files of a camera that are not micrographs, and compressed files that no reader opens.
REFERENCE = re.compile(
    r"(^|[_-])(gain|(gain|super|count|dark)[_-]?ref(erence)?|defects?([_-]?map)?)([_-]|$)",
    re.IGNORECASE,
)
PACKED = re.compile(r"\.(mrc|map|tiff?)\.(xz|zst|z|lz4|lzma|zip|7z|rar)$|\.tiff?\.(gz|bz2)$", re.I)
SHOWN = 3  # names listed in a message


def image_suffix(name: str) -> str | None:
    """Return the image suffix of a file name as spelled in it (".mrc.gz"), None without one."""
    lower = name.lower()
    found = [suffix for suffix in IMAGE_SUFFIXES if lower.endswith(suffix)]
    return name[-max(map(len, found)) :] if found else None


def stem(name: str) -> str:
    """Return a file name without its image suffix; other dots stay ("a.bin_avg.png")."""
    return name.removesuffix(image_suffix(name) or "")


def list_micrographs(*sources: str | Path) -> list[Path]:
    """List the micrographs of folders, globs and single files, sorted by name.

    `~` and variables such as `$HOME` in a source are expanded. Of several files of one exposure
    (`a.mrc`, `a_noDW.mrc`, `a_PS.mrc`) one is listed, with a warning that counts the others.

    Raises
    ------
    InputError
        When a source contains none, or when two micrographs share a name or a stem, so that their
        coordinates and picks would be mixed up.
    """
    paths = [path for source in sources for path in _images(source)]
    paths.sort(key=lambda path: (path.name, len(path.parts), path))
    seen: dict[str, Path] = {}
    paths = _without_companions(paths)
    _doubt_references(paths)
    for path in paths:
        if set(path.name) & set("\t\r\n"):
            raise InputError(
                f"{path.parent}: the name {path.name!r} contains a tab or newline. Rename the file."
            )
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{str(path).encode(errors='backslashreplace').decode()}: the name is not valid "
                "UTF-8. Rename the file (convmv -f latin1 -t utf8 renames many at once)."
            ) from None
        name = stem(stem(path.name))  # a.mrc.png is a picture of a.mrc
        other = seen.setdefault(name, path)
        # With links between folders, `**` finds a file several times.
        if other is not path and not (other.name == path.name and other.samefile(path)):
            raise InputError(
                f"{path}: {other} has the same name, {name!r}. Rename one of them, or "
                "narrow the glob."
            )
    return list(seen.values())


def expand(source: str | Path) -> str:
    """Expand `~` and variables such as `$HOME` as a shell would.

    An existing path is left unchanged.
    """
    text = str(source)
    replaced = os.path.expandvars(os.path.expanduser(text))
    if replaced == text or os.path.lexists(text) or glob.glob(text):
        return text
    return replaced


def _images(source: str | Path) -> list[Path]:
    """List the images of one folder or glob; a single file is a glob too."""
    folder = Path(expand(source))
    if folder.is_dir():
        found = list(folder.iterdir())
    elif folder.is_file():  # even if its name contains brackets
        found = [folder]
    else:
        found = [Path(match) for match in glob.glob(str(folder), recursive=True)]
    for path in found:
        if image_suffix(path.name) and path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: broken link to {os.readlink(path)}. Mount its target, or remove the link."
            )
    paths = [
        p for p in found if image_suffix(p.name) and not p.name.startswith(".") and p.is_file()
    ]
    if paths and (packed := sorted(p.name for p in found if PACKED.search(p.name))):
        logger.warning(
            "%s: %d compressed %s left out: %s. Unpack them first; of compressed files, only "
            ".mrc.gz and .mrc.bz2 are read.",
            *(source, len(packed), "file is" if len(packed) == 1 else "files are", shown(packed)),
        )
    if not paths:
        what = "does not exist" if not found and not folder.is_dir() else "contains no micrographs"
        what += _others(found)
        raise InputError(
            f"{source}: {what}. Give a folder or a glob of single, motion-corrected images "
            f"({', '.join(IMAGE_SUFFIXES)})."
        )
    return paths


def exposure(name: str) -> tuple[str, float]:
    """Return the common part of the names of one exposure, and the rank of this file among them."""
    base, rank = stem(name), float(COMPANIONS.index(""))
    found = COMPANION.search(base)
    if found and found.start() > 0:
        rank = float(next(i for i in range(len(COMPANIONS)) if found.groupdict().get(f"rank{i}")))
        base = base[: found.start()]
    aligned = ALIGNED.search(base)
    if aligned and aligned.start() > 0:
        base, rank = base[: aligned.start()], rank + (0 if aligned[2] else 0.5)
    return base, rank


def _without_companions(paths: Sequence[Path]) -> list[Path]:
    """Keep the best file of each exposure, where there are several."""
    ranks: dict[str, float] = {}
    for base, rank in (exposure(path.name) for path in paths):
        ranks[base] = min(rank, ranks.get(base, rank))
    best = {path for path in paths if exposure(path.name)[1] == ranks[exposure(path.name)[0]]}
    if left_out := [path for path in paths if path not in best]:
        logger.warning(
            "%s: %d %s left out, because another file of the same exposure is used: %s. If that "
            "is wrong, pass a glob of the files you want.",
            left_out[0].parent,
            len(left_out),
            "file is" if len(left_out) == 1 else "files are",
            shown(path.name for path in left_out),
        )
    return [path for path in paths if path in best]


def _doubt_references(paths: Sequence[Path]) -> None:
    """Warn about a few files whose names say that they are not micrographs."""
    named = [path for path in paths if REFERENCE.search(stem(path.name))]
    if named and 2 * len(named) < len(paths):
        logger.warning(
            "%s: %s to be %s, judging by %s: %s. If so, move %s to another folder, or "
            "pass a glob of the micrographs.",
            named[0].parent,
            *(
                ("1 file seems", "a gain reference or defect map", "its name")
                if len(named) == 1
                else (f"{len(named)} files seem", "gain references or defect maps", "their names")
            ),
            shown(path.name for path in named),
            "it" if len(named) == 1 else "them",
        )


def shown(names: Iterable[str], most: int = SHOWN) -> str:
    """List a few names and the number of the others."""
    held = list(names)
    more = len(held) - most
    return ", ".join(held[:most]) + (f" and {more} more" if more > 0 else "")


def _others(found: Sequence[Path]) -> str:
    """Describe the files found instead of micrographs."""
    suffixes = Counter(path.suffix for path in found if path.is_file())
    if not suffixes:
        return ""
    suffix, many = suffixes.most_common(1)[0]
    return (
        f", but {many} {'file' if many == 1 else 'files'} "
        f"{f'ending in {suffix}' if suffix else 'without a suffix'}"
    )
