# A supervised warm start that all arms share, and from there each arm's own training.
DEVICE = config["resources"]["device"]
HAS_GPU = Path("/dev/nvidiactl").exists()
# `auto` on a machine without a GPU asks for none, so that trainings may share its cores.
GPU = int(DEVICE == "cuda" or (DEVICE == "auto" and HAS_GPU))

TRAININGS = {
    (arm, ratio, str(seed)): resolve_arm(config, arm, float(ratio), seed)
    for arm in ARMS
    for ratio in RATIOS
    for seed in SEEDS
}
WARM_STARTS = {
    (f"warm_start/{warm_start_key(values)}", ratio, seed): warm_start(values)
    for (_, ratio, seed), values in TRAININGS.items()
}
# What training and picking read: every shard of every data set.
TRAINING_DATA = {
    "stacks": shards("results/preprocessed/{dataset}/{shard}.mrcs"),
    "stack_tables": shards("results/preprocessed/{dataset}/{shard}.tsv"),
    "masks": shards("results/masks/{dataset}/{shard}.mrcs"),
    "mask_tables": shards("results/masks/{dataset}/{shard}.tsv"),
}


def warm_start_of(wildcards):
    """The network that an arm begins with."""
    values = TRAININGS[wildcards.arm, wildcards.ratio, wildcards.seed]
    folder = f"results/models/warm_start/{warm_start_key(values)}"
    return f"{folder}/ratio-{wildcards.ratio}/seed-{wildcards.seed}/model.safetensors"


onstart:
    if DEVICE == "cuda" and workflow.local_exec and not HAS_GPU:
        raise WorkflowError(
            "resources.device is 'cuda', but this machine has no NVIDIA GPU (no /dev/nvidiactl); "
            "set it to auto or cpu, or run on a machine with a GPU"
        )


localrules:
    hyperparameters,


# Training reads its values from this file and not from the configuration: a job that waits in a
# queue trains with what was recorded when it was submitted.
rule hyperparameters:
    output:
        "results/models/{model}/ratio-{ratio}/seed-{seed}/hyperparameters.json",
    params:
        values=lambda wildcards: canonical(
            (TRAININGS | WARM_STARTS)[wildcards.model, wildcards.ratio, wildcards.seed]
        ),
    log:
        "results/logs/hyperparameters/{model}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/hyperparameters/{model}/ratio-{ratio}/seed-{seed}.tsv"
    threads: 1
    resources:
        mem_mb=200,
        runtime=5,
    conda:
        "../../envs/images.yaml"
    script:
        "../scripts/hyperparameters.py"


rule warm_start:
    input:
        **TRAINING_DATA,
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        hyperparameters="results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}/hyperparameters.json",
    output:
        model="results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}/model.safetensors",
        history="results/models/warm_start/{key}/ratio-{ratio}/seed-{seed}/history.tsv",
    params:
        code=code("warm_start.py"),
    log:
        "results/logs/warm_start/{key}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/warm_start/{key}/ratio-{ratio}/seed-{seed}.tsv"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=GPU,
        device=DEVICE,
    conda:
        "../../envs/torch.yaml"
    script:
        "../scripts/warm_start.py"


rule train:
    input:
        **TRAINING_DATA,
        ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
        hyperparameters="results/models/{arm}/ratio-{ratio}/seed-{seed}/hyperparameters.json",
        warm_start=warm_start_of,
    output:
        model="results/models/{arm}/ratio-{ratio}/seed-{seed}/model.safetensors",
        history="results/models/{arm}/ratio-{ratio}/seed-{seed}/history.tsv",
    params:
        code=code("train.py"),
    log:
        "results/logs/train/{arm}/ratio-{ratio}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/train/{arm}/ratio-{ratio}/seed-{seed}.tsv"
    threads: config["resources"]["train_threads"]
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=GPU,
        device=DEVICE,
    conda:
        "../../envs/torch.yaml"
    script:
        "../scripts/train.py"
