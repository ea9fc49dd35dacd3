"""Public data sets by name: fetch, unpack, and write the configuration that uses them.

CryoPPP (Dhakal et al. 2023, doi 10.1038/s41597-023-02280-2, CC BY 4.0) offers one archive per
entry, `{entry}.tar.gz`, with `{entry}/micrographs/*.mrc` and, counting rows from the other end,
`{entry}/ground_truth/particle_coordinates/*.csv`, beside stacks of particles. CryoPPP Lite has
8-bit JPG instead, in the orientation of the csv. EMPIAR (CC0) offers the files of an entry below
`{entry}/data`, which its web server lists. Neither publishes checksums as a rule, so they are used
if a checksum file lies next to the data, and an archive is checked by the CRC-32 of gzip.
"""

from __future__ import annotations

import fnmatch
import gzip
import json
import logging
import math
import re
import shutil
import tarfile
import tempfile
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import numpy as np

from fewpick.atomic import atomic_path
from fewpick.coordinates import read_picks
from fewpick.errors import InputError
from fewpick.fetching.download import Remote, check_room, download, in_words, look_up, read_page
from fewpick.micrographs import image_suffix, list_micrographs, stem
from fewpick.progress import Progress

logger = logging.getLogger(__name__)

SOURCES = {
    "cryoppp": "https://calla.rnet.missouri.edu/cryoppp",
    "cryoppp_lite": "https://calla.rnet.missouri.edu/cryoppp_lite",
    "empiar": "https://ftp.ebi.ac.uk/empiar/world_availability",
}
Y_AXES = {"cryoppp": "up", "cryoppp_lite": "down"}
# Folders to unpack from an archive, and their new names.
KEPT = {"micrographs": "micrographs", "particle_coordinates": "coordinates"}
CHECKSUMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # hexadecimal digits -> kind
CHECKSUM_FILE = re.compile(
    r"(\.(md5|sha\d+)|^(md5|sha\d+)sums?(\.txt)?|^checksums?(\.txt)?)$", re.I
)
CONFIG, RECORD = "config.yaml", "fetched.json"


@dataclass(frozen=True)
class Wanted:
    """What to fetch from which source.

    Attributes
    ----------
    source : a key of `SOURCES`
    entry : number of the EMPIAR entry
    folder : where to create the folder of the data set, `{source}-{entry}/`
    mirror : address to use instead of the source's own
    directory, select, coordinates, limit : for EMPIAR, the folder inside the entry, patterns of
        the micrographs and of coordinate files there, and the largest number of micrographs
    checksum : for an archive, such as `sha256:0123...`, if it is known from elsewhere
    """

    source: str
    entry: str
    folder: Path = Path("data")
    mirror: str | None = None
    directory: str = "data"
    select: str = "*.mrc"
    coordinates: str | None = None
    limit: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """Return the name of the data set."""
        return f"{self.source}-{self.entry}"

    @property
    def target(self) -> Path:
        """Return the folder of the data set."""
        return self.folder / self.name

    @property
    def base(self) -> str:
        """Return the address of the source or its mirror."""
        return (self.mirror or SOURCES[self.source]).rstrip("/")


def fetch(wanted: Wanted, *, dry_run: bool = False) -> Path | None:
    """Download a data set, unless it exists, and write its configuration.

    Parameters
    ----------
    wanted : Wanted
    dry_run : only log what would be downloaded, and its size

    Returns
    -------
    path of the configuration, which can be run as it is; None for a dry run

    Raises
    ------
    InputError : an unknown data set, a transfer that keeps failing, or unexpected files
    """
    if wanted.source not in SOURCES or not re.fullmatch(r"\d{4,6}", wanted.entry):
        raise InputError(
            f"{wanted.name}: unknown data set. Give one of {', '.join(SOURCES)} and an EMPIAR "
            "number, such as 10017."
        )
    if (wanted.target / RECORD).exists() and not dry_run:
        logger.info("%s: already complete, nothing to download.", wanted.target)
    else:
        gather = _gather_files if wanted.source == "empiar" else _gather_archive
        if not gather(wanted, dry_run):
            return None
    return _write_config(wanted)


