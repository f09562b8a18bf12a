"""What the BraTS editions share: the harmonised classes, the channel order, the targets.

Classes: 0 background, 1 edema, 2 necrosis and non-enhancing tumour, 3 enhancing tumour, as in nnU-Net's own BraTS
scripts. Channels: T1, T1ce, T2, Flair, as there; the Medical Segmentation Decathlon's Task01 uses another order.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from dataset_conversion.facts import Target

CHANNELS = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "Flair"}
REFERENCE = "flair"
# In the order of preference for the way back: a whole tumour becomes 2, which counts as no core, and a class that
# merged 1 and 3 becomes 1.
LABELS_2017 = {0: 0, 2: 1, 1: 2, 4: 3}
LABELS_2016 = {**LABELS_2017, 3: 2}  # 3, non-enhancing, was a class of its own until 2016

TARGETS = {
    "regions": Target(
        {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]},
        {0: 0, 1: 1, 2: 2, 3: 3},
        regions_class_order=[1, 2, 3],
    ),
    "labels": Target(
        {"background": 0, "edema": 1, "necrosis and non-enhancing tumor": 2, "enhancing tumor": 3},
        {0: 0, 1: 1, 2: 2, 3: 3},
    ),
    "whole-tumor": Target({"background": 0, "whole tumor": 1}, {0: 0, 1: 1, 2: 1, 3: 1}),
}


def grade(path: PurePath) -> str | None:
    """The grade that the nearest folder named so gives (`HGG`, `LGG`, `HGG-t1`), or None.

    `HGG_LGG`, the folder of the 2015 test set, is neither.
    """
    for folder in reversed(path.parent.parts):
        if found := re.fullmatch(r"(HGG|LGG)(?:-\w+)?", folder, re.IGNORECASE):
            return found[1].upper()
    return None
