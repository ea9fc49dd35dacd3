# Score picks and pixels against the ground truth, on test micrographs only.

# Validation labels for tuning pickers other than the arms. With `matched`, use those of the
# smallest ratio, so that no arm has fewer; with `full` and `none`, they are the same at every
# ratio.
VALIDATION = config["splits"]["validation"]
MATCHED_RATIO = (
    f"results/splits/seed-{{seed}}/ratio-{PLAN.ratios[0]}.tsv" if VALIDATION == "matched" else []
)


rule evaluate:
    input:
        manifests=MANIFESTS,
        coordinates=COORDINATES,
        split="results/splits/seed-{seed}/split.tsv",
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        candidates="results/picks/{arm}/ratio-{ratio}/seed-{seed}/candidates.tsv",
        # Topaz does not produce masks.
        pixels=lambda wildcards: (
            "results/picks/{arm}/ratio-{ratio}/seed-{seed}/pixels.tsv".format(**wildcards)
            if wildcards.arm in PLAN.arms
            else []
        ),
        threshold="results/models/{arm}/ratio-{ratio}/seed-{seed}/threshold.json",
        history="results/models/{arm}/ratio-{ratio}/seed-{seed}/history.tsv",
    output:
        scores="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/scores.tsv",
        micrographs="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/micrographs.tsv",
        curve="results/evaluation/{arm}/ratio-{ratio}/seed-{seed}/curve.tsv",
    log:
        "results/logs/evaluate/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    wildcard_constraints:
        arm="[^/]+",
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("evaluate.py"),
        settings=lambda wildcards: canonical(
            {
                "radii": config["evaluation"]["match_radii"],
                "datasets": TRUTH,
                "flipped_row": wildcards.arm == config["evaluation"]["reference_arm"],
            }
        ),
    script:
        "../scripts/evaluate.py"


rule baselines:
    input:
        shards=SHARDS,
        manifests=MANIFESTS,
        coordinates=COORDINATES,
        split="results/splits/seed-{seed}/split.tsv",
        ratio=MATCHED_RATIO,
    output:
        scores="results/evaluation/baselines/seed-{seed}/scores.tsv",
        micrographs="results/evaluation/baselines/seed-{seed}/micrographs.tsv",
        curve="results/evaluation/baselines/seed-{seed}/curve.tsv",
    log:
        "results/logs/baselines/seed-{seed}.log",
    benchmark:
        "results/benchmarks/baselines/seed-{seed}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code("baselines.py"),
        settings=canonical(
            {
                "radii": config["evaluation"]["match_radii"],
                "datasets": TRUTH,
                "validation": VALIDATION,
            }
        ),
    script:
        "../scripts/baselines.py"


rule external:
    input:
        manifest=lambda wildcards: (
            f"results/data/{PLAN.external[wildcards.picker]['dataset']}/manifest.tsv"
        ),
        coordinates=lambda wildcards: (
            f"results/data/{PLAN.external[wildcards.picker]['dataset']}/coordinates.tsv"
        ),
        split="results/splits/seed-{seed}/split.tsv",
        ratio=MATCHED_RATIO,
        shards=lambda wildcards: (
            f"results/data/{PLAN.external[wildcards.picker]['dataset']}/shards.tsv"
            if VALIDATION == "matched"
            else []
        ),
        picks=lambda wildcards: PLAN.external_picks[wildcards.picker],
    output:
        scores="results/evaluation/external/{picker}/seed-{seed}/scores.tsv",
        micrographs="results/evaluation/external/{picker}/seed-{seed}/micrographs.tsv",
        curve="results/evaluation/external/{picker}/seed-{seed}/curve.tsv",
        candidates="results/evaluation/external/{picker}/seed-{seed}/candidates.tsv",
        threshold="results/evaluation/external/{picker}/seed-{seed}/threshold.json",
    log:
        "results/logs/external/{picker}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/external/{picker}/seed-{seed}.tsv"
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("external.py"),
        settings=lambda wildcards: canonical(
            {
                "radii": config["evaluation"]["match_radii"],
                "spec": SPECS[PLAN.external[wildcards.picker]["dataset"]],
                "picks": PLAN.external[wildcards.picker],
                "validation": VALIDATION,
            }
        ),
    script:
        "../scripts/external.py"
