from snakemake.utils import min_version

min_version("9.27")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/masks.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/pick.smk"
include: "workflow/rules/topaz.smk"
include: "workflow/rules/relion_log.smk"
include: "workflow/rules/general.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/final.smk"


codehash.save()


rule all:
    default_target: True
    input:
        "results/comparison.tsv",
        "results/comparison.md",
        "results/report.html",
        FIGURES,
        PICKS,


# Partial targets, to inspect the splits before training, or to train without picking.
rule splits:
    input:
        expand("results/splits/seed-{seed}/ratio-{ratio}.tsv", seed=PLAN.seeds, ratio=PLAN.ratios),


rule models:
    input:
        expand(
            "results/models/{arm}/ratio-{ratio}/seed-{seed}/model.safetensors",
            arm=PLAN.arms,
            ratio=PLAN.ratios,
            seed=PLAN.seeds,
        ),


rule picks:
    input:
        FINAL,