def _gather_archive(wanted: Wanted, dry_run: bool) -> bool:
    """Fetch and unpack the archive of one entry; return whether anything was done."""
    url = f"{wanted.base}/{wanted.entry}.tar.gz"
    remote = look_up(url, wanted.checksum or _checksum_beside(url))
    size = in_words(remote.size) if remote.size is not None else "unknown size"
    logger.info("%s: %s, and about as much again when unpacked.", url, size)
    if dry_run:
        return False
    wanted.target.mkdir(parents=True, exist_ok=True)
    archive = wanted.target / remote.name
    begun = archive.exists() or archive.with_name(f"{archive.name}.part").exists()
    for kind in KEPT.values():
        # Only folders left by an interrupted run may be replaced.
        if not begun and (wanted.target / kind).exists():
            raise InputError(
                f"{wanted.target / kind}: already exists and was not downloaded by fewpick. "
                "Choose another folder, or move it."
            )
    if not archive.exists():
        check_room(wanted.target, 2 * (remote.size or 0))
    for attempt in (1, 2):
        with _Megabytes([remote], remote.name) as tell:
            download(remote, archive, tell)
        try:
            _unpack(archive, wanted)
            break
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            archive.unlink()
            if attempt == 2:
                raise InputError(
                    f"{url}: damaged ({error}), twice. Report this to the provider."
                ) from None
            logger.warning("%s: damaged (%s); downloading it again.", archive, error)
    _write_record(wanted, [remote])
    archive.unlink()
    return True


def _unpack(archive: Path, wanted: Wanted) -> None:
    """Unpack micrographs and coordinates into folders of their own, wherever the archive has them.

    Only the last part of a member's name is used, so that nothing can leave the folder.

    Raises
    ------
    InputError : a name that would leave it, a duplicate name, or nothing of one kind
    tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error : a damaged archive
    """
    packed = Remote(archive.name, archive.stat().st_size)
    with tempfile.TemporaryDirectory(dir=wanted.target, prefix=".unpacking-") as temporary:
        counts = dict.fromkeys(KEPT.values(), 0)
        for kind in counts:
            Path(temporary, kind).mkdir()
        with (
            archive.open("rb") as raw,
            gzip.open(raw) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
            _Megabytes([packed], f"unpack {archive.name}") as tell,
        ):
            position = 0
            for member in tar:
                tell(raw.tell() - position)
                position = raw.tell()
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(
                        f"{archive}: contains {member.name!r}, which would be written outside "
                        "its folder. Do not trust this archive."
                    )
                kind = KEPT.get(path.parent.name, "")
                fits = path.suffix == ".csv" if kind == "coordinates" else image_suffix(path.name)
                if not (kind and fits and member.isfile()) or path.name.startswith("."):
                    continue
                target = Path(temporary, kind, path.name)
                content = tar.extractfile(member)
                if target.exists() or content is None:
                    raise InputError(
                        f"{archive}: contains two files named {path.name!r}. Unpack it by hand."
                    )
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                counts[kind] += 1
            while stream.read(1 << 20):  # gzip compares its checksum at the very end
                pass
        if not all(counts.values()):
            raise InputError(
                f"{archive}: contains {counts['micrographs']} micrographs and "
                f"{counts['coordinates']} coordinate files. Check that it is a CryoPPP archive."
            )
        for kind in counts:
            shutil.rmtree(wanted.target / kind, ignore_errors=True)
            Path(temporary, kind).rename(wanted.target / kind)


def _gather_files(wanted: Wanted, dry_run: bool) -> bool:
    """Fetch the chosen files of an EMPIAR folder; return whether anything was done."""
    url = f"{wanted.base}/{wanted.entry}/{wanted.directory.strip('/')}/"
    names = _listed(read_page(url).decode("utf-8", errors="replace"))
    selected = [n for n in fnmatch.filter(names, wanted.select) if image_suffix(n)]
    micrographs = selected[: wanted.limit]
    coordinates = fnmatch.filter(names, wanted.coordinates or "")
    if wanted.limit is not None:
        # A name belongs to the longest stem, so those of m_10 are not those of m_1.
        stems = sorted({stem(name) for name in selected}, key=len, reverse=True)
        kept = {stem(name) for name in micrographs}
        coordinates = [
            name for name in coordinates if next(filter(name.startswith, stems), None) in kept
        ]
    if not micrographs:
        raise InputError(
            f"{url}: none of its {len(names)} files is an image that matches {wanted.select!r} "
            f"(found {', '.join(names[:5]) or 'none'}). Choose another directory or pattern."
        )
    checksums = _checksums(url, names)
    files = {
        f"{kind}/{name}": look_up(url + urllib.parse.quote(name), checksums.get(name))
        for kind, held in (("micrographs", micrographs), ("coordinates", coordinates))
        for name in held
    }
    total = sum(remote.size or 0 for remote in files.values())
    logger.info("%s: %d files, %s.", url, len(files), in_words(total))
    if dry_run:
        return False
    wanted.target.mkdir(parents=True, exist_ok=True)
    there = sum((wanted.target / p).stat().st_size for p in files if (wanted.target / p).exists())
    check_room(wanted.target, total - there)
    with _Megabytes(files.values(), wanted.name) as tell:
        for path, remote in files.items():
            download(remote, wanted.target / path, tell)
    _write_record(wanted, files.values())
    return True


