# Choose which micrographs are held out, and which data are labelled.


rule split:
    input:
        manifests=MANIFESTS,
        split_files=PLAN.split_files.values(),
    output:
        "results/splits/seed-{seed}/split.tsv",
    log:
        "results/logs/split/seed-{seed}.log",
    benchmark:
        "results/benchmarks/split/seed-{seed}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        code=code("split.py"),
        settings=canonical(
            {
                "datasets": list(PLAN.datasets),
                "split_files": PLAN.split_files,
                "labels": LABELS,
                **{key: config["splits"][key] for key in ("val_fraction", "test_fraction")},
            }
        ),
    script:
        "../scripts/split.py"


rule labelled:
    input:
        manifests=MANIFESTS,
        coordinates=COORDINATES,
        geometry=PLAN.shard_files("results/preprocessed/{dataset}/{shard}.tsv"),
        split="results/splits/seed-{seed}/split.tsv",
    output:
        "results/splits/seed-{seed}/ratio-{ratio}.tsv",
    log:
        "results/logs/labelled/seed-{seed}/ratio-{ratio}.log",
    benchmark:
        "results/benchmarks/labelled/seed-{seed}/ratio-{ratio}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code("labelled.py"),
        settings=canonical(
            {
                "specs": SPECS,
                "expected_particles": {
                    name: spec.get("expected_particles")
                    for name, spec in config["datasets"].items()
                },
                "labels": LABELS,
                **{
                    key: config["splits"][key]
                    for key in ("draw", "unit", "tile_size", "validation")
                },
            }
        ),
    script:
        "../scripts/labelled.py"
