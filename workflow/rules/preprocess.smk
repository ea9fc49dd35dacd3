# From micrographs to normalised squares, in shards.


rule preprocess:
    input:
        # Its own micrographs and nothing else: one more in the data set leaves other shards be.
        lambda wildcards: PLAN.shard_micrographs(wildcards.dataset, wildcards.shard),
    output:
        stack="results/preprocessed/{dataset}/{shard}.mrcs",
        table="results/preprocessed/{dataset}/{shard}.tsv",
    log:
        "results/logs/preprocess/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/preprocess/{dataset}/{shard}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("preprocess.py"),
        settings=lambda wildcards: canonical(
            {
                **{
                    key: config["preprocess"][key]
                    for key in ("target_size", "normalise", "lowpass_angstrom")
                },
                **{
                    key: config["datasets"][wildcards.dataset][key]
                    for key in ("pixel_size", "on_bad_micrograph")
                },
            }
        ),
    script:
        "../scripts/preprocess.py"
