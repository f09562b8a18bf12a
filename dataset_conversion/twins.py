"""The same voxels are the same patient, whatever the names: mirrors rename scans, editions contain each other.

While a case is checked, each image leaves a mark (`likeness`), which costs little. Only where two cases have the same mark are
their images read again and compared as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dataset_conversion import likeness, volumes
from dataset_conversion.check import Checked
from dataset_conversion.errors import ConversionError
from dataset_conversion.facts import LABEL
from dataset_conversion.grouping import merged
from dataset_conversion.parallel import run


class _Image(NamedTuple):
    case: str
    path: Path
    name: str


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


def _content(image: _Image) -> tuple[str, str]:
    try:
        return image.case, likeness.content(volumes.read(image.path))
    except ConversionError as error:
        raise ConversionError(f"{image.name}: {error}") from error
