# Raw data: micrographs and particle centres are found or simulated, then listed and checked.

# One rule per data set, since output names have to be known when the workflow is read.
for simulated in (name for name in PLAN.datasets if "simulate" in config["datasets"][name]):

    rule:
        name:
            f"simulate_{simulated}"
        output:
            micrographs=PLAN.datasets[simulated].micrographs.values(),
            star=PLAN.datasets[simulated].sources["coordinates"],
            truth=f"results/simulated/{simulated}/truth.json",
        log:
            f"results/logs/simulate/{simulated}.log",
        benchmark:
            f"results/benchmarks/simulate/{simulated}.tsv"
        conda:
            "../../envs/torch.yaml"
        threads: 2
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            code=code("simulate.py"),
            settings=canonical(config["datasets"][simulated]["simulate"]),
        script:
            "../scripts/simulate.py"


# The only job that names every file of a data set. It has a single output, because Snakemake
# compares the input names once per job that needs an output, and reads all input files once per
# output to record their checksums.
rule inventory:
    input:
        micrographs=lambda wildcards: PLAN.datasets[wildcards.dataset].inputs.values(),
        coordinates=lambda wildcards: PLAN.datasets[wildcards.dataset].coordinates,
    output:
        "results/data/{dataset}/inventory.tsv",
    log:
        "results/logs/inventory/{dataset}.log",
    benchmark:
        "results/benchmarks/inventory/{dataset}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("inventory.py"),
        settings=lambda wildcards: canonical(
            {"on_bad_micrograph": config["datasets"][wildcards.dataset]["on_bad_micrograph"]}
        ),
    script:
        "../scripts/inventory.py"


# Depends on the inventory instead of the files themselves, which are read from their paths.
rule manifest:
    input:
        "results/data/{dataset}/inventory.tsv",
    output:
        manifest="results/data/{dataset}/manifest.tsv",
        coordinates="results/data/{dataset}/coordinates.tsv",
        areas="results/data/{dataset}/areas.tsv",
        negatives="results/data/{dataset}/negatives.tsv",
        left_out="results/data/{dataset}/left_out.tsv",
    log:
        "results/logs/manifest/{dataset}.log",
    benchmark:
        "results/benchmarks/manifest/{dataset}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("manifest.py"),
        spec=lambda wildcards: canonical(
            {
                **{
                    key: value
                    for key, value in config["datasets"][wildcards.dataset].items()
                    if key
                    not in (
                        *("micrographs", "simulate", "split_file", "border"),
                        "on_bad_micrograph",
                    )
                },
                **PLAN.datasets[wildcards.dataset].sources,
            }
        ),
    script:
        "../scripts/manifest.py"
