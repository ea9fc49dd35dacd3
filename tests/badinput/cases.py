"""All cases, in the order of the page."""

from badinput import images

FAMILIES = (images,)
CASES = [case for family in FAMILIES for case in family.CASES]
