"""Synthetic downloads: every layout that a converter reads, with voxels that behave like real ones, made anywhere.

Brains are the demo's phantoms (four modalities, nested tumours, a bias field, noise), no two patients alike; the abdomen is
drawn here. Names, containers, data types, origins and the published defects are those of the real downloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from nnunet_fess.demo import phantom as demo
from nnunet_fess.demo.phantom import MODALITIES, Phantom, make_phantom

SHAPE = demo.SHAPE  # of brains
FIRST_VSD = 54512
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])  # of BraTS from 2017 on


@cache
def brain(patient: int, grade: str = "HGG") -> Phantom:
    """One patient's phantom; the same number is the same patient."""
    return make_phantom(7, patient, grade)


def save(voxels: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    """A `.nii` or `.nii.gz` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def save_mha(voxels: np.ndarray, path: Path, origin: Sequence[float] = (0, -239, 0)) -> None:
    """A compressed `.mha` file; `voxels` (x, y, z)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path), useCompression=True)


def scan(folder: Path, name: str, phantom: Phantom, roles: dict[str, str] | None = None, label: bool = True) -> None:
    """One scan as BraTS has it since 2017: a folder, `NAME_flair.nii.gz` and so on.

    Args:
        folder: where the scan's folder is made.
        name: of folder and files.
        phantom: its voxels.
        roles: phantom's modality, or "seg" → what stands behind the name; the default is BraTS 2017's.
        label: whether it has one.
    """
    endings = {role: f"_{role}" for role in (*MODALITIES, "seg")} | (roles or {})
    for role, voxels in zip(MODALITIES, phantom.images, strict=True):
        save(voxels, folder / name / f"{name}{endings[role]}.nii.gz")
    if label:
        save(phantom.labels, folder / name / f"{name}{endings['seg']}.nii.gz")


def brats2017(folder: Path) -> Path:
    """Four patients, one of them also in our BraTS 2016."""
    root = folder / "MICCAI_BraTS17_Data_Training"
    for number, name in enumerate(("HGG/Brats17_TCIA_153_1", "HGG/Brats17_CBICA_AAB_1", "HGG/Brats17_2013_2_1")):
        scan(root / "HGG", Path(name).name, brain(10 + number))
    scan(root / "LGG", "Brats17_TCIA_621_1", brain(13, "LGG"))
    (root / "survival_data.csv").write_text("Brats17ID,Age,Survival\nBrats17_TCIA_153_1,55.3,289\n")
    return folder


def vsd_scan(folder: Path, phantom: Phantom, first: int = FIRST_VSD) -> None:
    """One scan as BraTS 2016 has it: a folder per file, ids that count on, labels 0 to 4, another origin for the label."""
    labels = phantom.labels.astype(np.int16)
    necrosis = np.argwhere(labels == 1)
    outer = necrosis[necrosis[:, 2] > np.median(necrosis[:, 2])]  # BraTS 2016 still told necrosis from what does not enhance
    labels[tuple(outer.T)] = 3
    flair, t1, t1c, t2 = phantom.images
    named = {"": {"MR_Flair": flair, "MR_T1": t1, "MR_T1c": t1c, "MR_T2": t2}, "_3more": {"OT": labels}}
    number = first
    for infix, files in named.items():
        for modality, voxels in files.items():
            name = f"VSD.Brain{infix}.XX.O.{modality}.{number}"
            save_mha(voxels, folder / name / f"{name}.mha", (0, 0, 0) if modality == "OT" else (0, -239, 0))
            number += 1


def brats2016(folder: Path) -> Path:
    """Five scans of four patients; one folder name in HGG and LGG means two people."""
    root = folder / "BRATS2015_Training"
    scans = (
        *("HGG/brats_2013_pat0001_1", "HGG/brats_2013_pat0002_1"),
        *("HGG/brats_tcia_pat153_0109", "HGG/brats_tcia_pat153_0181", "LGG/brats_2013_pat0001_1"),
    )
    for number, name in enumerate(scans):
        vsd_scan(root / name, brain(20 + number, name[:3]), FIRST_VSD + 5 * number)
    return folder


