"""All cases, in the order of the page."""

from badinput import annotation, config, coordinates, disk, images, labs, names, splits

FAMILIES = (images, coordinates, labs, names, splits, annotation, config, disk)
CASES = [case for family in FAMILIES for case in family.CASES]
