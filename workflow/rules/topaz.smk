# Train Topaz on the same labels, if configured, and score it like the arms.

TOPAZ_RUNS = []

if PLAN.topaz:
    TOPAZ = config["baselines"]["topaz"]["executable"]
    TOPAZ_RUNS = [f"topaz/ratio-{ratio}/seed-{seed}" for _, ratio, seed in PLAN.topaz]
    TOPAZ_IMAGES = PLAN.shard_files("results/topaz/images/{dataset}/{shard}")

    rule topaz_images:
        input:
            stack="results/preprocessed/{dataset}/{shard}.mrcs",
            table="results/preprocessed/{dataset}/{shard}.tsv",
        output:
            directory("results/topaz/images/{dataset}/{shard}"),
        log:
            "results/logs/topaz_images/{dataset}/{shard}.log",
        benchmark:
            "results/benchmarks/topaz_images/{dataset}/{shard}.tsv"
        conda:
            "../../envs/topaz.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=60,
            executable=TOPAZ,
        params:
            code=code("topaz_images.py"),
        script:
            "../scripts/topaz_images.py"

    rule topaz_train:
        input:
            images=TOPAZ_IMAGES,
            ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
            hyperparameters="results/models/topaz/ratio-{ratio}/seed-{seed}/hyperparameters.json",
        output:
            model="results/models/topaz/ratio-{ratio}/seed-{seed}/model.sav",
            history="results/models/topaz/ratio-{ratio}/seed-{seed}/history.tsv",
        log:
            "results/logs/topaz_train/ratio-{ratio}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/topaz_train/ratio-{ratio}/seed-{seed}.tsv"
        conda:
            "../../envs/topaz.yaml"
        threads: config["resources"]["train_threads"]
        resources:
            mem_mb=8000,
            runtime=480,
            gpu=GPU,
            executable=TOPAZ,
        params:
            code=code("topaz_train.py"),
        script:
            "../scripts/topaz_train.py"

    rule topaz_extract:
        input:
            images=TOPAZ_IMAGES,
            ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
            model="results/models/topaz/ratio-{ratio}/seed-{seed}/model.sav",
        output:
            "results/picks/topaz/ratio-{ratio}/seed-{seed}/candidates.tsv",
        log:
            "results/logs/topaz_extract/ratio-{ratio}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/topaz_extract/ratio-{ratio}/seed-{seed}.tsv"
        conda:
            "../../envs/topaz.yaml"
        threads: config["resources"]["train_threads"]
        resources:
            mem_mb=8000,
            runtime=240,
            gpu=GPU,
            executable=TOPAZ,
        params:
            code=code("topaz_extract.py"),
            settings=canonical({"nms_radius": config["picking"]["nms_radius"]}),
        script:
            "../scripts/topaz_extract.py"

    rule topaz_threshold:
        input:
            shards=SHARDS,
            ratio="results/splits/seed-{seed}/ratio-{ratio}.tsv",
            candidates="results/picks/topaz/ratio-{ratio}/seed-{seed}/candidates.tsv",
        output:
            "results/models/topaz/ratio-{ratio}/seed-{seed}/threshold.json",
        log:
            "results/logs/topaz_threshold/ratio-{ratio}/seed-{seed}.log",
        benchmark:
            "results/benchmarks/topaz_threshold/ratio-{ratio}/seed-{seed}.tsv"
        conda:
            "../../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            code=code("topaz_threshold.py"),
        script:
            "../scripts/topaz_threshold.py"
