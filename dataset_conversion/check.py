"""Check: read every voxel of a case once, say all that is wrong with it, and decide what writing will have to change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import nibabel as nib
import numpy as np

from dataset_conversion import likeness, volumes
from dataset_conversion.errors import ConversionError, Problem
from dataset_conversion.facts import LABEL
from dataset_conversion.sources import Case, SourceFile
from dataset_conversion.volumes import geometry

Found = TypeVar("Found")

INTEGRAL = 1e-3  # a label value may be off an integer by this much (interpolation and float storage)
UNMAPPED = 255
BLOCK = 4096  # voxels that are looked at together
KEPT = 1 << 18  # bytes of an encoded label that are kept until it is written; a larger one is encoded again
SAMPLE = 4_000_000  # voxels on which a flip is judged
CLEARLY = 0.02  # by how much one hypothesis about a flip must fit the voxels better than the other, on a scale of 1


@dataclass(frozen=True)
class Task:
    """What checking one case needs.

    Attributes:
        case: the case.
        channels: roles in channel order.
        reference: the role whose geometry counts.
        label_map: label value in the file → value to write.
        sha256: also hash every file.
    """

    case: Case
    channels: Sequence[str]
    reference: str
    label_map: dict[int, int]
    sha256: bool


@dataclass(frozen=True)
class CheckedFile:
    """One file that was read.

    Attributes:
        source: where it is.
        size: bytes.
        modified: time in ns.
        crc32: of its bytes.
        sha256: of its bytes, if asked for.
        as_is: its bytes can be used under the name `….nii.gz`.
        untouched: nnU-Net can use it where it lies, under its own name.
        flip: axes to mirror.
        mark: of its voxels, for finding the same image elsewhere.
    """

    source: SourceFile
    size: int
    modified: int
    crc32: int
    sha256: str | None
    as_is: bool
    untouched: bool
    flip: tuple[int, ...]
    mark: str


@dataclass
class Checked:
    """The outcome for one case; it can be written if there are no problems.

    Attributes:
        geometry: 348 bytes of the NIfTI header whose geometry all files of the case receive.
        label: the encoded label file, if it is small.
        values: label values in the file.
    """

    case: Case
    geometry: bytes = b""
    files: dict[str, CheckedFile] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    label: bytes | None = None
    values: frozenset[int] = frozenset()

    def stamps(self) -> list[int]:
        """Modification times: a file may change and keep its size."""
        return [file.modified for _, file in sorted(self.files.items())]


class _Findings(list[str]):
    """All that is wrong with one file; the first defect does not hide the next."""

    def tried(self, function: Callable[..., Found], *arguments: Any) -> Found | None:
        """The result of `function`, or None and one finding more."""
        try:
            return function(*arguments)
        except ConversionError as error:
            self.append(str(error))
        except OSError as error:
            self.append(f"cannot be read: {error.strerror}")
        except MemoryError:
            self.append("does not fit into the memory; use a smaller -np")
        return None


def check(task: Task) -> Checked:
    """Read and judge every file of a case; one volume in memory, two where a flip must be judged."""
    result = Checked(task.case)
    reference: nib.Nifti1Header | None = None
    for role in (task.reference, *(role for role in (*task.channels, LABEL) if role != task.reference)):
        if role in task.case.files:
            reference = _check_file(role, task, reference, result)
    return result


def _check_file(role: str, task: Task, reference: nib.Nifti1Header | None, result: Checked) -> nib.Nifti1Header | None:
    """Add one file's findings to `result`; returns the reference header, which the reference file itself sets."""
    source, findings = task.case.files[role], _Findings()
    modified = findings.tried(lambda path: path.stat().st_mtime_ns, source.path)
    volume = None if modified is None else findings.tried(volumes.read, source.path)
    if volume is not None and modified is not None:
        mapping = findings.tried(mapped, volume, task.label_map) if role == LABEL else None
        values = mapping.voxels if mapping else None
        result.values |= mapping.found if mapping else frozenset()
        if role != LABEL:
            findings.tried(_check_image, volume)
        header, changes = findings.tried(geometry.repaired, volume.header) or (None, [])
        turned: tuple[int, ...] = ()
        if role == task.reference and header is not None:
            reference = header
            result.geometry = nib.Nifti1Header.from_header(header, check=False).binaryblock
            result.warnings += _doubts(header, task)
        elif reference is not None and header is not None:
            text, turned = findings.tried(_align, volume, header, reference, values, task) or ("", ())
            if text:
                changes = [*changes, f"geometry copied from {task.reference}: {text}"]
        if values is not None and reference is not None and not findings:
            result.label = _encode(reference, geometry.flip(values, volume.shape, turned))
        same = reference is not None and not turned and volumes.same_geometry(volume.header, reference)
        result.files[role] = CheckedFile(
            source,
            volume.size,
            modified,
            volume.crc32,
            _sha256(source) if task.sha256 else None,
            as_is=same and volume.format == volumes.ENDING,
            untouched=same and volume.format is not None,
            flip=turned,
            mark="" if role == LABEL else likeness.mark(volume),
        )
        result.changes += [f"{role}: {change}" for change in changes]
    result.problems += [Problem(task.case.scan.id, source.relative, finding) for finding in findings]
    return reference


