# Pick with the general network without labels, if configured; scored like the picks of another
# program.

if config["baselines"]["general"]:

    from fewpick.config.hyperparameters import weights_digest
    from fewpick.network.weights import general_path

    rule general:
        input:
            shards="results/data/{dataset}/shards.tsv",
            manifest="results/data/{dataset}/manifest.tsv",
        output:
            "results/general/{dataset}/picks.json",
        log:
            "results/logs/general/{dataset}.log",
        benchmark:
            "results/benchmarks/general/{dataset}.tsv"
        conda:
            "../../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=240,
        params:
            code=code("general.py"),
            settings=lambda wildcards: canonical(
                {"spec": SPECS[wildcards.dataset], "network": weights_digest(general_path())}
            ),
        script:
            "../scripts/general.py"
