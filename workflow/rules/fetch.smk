# Public data sets by name: `snakemake --cores 1 data/cryoppp-10017/config.yaml`, for example.


# Only the configuration is an output: Snakemake deletes outputs before a job, and what has come of
# a transfer that broke off has to stay.
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
