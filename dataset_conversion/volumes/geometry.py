"""Where voxels lie: reading it off a header, comparing it, repairing it. Affines are 4×4, voxel index → mm (RAS)."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from dataset_conversion.errors import ConversionError

NOT_ORTHONORMAL = 5e-5  # ITK accepts about 1e-4 and refuses 5e-4; rounding to float32 makes less than 1e-7
TOO_SHEARED = 1e-2  # beyond that the grid itself is in doubt, not its rounding
SPACING_TOLERANCE = 1e-3  # relative
DIRECTION_TOLERANCE = 1e-2  # of a direction cosine


def affine_of(header: nib.Nifti1Header) -> np.ndarray | None:
    """The sform, else the qform, else None: the header then says nothing about position."""
    if header["sform_code"] > 0:
        return np.asarray(header.get_sform(), dtype=np.float64)
    if header["qform_code"] > 0:
        return np.asarray(header.get_qform(), dtype=np.float64)
    return None


def spacing_of(header: nib.Nifti1Header) -> np.ndarray:
    """Voxel size in mm."""
    return np.asarray(header.get_zooms()[:3], dtype=np.float64)


def shear_of(affine: np.ndarray) -> float:
    """Largest |cos| between two axes, which is 0 for a grid of right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def orthonormal(affine: np.ndarray) -> np.ndarray:
    """The affine whose axes are the orthonormal ones nearest to the given ones (polar decomposition); same spacing."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    result = affine.copy()
    result[:3, :3] = left @ right * spacing
    return result


def repaired(header: nib.Nifti1Header) -> tuple[nib.Nifti1Header, list[str]]:
    """A header whose geometry every reader understands alike, and what had to be changed for it.

    Raises:
        ConversionError: spacing missing or contradictory, or axes too far from right angles.
    """
    spacing, affine = spacing_of(header), affine_of(header)
    shown = tuple(spacing.round(4).tolist())
    if int(header["xyzt_units"]) & 7 in (1, 3):
        raise ConversionError("its unit is m or µm, which readers treat differently; mm expected. Correct the header")
    if not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        raise ConversionError(f"spacing {shown} mm is not a size; correct the header")
    if affine is None:
        return header, []
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.all(np.isfinite(affine)) or np.any(norms == 0):
        raise ConversionError("its affine is not a position (NaN or a zero axis); correct the header")
    shear = shear_of(affine)
    if shear > TOO_SHEARED:
        raise ConversionError(f"its axes are not at right angles (cosine {shear:.3g} > {TOO_SHEARED}); resample it")
    if not np.allclose(norms, spacing, rtol=SPACING_TOLERANCE):
        found = f"pixdim {shown} mm, affine {tuple(norms.round(4).tolist())} mm"
        raise ConversionError(f"its spacing contradicts itself: {found}; correct the wrong one")
    qform = np.asarray(header.get_qform(), dtype=np.float64)
    changes = []
    if shear > NOT_ORTHONORMAL:
        changes.append(f"sform made orthonormal (axes were off by a cosine of {shear:.2g})")
        affine = orthonormal(affine)
    elif header["qform_code"] > 0 and header["sform_code"] > 0 and not np.allclose(qform, affine, atol=1e-2):
        changes.append("qform, which contradicted the sform, set to the sform")
    if not changes:
        return header, []
    header = header.copy()
    pixdim = header["pixdim"][1:4].copy()
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    header["pixdim"][1:4] = pixdim
    return header, changes


def difference(header: nib.Nifti1Header, reference: nib.Nifti1Header) -> tuple[str, tuple[int, ...]]:
    """How a geometry differs from the reference's: in words ("" if it does not), and the axes that point the other way.

    Raises:
        ConversionError: the difference cannot be one of the header alone.
    """
    spacing, wanted = spacing_of(header), spacing_of(reference)
    if not np.allclose(spacing, wanted, rtol=SPACING_TOLERANCE):
        raise ConversionError(
            f"spacing {tuple(spacing.round(4).tolist())} mm, the reference channel has "
            f"{tuple(wanted.round(4).tolist())} mm; resample or fix one of them"
        )
    affine, target = affine_of(header), affine_of(reference)
    if affine is None or target is None:
        return ("" if affine is target else "one of the two headers says nothing about position"), ()
    axes = orthonormal(affine)[:3, :3] / spacing
    wanted_axes = orthonormal(target)[:3, :3] / wanted
    cosines = np.diag(axes.T @ wanted_axes)
    if np.any(np.abs(cosines) < 1 - DIRECTION_TOLERANCE):
        angle = np.degrees(np.arccos(np.abs(cosines).min().clip(0, 1)))
        raise ConversionError(
            f"its axes are turned by {angle:.0f}° against the reference channel's; resample it on the reference's grid"
        )
    flipped = tuple(int(axis) for axis in np.flatnonzero(cosines < 0))
    shift = np.abs(affine[:3, 3] - target[:3, 3]).max()
    if flipped:
        return f"axes {', '.join('xyz'[axis] for axis in flipped)} pointed the other way", flipped
    if shift > 1e-3:
        return f"origin was off by {shift:.4g} mm", ()
    return ("direction or spacing was rounded" if not np.allclose(affine, target, atol=1e-4) else ""), ()


def flip(voxels: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Voxels in file order, mirrored along `axes` (0 is x)."""
    if not axes:
        return voxels
    grid: np.ndarray = voxels.reshape(shape[::-1])  # x is the fastest, so the last of numpy's axes
    return np.ascontiguousarray(np.flip(grid, tuple(2 - axis for axis in axes))).ravel()
