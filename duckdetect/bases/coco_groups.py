"""COCO's supercategories: which of the 90 classes that zoo models were trained on are of one kind."""

from __future__ import annotations

# The first id of each, from COCO's table of categories; ids that the data set dropped are counted too.
_FIRST_ID = {
    "person": 1,
    "vehicle": 2,
    "outdoor": 10,
    "animal": 16,
    "accessory": 26,
    "sports": 34,
    "kitchen": 44,
    "food": 52,
    "furniture": 62,
    "electronic": 72,
    "appliance": 78,
    "indoor": 84,
}
N_CLASSES = 90

COCO_GROUPS = tuple(
    max((first, name) for name, first in _FIRST_ID.items() if first <= number)[1]
    for number in range(1, N_CLASSES + 1)
)
"""The supercategory of each class id, from 0."""
