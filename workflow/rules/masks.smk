# Particles as discs, and what is not annotated.
MASK_SPECS = specs("particle_radius", "particle_diameter_angstrom", "border")


rule masks:
    input:
        geometry="results/preprocessed/{dataset}/{shard}.tsv",
        manifest="results/data/{dataset}/manifest.tsv",
        coordinates="results/data/{dataset}/coordinates.tsv",
    output:
        stack="results/masks/{dataset}/{shard}.mrcs",
        table="results/masks/{dataset}/{shard}.tsv",
    params:
        code=code("masks.py"),
        settings=lambda wildcards: canonical(
            {
                "spec": MASK_SPECS[wildcards.dataset],
                "target_size": config["preprocess"]["target_size"],
                "radius_scale": config["masks"]["radius_scale"],
            }
        ),
    log:
        "results/logs/masks/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/masks/{dataset}/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../../envs/images.yaml"
    script:
        "../scripts/masks.py"
