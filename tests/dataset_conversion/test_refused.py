"""What real downloads are like: each defect that is refused, the exact words it is answered with, and the exit code."""

from __future__ import annotations

import re
from pathlib import Path

import defects
import downloads
import pytest
from defects import (
    CT,
    FLAIR,
    HGG,
    T1,
    T1C_2016,
    Damage,
)

from dataset_conversion.cli import main

X, Y, Z = downloads.SHAPE
BYTES = 2 * X * Y * Z
TUMOUR = int((downloads.brain(10).labels > 0).sum())  # voxels of the damaged case

REFUSED: list[tuple[str, Damage, str]] = [
    (
        "brats2017",
        defects.missing_channel,
        f"BraTS17_TCIA_153_1_HGG  {HGG}/Brats17_TCIA_153_1  no file for t1 (found: flair, label, t1ce, t2); complete the "
        "download or use --on-error skip",
    ),
    (
        "brats2017",
        defects.missing_label,
        "no file for label (found: flair, t1, t1ce, t2); complete the download or use --on-error skip",
    ),
    (
        "brats2016",
        defects.missing_flair_of_2016,
        "no file for flair (found: label, t1, t1ce, t2); complete the download or use --on-error skip",
    ),
    ("brats2017", defects.two_candidates, f"2 candidates for t1: {T1[:-3]}, {T1}; keep one in SOURCE"),
    (
        "brats2017",
        defects.scan_twice,
        f"2 candidates for flair: {FLAIR}, copy/HGG/Brats17_TCIA_153_1/Brats17_TCIA_153_1_flair.nii.gz; keep one in SOURCE",
    ),
    ("brats2017", defects.truncated_gzip, f"{T1}  truncated or damaged gzip (…); fetch it again"),
    ("brats2017", defects.damaged_gzip, f"{T1}  truncated or damaged gzip (…); fetch it again"),
    ("brats2017", defects.empty_file, f"{T1}  is empty (0 bytes); fetch it again"),
    ("brats2017", defects.error_page, f"{T1}  not a NIfTI file; fetch it again or repair it"),
    (
        "brats2017",
        defects.short_payload,
        f"{T1}  truncated: {2 * X * Y * Z - 100} of {2 * X * Y * Z} bytes of voxels; fetch it again or repair it",
    ),
    ("brats2017", defects.nan_in_image, "2 voxels are NaN or infinite; ITK would read NaN as 0. Repair the image"),
    ("brats2017", defects.infinity_in_image, "1 voxels are NaN or infinite; ITK would read NaN as 0. Repair the image"),
    ("brats2017", defects.nan_in_label, "3 voxels are NaN or infinite; ITK would read them as 0. Repair the label"),
    ("brats2017", defects.label_of_2016, "label values 3 (7 voxels) are not among 0, 1, 2, 4; is it this dataset's?"),
    ("brats2017", defects.negative_label, "label values -1 (2 voxels) are not among 0, 1, 2, 4; is it this dataset's?"),
    ("brats2017", defects.large_label, "label values 257 (1 voxels) are not among 0, 1, 2, 4; is it this dataset's?"),
    (
        "brats2017",
        defects.interpolated_label,
        "4 voxels are no integer (such as 0.5); labels must be integers within 0.001. Was it resampled with interpolation?",
    ),
    (
        "brats2017",
        defects.scaled_label,
        f"{TUMOUR} voxels are no integer (such as 2.02); labels must be integers within 0.001. Was it resampled with "
        "interpolation?",
    ),
    (
        "brats2017",
        defects.empty_label,
        "has no foreground: every voxel is background; complete the label or leave the case out",
    ),
    ("brats2017", defects.label_of_another_size, f"size {(X - 1, Y, Z)}, but flair has {(X, Y, Z)}; they are not one scan's"),
    ("brats2017", defects.channel_of_another_size, f"size {(X, Y, Z - 2)}, but flair has {(X, Y, Z)}; they are not one scan's"),
    (
        "brats2017",
        defects.label_of_another_spacing,
        "spacing (1.0, 1.0, 1.5) mm, the reference channel has (1.0, 1.0, 1.0) mm; resample or fix one of them",
    ),
    (
        "brats2017",
        defects.turned_label,
        "its axes are turned by 30° against the reference channel's; resample it on the reference's grid",
    ),
    (
        "brats2017",
        defects.symmetric_label_with_flipped_header,
        "its header says that axes x point the other way than the reference channel's, and the voxels do not tell whether to "
        "believe it (fit … as they are, … mirrored); look at it and correct the header",
    ),
    ("abdomenct1k", defects.sheared_image, "its axes are not at right angles (cosine 0.0499 > 0.01); resample it"),
    (
        "abdomenct1k",
        defects.contradictory_spacing,
        "its spacing contradicts itself: pixdim (6.0, 3.0, 3.0) mm, affine (3.0, 3.0, 3.0) mm; correct the wrong one",
    ),
    ("brats2017", defects.zero_spacing, "spacing (0.0, 1.0, 1.0) mm is not a size; correct the header"),
    (
        "brats2017",
        defects.micrometres,
        "its unit is m or µm, which readers treat differently; mm expected. Correct the header",
    ),
    ("brats2017", defects.several_volumes, f"3-D volume expected, found shape {(X, Y, Z, 2)}; one file per channel"),
    ("brats2017", defects.colours, "numbers of 1 to 8 bytes expected, found [('R', 'u1'), ('G', 'u1'), ('B', 'u1')]"),
    ("brats2017", defects.constant_image, "every voxel is 0: there is no image; fetch it again"),
    (
        "brats2017",
        defects.link_out_of_source,
        f"{T1}  is a link out of SOURCE, to …/elsewhere.nii.gz; give the folder that really holds it",
    ),
    (
        "brats2017",
        defects.linked_folder_out_of_source,
        f"{HGG}  is a link to the folder …/HGG, which is not followed; give that as SOURCE",
    ),
    ("brats2017", defects.broken_link, f"{T1}  cannot be read: No such file or directory"),
    (
        "brats2017",
        defects.two_grades,
        "patient TCIA_153 has two grades: HGG (BraTS17_TCIA_153_1_HGG), LGG (BraTS17_TCIA_153_1_LGG); keep one of them",
    ),
    (
        "brats2017",
        defects.decathlon,
        "…/BRATS_001.nii.gz: is Task01_BrainTumour of the Medical Segmentation Decathlon. Its cases are those of BraTS 2016 "
        "and 2017 under other names, so its patients cannot be kept on one side of a split; convert it alone, with "
        "nnUNetv2_convert_MSD_dataset",
    ),
    ("brats2017", defects.nothing, "no BraTS 2017 file found under …"),
    ("brats2017", defects.only_an_archive, "no BraTS 2017 file found under …; unpack first: Brats17TrainingData.zip"),
    (
        "brats2017",
        defects.one_patient,
        "1 patient(s) with label: a test set besides training and validation needs at least 3; use --test-fraction 0 "
        "or add patients",
    ),
    (
        "brats2017",
        defects.two_patients,
        "2 patient(s) with label: a test set besides training and validation needs at least 3; use --test-fraction 0 "
        "or add patients",
    ),
    ("brats2016", defects.truncated_mha, f"{T1C_2016}  truncated or damaged (…); fetch it again or repair it"),
    ("brats2016", defects.damaged_mha, f"{T1C_2016}  truncated or damaged (…); fetch it again or repair it"),
    ("brats2016", defects.unknown_label_in_mha, "label values 5 (1 voxels) are not among 0, 1, 2, 3, 4; is it this dataset's?"),
    (
        "brats2016",
        defects.vector_mha,
        "one 3-D volume of numbers expected, found NDims 3, 2 values per voxel; fetch it again or repair it",
    ),
    ("abdomenct1k", defects.mask_of_another_size, "size (43, 36, 30), but ct has (44, 36, 30); they are not one scan's"),
    ("abdomenct1k", defects.unknown_organ, "label values 9 (1 voxels) are not among 0, 1, 2, 3, 4; is it this dataset's?"),
    (
        "abdomenct1k",
        defects.image_part_twice,
        f"2 candidates for ct: {CT}, AbdomenCT-1K-ImagePart1-copy/Case_00001_0000.nii.gz; keep one in SOURCE",
    ),
]


@pytest.mark.parametrize(("name", "damage", "message"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_defect_is_named_and_nothing_is_written(
    name: str, damage: Damage, message: str, download, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = download(name)
    damage(root)
    assert main([name, str(root), "-np", "1"]) == 1
    assert said(message, capsys.readouterr().err)
    assert not list(raw.iterdir())


def said(message: str, output: str) -> bool:
    """Whether `message` is the whole of a row's problem, or of the last line; "…" stands for what a library or a path says."""
    exactly = re.compile(".*".join(map(re.escape, message.split("…"))))
    rows = [re.split(r" {2,}", line) for line in output.splitlines()]
    texts = ["  ".join(row[-columns:]).strip() for row in rows for columns in (1, 2, 3)]
    return any(exactly.fullmatch(text) or exactly.fullmatch(text.split(": ", 1)[-1]) for text in texts)