@cache
def abdomen(patient: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT in Hounsfield units, int16, and its label of liver, kidneys, spleen, pancreas; shape (44, 36, 30)."""
    rng = np.random.default_rng((11, patient))
    shape = np.array((44, 36, 30))
    grid = np.indices(shape, np.float32)

    def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        shift = rng.uniform(-1, 1, 3)
        where = (np.array(centre) * shape + shift)[:, None, None, None]
        return (((grid - where) / (np.array(radii) * shape)[:, None, None, None]) ** 2).sum(0) < 1

    image = np.where(ellipsoid((0.5, 0.5, 0.5), (0.46, 0.44, 0.8)), 20.0, -1000.0)
    label = np.zeros(shape, np.uint8)
    organs = {
        1: [((0.3, 0.5, 0.6), (0.17, 0.2, 0.25))],
        2: [((0.35, 0.25, 0.35), (0.07, 0.08, 0.14)), ((0.65, 0.25, 0.35), (0.07, 0.08, 0.14))],
        3: [((0.76, 0.4, 0.65), (0.09, 0.12, 0.16))],
        4: [((0.53, 0.55, 0.5), (0.11, 0.06, 0.07))],
    }
    for value, parts in organs.items():
        for part in parts:
            label[ellipsoid(*part)] = value
            image[label == value] = 60 + 40 * value
    return (image + rng.normal(scale=15, size=shape)).astype(np.int16), label


def ct_affine(shear: float = 0.0) -> np.ndarray:
    """3 mm voxels; `shear` tilts the second axis, as in thirty published headers."""
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])
    affine[:3, 3] = (60, 50, -40)
    affine[0, 1] += shear * affine[1, 1]
    return affine


def ct(folder: Path, number: str, patient: int, image: bool = True, mask: bool = True, shear: float = 0.0) -> None:
    """One case of AbdomenCT-1K."""
    part = folder / "AbdomenCT-1K-ImagePart1" / "AbdomenCT-1K-ImagePart1"
    files = {part / f"Case_{number}_0000.nii.gz": 0} if image else {}
    files |= {folder / "Mask" / f"Case_{number}.nii.gz": 1} if mask else {}
    for path, which in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = nib.Nifti1Image(abdomen(patient)[which], None)
        volume.header.set_zooms((3, 3, 3))
        volume.set_sform(ct_affine(shear), 1)
        volume.set_qform(None if shear else ct_affine(), 0 if shear else 1)
        nib.save(volume, path)


def abdomenct1k(folder: Path) -> Path:
    """Three cases, one with a header that ITK refuses, and an image without mask."""
    ct(folder, "00001", 1)
    ct(folder, "00002", 2)
    ct(folder, "00011", 3, shear=2e-3)
    ct(folder, "00500", 4, mask=False)
    return folder


def brats2021(folder: Path, patients: Sequence[int] = (6, 7, 8)) -> Path:
    """One scan per number; the same number is the same patient."""
    root = folder / "RSNA_ASNR_MICCAI_BraTS2021_TrainingData_16July2021"
    for number in patients:
        scan(root, f"BraTS2021_{number:05d}", brain(30 + number))
    return folder


def amos22(folder: Path) -> Path:
    """Two CT and one MR to train on, one more CT for validation and one MR without label."""
    rng = np.random.default_rng(0)
    root = folder / "amos22"
    for subset, numbers in (("Tr", (1, 4, 507)), ("Va", (8,)), ("Ts", (600,))):
        for number in numbers:
            image = rng.normal(scale=100, size=(12, 13, 14)).astype(np.float32)
            label = rng.integers(0, 16, image.shape).astype(np.uint8)
            for kind, voxels in (("images", image), ("labels", label)):
                if kind == "images" or subset != "Ts":
                    save(voxels, root / f"{kind}{subset}" / f"amos_{number:04d}.nii.gz", np.eye(4))
    return folder


LAYOUTS = {maker.__name__: maker for maker in (brats2016, brats2017, abdomenct1k, brats2021, amos22)}
