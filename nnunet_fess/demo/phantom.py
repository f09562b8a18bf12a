"""A phantom download in BraTS 2017's own layout: pocket brains with nested tumours, the same ones for the same seed.

Nothing here is patient data. The volumes only have to be hard enough that a network must learn them: four modalities that show
different parts of the tumour, a bias field, noise, folded grey matter as bright as parts of the tumour in single modalities.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter

# Voxels. Small enough for a patch to be the whole brain: a Dice loss learns nothing from patches without tumour.
SHAPE = (32, 40, 32)
SPACING = 4.4  # mm, isotropic: 141 × 176 × 141 mm, the size of a head
ROOT = "MICCAI_BraTS17_Data_Training"
MODALITIES = ("flair", "t1", "t1ce", "t2")

# BraTS 2017's label values.
NECROSIS, EDEMA, ENHANCING = 1, 2, 4

# Grade and number of the patients, in the three name families of BraTS 2017.
PATIENTS = (
    *(("HGG", f"Brats17_CBICA_{number}_1") for number in ("AAB", "ABN", "AQV", "AUR")),
    *(("HGG", f"Brats17_TCIA_{number}_1") for number in (105, 201, 331)),
    ("HGG", "Brats17_2013_7_1"),
    *(("LGG", f"Brats17_TCIA_{number}_1") for number in (101, 266, 480)),
    ("LGG", "Brats17_2013_28_1"),
)

# Tissue -> intensity in (flair, t1, t1ce, t2), as radiologists describe them: edema bright on FLAIR and T2, an enhancing rim
# bright on T1 after contrast only, necrosis dark there and bright on T2; CSF dark on T1 and FLAIR, bright on T2.
TISSUES = ("white", "grey", "csf", "edema", "necrosis", "enhancing")
CONTRAST = np.array(
    [
        (340, 560, 570, 300),
        (410, 430, 450, 380),
        (130, 190, 200, 800),
        (800, 370, 380, 720),
        (400, 260, 250, 740),
        (600, 420, 900, 560),
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Phantom:
    """One patient.

    Attributes:
        images: int16 (modality, x, y, z) in the order of `MODALITIES`; 0 outside the brain, > 0 inside.
        labels: uint8 (x, y, z); 0, `NECROSIS`, `EDEMA` or `ENHANCING`.
    """

    images: np.ndarray
    labels: np.ndarray


def _field(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Smooth noise of `sigma` voxels, zero mean and unit variance: (x, y, z) float32."""
    noise = gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _ellipsoid(grid: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Distance from `centre` in units of `radii`: 1 on the surface."""
    return np.sqrt((((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(0))


def make_phantom(seed: int, patient: int, grade: str) -> Phantom:
    """Draw one patient.

    Args:
        seed: the download's seed.
        patient: number of the patient in it; every patient has a random stream of their own.
        grade: "HGG" or "LGG"; low grade gliomas get a smaller core with less necrosis.

    Returns:
        The patient's images and labels.
    """
    rng = np.random.default_rng((seed, patient))
    size = np.array(SHAPE, dtype=np.float32)
    grid = np.indices(SHAPE, dtype=np.float32)
    middle = (size - 1) / 2

    # Anatomy: depth is 0 in the middle and 1 on the brain's surface; folds push CSF and grey matter to and fro below it.
    depth = _ellipsoid(grid, middle, size * rng.uniform(0.40, 0.44, 3)) + 0.03 * _field(rng, 4)
    brain = depth < 1
    folds = depth + 0.06 * _field(rng, 1.5)
    fissure = np.abs(grid[0] - middle[0] + _field(rng, 5)) < 0.7
    ventricles = np.minimum.reduce(
        [_ellipsoid(grid, middle + (side * 0.09, 0.02, 0.03) * size, size * (0.045, 0.17, 0.09)) for side in (-1, 1)]
    )
    nuclei = np.minimum.reduce(
        [_ellipsoid(grid, middle + (side * 0.16, 0.0, -0.04) * size, size * (0.06, 0.1, 0.1)) for side in (-1, 1)]
    )
    tissue = np.full(SHAPE, TISSUES.index("white"))
    tissue[(folds > 0.80) | (nuclei + 0.15 * _field(rng, 2) < 1)] = TISSUES.index("grey")
    tissue[(folds > 0.96) | (fissure & (depth > 0.6)) | (ventricles + 0.15 * _field(rng, 2) < 1)] = TISSUES.index("csf")

    # Tumour: one growth field per shell, each tied to the one around it, so that the shells are nested whatever the noise.
    side = rng.choice((-1, 1))
    centre = middle + size * (side * rng.uniform(0.14, 0.2), rng.uniform(-0.16, 0.16), rng.uniform(-0.08, 0.12))
    # Large, because the smaller a region, the more steps a Dice loss needs before it lets go of the background.
    radii = size * rng.uniform(0.21, 0.25, 3)
    high_grade = grade == "HGG"
    distance = _ellipsoid(grid, centre, radii)
    whole = (distance + 0.12 * _field(rng, 2.5) < 1) & brain
    core = (distance + 0.08 * _field(rng, 2) < (0.84 if high_grade else 0.76)) & whole
    necrosis = (distance + 0.06 * _field(rng, 1.5) < (0.50 if high_grade else 0.42)) & core
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for mask, value in ((whole, EDEMA), (core, ENHANCING), (necrosis, NECROSIS)):
        labels[mask] = value
    for name, value in (("edema", EDEMA), ("enhancing", ENHANCING), ("necrosis", NECROSIS)):
        tissue[labels == value] = TISSUES.index(name)

    images = np.empty((len(MODALITIES), *SHAPE), dtype=np.int16)
    for channel in range(len(MODALITIES)):
        # A partial-volume blur, tissue that is not all alike, the coil's bias field, then noise; each scan has its own scale.
        signal = gaussian_filter(CONTRAST[tissue, channel], 0.6) * (1 + 0.06 * _field(rng, 2))
        signal = signal * (1 + 0.08 * _field(rng, 12)) + 30 * rng.standard_normal(SHAPE, dtype=np.float32)
        images[channel] = np.where(brain, np.clip(signal * rng.uniform(0.7, 1.4), 1, 4095), 0)
    return Phantom(images, labels)


def write_download(folder: Path, seed: int = 0) -> Path:
    """Write all `PATIENTS` as BraTS 2017 does: grade, case, one file per modality, and the survival table.

    Args:
        folder: where the download's root folder is made; must not hold one yet.
        seed: of the whole download.

    Returns:
        The download's root, to be given to `nnunet_fess convert brats2017`.
    """
    root = folder / ROOT
    # BraTS 2017: ITK's identity direction, origin (0, -(ny - 1), 0). NIfTI's world is ITK's with x and y turned round.
    affine = np.diag([-SPACING, -SPACING, SPACING, 1])
    affine[1, 3] = (SHAPE[1] - 1) * SPACING
    for number, (grade, case) in enumerate(PATIENTS):
        phantom = make_phantom(seed, number, grade)
        (root / grade / case).mkdir(parents=True)
        volumes = dict(zip(MODALITIES, phantom.images, strict=True), seg=phantom.labels)
        for name, array in volumes.items():
            image = nibabel.Nifti1Image(array, affine)
            image.header.set_xyzt_units("mm")
            nibabel.save(image, root / grade / case / f"{case}_{name}.nii.gz")

    rng = np.random.default_rng((seed, len(PATIENTS)))
    with (root / "survival_data.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("Brats17ID", "Age", "Survival"))
        table.writerows(
            (case, f"{rng.uniform(30, 80):.3f}", rng.integers(30, 1500)) for grade, case in PATIENTS if grade == "HGG"
        )
    return root
