"""What real downloads are like: each defect, the exact words it is answered with, and the exit code."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion import pipeline, places, write
from dataset_conversion.cli import main

HGG = "MICCAI_BraTS17_Data_Training/HGG"
CASE = f"{HGG}/Brats17_TCIA_153_1/Brats17_TCIA_153_1"
LGG = "MICCAI_BraTS17_Data_Training/LGG/Brats17_TCIA_621_1/Brats17_TCIA_621_1"
T1, SEG, FLAIR = f"{CASE}_t1.nii.gz", f"{CASE}_seg.nii.gz", f"{CASE}_flair.nii.gz"
SCAN_2016 = "BRATS2015_Training/HGG/brats_2013_pat0001_1"
OT_2016 = f"{SCAN_2016}/VSD.Brain_3more.XX.O.OT.54516/VSD.Brain_3more.XX.O.OT.54516.mha"
T1C_2016 = f"{SCAN_2016}/VSD.Brain.XX.O.MR_T1c.54514/VSD.Brain.XX.O.MR_T1c.54514.mha"
PART = "AbdomenCT-1K-ImagePart1/AbdomenCT-1K-ImagePart1"
CT = f"{PART}/Case_00001_0000.nii.gz"
MASK = "Mask/Case_00001.nii.gz"
Damage = Callable[[Path], None]


class Volume:
    """Voxels and header of a NIfTI file while it is being damaged; shape (x, y, z)."""

    def __init__(self, path: Path) -> None:
        image = nib.load(path)
        self.voxels = np.asanyarray(image.dataobj).copy()
        self.header = image.header.copy()

    @property
    def affine(self) -> np.ndarray:
        return self.header.get_best_affine()

    @affine.setter
    def affine(self, affine: np.ndarray) -> None:
        self.header.set_sform(affine, 1)
        self.header.set_qform(affine, 1)


@contextmanager
def edited(path: Path) -> Iterator[Volume]:
    """The file, to be changed and written back."""
    volume = Volume(path)
    yield volume
    image = nib.Nifti1Image(volume.voxels, None, volume.header)
    image.header.set_data_dtype(volume.voxels.dtype)
    nib.save(image, path)


# --- one function per defect: it gets the folder of the download ---------------------------------------------------


def missing_channel(root: Path) -> None:
    (root / T1).unlink()


def missing_label(root: Path) -> None:
    (root / SEG).unlink()


def missing_flair_of_2016(root: Path) -> None:
    shutil.rmtree(next((root / SCAN_2016).glob("*Flair*")))


def two_candidates(root: Path) -> None:
    (root / T1.removesuffix(".gz")).write_bytes(gzip.decompress((root / T1).read_bytes()))


def scan_twice(root: Path) -> None:
    shutil.copytree((root / CASE).parent, root / "copy" / "HGG" / "Brats17_TCIA_153_1")


def truncated_gzip(root: Path) -> None:
    (root / T1).write_bytes((root / T1).read_bytes()[:-1000])


def damaged_gzip(root: Path) -> None:
    content = bytearray((root / T1).read_bytes())
    content[-8] ^= 0xFF  # the stored checksum: the voxels still look like voxels
    (root / T1).write_bytes(content)


def empty_file(root: Path) -> None:
    (root / T1).write_bytes(b"")


def error_page(root: Path) -> None:
    (root / T1).write_bytes(b"<html>404</html>" * 100)


def short_payload(root: Path) -> None:
    (root / T1).write_bytes(gzip.compress(gzip.decompress((root / T1).read_bytes())[:-100]))


def nan_in_image(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.voxels = volume.voxels.astype(np.float32)
        volume.voxels[1, 2, 3:5] = np.nan


def infinity_in_image(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.voxels = volume.voxels.astype(np.float64)
        volume.voxels[1, 2, 3] = np.inf


def nan_in_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels = volume.voxels.astype(np.float32)
        volume.voxels[0, 0, :3] = np.nan


def label_of_2016(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels[0, 0, :7] = 3


def negative_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels = volume.voxels.astype(np.int16)
        volume.voxels[0, 0, :2] = -1


def large_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels = volume.voxels.astype(np.int16)
        volume.voxels[0, 0, 0] = 257  # 1 in a byte


def interpolated_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels = volume.voxels.astype(np.float32)
        volume.voxels[0, 0, :4] = 0.5


def scaled_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.header.set_slope_inter(1.01, 0)
    content = bytearray(gzip.decompress((root / SEG).read_bytes()))
    content[112:116] = np.float32(1.01).tobytes()  # nibabel resets the slope when it writes
    (root / SEG).write_bytes(gzip.compress(bytes(content)))


def empty_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels[:] = 0


def label_of_another_size(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels = volume.voxels[:-1]


def channel_of_another_size(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.voxels = volume.voxels[:, :, :-2]


def label_of_another_spacing(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.header.set_zooms((1, 1, 1.5))
        volume.affine = volume.affine @ np.diag([1, 1, 1.5, 1])


def turned_label(root: Path) -> None:
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0, 0], [np.sin(angle), np.cos(angle), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with edited(root / SEG) as volume:
        volume.affine = volume.affine @ turn


def symmetric_label_with_flipped_header(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels[:] = 0
        volume.voxels[:, 20:28, 20:28] = 1
        volume.affine = volume.affine @ np.diag([-1, 1, 1, 1])


def sheared_image(root: Path) -> None:
    with edited(root / CT) as volume:
        affine = volume.affine
        affine[:3, 1] += 0.05 * affine[:3, 0]
        volume.header.set_sform(affine, 1)
        volume.header.set_qform(None, 0)


def contradictory_spacing(root: Path) -> None:
    with edited(root / CT) as volume:
        spacing = volume.header.get_zooms()
        volume.header.set_qform(None, 0)
        volume.header.set_zooms((spacing[0] * 2, *spacing[1:]))


def zero_spacing(root: Path) -> None:
    content = bytearray(gzip.decompress((root / T1).read_bytes()))
    content[80:84] = bytes(4)
    (root / T1).write_bytes(gzip.compress(bytes(content)))


def micrometres(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.header.set_xyzt_units("micron")


def several_volumes(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.voxels = np.stack([volume.voxels] * 2, axis=-1)


def colours(root: Path) -> None:
    with edited(root / T1) as volume:
        colour = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        volume.voxels = np.zeros(volume.voxels.shape, colour)


def constant_image(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.voxels[:] = 0


def link_out_of_source(root: Path) -> None:
    (root / T1).rename(root.parent / "elsewhere.nii.gz")
    (root / T1).symlink_to(root.parent / "elsewhere.nii.gz")


def linked_folder_out_of_source(root: Path) -> None:
    folder = root / HGG
    folder.rename(root.parent / "HGG")
    folder.symlink_to(root.parent / "HGG")


def broken_link(root: Path) -> None:
    (root / T1).unlink()
    (root / T1).symlink_to(root / "gone.nii.gz")


def two_grades(root: Path) -> None:
    shutil.copytree((root / CASE).parent, root / "MICCAI_BraTS17_Data_Training/LGG/Brats17_TCIA_153_1")


def decathlon(root: Path) -> None:
    shutil.copy(root / T1, root / "BRATS_001.nii.gz")


def nothing(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def only_an_archive(root: Path) -> None:
    nothing(root)
    (root / "Brats17TrainingData.zip").write_bytes(b"PK")


def one_patient(root: Path) -> None:
    shutil.rmtree(root / "MICCAI_BraTS17_Data_Training/LGG")
    for name in ("Brats17_CBICA_AAB_1", "Brats17_2013_2_1"):
        shutil.rmtree(root / HGG / name)


def two_patients(root: Path) -> None:
    one_patient(root)
    shutil.copytree((root / CASE).parent, root / HGG / "Brats17_TCIA_154_1")
    for path in (root / HGG / "Brats17_TCIA_154_1").iterdir():
        path.rename(path.with_name(path.name.replace("153", "154")))


def truncated_mha(root: Path) -> None:
    (root / T1C_2016).write_bytes((root / T1C_2016).read_bytes()[:-500])


def damaged_mha(root: Path) -> None:
    content = bytearray((root / T1C_2016).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (root / T1C_2016).write_bytes(content)


def unknown_label_in_mha(root: Path) -> None:
    image = sitk.ReadImage(str(root / OT_2016))
    image[0, 0, 0] = 5
    sitk.WriteImage(image, str(root / OT_2016), True)


def vector_mha(root: Path) -> None:
    image = sitk.ReadImage(str(root / T1C_2016))
    sitk.WriteImage(sitk.Compose(image, image), str(root / T1C_2016), True)


def mask_of_another_size(root: Path) -> None:
    with edited(root / MASK) as volume:
        volume.voxels = volume.voxels[1:]


def unknown_organ(root: Path) -> None:
    with edited(root / MASK) as volume:
        volume.voxels[0, 0, 0] = 9


def image_part_twice(root: Path) -> None:
    shutil.copytree(root / PART, root / "AbdomenCT-1K-ImagePart1-copy")


REFUSED: list[tuple[str, Damage, str]] = [
    (
        "brats2017",
        missing_channel,
        f"BraTS17_TCIA_153_1_HGG  {HGG}/Brats17_TCIA_153_1  no file for t1 (found: flair, label, t1ce, t2); complete the "
        "download or use --on-error skip",
    ),
    (
        "brats2017",
        missing_label,
        "no file for label (found: flair, t1, t1ce, t2); complete the download or use --on-error skip",
    ),
    (
        "brats2016",
        missing_flair_of_2016,
        "no file for flair (found: label, t1, t1ce, t2); complete the download or use --on-error skip",
    ),
    ("brats2017", two_candidates, f"2 candidates for t1: {T1[:-3]}, {T1}; keep one in SOURCE"),
    (
        "brats2017",
        scan_twice,
        f"2 candidates for flair: {FLAIR}, copy/HGG/Brats17_TCIA_153_1/Brats17_TCIA_153_1_flair.nii.gz; keep one in SOURCE",
    ),
    ("brats2017", truncated_gzip, f"{T1}  truncated or damaged gzip (…); fetch it again"),
    ("brats2017", damaged_gzip, f"{T1}  truncated or damaged gzip (…); fetch it again"),
    ("brats2017", empty_file, f"{T1}  is empty (0 bytes); fetch it again"),
    ("brats2017", error_page, f"{T1}  not a NIfTI file; fetch it again or repair it"),
    ("brats2017", short_payload, f"{T1}  truncated: 221084 of 221184 bytes of voxels; fetch it again or repair it"),
    ("brats2017", nan_in_image, "2 voxels are NaN or infinite; ITK would read NaN as 0. Repair the image"),
    ("brats2017", infinity_in_image, "1 voxels are NaN or infinite; ITK would read NaN as 0. Repair the image"),
    ("brats2017", nan_in_label, "3 voxels are NaN or infinite; ITK would read them as 0. Repair the label"),
    ("brats2017", label_of_2016, "label values 3 (7 voxels) are not among 0, 1, 2, 4; is it this dataset's?"),
    ("brats2017", negative_label, "label values -1 (2 voxels) are not among 0, 1, 2, 4; is it this dataset's?"),
    ("brats2017", large_label, "label values 257 (1 voxels) are not among 0, 1, 2, 4; is it this dataset's?"),
    (
        "brats2017",
        interpolated_label,
        "4 voxels are no integer (such as 0.5); labels must be integers within 0.001. Was it resampled with interpolation?",
    ),
    (
        "brats2017",
        scaled_label,
        "94708 voxels are no integer (such as 2.02); labels must be integers within 0.001. Was it resampled with "
        "interpolation?",
    ),
    ("brats2017", empty_label, "has no foreground: every voxel is background; complete the label or leave the case out"),
    ("brats2017", label_of_another_size, "size (47, 48, 48), but flair has (48, 48, 48); they are not one scan's"),
    ("brats2017", channel_of_another_size, "size (48, 48, 46), but flair has (48, 48, 48); they are not one scan's"),
    (
        "brats2017",
        label_of_another_spacing,
        "spacing (1.0, 1.0, 1.5) mm, the reference channel has (1.0, 1.0, 1.0) mm; resample or fix one of them",
    ),
    (
        "brats2017",
        turned_label,
        "its axes are turned by 30° against the reference channel's; resample it on the reference's grid",
    ),
    (
        "brats2017",
        symmetric_label_with_flipped_header,
        "its header says that axes x point the other way than the reference channel's, and the voxels do not tell whether to "
        "believe it (fit … as they are, … mirrored); look at it and correct the header",
    ),
    ("abdomenct1k", sheared_image, "its axes are not at right angles (cosine 0.0499 > 0.01); resample it"),
    (
        "abdomenct1k",
        contradictory_spacing,
        "its spacing contradicts itself: pixdim (6.0, 3.0, 3.0) mm, affine (3.0, 3.0, 3.0) mm; correct the wrong one",
    ),
    ("brats2017", zero_spacing, "spacing (0.0, 1.0, 1.0) mm is not a size; correct the header"),
    (
        "brats2017",
        micrometres,
        "its unit is m or µm, which readers treat differently; mm expected. Correct the header",
    ),
    ("brats2017", several_volumes, "3-D volume expected, found shape (48, 48, 48, 2); one file per channel"),
    ("brats2017", colours, "numbers of 1 to 8 bytes expected, found [('R', 'u1'), ('G', 'u1'), ('B', 'u1')]"),
    ("brats2017", constant_image, "every voxel is 0: there is no image; fetch it again"),
    (
        "brats2017",
        link_out_of_source,
        f"{T1}  is a link out of SOURCE, to …/elsewhere.nii.gz; give the folder that really holds it",
    ),
    (
        "brats2017",
        linked_folder_out_of_source,
        f"{HGG}  is a link to the folder …/HGG, which is not followed; give that as SOURCE",
    ),
    ("brats2017", broken_link, f"{T1}  cannot be read: No such file or directory"),
    (
        "brats2017",
        two_grades,
        "patient TCIA_153 has two grades: HGG (BraTS17_TCIA_153_1_HGG), LGG (BraTS17_TCIA_153_1_LGG); keep one of them",
    ),
    (
        "brats2017",
        decathlon,
        "…/BRATS_001.nii.gz: is Task01_BrainTumour of the Medical Segmentation Decathlon. Its cases are those of BraTS 2016 "
        "and 2017 under other names, so its patients cannot be kept on one side of a split; convert it alone, with "
        "nnUNetv2_convert_MSD_dataset",
    ),
    ("brats2017", nothing, "no BraTS 2017 file found under …"),
    ("brats2017", only_an_archive, "no BraTS 2017 file found under …; unpack first: Brats17TrainingData.zip"),
    (
        "brats2017",
        one_patient,
        "1 patient(s) with label: a test set besides training and validation needs at least 3; use --test-fraction 0 "
        "or add patients",
    ),
    (
        "brats2017",
        two_patients,
        "2 patient(s) with label: a test set besides training and validation needs at least 3; use --test-fraction 0 "
        "or add patients",
    ),
    ("brats2016", truncated_mha, f"{T1C_2016}  truncated or damaged (…); fetch it again or repair it"),
    ("brats2016", damaged_mha, f"{T1C_2016}  truncated or damaged (…); fetch it again or repair it"),
    ("brats2016", unknown_label_in_mha, "label values 5 (1 voxels) are not among 0, 1, 2, 3, 4; is it this dataset's?"),
    (
        "brats2016",
        vector_mha,
        "one 3-D volume of numbers expected, found NDims 3, 2 values per voxel; fetch it again or repair it",
    ),
    ("abdomenct1k", mask_of_another_size, "size (121, 101, 112), but ct has (122, 101, 112); they are not one scan's"),
    ("abdomenct1k", unknown_organ, "label values 9 (1 voxels) are not among 0, 1, 2, 3, 4; is it this dataset's?"),
    (
        "abdomenct1k",
        image_part_twice,
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


# --- what is read all the same: repaired or ignored, and said so ----------------------------------------------------


def label_elsewhere(root: Path) -> None:
    with edited(root / SEG) as volume:
        affine = volume.affine
        affine[:3, 3] += (0, 239, 0)
        volume.affine = affine


def label_without_position(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.header.set_sform(None, 0)
        volume.header.set_qform(None, 0)


def flipped_label_header(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.affine = volume.affine @ np.diag([-1, 1, 1, 1])


def flipped_label(root: Path) -> None:
    flipped_label_header(root)
    with edited(root / SEG) as volume:
        volume.voxels = np.ascontiguousarray(volume.voxels[::-1])


def flipped_channel(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.affine = volume.affine @ np.diag([1, -1, 1, 1])
        volume.voxels = np.ascontiguousarray(volume.voxels[:, ::-1])


def other_qform(root: Path) -> None:
    with edited(root / FLAIR) as volume:
        volume.header.set_qform(volume.affine @ np.diag([-1, -1, 1, 1]), 1)


def float_label(root: Path) -> None:
    with edited(root / SEG) as volume:
        volume.voxels = (volume.voxels * np.float32(0.9999)).astype(np.float32)


def fourth_axis_of_one(root: Path) -> None:
    with edited(root / T1) as volume:
        volume.voxels = volume.voxels[..., None]


def unpacked_files(root: Path) -> None:
    for path in root.rglob("*.nii.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def renamed_not_unpacked(root: Path) -> None:
    (root / T1).rename((root / T1).with_suffix(""))


def big_endian(root: Path) -> None:
    image = nib.load(root / T1)
    swapped = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header.as_byteswapped(">"))
    nib.save(swapped, root / T1)


def nifti_2(root: Path) -> None:
    nib.save(nib.Nifti2Image.from_image(nib.load(root / T1)), root / T1)


def folder_per_modality(root: Path) -> None:
    for path in list(root.rglob("*.nii.gz")):
        folder = path.parent / path.name.removesuffix(".nii.gz")
        folder.mkdir()
        path.rename(folder / path.name)


def flat_folder_per_modality(root: Path) -> None:
    for path in list(root.rglob("*.nii.gz")):
        role = path.name.removesuffix(".nii.gz").split("_")[-1]
        folder = root / f"{path.parent.parent.name}-{role}"
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)


def other_files(root: Path) -> None:
    (root / "__MACOSX" / HGG).mkdir(parents=True)
    for name in (f"__MACOSX/{T1}", f"{CASE}_t1.json", f"{HGG}/Brats17_TCIA_153_1/._Brats17_TCIA_153_1_t1.nii.gz"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"nothing")
    shutil.copy(root / T1, (root / T1).with_name(f"ROI_{Path(T1).name}"))
    (root / "loop").symlink_to(root)


def flat_2016(root: Path) -> None:
    for path in list(root.rglob("*.mha")):
        path.rename(path.parent.parent / path.name)
        path.parent.rmdir()


def smir_prefix(root: Path) -> None:
    for path in list(root.rglob("VSD.Brain.*.mha")):
        path.rename(path.with_name(path.name.replace("VSD", "SMIR")))


def nifti_2016(root: Path) -> None:
    for path in list(root.rglob("*.mha")):
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path.with_suffix(".nii.gz")))
        path.unlink()


def uncompressed_mha(root: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(root / T1C_2016)), str(root / T1C_2016), False)


def masks_of_other_parts(root: Path) -> None:
    shutil.copy(root / MASK, root / "Mask/Case_00900.nii.gz")


def lost_spacing(root: Path) -> None:
    for name in (CT, MASK):
        with edited(root / name) as volume:
            volume.header.set_zooms((1, 1, 1))
            volume.affine = np.diag([-1, -1, 1, 1])


def no_position_at_all(root: Path) -> None:
    for name in (CT, MASK):
        with edited(root / name) as volume:
            volume.header.set_sform(None, 0)
            volume.header.set_qform(None, 0)


ACCEPTED: list[tuple[str, Damage, str]] = [
    ("brats2017", label_elsewhere, "changed in 1 case(s): label: geometry copied from flair: origin was off by 239 mm"),
    (
        "brats2017",
        label_without_position,
        "label: geometry copied from flair: one of the two headers says nothing about position",
    ),
    (
        "brats2017",
        flipped_label_header,
        "label: geometry copied from flair: axes x pointed the other way; the voxels fit as they are",
    ),
    (
        "brats2017",
        flipped_label,
        "label: geometry copied from flair: axes x pointed the other way; the voxels were mirrored",
    ),
    (
        "brats2017",
        flipped_channel,
        "t1: geometry copied from flair: axes y pointed the other way; the voxels were mirrored",
    ),
    ("brats2017", other_qform, "changed in 1 case(s): flair: qform, which contradicted the sform, set to the sform"),
    ("brats2017", float_label, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", fourth_axis_of_one, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", unpacked_files, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", renamed_not_unpacked, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", big_endian, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", nifti_2, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", folder_per_modality, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", flat_folder_per_modality, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2017", other_files, "3 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2016", flat_2016, "4 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2016", smir_prefix, "4 training cases in 3 folds, 1 test cases (1 with label)"),
    ("brats2016", nifti_2016, "changed in 5 case(s): label: geometry copied from flair: origin was off by 239 mm"),
    ("brats2016", uncompressed_mha, "4 training cases in 3 folds, 1 test cases (1 with label)"),
    ("abdomenct1k", masks_of_other_parts, "warning: 1 masks have no image and are left out: Case_00900"),
    (
        "abdomenct1k",
        lost_spacing,
        "warning: AbdomenCT1K_00001_CT: spacing is (1, 1, 1) mm, which no CT has: the true spacing was lost; left as it is",
    ),
    ("abdomenct1k", no_position_at_all, "warning: AbdomenCT1K_00001_CT: the header says nothing about orientation"),
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


def test_folder_without_labels_becomes_the_test_set(download, raw: Path) -> None:
    root = download("brats2017")
    shutil.copytree((root / CASE).parent, root / "Brats17ValidationData/Brats17_CBICA_AAM_1")
    for path in (root / "Brats17ValidationData/Brats17_CBICA_AAM_1").iterdir():
        with edited(path) as volume:
            volume.voxels = np.ascontiguousarray(volume.voxels[:, :, ::-1])  # the same voxels would be the same patient
        path.unlink() if "_seg" in path.name else path.rename(path.with_name(path.name.replace("TCIA_153", "CBICA_AAM")))
    assert main(["brats2017", str(root), "-np", "1", "--test-fraction", "0"]) == 0
    folder = raw / "Dataset517_BraTS2017"
    assert {path.name[:-12] for path in (folder / "imagesTs").iterdir()} == {"BraTS17_CBICA_AAM_1_unknown"}
    assert not (folder / "labelsTs").exists()


def test_patient_of_a_scan_without_label_is_not_trained_on(download, raw: Path) -> None:
    root = download("brats2017")
    shutil.copytree((root / CASE).parent, root / "Brats17ValidationData/Brats17_TCIA_153_2")
    for path in (root / "Brats17ValidationData/Brats17_TCIA_153_2").iterdir():
        path.unlink() if "_seg" in path.name else path.rename(path.with_name(path.name.replace("153_1", "153_2")))
    assert main(["brats2017", str(root), "-np", "1", "--test-fraction", "0"]) == 0
    assert not list((raw / "Dataset517_BraTS2017" / "imagesTr").glob("*TCIA_153*"))


def test_skip_leaves_the_case_out_and_names_it(download, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    truncated_gzip(root)
    assert main(["brats2017", str(root), "-np", "1", "--on-error", "skip"]) == 0
    assert "1 problem(s) in 1 case(s): left out" in capsys.readouterr().out
    report = json.loads((raw / "Dataset517_BraTS2017/conversion_report.json").read_text())
    assert [problem["case"] for problem in report["skipped"]] == ["BraTS17_TCIA_153_1_HGG"]
    assert not list(raw.rglob("*TCIA_153*"))


def test_all_problems_are_reported_at_once(download, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    nan_in_image(root)
    label_of_2016(root)
    label_of_another_size(root)
    shutil.copy(root / f"{LGG}_t1.nii.gz", root / f"{LGG}_t2.nii")
    assert main(["brats2017", str(root), "-np", "1", "--dry-run"]) == 1
    error = capsys.readouterr().err
    for message in ("2 voxels are NaN", "label values 3 (7 voxels)", "size (47, 48, 48)", "2 candidates for t2"):
        assert message in error
    assert "4 problem(s) in 2 case(s)" in error


# --- places and options ---------------------------------------------------------------------------------------------


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said to arguments that are refused."""
    assert main([*arguments, "-np", "1"]) == 1
    return capsys.readouterr().err


