# The comparison table, its Markdown form, figures and the report page.
REFERENCE = config["evaluation"]["reference_arm"]
# The reference comes first in the table; colours are assigned in this order.
ORDERED_ARMS = [REFERENCE, *(arm for arm in PLAN.arms if arm != REFERENCE)]
RUNS = expand(
    "results/evaluation/{run}",
    run=[
        *expand(
            "{arm}/ratio-{ratio}/seed-{seed}",
            arm=ORDERED_ARMS,
            ratio=PLAN.ratios,
            seed=PLAN.seeds,
        ),
        *TOPAZ_RUNS,
        *expand("baselines/seed-{seed}", seed=PLAN.seeds),
        *expand("external/{picker}/seed-{seed}", picker=PLAN.external_picks, seed=PLAN.seeds),
    ],
)
PICKS = [
    f"results/picks/{arm}/ratio-{ratio}/seed-{seed}/picks.star"
    for arm, ratio, seed in [*PLAN.trainings, *PLAN.topaz]
]
FIGURES = [
    "results/figures/scores.png",
    "results/figures/precision_recall.png",
    *expand(
        "results/figures/training/ratio-{ratio}/seed-{seed}.png",
        ratio=PLAN.ratios,
        seed=PLAN.seeds,
    ),
    *expand(
        "results/figures/micrographs/{arm}/ratio-{ratio}/seed-{seed}.png",
        arm=PLAN.arms,
        ratio=PLAN.ratios,
        seed=PLAN.seeds[0],
    ),
]


rule comparison:
    input:
        scores=[f"{run}/scores.tsv" for run in RUNS],
        micrographs=[f"{run}/micrographs.tsv" for run in RUNS],
    output:
        table=report(
            "results/comparison.tsv", caption="../report/comparison.rst", category="Comparison"
        ),
        text="results/comparison.md",
    log:
        "results/logs/comparison.log",
    benchmark:
        "results/benchmarks/comparison.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("comparison.py"),
        reference=REFERENCE,  # used in the caption of Snakemake's report
        radii=canonical(config["evaluation"]["match_radii"]),
    script:
        "../scripts/comparison.py"


rule figure_scores:
    input:
        table="results/comparison.tsv",
        curves=[f"{run}/curve.tsv" for run in RUNS],
    output:
        scores=report(
            "results/figures/scores.png", caption="../report/scores.rst", category="Comparison"
        ),
        curves=report(
            "results/figures/precision_recall.png",
            caption="../report/precision_recall.rst",
            category="Comparison",
        ),
    log:
        "results/logs/figures/scores.log",
    benchmark:
        "results/benchmarks/figures/scores.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("figure_scores.py"),
        radius=config["evaluation"]["match_radii"][0],
    script:
        "../scripts/figure_scores.py"


rule figure_training:
    input:
        warm_starts=lambda wildcards: [
            f"{PLAN.warm_start_folder(arm, wildcards.ratio, wildcards.seed)}/history.tsv"
            for arm in ORDERED_ARMS
        ],
        arms=expand(
            "results/models/{arm}/ratio-{{ratio}}/seed-{{seed}}/history.tsv", arm=ORDERED_ARMS
        ),
    output:
        report(
            "results/figures/training/ratio-{ratio}/seed-{seed}.png",
            caption="../report/training.rst",
            category="Training",
            labels={"labelled ratio": "{ratio}", "seed": "{seed}"},
        ),
    log:
        "results/logs/figures/training/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/figures/training/ratio-{ratio}/seed-{seed}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("figure_training.py"),
        arms=canonical(ORDERED_ARMS),
    script:
        "../scripts/figure_training.py"


rule figure_micrographs:
    input:
        manifests=MANIFESTS,
        coordinates=COORDINATES,
        shards=SHARDS,
        split="results/splits/seed-{seed}/split.tsv",
        micrographs="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/micrographs.tsv",
        candidates="results/picks/{arm}/ratio-{ratio}/seed-{seed}/candidates.tsv",
        threshold="results/models/{arm}/ratio-{ratio}/seed-{seed}/threshold.json",
    output:
        report(
            "results/figures/micrographs/{arm}/ratio-{ratio}/seed-{seed}.png",
            caption="../report/micrographs.rst",
            category="Micrographs",
            labels={"arm": "{arm}", "labelled ratio": "{ratio}", "seed": "{seed}"},
        ),
    log:
        "results/logs/figures/micrographs/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/figures/micrographs/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("figure_micrographs.py"),
        settings=canonical({"datasets": TRUTH, "radius": config["evaluation"]["match_radii"][0]}),
    script:
        "../scripts/figure_micrographs.py"


# The page shows micrographs of one seed; training plots and scores include all seeds.
SHOWN_SEED = PLAN.seeds[0]
TRAININGS = [
    (arm, ratio, seed) for arm in ORDERED_ARMS for ratio in PLAN.ratios for seed in PLAN.seeds
]
# Arm or program, labelled ratio (None for other programs), candidates and threshold.
SHOWN_RUNS = [
    (
        arm,
        ratio,
        f"results/picks/{arm}/ratio-{ratio}/seed-{seed}/candidates.tsv",
        f"results/models/{arm}/ratio-{ratio}/seed-{seed}/threshold.json",
    )
    for arm, ratio, seed in [*TRAININGS, *PLAN.topaz]
    if seed == SHOWN_SEED
] + [
    (picker, None, f"{folder}/candidates.tsv", f"{folder}/threshold.json")
    for picker in PLAN.external_picks
    for folder in [f"results/evaluation/external/{picker}/seed-{SHOWN_SEED}"]
]


rule report:
    input:
        table="results/comparison.tsv",
        micrographs=[f"{run}/micrographs.tsv" for run in RUNS],
        curves=[f"{run}/curve.tsv" for run in RUNS],
        warm_starts=[f"{PLAN.warm_start_folder(*run)}/history.tsv" for run in TRAININGS],
        histories=[
            f"results/models/{arm}/ratio-{ratio}/seed-{seed}/history.tsv"
            for arm, ratio, seed in TRAININGS
        ],
        manifests=MANIFESTS,
        coordinates=COORDINATES,
        shards=SHARDS,
        split=f"results/splits/seed-{SHOWN_SEED}/split.tsv",
        candidates=[candidates for _, _, candidates, _ in SHOWN_RUNS],
        thresholds=[threshold for _, _, _, threshold in SHOWN_RUNS],
        chosen_by=f"{RUNS[0]}/micrographs.tsv",
    output:
        report("results/report.html", caption="../report/page.rst", category="Comparison"),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("report.py"),
        settings=canonical(
            {
                "reference": REFERENCE,
                "datasets": TRUTH,
                "trainings": TRAININGS,
                "runs": [(arm, ratio) for arm, ratio, _, _ in SHOWN_RUNS],
                "seed": int(SHOWN_SEED),
                "radii": config["evaluation"]["match_radii"],
                "config": {
                    key: value
                    for key, value in config.items()
                    if key not in ("resources", "final")
                },
            }
        ),
    script:
        "../scripts/report.py"
