# Preprocess micrographs to normalised squares, in shards.


rule preprocess:
    input:
        # Only the shard's own micrographs: adding one to the data set does not affect other shards.
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
                    for key in ("target_size", "particle_px", "normalise", "lowpass_angstrom")
                },
                # Only what affects the images; the particle size does so only if it sets the scale.
                "spec": SPECS[wildcards.dataset] if config["preprocess"]["particle_px"] else {},
                **{
                    key: config["datasets"][wildcards.dataset][key]
                    for key in ("pixel_size", "on_bad_micrograph")
                },
            }
        ),
    script:
        "../scripts/preprocess.py"
