"""What real downloads are like: one function per defect, which gets the folder of a download and damages it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

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


# --- refused


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


# --- repaired or ignored


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