def test_source_that_is_missing(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SOURCE nowhere: no such folder" in refused(["brats2017", "nowhere"], capsys)


def test_source_that_is_an_archive(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Mask.7z").write_bytes(b"7z")
    said = refused(["abdomenct1k", str(tmp_path / "Mask.7z")], capsys)
    assert "is a file; unpack it first and give the folder" in said


def test_source_that_is_given_twice(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = laid_out / "brats2017"
    assert "give each folder once" in refused(["brats2017", str(root), str(root / HGG)], capsys)


def test_source_that_holds_another_dataset(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["brats2016", str(laid_out / "brats2017")], capsys)
    assert "it holds BraTS 2017: try  convert brats2017" in said


def test_target_inside_source(download, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    said = refused(["brats2017", str(root), "--raw", str(root / "raw")], capsys)
    assert f"inside SOURCE {root}; choose another --raw" in said


def test_nowhere_to_write(laid_out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert "Set the environment variable nnUNet_raw or give --raw DIR" in said


def test_id_that_is_taken(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "Dataset517_Other").mkdir()
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert f"dataset id 517 is taken by {raw / 'Dataset517_Other'}; choose another one with -d" in said


def test_existing_dataset_with_other_options(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["brats2017", str(laid_out / "brats2017")]
    assert main([*arguments, "-np", "1"]) == 0
    said = refused([*arguments, "--target", "labels"], capsys)
    assert "exists and was made with other options (target); use --overwrite to replace it" in said


def test_existing_dataset_of_another_source(download, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    assert main(["brats2017", str(root), "-np", "1"]) == 0
    with edited(root / T1) as volume:
        volume.voxels[0, 0, 0] += 1
    said = refused(["brats2017", str(root)], capsys)
    assert "exists and was made with other cases (BraTS17_TCIA_153_1_HGG); use --overwrite" in said


def test_existing_dataset_that_lost_a_file(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["brats2017", str(laid_out / "brats2017")]
    assert main([*arguments, "-np", "1"]) == 0
    next(raw.rglob("labelsTr/*")).unlink()
    assert "is missing (1 in all); use --overwrite" in refused(arguments, capsys)


def test_existing_dataset_that_is_the_same(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["brats2017", str(laid_out / "brats2017"), "-np", "1"]
    assert main(arguments) == main(arguments) == 0
    assert "is already there, complete and made of the same files with the same options" in capsys.readouterr().out


def test_overwrite_says_that_preprocessed_data_are_stale(
    laid_out: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    stale = tmp_path / "preprocessed" / "Dataset517_BraTS2017"
    stale.mkdir(parents=True)
    arguments = ["brats2017", str(laid_out / "brats2017"), "-np", "1"]
    assert main(arguments) == 0
    assert main([*arguments, "--target", "whole-tumor", "--overwrite"]) == 0
    assert f"warning: {stale} holds data preprocessed from an earlier conversion" in capsys.readouterr().out
    assert [path.name for path in raw.iterdir()] == ["Dataset517_BraTS2017"]
    labels = json.loads((raw / "Dataset517_BraTS2017/dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "whole tumor": 1}


@pytest.mark.parametrize("form", ["relative", "trailing slash", "spaces", "grade folder"])
def test_ways_to_name_the_source(form: str, download, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = download("brats2017")
    monkeypatch.chdir(root.parent)
    if form == "spaces":
        root = root.rename(root.with_name("BraTS 2017 (copy)"))
    training = root / "MICCAI_BraTS17_Data_Training"
    sources = {
        "relative": ["brats2017"],
        "trailing slash": [f"{root}/"],
        "spaces": [str(root)],
        "grade folder": [str(training / "HGG"), str(training / "LGG")],
    }
    assert main(["brats2017", *sources[form], "-np", "1"]) == 0
    assert len(list(raw.rglob("BraTS17_TCIA_621_1_LGG*"))) == 5


def test_read_only_source_is_not_touched(download, raw: Path) -> None:
    root = download("brats2017")
    before = {path: path.stat() for path in root.rglob("*")}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat() for path in root.rglob("*")}
    assert main(["brats2017", str(root), "-np", "1"]) == 0
    after = {path: path.stat() for path in root.rglob("*")}
    assert {path: (stat.st_mtime_ns, stat.st_size) for path, stat in before.items()} == {
        path: (stat.st_mtime_ns, stat.st_size) for path, stat in after.items()
    }


def test_too_little_room_is_told_before_writing(
    laid_out: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(raw)._replace(free=1000)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: usage)
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert "GB are needed and 0.0 GB free on the disk of" in said
    assert not list(raw.iterdir())


def test_disk_that_fills_up_names_the_case_and_leaves_nothing(
    laid_out: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write.shutil, "copyfile", full)
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert "_t1.nii.gz  No space left on device" in said
    assert "1 case(s) could not be written; nothing was kept" in said
    assert not list(raw.iterdir())


def test_source_that_changes_meanwhile(
    download, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = download("brats2017")
    check = pipeline._check

    def change_after(*arguments: object) -> object:
        checked = check(*arguments)
        with edited(root / T1) as volume:
            volume.voxels += 1
        return checked

    monkeypatch.setattr(pipeline, "_check", change_after)
    assert "changed while it was being converted; leave SOURCE alone" in refused(["brats2017", str(root)], capsys)
    assert not list(raw.iterdir())


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("group", {"16": 5, "17": 4}),
        ("drop-2016", {"16": 1, "17": 4}),
        ("drop-2017", {"16": 5, "17": 2}),
    ],
)
def test_overlap(overlap: str, expected: dict[str, int], laid_out: Path, raw: Path) -> None:
    sources = [str(laid_out / name) for name in ("brats2016", "brats2017")]
    assert main(["brats2016_2017", *sources, "-np", "1", "--overlap", overlap]) == 0
    cases = json.loads((raw / "Dataset518_BraTS2016and2017/conversion_report.json").read_text())["cases"]
    assert {year: sum(id.startswith(f"BraTS{year}") for id in cases) for year in expected} == expected


@pytest.mark.parametrize("transfer", ["hardlink", "symlink"])
def test_transfer_by_link(transfer: str, laid_out: Path, raw: Path) -> None:
    assert main(["brats2017", str(laid_out / "brats2017"), "-np", "1", "--transfer", transfer]) == 0
    (image,) = raw.rglob("BraTS17_TCIA_153_1_HGG_0000.nii.gz")
    assert image.samefile(laid_out / "brats2017" / T1)
    assert image.is_symlink() == (transfer == "symlink")


@pytest.mark.parametrize("name", ["brats2016", "brats2017"])
def test_transfer_by_reference(name: str, laid_out: Path, raw: Path) -> None:
    assert main([name, str(laid_out / name), "-np", "1", "--transfer", "reference"]) == 0
    (folder,) = raw.iterdir()
    assert not list(folder.glob("imagesTr/*"))
    entries = json.loads((folder / "dataset.json").read_text())["dataset"]
    assert set(entries) == {path.name[:-7] for path in (folder / "labelsTr").iterdir()}
    for entry in entries.values():
        assert all(Path(image).is_relative_to(laid_out) for image in entry["images"])
        assert (folder / entry["label"]).is_file()


def test_reference_is_not_used_where_a_header_is_repaired(download, raw: Path) -> None:
    root = download("brats2017")
    other_qform(root)
    assert main(["brats2017", str(root), "-np", "1", "--transfer", "reference", "--test-fraction", "0"]) == 0
    entry = json.loads((raw / "Dataset517_BraTS2017/dataset.json").read_text())["dataset"]["BraTS17_TCIA_153_1_HGG"]
    assert entry["images"][3] == "imagesTr/BraTS17_TCIA_153_1_HGG_0003.nii.gz"


def test_sha256_is_recorded(laid_out: Path, raw: Path) -> None:
    assert main(["brats2017", str(laid_out / "brats2017"), "-np", "1", "--sha256"]) == 0
    cases = json.loads((raw / "Dataset517_BraTS2017/conversion_report.json").read_text())["cases"]
    expected = hashlib.sha256((laid_out / "brats2017" / T1).read_bytes()).hexdigest()
    assert cases["BraTS17_TCIA_153_1_HGG"]["files"]["t1"]["sha256"] == expected


def test_report_is_the_same_wherever_the_source_lies(download, laid_out: Path, raw: Path) -> None:
    root = download("brats2017")
    assert main(["brats2017", str(root), "-np", "1", "--raw", str(raw / "a")]) == 0
    assert main(["brats2017", str(laid_out / "brats2017"), "-np", "2", "--raw", str(raw / "b")]) == 0
    files = {path.relative_to(raw / "a"): path.read_bytes() for path in (raw / "a").rglob("*") if path.is_file()}
    assert files == {path.relative_to(raw / "b"): path.read_bytes() for path in (raw / "b").rglob("*") if path.is_file()}


def test_source_inside_the_dataset_folder(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = raw / "Dataset517_BraTS2017" / "download"
    shutil.copytree(laid_out / "brats2017", source)
    said = refused(["brats2017", str(source), "--overwrite"], capsys)
    assert "which is replaced; move it elsewhere" in said
    assert (source / T1).exists()


def test_file_names_that_are_not_text(download, raw: Path) -> None:
    root = download("brats2017")
    root = root.rename(os.fsdecode(os.fsencode(root) + b"\xe4"))
    assert main(["brats2017", str(root), "-np", "1", "--transfer", "reference"]) == 0
    entries = json.loads((raw / "Dataset517_BraTS2017/dataset.json").read_text())["dataset"]
    assert all(Path(image).exists() for entry in entries.values() for image in entry["images"])


def test_hard_link_to_another_disk(
    laid_out: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(write.os, "link", refuse)
    error = refused(["brats2017", str(laid_out / "brats2017"), "--transfer", "hardlink"], capsys)
    assert "cannot be hard-linked (Invalid cross-device link); use --transfer copy or symlink" in error
    assert not list(raw.iterdir())


def test_damaged_case_of_a_large_download_keeps_the_rest_in_parallel(download, raw: Path) -> None:
    root = download("brats2017")
    damaged_gzip(root)
    assert main(["brats2017", str(root), "-np", "2", "--on-error", "skip", "--test-fraction", "0"]) == 0
    assert len(list(raw.rglob("labelsTr/*"))) == 3
