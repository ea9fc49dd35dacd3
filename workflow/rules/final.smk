# Train on all labels, without a test set: the picks that a lab uses, and an estimate of their
# quality.

# The final training, and those that leave some of the labels out.
FINAL_PARTS = ["all", *PLAN.final_folds]
FINAL = [
    "results/final/picks.star",
    "results/final/picks.csv",
    "results/final/micrographs",
    "results/final/picker.safetensors",
    "results/final/quality.json",
    "results/final/report.html",
]
# The initial network of the training, if there is one, first estimates the number of particles.
FINAL_START = PLAN.final["train"]["training"].get("start")
FINAL_EXPECTED = {name: config["datasets"][name]["expected_particles"] for name in PLAN.datasets}


wildcard_constraints:
    part="all|fold-[0-9]+",
    phase="warm_start|train",


rule final_labels:
    input:
        manifests=MANIFESTS,
        coordinates=COORDINATES,
        areas=PLAN.dataset_files("results/data/{dataset}/areas.tsv"),
        negatives=PLAN.dataset_files("results/data/{dataset}/negatives.tsv"),
        geometry=PLAN.shard_files("results/preprocessed/{dataset}/{shard}.tsv"),
        stacks=SHARDS if FINAL_START else [],
    output:
        expand("results/final/training/{part}/labels.tsv", part=FINAL_PARTS),
    log:
        "results/logs/final_labels.log",
    benchmark:
        "results/benchmarks/final_labels.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=8000 if FINAL_START else 2000,
        runtime=60 if FINAL_START else 15,
        gpu=GPU if FINAL_START else 0,
        device=DEVICE,
    params:
        code=code("final_labels.py"),
        settings=canonical(
            {
                "specs": SPECS,
                "labels": LABELS,
                "expected_particles": FINAL_EXPECTED,
                "folds": len(PLAN.final_folds),
                "start": FINAL_START,
                "start_digest": PLAN.final["train"]["training"].get("start_digest"),
            }
        ),
    script:
        "../scripts/final_labels.py"


# All parts have the same hyperparameters.
use rule hyperparameters as final_hyperparameters with:
    output:
        "results/final/training/{phase}.json",
    log:
        "results/logs/final_hyperparameters/{phase}.log",
    benchmark:
        "results/benchmarks/final_hyperparameters/{phase}.tsv"
    localrule: True
    params:
        code=code("hyperparameters.py"),
        values=lambda wildcards: canonical(PLAN.final[wildcards.phase]),


use rule warm_start as final_warm_start with:
    input:
        shards=SHARDS,
        ratio="results/final/training/{part}/labels.tsv",
        hyperparameters="results/final/training/warm_start.json",
    output:
        model="results/final/training/{part}/warm_start/model.safetensors",
        history="results/final/training/{part}/warm_start/history.tsv",
    log:
        "results/logs/final_warm_start/{part}.log",
    benchmark:
        "results/benchmarks/final_warm_start/{part}.tsv"


use rule train as final_train with:
    input:
        shards=SHARDS,
        ratio="results/final/training/{part}/labels.tsv",
        hyperparameters="results/final/training/train.json",
        warm_start="results/final/training/{part}/warm_start/model.safetensors",
        rival=[],
    output:
        model="results/final/training/{part}/model.safetensors",
        history="results/final/training/{part}/history.tsv",
    log:
        "results/logs/final_train/{part}.log",
    benchmark:
        "results/benchmarks/final_train/{part}.tsv"


# The final network processes all micrographs, a fold only those with left-out labels and a sample.
rule final_candidates:
    input:
        shards=SHARDS,
        labels="results/final/training/{part}/labels.tsv",
        model="results/final/training/{part}/model.safetensors",
    output:
        "results/final/training/{part}/candidates.tsv",
    log:
        "results/logs/final_candidates/{part}.log",
    benchmark:
        "results/benchmarks/final_candidates/{part}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=240,
        gpu=GPU,
        device=DEVICE,
    params:
        code=code("final_candidates.py"),
        settings=canonical(config["picking"]),
    script:
        "../scripts/final_candidates.py"


rule final_picks:
    input:
        shards=SHARDS,
        manifests=MANIFESTS,
        model="results/final/training/all/model.safetensors",
        labels=expand("results/final/training/{part}/labels.tsv", part=FINAL_PARTS),
        candidates=expand("results/final/training/{part}/candidates.tsv", part=FINAL_PARTS),
        relion=PLAN.relion,
    output:
        star="results/final/picks.star",
        csv="results/final/picks.csv",
        micrographs=directory("results/final/micrographs"),
        picker="results/final/picker.safetensors",
        quality="results/final/quality.json",
    log:
        "results/logs/final_picks.log",
    benchmark:
        "results/benchmarks/final_picks.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("final_picks.py"),
        settings=canonical(
            {
                "picking": config["picking"],
                "paths": PATHS,
                "datasets": list(PLAN.datasets),
                "specs": SPECS,
                "expected_particles": FINAL_EXPECTED,
                "preprocess": {
                    key: config["preprocess"][key]
                    for key in ("particle_px", "normalise", "lowpass_angstrom")
                },
            }
        ),
    script:
        "../scripts/final_picks.py"


rule final_report:
    input:
        shards=SHARDS,
        labels="results/final/training/all/labels.tsv",
        candidates="results/final/training/all/candidates.tsv",
        quality="results/final/quality.json",
    output:
        "results/final/report.html",
    log:
        "results/logs/final_report.log",
    benchmark:
        "results/benchmarks/final_report.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("final_report.py"),
    script:
        "../scripts/final_report.py"
