"""The same voxels are the same patient, whatever the names: mirrors rename scans, editions contain each other.

While a case is checked, a few voxels of each image leave a mark (`mark`), which costs nothing. Only where two cases have
the same mark are their images read again and compared as a whole.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dataset_conversion import volumes
from dataset_conversion.errors import ConversionError
from dataset_conversion.facts import LABEL, UNKNOWN
from dataset_conversion.parallel import run

if TYPE_CHECKING:
    from dataset_conversion.check import Checked
    from dataset_conversion.sources import Case

MARKED = 1 << 14  # voxels in the middle of the file


class _Image(NamedTuple):
    case: str
    path: Path
    name: str


def mark(volume: volumes.Volume) -> str:
    """A hash of size and some voxels, the same for the same image in whatever format and data type."""
    start = max(0, (volume.voxels.size - MARKED) // 2)
    return _hash(volume, volume.voxels[start : start + MARKED])


def twins(checked: Sequence[Checked], workers: int) -> list[list[str]]:
    """Ids of the cases that share an image, in one list per set of such cases.

    Raises:
        ConversionError: an image cannot be read any more.
    """
    marked: dict[str, list[_Image]] = defaultdict(list)
    for result in checked:
        for role, file in result.files.items():
            if role != LABEL:
                marked[file.mark].append(_Image(result.case.scan.id, file.source.path, file.source.relative))
    doubtful = [image for images in marked.values() if len({image.case for image in images}) > 1 for image in images]
    if not doubtful:
        return []
    alike: dict[str, list[str]] = defaultdict(list)
    for id, content in run(_content, doubtful, workers, "compare"):
        alike[content].append(id)
    sets = merged(ids for ids in alike.values() if len(set(ids)) > 1)
    return sorted(sorted(ids) for ids in sets)


def merged(sets: Iterable[Iterable[str]]) -> list[set[str]]:
    """The same names in sets that have none in common: those that shared one became one."""
    result: list[set[str]] = []
    for names in map(set, sets):
        joined = [other for other in result if other & names]
        result = [other for other in result if not other & names]
        result.append(names.union(*joined))
    return result


def keep_together(cases: Sequence[Case], sets: Iterable[Iterable[str]]) -> None:
    """Make the groups of the cases in each set one group, which keeps the name of the first of them."""
    groups = {case.scan.id: case.group for case in cases}
    names: dict[str, str] = {}
    for together in merged([groups[id] for id in ids] for ids in sets):
        first = min(together, key=lambda name: (UNKNOWN in name, name))
        names |= dict.fromkeys(together, first)
    for case in cases:
        case.group = names.get(case.group, case.group)


def _content(image: _Image) -> tuple[str, str]:
    try:
        volume = volumes.read(image.path)
    except ConversionError as error:
        raise ConversionError(f"{image.name}: {error}") from error
    return image.case, _hash(volume, volume.voxels)


def _hash(volume: volumes.Volume, voxels: np.ndarray) -> str:
    slope, intercept = volume.scaling
    values = np.ascontiguousarray(voxels * slope + intercept, np.float64)
    digest = hashlib.sha256(f"{volume.shape}".encode())
    digest.update(values.data)
    return digest.hexdigest()[:32]
