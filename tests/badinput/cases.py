"""All cases, in the order of the page."""

from badinput import annotation, config, coordinates, disk, images, labs, names, splits

SECTIONS = {
    "Micrographs": images,
    "Coordinates": coordinates,
    "Variants written by other programs": labs,
    "File names and folders": names,
    "Splits and label budgets": splits,
    "Areas and clicks": annotation,
    "Configuration": config,
    "Disks, and changes during a run": disk,
}
CASES = [case for section in SECTIONS.values() for case in section.CASES]