def _listed(page: str) -> list[str]:
    """Return the sorted names of the files in a web server's listing, without other links."""
    names = set()

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            link = urllib.parse.urlsplit(dict(attrs).get("href") or "")
            name = urllib.parse.unquote(link.path)
            if tag == "a" and not (link.netloc or link.query or link.fragment or "/" in name):
                names.add(name)

    Links().feed(page)
    return sorted(names - {"", ".", ".."})


def _checksums(url: str, names: Iterable[str]) -> dict[str, str]:
    """Return file -> checksum, from the checksum files in a listed folder."""
    found = {}
    for name in names:
        if CHECKSUM_FILE.search(name):
            text = read_page(url + urllib.parse.quote(name)).decode("utf-8", errors="replace")
            for digest, of in _digests(text):
                found[of or re.sub(r"\.[^.]*$", "", name)] = digest
    return found


def _checksum_beside(url: str) -> str | None:
    """Return the checksum of a file from `{url}.sha256` or `{url}.md5`, if there is one."""
    for suffix in ("sha256", "md5"):
        text = read_page(f"{url}.{suffix}", missing=b"").decode("utf-8", errors="replace")
        for digest, _ in _digests(text):
            if digest.startswith(suffix):
                return digest
    return None


def _digests(text: str) -> Iterator[tuple[str, str]]:
    """Yield checksum and file name of each line, as written by md5sum and similar programs."""
    for line in text.splitlines():
        found = re.fullmatch(r"([0-9a-fA-F]{32,128})(?:\s+\*?(?:\./)?(\S.*))?", line.strip())
        if found and len(found[1]) in CHECKSUMS:
            yield f"{CHECKSUMS[len(found[1])]}:{found[1].lower()}", found[2] or ""


def _write_record(wanted: Wanted, files: Iterable[Remote]) -> None:
    """Record what has been downloaded; the record marks the download as complete."""
    record = [{"url": f.url, "size": f.size, "checksum": f.checksum} for f in files]
    with atomic_path(wanted.target / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


def _write_config(wanted: Wanted) -> Path:
    """Write a configuration with the data set and the usual arms."""
    micrographs, coordinates = wanted.target / "micrographs", wanted.target / "coordinates"
    n_micrographs = len(list_micrographs(micrographs))
    radius, lines = None, [f"    micrographs: {json.dumps(micrographs.as_posix())}"]
    if coordinates.is_dir():
        sizes = [held.diameter for held in read_picks(coordinates).values() if held.diameter]
        radius = float(np.median(sizes)) / 2 if sizes else None
        lines.append(f"    coordinates: {json.dumps(coordinates.as_posix())}")
    else:
        lines.append(
            "    coordinates: null  # none available; name a folder or file of particle centres"
        )
    if wanted.source in Y_AXES:
        lines.append(f"    y_axis: {Y_AXES[wanted.source]}")
    lines.append(
        f"    particle_radius: {radius:g}"
        if radius
        else "    # Add the size: particle_radius (px) or particle_diameter_angstrom"
    )
    text = [
        f"# {n_micrographs} micrographs of EMPIAR-{wanted.entry}, from {wanted.base}.",
        "# The workflow checks y_axis against the images before it trains.",
        "datasets:",
        f"  {wanted.name}:",
        *lines,
        "",
        "arms:",
        "  supervised: {method: supervised}",
        "  fixmatch: {method: fixmatch}",
    ]
    with atomic_path(wanted.target / CONFIG) as path:
        path.write_text("\n".join(text) + "\n")
    logger.info("%s: written, with %d micrographs.", wanted.target / CONFIG, n_micrographs)
    return wanted.target / CONFIG


class _Megabytes(Progress):
    """Progress of a transfer, in whole megabytes; call it with numbers of bytes."""

    def __init__(self, files: Iterable[Remote], title: str) -> None:
        super().__init__(math.ceil(sum(f.size or 0 for f in files) / 1e6), f"{title}, MB")
        self._bytes = 0

    def __call__(self, n_bytes: int) -> None:
        self._bytes += n_bytes
        whole = self._bytes // 1_000_000 - self.done
        if whole:
            self.update(whole)
