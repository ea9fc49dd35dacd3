# From a trained network to particle positions in the frame of the original micrographs.


rule pick:
    input:
        shards=SHARDS,
        manifests=MANIFESTS,
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        model="results/models/{arm}/ratio-{ratio}/seed-{seed}/model.safetensors",
    output:
        candidates="results/picks/{arm}/ratio-{ratio}/seed-{seed}/candidates.tsv",
        pixels="results/picks/{arm}/ratio-{ratio}/seed-{seed}/pixels.tsv",
        threshold="results/models/{arm}/ratio-{ratio}/seed-{seed}/threshold.json",
        picker="results/models/{arm}/ratio-{ratio}/seed-{seed}/picker.safetensors",
    log:
        "results/logs/pick/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/pick/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=240,
        gpu=GPU,
        device=DEVICE,
    params:
        code=code("pick.py"),
        settings=canonical(
            {
                "picking": config["picking"],
                "datasets": list(PLAN.datasets),
                # What `fewpick pick` has to know of micrographs that the workflow does not see.
                "specs": SPECS,
                "preprocess": {
                    key: config["preprocess"][key]
                    for key in ("particle_px", "normalise", "lowpass_angstrom")
                },
            }
        ),
    script:
        "../scripts/pick.py"


# Picks of micrographs that were moved get a new name, and nothing else is made again.
PATHS = PLAN.paths_digest()


# A job of its own, since these tables name micrographs by their paths.
rule export:
    input:
        manifests=MANIFESTS,
        candidates="results/picks/{arm}/ratio-{ratio}/seed-{seed}/candidates.tsv",
        threshold="results/models/{arm}/ratio-{ratio}/seed-{seed}/threshold.json",
        relion=PLAN.relion,
    output:
        star="results/picks/{arm}/ratio-{ratio}/seed-{seed}/picks.star",
        csv="results/picks/{arm}/ratio-{ratio}/seed-{seed}/picks.csv",
    log:
        "results/logs/export/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/export/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    wildcard_constraints:
        arm="[^/]+",
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("export.py"),
        settings=canonical({"datasets": list(PLAN.datasets), "paths": PATHS}),
    script:
        "../scripts/export.py"


# The same in a STAR file for each micrograph, on request, since those are many files:
# `snakemake --cores 1 results/picks/fixmatch/ratio-0.05/seed-0/micrographs`, for example.
use rule export as export_micrographs with:
    output:
        directory("results/picks/{arm}/ratio-{ratio}/seed-{seed}/micrographs"),
    log:
        "results/logs/export_micrographs/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/export_micrographs/{arm}/ratio-{ratio}/seed-{seed}.tsv"


# The picks in formats of other programs, on request:
# `snakemake --cores 1 results/picks/fixmatch/ratio-0.05/seed-0/box`, for example.
rule convert:
    input:
        star="results/picks/{arm}/ratio-{ratio}/seed-{seed}/picks.star",
        manifests=MANIFESTS,
    output:
        directory("results/picks/{arm}/ratio-{ratio}/seed-{seed}/{format}"),
    log:
        "results/logs/convert/{arm}/ratio-{ratio}/seed-{seed}/{format}.log",
    benchmark:
        "results/benchmarks/convert/{arm}/ratio-{ratio}/seed-{seed}/{format}.tsv"
    wildcard_constraints:
        arm="[^/]+",
        format="box|cbox|topaz|json",
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code("convert.py"),
        specs=canonical(SPECS),
    script:
        "../scripts/convert.py"
