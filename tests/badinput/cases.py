"""All cases, in the order of the page."""

from badinput import config, coordinates, disk, images, names, splits

FAMILIES = (images, coordinates, names, splits, config, disk)
CASES = [case for family in FAMILIES for case in family.CASES]
