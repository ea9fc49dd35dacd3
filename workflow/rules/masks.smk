# Particles as discs, and what is not annotated.


rule masks:
    input:
        geometry="results/preprocessed/{dataset}/{shard}.tsv",
        manifest="results/data/{dataset}/manifest.tsv",
        coordinates="results/data/{dataset}/coordinates.tsv",
    output:
        stack="results/masks/{dataset}/{shard}.mrcs",
        table="results/masks/{dataset}/{shard}.tsv",
    log:
        "results/logs/masks/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/masks/{dataset}/{shard}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("masks.py"),
        settings=lambda wildcards: canonical(
            {
                "spec": SPECS[wildcards.dataset],
                "target_size": config["preprocess"]["target_size"],
                "radius_scale": config["masks"]["radius_scale"],
            }
        ),
    script:
        "../scripts/masks.py"
