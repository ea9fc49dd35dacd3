# Pick with trained networks, in the frame of the original micrographs.


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
                # For `fewpick pick`, to process micrographs outside the workflow.
                "specs": SPECS,
                "preprocess": {
                    key: config["preprocess"][key]
                    for key in ("particle_px", "normalise", "lowpass_angstrom")
                },
            }
        ),
    script:
        "../scripts/pick.py"


# If micrographs are moved, only these tables of picks are rewritten, with the new paths.
PATHS = PLAN.paths_digest()


# A separate job, because these tables contain the paths of micrographs.
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


# The same as one STAR file per micrograph. Only on request, because of the number of files:
# `snakemake --cores 1 results/picks/fixmatch/ratio-0.05/seed-0/micrographs`, for example.
use rule export as export_micrographs with:
    output:
        directory("results/picks/{arm}/ratio-{ratio}/seed-{seed}/micrographs"),
    log:
        "results/logs/export_micrographs/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/export_micrographs/{arm}/ratio-{ratio}/seed-{seed}.tsv"


# The picks in the formats of other programs, on request:
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
