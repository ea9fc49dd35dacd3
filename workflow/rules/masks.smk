# Draw masks: particles as discs, and unannotated areas. This completes the shards.


rule masks:
    input:
        geometry="results/preprocessed/{dataset}/{shard}.tsv",
        manifest="results/data/{dataset}/manifest.tsv",
        coordinates="results/data/{dataset}/coordinates.tsv",
        areas="results/data/{dataset}/areas.tsv",
        negatives="results/data/{dataset}/negatives.tsv",
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
                "radius_scale": config["masks"]["radius_scale"],
            }
        ),
    script:
        "../scripts/masks.py"


# The table contains a fingerprint of each shard, so that it changes whenever a shard does.
rule shards:
    input:
        stacks=lambda wildcards: PLAN.shard_files(
            "results/preprocessed/{dataset}/{shard}.mrcs", wildcards.dataset
        ),
        masks=lambda wildcards: PLAN.shard_files(
            "results/masks/{dataset}/{shard}.mrcs", wildcards.dataset
        ),
    output:
        "results/data/{dataset}/shards.tsv",
    log:
        "results/logs/shards/{dataset}.log",
    benchmark:
        "results/benchmarks/shards/{dataset}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=code("shards.py"),
    script:
        "../scripts/shards.py"
