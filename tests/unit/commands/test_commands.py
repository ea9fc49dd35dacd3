"""`fewpick init` and `fewpick check` on small data with known answers."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import yaml

from fewpick import cli
from fewpick.config.complete import complete
from fewpick.config.schema import load_schema
from fewpick.data.splits import split_micrographs
from fewpick.image_evidence.particle_size import measure_radius
from fewpick.inspection import estimate
from fewpick.stage_tables.definitions import SplitTable

RADIUS, NY, NX, MARGIN = 12.0, 300, 380, 30.0


def make_data(folder: Path, n: int = 6, *, flip: bool = False, named: str = "m") -> None:
    """Micrographs of blurred dark discs with a bright rim, none near an edge, and their csv."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:NY, :NX]
    for part in ("micrographs", "coordinates"):
        (folder / part).mkdir(parents=True)
    for index in range(n):
        # Scattered, not on a grid: a grid turned upside down still lies on particles.
        placed: list[list[float]] = []
        for x, y in rng.uniform(MARGIN, (NX - MARGIN, NY - MARGIN), (600, 2)).tolist():
            if all(np.hypot(x - a, y - b) > 2.2 * RADIUS for a, b in placed):
                placed.append([x, y])
        xy = np.array(placed)
        image = rng.normal(0, 1, (NY, NX))
        for x, y in xy:
            r = np.hypot(columns - x, rows - y)
            image -= 2.0 * np.exp(-((r / (0.7 * RADIUS)) ** 4))
            image += 1.0 * np.exp(-(((r - RADIUS) / 2.5) ** 2))
        name = f"{named}{index}"
        with mrcfile.new(folder / f"micrographs/{name}.mrc") as mrc:
            mrc.set_data(image.astype(np.float32))
            mrc.voxel_size = 4.0
        y = NY - xy[:, 1] if flip else xy[:, 1]
        lines = [
            "X-Coordinate,Y-Coordinate",
            *(f"{a},{b}" for a, b in zip(xy[:, 0], y, strict=True)),
        ]
        (folder / f"coordinates/{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "my+set"
    make_data(folder)
    return folder


def init(folder: Path, *more: str) -> tuple[int, Path]:
    out = folder / "mine.yaml"
    paths = (str(folder / "micrographs"), str(folder / "coordinates"))
    return cli.main(["init", *paths, "-o", str(out), *more]), out


def written(path: Path) -> dict[str, Any]:
    return complete(yaml.safe_load(path.read_text()), load_schema(), str(path))


def test_init_finds_size_border_and_frame(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = init(data, "--force")
    assert code == 0
    config = written(out)
    ((name, spec),) = config["datasets"].items()
    assert name == "my_set"
    assert spec["particle_radius"] == pytest.approx(RADIUS, rel=0.2)
    assert spec["y_axis"] == "down"
    assert MARGIN - 1 <= spec["border"] <= MARGIN + 3
    assert spec["micrographs"] == str(data / "micrographs")
    # Six micrographs are few: tiles of a handful of particles are labelled.
    assert config["splits"]["unit"] == "tile"
    assert len(config["splits"]["seeds"]) == 3
    said = capsys.readouterr().out
    assert "6 annotated" in said
    assert "pixel size 4 angstrom" in said


def test_init_takes_what_a_shell_makes_of_a_glob(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    files = sorted(str(path.relative_to(data)) for path in (data / "micrographs").glob("*.mrc"))
    out = tmp_path / "mine.yaml"
    assert cli.main(["init", *files, "coordinates", "-o", str(out)]) == 0
    assert next(iter(written(out)["datasets"].values()))["micrographs"] == "micrographs"
    assert cli.main(["init", *files[:4], "coordinates", "-o", str(out), "--force"]) == 2
    assert "quote the glob" in capsys.readouterr().err
    assert cli.main(["init", *files]) == 2
    assert "file or folder of particle coordinates: missing" in capsys.readouterr().err


def test_init_turns_the_y_axis_round(tmp_path: Path) -> None:
    make_data(tmp_path / "d", flip=True)
    code, out = init(tmp_path / "d")
    assert code == 0
    assert next(iter(written(out)["datasets"].values()))["y_axis"] == "up"


def test_init_does_not_write_over_a_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(data, "--force")
    before = (data / "mine.yaml").read_text()
    assert init(data)[0] == 2
    assert "--force" in capsys.readouterr().err
    assert (data / "mine.yaml").read_text() == before


def test_init_takes_what_it_is_told(data: Path) -> None:
    code, out = init(data, "--force", "--diameter-angstrom", "120", "--name", "gala")
    assert code == 0
    assert written(out)["datasets"]["gala"]["particle_radius"] == pytest.approx(15.0)


def test_init_doubts_a_pixel_size_of_exactly_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(tmp_path, n=3)
    for path in (tmp_path / "micrographs").iterdir():
        with mrcfile.open(path, "r+") as mrc:
            mrc.voxel_size = 1.0
    doubt = "The headers say exactly 1 angstrom per pixel"
    for options, doubted in (([], True), (["--pixel-size", "1"], False)):
        assert init(tmp_path, "--force", "--diameter-angstrom", "24", *options)[0] == 0
        assert (doubt in capsys.readouterr().out) == doubted


def test_init_with_names_that_do_not_match(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(tmp_path / "other", n=3, named="z")
    arguments = [str(data / "micrographs"), str(tmp_path / "other/coordinates")]
    assert cli.main(["init", *arguments, "-o", str(tmp_path / "c.yaml")]) == 2
    assert "matches no micrograph" in capsys.readouterr().err
    assert not (tmp_path / "c.yaml").exists()


@pytest.mark.parametrize(
    ("name", "radius"), [("empiar10017", 52), ("empiar10146", 39), ("empiar10059", 18)]
)
def test_particle_size_of_real_data(shared_data: Path, name: str, radius: float) -> None:
    from fewpick.annotation.frame import read_in_frame
    from fewpick.micrographs import list_micrographs, read_headers, shapes_of

    paths = {p.name: p for p in list_micrographs(shared_data / name / "micrographs")[:4]}
    shapes = shapes_of(read_headers(paths.values()))
    held = read_in_frame(shared_data / name / "coordinates.json", shapes)
    measured = measure_radius({paths[n]: picks.xy for n, picks in held.items()})
    assert measured == pytest.approx(radius, rel=0.2)


def test_check_passes_what_init_wrote(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "REPEATS", 1)
    _, out = init(data, "--force")
    assert cli.main(["check", str(out), "--cores", "2"]) == 0
    said = capsys.readouterr().out
    assert "all headers read" in said
    assert "frame of the coordinates: ok" in said
    assert "2 arms (fixmatch, supervised) x 3 labelled ratios x 3 seeds = 18 trainings" in said
    assert "time: about" in said
    assert "is ready to run" in said
    assert list(tmp_path.iterdir()) == []
    another_seed = tmp_path / "another_seed.yaml"
    another_seed.write_text("splits: {seeds: [2]}\n")
    assert cli.main(["check", str(out), str(another_seed), "--cores", "2", "--no-timing"]) == 0
    said = capsys.readouterr().out
    assert f"{out}, {another_seed} are ready to run" in said
    assert f"--configfile {out} {another_seed}" in said
    assert "/seed-2 MICROGRAPHS" in said


def test_check_refuses_a_folder_with_results_of_another_study(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"dataset": ["simulated"], "micrograph": "sim_0001.mrc", "split": "test"})
    SplitTable.write(table, "results/splits/seed-0/split.tsv")
    _, out = init(data, "--force")
    assert cli.main(["check", str(out), "--no-timing"]) == 2
    assert "these results are for the data sets simulated, not for " in capsys.readouterr().err


def test_check_prints_the_first_seed_and_warns_by_the_worst(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"m{index}.mrc" for index in range(6)]

    def tested(seed: int) -> int:
        table = split_micrographs(
            "set", names, [True] * 6, seed=seed, val_fraction=0.15, test_fraction=0.4
        )
        return int((table["split"] == "test").sum())

    many = next(seed for seed in range(99) if tested(seed) == 3)
    few = next(seed for seed in range(99) if tested(seed) == 2)
    _, out = init(data, "--force", "--name", "set")
    config = yaml.safe_load(out.read_text())
    config["splits"] |= {"seeds": [many, few, many + 100], "test_fraction": 0.4}
    out.write_text(yaml.safe_dump(config))
    capsys.readouterr()
    assert cli.main(["check", str(out), "--no-timing"]) == 0
    said = capsys.readouterr().out
    assert "1 to validate, 3 to test, 0 unlabelled" in said
    assert "set: one seed has only 2 test micrographs, which gives wide" in said
    assert "set: one seed has only 1 validation micrograph." in said


def test_check_ends_with_commands_that_work_from_any_folder(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = init(data, "--force")
    snakefile = Path(__file__).parents[3] / "Snakefile"
    for folder, option in ((data, f" -s {snakefile}"), (snakefile.parent, "")):
        monkeypatch.chdir(folder)
        capsys.readouterr()
        assert cli.main(["check", str(out), "--no-timing"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert f"  snakemake{option} --cores all --configfile {out}" in lines
        ratio = yaml.safe_load(out.read_text())["splits"]["labeled_ratios"][-1]
        assert lines[-1] == (
            f"  fewpick pick results/models/fixmatch/ratio-{ratio}/seed-0 MICROGRAPHS -o picks.star"
        )


@pytest.mark.parametrize(
    ("edit", "said", "ends"),
    [
        ({"particle_radius": 60}, "discs cover", 0),
        ({"particle_radius": 1}, "Raise preprocess.target_size", 0),
        ({"border": 140}, "no tile of the", 2),
        ({"y_axis": "up"}, "Set y_axis: down", 2),
        ({"coordinates": "nowhere"}, "'nowhere' does not exist", 2),
        ({"particle_raduis": 5}, "did you mean particle_radius?", 2),
    ],
)
def test_check_finds_what_would_spoil_a_run(
    data: Path, capsys: pytest.CaptureFixture[str], edit: dict[str, Any], said: str, ends: int
) -> None:
    _, out = init(data, "--force")
    config = yaml.safe_load(out.read_text())
    next(iter(config["datasets"].values())).update(edit)
    out.write_text(yaml.safe_dump(config))
    capsys.readouterr()
    code = cli.main(["check", str(out), "--no-timing"])
    found = capsys.readouterr()
    assert said in found.out + found.err
    assert code == ends


def test_check_recommends_one_scale_where_particles_differ_in_size(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = init(data, "--force")
    config = yaml.safe_load(out.read_text())
    (spec,) = config["datasets"].values()
    again = data / "again"
    if not again.exists():
        shutil.copytree(data / "micrographs", again)
    config["datasets"] = {
        "large": spec | {"particle_radius": 12},
        "small": spec | {"particle_radius": 6, "micrographs": str(again)},
    }
    config["splits"] = {"labeled_ratios": [1.0]}

    def said() -> str:
        out.write_text(yaml.safe_dump(config))
        capsys.readouterr()
        assert cli.main(["check", str(out), "--no-timing"]) == 0
        return capsys.readouterr().out

    assert "particles are 24 px wide in small and 49 px in large" in said()
    config["preprocess"] = {"particle_px": 20}
    found = said()
    assert "px wide in small" not in found
    # 380 px * 20 / 24 and 380 px * 20 / 12, to multiples of 32.
    assert "10.1 px after scaling to 320" in found
    assert "10.1 px after scaling to 640" in found
    config["datasets"]["large"]["particle_radius"] = 120
    out.write_text(yaml.safe_dump(config))
    assert cli.main(["check", str(out), "--no-timing"]) == 2
    assert "need an image of 32 px" in capsys.readouterr().err


def test_check_counts_the_labels_that_a_run_would_use(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = init(data, "--force")
    config = yaml.safe_load(out.read_text())
    config["splits"] = {"labeled_ratios": [1.0]}
    out.write_text(yaml.safe_dump(config))
    assert cli.main(["check", str(out), "--no-timing"]) == 0
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if "ratio 1:" in line]
    numbers = lines[0].split(": ", 1)[1].split()
    parts = [int(word.replace(",", "")) for word in numbers if word[0].isdigit()]
    total = sum(len(p.read_text().splitlines()) - 1 for p in (data / "coordinates").iterdir())
    # All but the test micrographs; none of the points lies in the border.
    assert 0 < sum(parts) < total


@pytest.mark.parametrize("text", ["", "a: [", "- 1"])
def test_check_of_a_file_that_is_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_explains_every_argument(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: fewpick {command} ")
    parser = import_module(cli.COMMANDS[command][0])._parser()
    assert parser.description
    assert all(action.help for action in parser._actions)


def test_command_without_arguments_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in cli.COMMANDS)
    assert cli.main(["pikc"]) == 2
