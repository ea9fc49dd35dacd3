# Picks and pixels against the truth, on test micrographs only.
TRUTH = {
    "manifests": expand("results/data/{dataset}/manifest.tsv", dataset=DATASETS),
    "coordinates": expand("results/data/{dataset}/coordinates.tsv", dataset=DATASETS),
}


rule evaluate:
    input:
        **TRUTH,
        split="results/splits/seed-{seed}/split.tsv",
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        candidates="results/picks/{arm}/ratio-{ratio}/seed-{seed}/candidates.tsv",
        pixels="results/picks/{arm}/ratio-{ratio}/seed-{seed}/pixels.tsv",
        threshold="results/models/{arm}/ratio-{ratio}/seed-{seed}/threshold.json",
        history="results/models/{arm}/ratio-{ratio}/seed-{seed}/history.tsv",
    output:
        scores="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/scores.tsv",
        micrographs="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/micrographs.tsv",
        curve="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/curve.tsv",
    params:
        code=code("evaluate.py"),
        settings=lambda wildcards: canonical(
            {
                "radii": config["evaluation"]["match_radii"],
                "specs": MASK_SPECS,
                "flipped_row": wildcards.arm == config["evaluation"]["reference_arm"],
            }
        ),
    log:
        "results/logs/evaluate/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/images.yaml"
    script:
        "../scripts/evaluate.py"


rule baselines:
    input:
        **TRUTH,
        **TRAINING_DATA,
        split="results/splits/seed-{seed}/split.tsv",
    output:
        scores="results/evaluation/baselines/seed-{seed}/scores.tsv",
        micrographs="results/evaluation/baselines/seed-{seed}/micrographs.tsv",
        curve="results/evaluation/baselines/seed-{seed}/curve.tsv",
    params:
        code=code("baselines.py"),
        settings=canonical({"radii": config["evaluation"]["match_radii"], "specs": MASK_SPECS}),
    log:
        "results/logs/baselines/seed-{seed}.log",
    benchmark:
        "results/benchmarks/baselines/seed-{seed}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    conda:
        "../../envs/images.yaml"
    script:
        "../scripts/baselines.py"
