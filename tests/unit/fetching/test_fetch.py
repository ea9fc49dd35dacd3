"""Fetching from a server on this machine: broken off, corrupt, gone for a while, already there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import yaml
from fake_site import Site, archive, entry, serving

from fewpick.commands.fetch import main
from fewpick.config.complete import complete
from fewpick.config.schema import load_schema
from fewpick.coordinates import read_picks
from fewpick.errors import InputError
from fewpick.fetching import download as module
from fewpick.fetching.download import Remote, download, in_words, look_up
from fewpick.fetching.public import Wanted, fetch


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as held:
        yield held


# ---------------------------------------------------------------------------------- one file

CONTENT = np.random.default_rng(0).bytes(3_000_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def get(site: Site, tmp_path: Path, **about: object) -> list[int]:
    told: list[int] = []
    remote = Remote(site.url + "/a.bin", **{"size": len(CONTENT), "checksum": DIGEST, **about})  # type: ignore[arg-type]
    download(remote, tmp_path / "a.bin", told.append)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    return told


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.faults["/a.bin"] = [1_000_000, "503", 500_000]
    assert sum(get(site, tmp_path)) == len(CONTENT)
    assert site.transfers("/a.bin") == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]


def test_a_later_run_goes_on_too(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.faults["/a.bin"] = [1_000_000, *["500"] * module.RETRIES]
    with pytest.raises(InputError, match=r" 500: .*, 6 times in a row\. Check the connection"):
        get(site, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert sum(get(site, tmp_path)) == len(CONTENT)
    assert site.transfers("/a.bin")[-1] == "bytes=1000000-"


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    get(site, tmp_path)
    n = len(site.requests)
    assert sum(get(site, tmp_path)) == len(CONTENT)
    assert len(site.requests) == n


def test_halves_of_two_versions_are_never_joined(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT[::-1]
    site.faults["/a.bin"] = [1_000_000, *["500"] * module.RETRIES]
    with pytest.raises(InputError):
        get(site, tmp_path)
    site.files["/a.bin"] = CONTENT
    assert sum(get(site, tmp_path)) == len(CONTENT)


def test_a_server_without_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.faults["/a.bin"] = [1_000_000, "no ranges"]
    assert sum(get(site, tmp_path)) == len(CONTENT)


def test_a_whole_part_needs_no_further_byte(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    (tmp_path / "a.bin.part.tag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    get(site, tmp_path)
    assert site.transfers("/a.bin") == [f"bytes={len(CONTENT)}-"]


def test_a_corrupt_file_is_fetched_once_more_and_then_refused(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.faults["/a.bin"] = ["corrupt"]
    assert sum(get(site, tmp_path)) == len(CONTENT)
    (tmp_path / "a.bin").unlink()
    site.faults["/a.bin"] = ["corrupt", "corrupt"]
    with pytest.raises(InputError, match=r"a\.bin: its sha256 is .*, twice"):
        get(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_is_a_corrupt_file(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    with pytest.raises(InputError, match="received 3000000 of 7 bytes, twice"):
        get(site, tmp_path, size=7, checksum=None)


def test_what_cannot_be_had_is_said_at_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"/a\.bin: 404 Not Found\. Check the name"):
        get(site, tmp_path)
    assert len(site.requests) == 1
    with pytest.raises(InputError, match="begins with https://"):
        look_up("file:///etc/passwd")
    monkeypatch.setattr(module, "RESERVE", 1 << 60)
    with pytest.raises(InputError, match=r"needs .*, only .* free\. Free some space"):
        get(site, tmp_path)


def test_sizes_as_people_say_them() -> None:
    assert [in_words(n) for n in (999, 1500, 2_600_000_000_000)] == [
        "999 bytes",
        "1.5 kB",
        "2.6 TB",
    ]


# -------------------------------------------------------------------------------- data sets


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("image") / "a.mrc"
    mrcfile.write(path, np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32))
    return path.read_bytes()


def wanted(site: Site, tmp_path: Path, source: str = "cryoppp", **options: object) -> Wanted:
    folder = tmp_path / "data"
    return Wanted(source, "10017", folder=folder, mirror=site.url, **options)  # type: ignore[arg-type]


def test_a_cryoppp_entry_becomes_a_configuration(
    site: Site, tmp_path: Path, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    site.files["/10017.tar.gz"] = archive(entry(image))
    site.faults["/10017.tar.gz"] = [100]
    caplog.set_level("INFO")
    path = fetch(wanted(site, tmp_path))
    assert path == tmp_path / "data/cryoppp-10017/config.yaml"
    folder = path.parent
    # The size is said before anything comes.
    assert "10017.tar.gz: " in caplog.records[0].message
    assert "kB" in caplog.records[0].message
    assert {p.name for p in folder.iterdir()} == {
        *("micrographs", "coordinates", "config.yaml", "fetched.json")
    }
    assert {p.name for p in (folder / "micrographs").iterdir()} == {"m1.mrc", "m2.mrc"}
    assert (folder / "micrographs/m1.mrc").read_bytes() == image
    config = complete(yaml.safe_load(path.read_text()), load_schema())
    spec = config["datasets"]["cryoppp-10017"]
    assert spec["micrographs"] == str(folder / "micrographs")
    assert spec["y_axis"] == "up"
    assert spec["particle_radius"] == 6
    assert len(read_picks(spec["coordinates"])) == 2
    # Nothing of it comes twice, and the configuration can be had again.
    n = len(site.requests)
    path.unlink()
    assert fetch(wanted(site, tmp_path)) == path
    assert path.exists()
    assert len(site.requests) == n


def test_a_folder_of_somebody_else_is_not_written_over(
    site: Site, tmp_path: Path, image: bytes
) -> None:
    site.files["/10017.tar.gz"] = archive(entry(image))
    own = tmp_path / "data/cryoppp-10017/micrographs/mine.mrc"
    own.parent.mkdir(parents=True)
    own.write_bytes(image)
    with pytest.raises(InputError, match=r"micrographs: already exists and was not downloaded"):
        fetch(wanted(site, tmp_path))
    assert own.read_bytes() == image
    assert [p.name for p in own.parents[1].iterdir()] == ["micrographs"]


def test_a_corrupt_archive_is_fetched_again_and_then_refused(
    site: Site, tmp_path: Path, image: bytes
) -> None:
    """Without a published checksum, that of gzip tells."""
    site.files["/10017.tar.gz"] = archive(entry(image))
    site.faults["/10017.tar.gz"] = ["corrupt", "corrupt"]
    with pytest.raises(InputError, match=r"10017\.tar\.gz: damaged \(.*\), twice"):
        fetch(wanted(site, tmp_path))
    assert list((tmp_path / "data/cryoppp-10017").iterdir()) == []
    site.faults["/10017.tar.gz"] = ["corrupt"]
    assert fetch(wanted(site, tmp_path)) is not None


def test_damage_behind_the_last_file_is_seen(site: Site, tmp_path: Path, image: bytes) -> None:
    packed = archive(entry(image))
    site.files["/10017.tar.gz"] = packed[:-8] + bytes(4) + packed[-4:]  # the CRC of gzip
    with pytest.raises(InputError, match="damaged"):
        fetch(wanted(site, tmp_path))


def test_a_checksum_beside_the_archive_or_from_the_user_is_used(
    site: Site, tmp_path: Path, image: bytes
) -> None:
    site.files["/10017.tar.gz"] = packed = archive(entry(image))
    site.files["/10017.tar.gz.md5"] = b"d41d8cd98f00b204e9800998ecf8427e  10017.tar.gz\n"
    with pytest.raises(InputError, match="its md5 is"):
        fetch(wanted(site, tmp_path))
    right = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert fetch(wanted(site, tmp_path, checksum=right)) is not None
    record = json.loads((tmp_path / "data/cryoppp-10017/fetched.json").read_text())
    assert record == [{"url": f"{site.url}/10017.tar.gz", "size": len(packed), "checksum": right}]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"10017/micrographs/../../../evil.mrc": b"x"}, "would be written outside its folder"),
        ({"/micrographs/evil.mrc": b"x"}, "would be written outside its folder"),
        ({"again/micrographs/m1.mrc": b"x"}, "two files named 'm1.mrc'"),
    ],
)
def test_an_archive_cannot_leave_its_folder(
    site: Site, tmp_path: Path, image: bytes, extra: dict[str, bytes], message: str
) -> None:
    site.files["/10017.tar.gz"] = archive(entry(image) | extra)
    with pytest.raises(InputError, match=message):
        fetch(wanted(site, tmp_path))
    assert not list(tmp_path.rglob("evil.mrc"))
    assert not (tmp_path / "data/cryoppp-10017/micrographs").exists()


def test_links_in_an_archive_are_passed_over(site: Site, tmp_path: Path, image: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in entry(image).items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        link = tarfile.TarInfo("10017/micrographs/link.mrc")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    site.files["/10017.tar.gz"] = buffer.getvalue()
    path = fetch(wanted(site, tmp_path))
    assert path is not None
    assert not (path.parent / "micrographs/link.mrc").is_symlink()


def test_another_archive_is_said_to_be_one(site: Site, tmp_path: Path) -> None:
    site.files["/10017.tar.gz"] = archive({"notes.txt": b"hello"})
    with pytest.raises(InputError, match="0 micrographs and 0 coordinate files"):
        fetch(wanted(site, tmp_path))
    site.files["/10017.tar.gz"] = gzip.compress(b"no tar")
    with pytest.raises(InputError, match="damaged"):
        fetch(wanted(site, tmp_path, "cryoppp_lite"))


def test_part_of_an_empiar_folder(site: Site, tmp_path: Path, image: bytes) -> None:
    base = "/10017/data/sums/"
    for name in ("m1.mrc", "m 2.mrc", "m10.mrc", "m4.mrc"):
        site.files[base + name] = image
    site.files[base + "m1.box"] = site.files[base + "m10.box"] = b"10\t20\t12\t12\n"
    site.files[base + "readme.txt"] = b"hello"
    digest = hashlib.md5(image).hexdigest()
    site.files[base + "md5sums.txt"] = f"{digest}  m1.mrc\n{digest} *m 2.mrc\n".encode()
    site.faults[base + "m1.mrc"] = [1000, "corrupt"]
    options = {"directory": "data/sums", "select": "m*.mrc", "limit": 2, "coordinates": "*.box"}
    path = fetch(wanted(site, tmp_path, "empiar", **options))
    assert path is not None
    assert {p.name for p in (path.parent / "micrographs").iterdir()} == {"m 2.mrc", "m1.mrc"}
    assert {p.name for p in (path.parent / "coordinates").iterdir()} == {"m1.box"}
    record = json.loads((path.parent / "fetched.json").read_text())
    assert [r["checksum"] for r in record] == [f"md5:{digest}"] * 2 + [None]
    spec = yaml.safe_load(path.read_text())["datasets"]["empiar-10017"]
    assert spec["particle_radius"] == 6


def test_what_an_empiar_folder_does_not_hold(site: Site, tmp_path: Path, image: bytes) -> None:
    site.files["/10017/data/m1.tif"] = image
    with pytest.raises(InputError, match=r"none of its 1 files .*'\*\.mrc' \(found m1\.tif"):
        fetch(wanted(site, tmp_path, "empiar"))
    path = fetch(wanted(site, tmp_path, "empiar", select="*.tif"))
    assert path is not None
    text = path.read_text()
    assert "coordinates: null" in text
    assert "Add the size: particle_radius" in text


def test_the_command(
    site: Site, tmp_path: Path, image: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["/10017.tar.gz"] = archive(entry(image))
    arguments = ["cryoppp", "EMPIAR-10017", "--to", str(tmp_path / "d"), "--mirror", site.url]
    assert main([*arguments, "--dry-run"]) == 0
    assert not (tmp_path / "d").exists()
    assert main(arguments) == 0
    config = tmp_path / "d/cryoppp-10017/config.yaml"
    assert capsys.readouterr().out == f"snakemake --cores all --configfile {config}\n"
    assert main(["cryoppp", "99999", *arguments[2:]]) == 2
    err = capsys.readouterr().err
    assert "fewpick fetch: " in err
    assert "404" in err
    assert main(["empiar", "ten", *arguments[2:]]) == 2
    assert "an EMPIAR number" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--checksum", "abc"])
