"""What the names in BraTS 2018, 2019, 2020 and 2023 say, and that each of them is converted."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import downloads
import nibabel as nib
import numpy as np
import pytest

from dataset_conversion.cli import main
from dataset_conversion.datasets import brats2017, datasets
from dataset_conversion.facts import LABEL


@pytest.mark.parametrize(
    ("name", "path", "id", "patient", "role"),
    [
        ("brats2017", "Brats17_UAB_3456_1/Brats17_UAB_3456_1_t2.nii.gz", "BraTS17_UAB_3456_1_unknown", "UAB_3456", "t2"),
        ("brats2018", "HGG/Brats18_TCIA01_147_1_flair.nii.gz", "BraTS18_TCIA01_147_1_HGG", "TCIA_147", "flair"),
        ("brats2018", "LGG/Brats18_2013_0_1_seg.nii", "BraTS18_2013_0_1_LGG", "2013_LGG_0", LABEL),
        ("brats2019", "HGG/BraTS19_TMC_06290_1_t1ce.nii.gz", "BraTS19_TMC_06290_1_HGG", "TMC_06290", "t1ce"),
        ("brats2019", "HGG/BraTS19_CBICA_AAB_1_t1.nii.gz", "BraTS19_CBICA_AAB_1_HGG", "CBICA_AAB", "t1"),
        ("brats2020", "a/BraTS20_Training_001_t1.nii", "BraTS20_Training_001_glioma", "Training_001", "t1"),
        ("brats2020", "BraTS20_Training_355/W39_1998.09.19_Segm.nii", "BraTS20_Training_355_glioma", "Training_355", LABEL),
        ("brats2020", "b/BraTS20_Validation_001_t1.nii", "BraTS20_Validation_001_glioma", "Validation_001", "t1"),
        ("brats2023", "x/BraTS-GLI-00002-001-t1n.nii.gz", "BraTS23_00002_001_glioma", "00002", "t1"),
        ("brats2023", "x/BraTS-GLI-00002-001-t1c.nii.gz", "BraTS23_00002_001_glioma", "00002", "t1ce"),
        ("brats2023", "x/BraTS-GLI-00002-001-seg.nii.gz", "BraTS23_00002_001_glioma", "00002", LABEL),
    ],
)
def test_role(name: str, path: str, id: str, patient: str, role: str) -> None:
    found = datasets()[name].editions[0].match(PurePath("/data") / path)
    assert found is not None
    assert (found[0].id, found[0].patient, found[1]) == (id, patient, role)
    assert not id[-4:].isdigit()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("brats2018", "HGG/Brats17_TCIA_147_1_flair.nii.gz"),
        ("brats2020", "BraTS20_Training_355/notes.nii"),
        ("brats2020", "elsewhere/W39_1998.09.19_Segm.nii"),
        ("brats2023", "x/BraTS-MEN-00002-001-t1n.nii.gz"),
    ],
)
def test_no_role(name: str, path: str) -> None:
    assert datasets()[name].editions[0].match(PurePath("/data") / path) is None


def test_tcia_patient_keeps_the_number_from_edition_to_edition() -> None:
    later, earlier = (
        datasets()["brats2018"].editions[0].match(PurePath("HGG/Brats18_TCIA01_147_1_t1.nii")),
        brats2017.match(PurePath("HGG/Brats17_TCIA_147_1_t1.nii")),
    )
    assert later is not None and earlier is not None
    assert later[0].patient == earlier[0].patient


GLI = {"flair": "-t2f", "t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "seg": "-seg"}
NAMES = {
    "brats2018": ["HGG/Brats18_TCIA01_147_1", "HGG/Brats18_CBICA_AAB_1", "LGG/Brats18_2013_0_1"],
    "brats2019": ["HGG/BraTS19_TCIA01_147_1", "HGG/BraTS19_TMC_06290_1", "LGG/BraTS19_2013_0_1"],
    "brats2020": ["BraTS20_Training_001", "BraTS20_Training_002", "BraTS20_Training_355"],
    "brats2023": ["BraTS-GLI-00000-000", "BraTS-GLI-00002-000", "BraTS-GLI-00003-000"],
}


@pytest.mark.parametrize("name", NAMES)
def test_conversion(name: str, tmp_path: Path, raw: Path) -> None:
    for number, scan in enumerate(NAMES[name]):
        folder = tmp_path / "download" / Path(scan).parent
        downloads.scan(folder, Path(scan).name, downloads.brain(60 + number), GLI if name == "brats2023" else None)
    for path in (tmp_path / "download").rglob("BraTS20_Training_355_seg.nii.gz"):
        path.rename(path.with_name("W39_1998.09.19_Segm.nii.gz"))
    for path in (tmp_path / "download").rglob("*-seg.nii.gz"):
        label = nib.load(path)
        voxels = np.asarray(label.dataobj)
        nib.save(nib.Nifti1Image(np.where(voxels == 4, 3, voxels).astype(np.uint8), label.affine), path)
    assert main([name, str(tmp_path / "download"), "-np", "1", "--test-fraction", "0"]) == 0
    (folder,) = raw.iterdir()
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 3
    warnings = json.loads((folder / "conversion_report.json").read_text())["warnings"]
    assert not [warning for warning in warnings if "scans found" not in warning]
    first = sorted((folder / "labelsTr").iterdir())[0]
    truth = {path.name: path for path in (tmp_path / "download").rglob("*")}
    name_of = json.loads((folder / "original_names.json").read_text())["cases"][first.name.removesuffix(".nii.gz")]
    before = np.asarray(nib.load(truth[Path(name_of["files"]["label"]).name]).dataobj)
    mapping = {0: 0, 2: 1, 1: 2, 3 if name == "brats2023" else 4: 3}
    assert np.array_equal(np.asarray(nib.load(first).dataobj), np.vectorize(mapping.__getitem__)(before))
