"""A small RELION project, and its programs where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import torch

from fewpick.network.model_file import save_model
from fewpick.network.unet import UNet

PROGRAMS = ("relion_pipeliner", "relion_import", "relion_preprocess")
PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n \n"
JOB = """
# version 30001

data_job

_rlnJobType {kind}
_rlnJobIsContinue 0


# version 30001

data_joboptions_values

loop_
_rlnJobOptionVariable #1
_rlnJobOptionValue #2
{options}
"""
QUEUE = {
    **{"do_queue": "No", "min_dedicated": "1", "other_args": '""'},
    **{"qsub": "qsub", "qsubscript": "none", "queuename": "none"},
}
IMPORT = {
    **{"Cs": "2.7", "Q0": "0.1", "angpix": "3.0", "kV": "300", "beamtilt_x": "0"},
    **{"beamtilt_y": "0", "do_other": "No", "do_raw": "Yes", "fn_in_other": '""'},
    **{"fn_in_raw": "Micrographs/*.mrc", "fn_mtf": '""', "is_multiframe": "No"},
    **{"node_type": '"Particle coordinates (*.box, *_pick.star)"'},
    **{"optics_group_name": "opticsGroup1", "optics_group_particles": '""'},
}
INPUTS = ("in_3dref", "in_coords", "in_mask", "in_mov", "in_part")
IMPORT_TYPE, EXTERNAL_TYPE = 0, 99
PARAMS = 10


def missing_program() -> str | None:
    """Name of a program of RELION that is not installed; None when all are."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), None)


def external_options(
    executable: str, micrographs: str, values: Mapping[str, str]
) -> dict[str, str]:
    """Options of an External job, as its page in RELION holds them."""
    options = dict.fromkeys(INPUTS, '""')
    options |= {"fn_exe": executable, "in_mic": micrographs, "nr_threads": "1"}
    pairs = [*values.items(), *[('""', '""')] * (PARAMS - len(values))]
    for i, (label, value) in enumerate(pairs, 1):
        options |= {f"param{i}_label": label, f"param{i}_value": value}
    return options


def run_job(project: Path, kind: int, options: Mapping[str, str], job: str) -> None:
    """Have RELION's own pipeline schedule and run a job."""
    lines = "\n".join(f"{name} {value}" for name, value in sorted({**options, **QUEUE}.items()))
    (project / "job.star").write_text(JOB.format(kind=kind, options=lines))
    for words in (
        ("--addJobFromStar", "job.star"),
        ("--RunJobs", job, "--schedule", job.split("/")[1], "--sec_wait_after", "0"),
    ):
        subprocess.run(
            ["relion_pipeliner", *words],
            cwd=project,
            check=True,
            timeout=300,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def random_picker(path: Path, target_size: int = 256) -> Path:
    """A model of random weights for micrographs of 640 px and particles of 32 px."""
    use = {
        "target_size": target_size,
        "normalise": "robust",
        "lowpass_angstrom": None,
        "picking": {"views": 1, "nms_radius": 1.2},
        "threshold": {"threshold": 0.0},
        "particles": {
            "d": {"radius": 16.0, "border": 0.0, "longest": 640, "pixel_size": 3.0},
        },
    }
    torch.manual_seed(0)
    hyperparameters = {"model": {"stem_stride": 4, "widths": [8, 8]}}
    save_model(path, UNet(stem_stride=4, widths=[8, 8]), hyperparameters, use)
    return path
