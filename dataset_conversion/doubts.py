"""What only the download as a whole tells: label values that should be somewhere and are nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from dataset_conversion.check import Checked
from dataset_conversion.facts import Dataset


def absent_labels(dataset: Dataset, checked: Sequence[Checked]) -> list[str]:
    """A warning for each label value that the download must have somewhere and that no case has."""
    warnings = []
    for edition in dataset.editions:
        labelled = [result for result in checked if result.case.labelled and result.case.scan.edition == edition.name]
        present = {value for result in labelled for value in result.values}
        absent = sorted(set(edition.labels) - present - {0})
        if labelled and absent:
            listed = ", ".join(f"{value} ({_class(dataset, edition.labels[value])})" for value in absent)
            there = ", ".join(map(str, sorted(present - {0})))
            warnings.append(
                f"{edition.title}: none of {len(labelled)} labels has value {listed}, which the complete download has; there "
                f"are {there}. If this copy's labels were changed ({absent[-1]} to another one, say), classes are mixed up "
                "here: compare with the original"
            )
    return warnings


def _class(dataset: Dataset, harmonised: int) -> str:
    """What a harmonised class is called."""
    for target in dataset.targets.values():
        for name, value in target.labels.items():
            if [cls for cls, written in target.collapse.items() if written == value] == [harmonised]:
                return name
    return f"class {harmonised}"
