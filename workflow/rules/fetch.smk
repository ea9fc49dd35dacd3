# Download public data sets by name, such as `snakemake --cores 1 data/cryoppp-10017/config.yaml`.


# Only the configuration is an output: Snakemake deletes outputs before a job, but an interrupted
# download has to be kept to resume it.
rule fetch:
    output:
        f"{config['fetch']['folder']}/{{source}}-{{entry}}/config.yaml",
    log:
        "results/logs/fetch/{source}-{entry}.log",
    benchmark:
        "results/benchmarks/fetch/{source}-{entry}.tsv"
    wildcard_constraints:
        source="cryoppp|cryoppp_lite|empiar",
        entry=r"\d+",
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1440,
    params:
        code=code("fetch.py"),
        settings=canonical(config["fetch"]),
    script:
        "../scripts/fetch.py"
