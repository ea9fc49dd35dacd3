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
        star="results/picks/{arm}/ratio-{ratio}/seed-{seed}/picks.star",
        csv="results/picks/{arm}/ratio-{ratio}/seed-{seed}/picks.csv",
        micrographs=directory("results/picks/{arm}/ratio-{ratio}/seed-{seed}/micrographs"),
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
                "relion": config["export"]["relion"],
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


# The picks as other programs read them, on request:
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
