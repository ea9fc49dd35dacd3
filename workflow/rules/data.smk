# Micrographs and particle centres, as they come: found, or simulated, then listed and checked.


def micrographs_of(dataset):
    """Micrograph name -> path, for the files that there are or that will be simulated."""
    spec = config["datasets"][dataset]
    if "simulate" in spec:
        folder = Path("results/simulated", dataset, "micrographs")
        return {n: str(folder / n) for n in micrograph_names(spec["simulate"]["n_micrographs"])}
    return {path.name: str(path) for path in list_micrographs(spec["micrographs"])}


def data_files(path, key):
    """The files at `path`, or in the folder `path`; `key` of the configuration names it."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{key} is {str(path)!r}, which does not exist; correct the path")
    if path.is_file():
        return [str(path)]
    return sorted(str(p) for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))


def coordinates_of(dataset):
    """Files of particle centres."""
    spec = config["datasets"][dataset]
    if "simulate" in spec:
        return [f"results/simulated/{dataset}/particles.star"]
    if spec["coordinates"] is None:
        return []
    return data_files(spec["coordinates"], f"datasets.{dataset}.coordinates")


MICROGRAPHS = {dataset: checked(micrographs_of, dataset) for dataset in DATASETS}
COORDINATES = {dataset: checked(coordinates_of, dataset) for dataset in DATASETS}
SPLIT_FILES = {
    name: spec["split_file"] for name, spec in config["datasets"].items() if spec["split_file"]
}
for name, path in SPLIT_FILES.items():
    checked(data_files, path, f"datasets.{name}.split_file")


def manifest_spec(dataset):
    """What the manifest takes from the configuration of a data set."""
    spec = config["datasets"][dataset]
    used = {key: spec[key] for key in ("format", "y_axis", "scale", "pixel_size")}
    simulated = "simulate" in spec
    return used | {"coordinates": COORDINATES[dataset][0] if simulated else spec["coordinates"]}


rule manifest:
    input:
        micrographs=lambda wildcards: MICROGRAPHS[wildcards.dataset].values(),
        coordinates=lambda wildcards: COORDINATES[wildcards.dataset],
    output:
        manifest="results/data/{dataset}/manifest.tsv",
        coordinates="results/data/{dataset}/coordinates.tsv",
    params:
        code=code("manifest.py"),
        spec=lambda wildcards: canonical(manifest_spec(wildcards.dataset)),
    log:
        "results/logs/manifest/{dataset}.log",
    benchmark:
        "results/benchmarks/manifest/{dataset}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/images.yaml"
    script:
        "../scripts/manifest.py"
