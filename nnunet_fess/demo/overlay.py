"""One picture per held-out patient: the image, the truth, and each trainer's prediction with its mistakes in every region."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import SimpleITK

from nnunet_fess.files import read_json
from nnunet_fess.pictures import comparison
from nnunet_fess.pictures.planes import geometry_of_image

# Label values as the converter writes them.
CLASSES = {1: "edema", 2: "necrosis, non-enhancing", 3: "enhancing"}
# Modality in which a reader would look for a region; FLAIR for the whole tumour.
_T1CE = "T1, contrast-enhanced"
_SHOWN_ON = {"tumor core": _T1CE, "enhancing tumor": _T1CE}


def draw_case(dataset: Path, case: str, predictions: Mapping[str, Path], target: Path) -> None:
    """Draw one patient.

    Args:
        dataset: nnU-Net's raw dataset folder; `imagesTs` and `labelsTs` hold the case.
        case: its identifier.
        predictions: trainer → folder of predictions.
        target: the PNG file to write.
    """
    description = read_json(dataset / "dataset.json")
    ending = description["file_ending"]
    channels = {name.lower(): int(number) for number, name in description["channel_names"].items()}
    truth = SimpleITK.ReadImage(str(dataset / "labelsTs" / f"{case}{ending}"))
    regions = {
        n: (v if isinstance(v, list) else [v]) for n, v in description["labels"].items() if n not in ("background", "ignore")
    }
    read = {"FLAIR": "flair", _T1CE: "t1ce"}
    images = {name: dataset / "imagesTs" / f"{case}_{channels[channel]:04d}{ending}" for name, channel in read.items()}
    arrays = {name: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for name, file in images.items()}
    predicted = {
        trainer.removeprefix("nnUNetTrainer") or trainer: SimpleITK.GetArrayFromImage(
            SimpleITK.ReadImage(str(folder / f"{case}{ending}"))
        )
        for trainer, folder in predictions.items()
    }
    comparison.draw(
        comparison.Comparison(
            title=f"Phantom {case}: made by nnunet_fess demo, no patient; one short training each, one seed",
            geometry=geometry_of_image(truth),
            images=arrays,
            truth=SimpleITK.GetArrayFromImage(truth),
            predictions=predicted,
            classes=CLASSES,
            regions=regions,
            shown_on=_SHOWN_ON,
        ),
        target,
    )