def _align(
    volume: volumes.Volume,
    header: nib.Nifti1Header,
    reference: nib.Nifti1Header,
    label: np.ndarray | None,
    task: Task,
) -> tuple[str, tuple[int, ...]]:
    """How a file's geometry differs from the reference's, in words, and the axes along which to mirror its voxels."""
    if volume.shape != tuple(reference.get_data_shape()):
        raise ConversionError(
            f"size {volume.shape}, but {task.reference} has {tuple(reference.get_data_shape())}; they are not one scan's"
        )
    text, turned = geometry.difference(header, reference)
    if turned:
        mirror = _judge_flip(volume, label, volumes.read(task.case.files[task.reference].path), turned)
        return text + ("; the voxels were mirrored" if mirror else "; the voxels fit as they are"), mirror
    return text, ()


def _encode(reference: nib.Nifti1Header, values: np.ndarray) -> bytes | None:
    encoded = volumes.encode(volumes.label_header(reference), values)
    return encoded if len(encoded) <= KEPT else None


def _sha256(source: SourceFile) -> str:
    return hashlib.sha256(source.path.read_bytes()).hexdigest()


class Mapped(NamedTuple):
    """Label voxels as nnU-Net will see them, uint8, in file order; and the values that were found in the file."""

    voxels: np.ndarray
    found: frozenset[int]


def mapped(volume: volumes.Volume, label_map: dict[int, int]) -> Mapped:
    """The voxels of a label file.

    Raises:
        ConversionError: a value is NaN, no integer, or not in `label_map`; or everything is background.
    """
    values = volume.voxels
    slope, intercept = volume.scaling
    if values.dtype.kind == "f" or (slope, intercept) != (1.0, 0.0):
        real = values * slope + intercept
        bad = int(np.count_nonzero(~np.isfinite(real)))
        if bad:
            raise ConversionError(f"{bad} voxels are NaN or infinite; ITK would read them as 0. Repair the label")
        values = np.rint(real)
        off = np.abs(real - values) > INTEGRAL
        if off.any():
            raise ConversionError(
                f"{int(np.count_nonzero(off))} voxels are no integer (such as {real[off][0]:.6g}); labels must be "
                f"integers within {INTEGRAL}. Was it resampled with interpolation?"
            )
    low, high = values.min(), values.max()
    if values.dtype != np.uint8 and (low < 0 or high >= UNMAPPED):
        _refuse_values(values, label_map)
    result = looked_up(values.astype(np.uint8, copy=False), label_map)
    highest = int(result.voxels.max())
    if highest == UNMAPPED:
        _refuse_values(values, label_map)
    if highest == 0:
        raise ConversionError("has no foreground: every voxel is background; complete the label or leave the case out")
    return result


def looked_up(values: np.ndarray, label_map: dict[int, int]) -> Mapped:
    """`label_map` of each uint8 value, `UNMAPPED` where it has none; only the blocks that are not all 0 are looked at.

    `label_map` maps 0 to 0, as every download does.
    """
    table = bytes(label_map.get(value, UNMAPPED) for value in range(256))
    result = np.zeros(values.size, np.uint8)
    whole = values.size // BLOCK * BLOCK
    blocks, target = values[:whole].reshape(-1, BLOCK), result[:whole].reshape(-1, BLOCK)
    occupied = blocks.max(axis=1, initial=0) > 0
    inside, rest = blocks[occupied].tobytes(), values[whole:].tobytes()
    target[occupied] = np.frombuffer(inside.translate(table), np.uint8).reshape(-1, BLOCK)
    result[whole:] = np.frombuffer(rest.translate(table), np.uint8)
    return Mapped(result, frozenset(value for value in label_map if bytes([value]) in inside or bytes([value]) in rest))


