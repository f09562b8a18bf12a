"""What real downloads are like: each defect that is repaired or ignored, what is said, and that the voxels are the same."""

from __future__ import annotations

from pathlib import Path

import defects
import numpy as np
import pytest
import SimpleITK as sitk
from defects import (
    Damage,
)

from dataset_conversion.cli import main

ACCEPTED: list[tuple[str, Damage, str]] = [
    ("brats2017", defects.label_elsewhere, "changed in 1 case(s): label: geometry copied from flair: origin was off by 239 mm"),
    (
        "brats2017",
        defects.label_without_position,
        "label: geometry copied from flair: one of the two headers says nothing about position",
    ),
    (
        "brats2017",
        defects.flipped_label_header,
        "label: geometry copied from flair: axes x pointed the other way; the voxels fit as they are",
    ),
    (
        "brats2017",
        defects.flipped_label,
        "label: geometry copied from flair: axes x pointed the other way; the voxels were mirrored",
    ),
    (
        "brats2017",
        defects.flipped_channel,
        "t1: geometry copied from flair: axes y pointed the other way; the voxels were mirrored",
    ),
    ("brats2017", defects.other_qform, "changed in 1 case(s): flair: qform, which contradicted the sform, set to the sform"),
    ("brats2017", defects.float_label, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.fourth_axis_of_one, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.unpacked_files, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.renamed_not_unpacked, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.big_endian, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.nifti_2, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.folder_per_modality, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.flat_folder_per_modality, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", defects.other_files, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2016", defects.flat_2016, "4 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2016", defects.smir_prefix, "4 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2016", defects.nifti_2016, "changed in 5 case(s): label: geometry copied from flair: origin was off by 239 mm"),
    ("brats2016", defects.uncompressed_mha, "4 training cases in 3 folds, 1 test cases (1 with label)"),
    ("abdomenct1k", defects.masks_of_other_parts, "warning: 1 masks have no image and are left out: Case_00900"),
    (
        "abdomenct1k",
        defects.lost_spacing,
        "warning: AbdomenCT1K_00001_CT: spacing is (1, 1, 1) mm, which no CT has: the true spacing was lost; left as it is",
    ),
    ("abdomenct1k", defects.no_position_at_all, "warning: AbdomenCT1K_00001_CT: the header says nothing about orientation"),
]


def voxels_of(folder: Path, case: str) -> list[np.ndarray]:
    """Channels and label of one case as nnU-Net's reader sees them."""
    paths = sorted([*folder.glob(f"images*/{case}_*"), *folder.glob(f"labels*/{case}.*")])
    assert len(paths) > 1
    return [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in paths]


FIRST = {
    "brats2016": ("Dataset516_BraTS2016", "BraTS16_2013_0001_1_HGG"),
    "brats2017": ("Dataset517_BraTS2017", "BraTS17_TCIA_153_1_HGG"),
    "abdomenct1k": ("Dataset519_AbdomenCT1K", "AbdomenCT1K_00001_CT"),
}


@pytest.fixture(scope="module")
def intact(laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the undamaged downloads become."""
    folder = tmp_path_factory.mktemp("intact")
    for name in FIRST:
        assert main([name, str(laid_out / name), "-np", "1", "--raw", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(("name", "damage", "message"), ACCEPTED, ids=lambda value: getattr(value, "__name__", ""))
def test_defect_is_repaired_and_the_voxels_are_those_of_the_intact_download(
    name: str, damage: Damage, message: str, download, intact: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = download(name)
    damage(root)
    assert main([name, str(root), "-np", "1"]) == 0
    assert message in capsys.readouterr().out
    folder, case = FIRST[name]
    for found, expected in zip(voxels_of(raw / folder, case), voxels_of(intact / folder, case), strict=True):
        assert np.array_equal(found, expected)
