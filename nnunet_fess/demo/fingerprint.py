"""nnU-Net's fingerprint of a dataset, by nnU-Net's own extractor, from fewer voxels than its command draws.

That command draws a hundred million voxels per channel, with replacement, whatever the dataset's size: of the demo's phantoms,
which have a few thousand, that takes longer than a training. What is there already is not computed again, by neither.

    python -m nnunet_fess.demo.fingerprint 517
"""

from __future__ import annotations

import sys

VOXELS = 1_000_000


def extract(dataset: int) -> None:
    """Write `dataset_fingerprint.json` into the dataset's preprocessed folder."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    extractor = DatasetFingerprintExtractor(dataset, num_processes=1)
    extractor.num_foreground_voxels_for_intensitystats = VOXELS
    extractor.run()


if __name__ == "__main__":
    extract(int(sys.argv[1]))