def _refuse_values(values: np.ndarray, label_map: dict[int, int]) -> None:
    found, counts = np.unique(values, return_counts=True)
    wrong = [
        f"{value:g} ({count} voxels)"
        for value, count in zip(found.tolist(), counts.tolist(), strict=True)
        if value not in label_map
    ]
    expected = ", ".join(map(str, sorted(label_map)))
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    raise ConversionError(f"label values {', '.join(wrong[:5])}{more} are not among {expected}; is it this dataset's?")


def _check_image(volume: volumes.Volume) -> None:
    slope, intercept = volume.scaling
    if not np.isfinite(slope) or not np.isfinite(intercept):
        raise ConversionError(f"its scaling (slope {slope}, intercept {intercept}) is not a number")
    if volume.voxels.dtype.kind == "f":
        bad = volume.voxels.size - int(np.count_nonzero(np.isfinite(volume.voxels)))
        if bad:
            raise ConversionError(f"{bad} voxels are NaN or infinite; ITK would read NaN as 0. Repair the image")
    some = volume.voxels[:: max(1, volume.voxels.size // 64)]
    if some.min() == some.max() and volume.voxels.min() == volume.voxels.max():
        raise ConversionError(f"every voxel is {some[0] * slope + intercept:g}: there is no image; fetch it again")


def _doubts(header: nib.Nifti1Header, task: Task) -> list[str]:
    doubts = []
    if geometry.affine_of(header) is None:
        doubts.append("the header says nothing about orientation")
    if task.case.scan.ct and np.array_equal(geometry.spacing_of(header), [1, 1, 1]):
        doubts.append("spacing is (1, 1, 1) mm, which no CT has: the true spacing was lost; left as it is")
    return doubts


def _judge_flip(
    volume: volumes.Volume, label: np.ndarray | None, reference: volumes.Volume, axes: tuple[int, ...]
) -> tuple[int, ...]:
    """Whose word counts where a header says that axes point the other way: the axes along which to mirror the voxels.

    If the header is right, mirroring makes the file fit the reference channel; if it is wrong, the file fits already.

    Raises:
        ConversionError: both fit about as well.
    """
    step = max(1, reference.voxels.size // SAMPLE)
    image = reference.voxels[::step]

    def fit(voxels: np.ndarray) -> float:
        some = voxels[::step]
        return correlation_ratio(some, image) if label is not None else _dice(some != some.min(), image != image.min())

    voxels = volume.voxels if label is None else label
    kept, mirrored = fit(voxels), fit(geometry.flip(voxels, volume.shape, axes))
    # a small tumour explains little of the variance, so what is clear is relative there
    clearly = CLEARLY if label is None else CLEARLY * (0.1 + 10 * max(kept, mirrored))
    if abs(kept - mirrored) < clearly:
        raise ConversionError(
            f"its header says that axes {', '.join('xyz'[axis] for axis in axes)} point the other way than the "
            f"reference channel's, and the voxels do not tell whether to believe it (fit {kept:.3f} as they are, "
            f"{mirrored:.3f} mirrored); look at it and correct the header"
        )
    return axes if mirrored > kept else ()


def correlation_ratio(label: np.ndarray, image: np.ndarray) -> float:
    """η²: the share of the image's variance that the label's classes explain, over voxels that are not empty."""
    inside = image != image.min()
    classes, intensities = label[inside], image[inside].astype(np.float64)
    counts = np.bincount(classes)
    means = np.bincount(classes, intensities) / np.maximum(counts, 1)
    total = intensities.var() * intensities.size
    return float((counts * (means - intensities.mean()) ** 2).sum() / total) if total else 0.0


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float(np.count_nonzero(one & other)) / max(np.count_nonzero(one) + np.count_nonzero(other), 1)
