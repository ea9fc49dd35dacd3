# Train the supervised warm start that arms share, then continue with each arm.


# Training reads its values from this file instead of the configuration, so that a queued job uses
# the values recorded at submission.
rule hyperparameters:
    output:
        "results/models/{model}/ratio-{ratio}/seed-{seed}/hyperparameters.json",
    log:
        "results/logs/hyperparameters/{model}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/hyperparameters/{model}/ratio-{ratio}/seed-{seed}.tsv"
    localrule: True
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=200,
        runtime=5,
    params:
        code=code("hyperparameters.py"),
        values=lambda wildcards: canonical(
            (PLAN.trainings | PLAN.warm_starts | PLAN.topaz)[
                wildcards.model, wildcards.ratio, wildcards.seed
            ]
        ),
    script:
        "../scripts/hyperparameters.py"


rule warm_start:
    input:
        shards=SHARDS,
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        hyperparameters="results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}/hyperparameters.json",
    output:
        model="results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}/model.safetensors",
        history="results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}/history.tsv",
    log:
        "results/logs/warm_start/{key}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/warm_start/{key}/ratio-{ratio}/seed-{seed}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=240,
        gpu=GPU,
        device=DEVICE,
    params:
        code=code("train.py"),
    script:
        "../scripts/train.py"


rule train:
    input:
        shards=SHARDS,
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        hyperparameters="results/models/{arm}/ratio-{ratio}/seed-{seed}/hyperparameters.json",
        warm_start=lambda wildcards: (
            f"{PLAN.warm_start_folder(wildcards.arm, wildcards.ratio, wildcards.seed)}/model.safetensors"
        ),
        rival=lambda wildcards: (
            "results/models/{}/ratio-{}/seed-{}/model.safetensors".format(
                PLAN.rivals[wildcards.arm], wildcards.ratio, wildcards.seed
            )
            if wildcards.arm in PLAN.rivals
            else []
        ),
    output:
        model="results/models/{arm}/ratio-{ratio}/seed-{seed}/model.safetensors",
        history="results/models/{arm}/ratio-{ratio}/seed-{seed}/history.tsv",
    log:
        "results/logs/train/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/train/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=480,
        gpu=GPU,
        device=DEVICE,
    params:
        code=code("train.py"),
    script:
        "../scripts/train.py"
