# Pick with RELION's Laplacian of Gaussian, if configured. It needs no labels; its picks are scored
# like those of another program.

if "relion_log" in config["baselines"]:

    rule relion_log:
        input:
            shards="results/data/{dataset}/shards.tsv",
            manifest="results/data/{dataset}/manifest.tsv",
        output:
            "results/relion_log/{dataset}/picks.csv",
        log:
            "results/logs/relion_log/{dataset}.log",
        benchmark:
            "results/benchmarks/relion_log/{dataset}.tsv"
        conda:
            "../../envs/images.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=240,
            executable=config["baselines"]["relion_log"]["executable"],
        params:
            code=code("relion_log.py"),
            settings=lambda wildcards: canonical(
                {
                    "spec": SPECS[wildcards.dataset],
                    **{
                        key: config["baselines"]["relion_log"][key]
                        for key in ("diameters", "adjust_threshold")
                    },
                }
            ),
        script:
            "../scripts/relion_log.py"
