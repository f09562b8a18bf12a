"""Whatever a case looks like on disk: its voxels and their physical positions survive."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dataset_conversion.check import Task, check
from dataset_conversion.datasets import brats2017
from dataset_conversion.facts import LABEL
from dataset_conversion.sources import Case, SourceFile
from dataset_conversion.write import Job, write

LABEL_MAP = {0: 0, 2: 1, 1: 2, 4: 3}
LPS = np.diag([-1, -1, 1, 1])


def save(path: Path, voxels: np.ndarray, affine: np.ndarray, shear: float) -> None:
    """`voxels` (x, y, z) at `affine`; only NIfTI can hold sheared axes."""
    if path.suffix == ".mha":
        image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
        lps = LPS @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(image, str(path), True)
        return
    image = nib.Nifti1Image(voxels, None)
    image.header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    image.set_sform(affine, 1)
    image.set_qform(None if shear else affine, 0 if shear else 1)
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(*[st.integers(3, 9)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.45, 0.7, 1.0, 3.0, 8.0])] * 3),
    turn=st.tuples(*[st.sampled_from([0, 90, 180, 12.5])] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
    label_dtype=st.sampled_from([np.uint8, np.int16, np.float32, np.float64]),
    ending=st.sampled_from([".nii", ".nii.gz", ".mha"]),
    shear=st.sampled_from([0.0, 2e-3]),
    seed=st.integers(0, 1000),
)
def test_voxels_and_positions_survive(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    turn: tuple[float, ...],
    origin: tuple[float, ...],
    dtype: type,
    label_dtype: type,
    ending: str,
    shear: float,
    seed: int,
) -> None:
    shear = 0.0 if ending == ".mha" else shear
    axes = np.eye(3)
    axes[0, 1] = shear
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ axes * spacing
    affine[:3, 3] = origin
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, shape).astype(dtype)
    image.flat[:2] = 0, 1
    label = rng.choice([0, 1, 2, 4], shape).astype(label_dtype)
    label.flat[:2] = 0, 4
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = {role: SourceFile(folder / f"{role}{ending}", role) for role in ("flair", LABEL)}
        save(files["flair"].path, image, affine, shear)
        save(files[LABEL].path, label, affine, shear)
        scan, _ = brats2017.match(Path("HGG/Brats17_TCIA_153_1_flair.nii.gz")) or (None, None)
        assert scan is not None
        checked = check(Task(Case(scan, scan.patient, files), ["flair"], "flair", LABEL_MAP, False))
        assert not checked.problems
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind).mkdir()
        assert write(Job(checked, folder, "Tr", ["flair"], LABEL_MAP, "copy")).problem is None
        for path, expected in (
            (folder / f"imagesTr/{scan.id}_0000.nii.gz", image),
            (folder / f"labelsTr/{scan.id}.nii.gz", np.vectorize(LABEL_MAP.__getitem__)(label)),
        ):
            found = sitk.ReadImage(str(path))  # as nnU-Net does; it refuses what is not orthonormal
            assert np.array_equal(sitk.GetArrayFromImage(found).T, expected)
            reach = shear * np.linalg.norm(np.multiply(shape, spacing)) + 1e-3
            for index in [(0, 0, 0), tuple(n - 1 for n in shape)]:
                point = np.array([*found.TransformIndexToPhysicalPoint(index), 1])
                assert np.abs(LPS @ affine @ [*index, 1] - point).max() < reach
