# One table, its readable form, and pictures.
RUNS = expand(
    "results/evaluation/{arm}/ratio-{ratio}/seed-{seed}",
    arm=PLAN.arms,
    ratio=PLAN.ratios,
    seed=PLAN.seeds,
) + expand("results/evaluation/baselines/seed-{seed}", seed=PLAN.seeds)
FIGURES = []


rule comparison:
    input:
        scores=[f"{run}/scores.tsv" for run in RUNS],
        micrographs=[f"{run}/micrographs.tsv" for run in RUNS],
    output:
        table="results/comparison.tsv",
        text="results/comparison.md",
    log:
        "results/logs/comparison.log",
    benchmark:
        "results/benchmarks/comparison.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("comparison.py"),
        settings=canonical(config["evaluation"]),
    script:
        "../scripts/comparison.py"
