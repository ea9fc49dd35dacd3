# From micrographs to normalised squares, in shards.
SHARDS = {
    dataset: shard_names(MICROGRAPHS[dataset], config["preprocess"]["shard_size"])
    for dataset in DATASETS
}


def shards(pattern, dataset=None):
    """Paths of all shards, of one data set or of all of them."""
    return [
        pattern.format(dataset=name, shard=shard)
        for name in ([dataset] if dataset else DATASETS)
        for shard in SHARDS[name]
    ]


rule preprocess:
    input:
        # Its own micrographs and nothing else: one more in the data set leaves other shards be.
        lambda wildcards: [
            MICROGRAPHS[wildcards.dataset][name]
            for name in SHARDS[wildcards.dataset][wildcards.shard]
        ],
    output:
        stack="results/preprocessed/{dataset}/{shard}.mrcs",
        table="results/preprocessed/{dataset}/{shard}.tsv",
    params:
        code=code("preprocess.py"),
        settings=lambda wildcards: canonical(
            {
                "target_size": config["preprocess"]["target_size"],
                "pixel_size": config["datasets"][wildcards.dataset]["pixel_size"],
            }
        ),
    log:
        "results/logs/preprocess/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/preprocess/{dataset}/{shard}.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/images.yaml"
    script:
        "../scripts/preprocess.py"
