import csv

import nibabel
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from nnunet_fess.demo.phantom import EDEMA, ENHANCING, MODALITIES, NECROSIS, PATIENTS, ROOT, make_phantom, write_download

FLAIR, T1, T1CE, T2 = range(4)


@pytest.fixture(scope="module", params=range(len(PATIENTS)), ids=[case for _, case in PATIENTS])
def phantom(request):
    return make_phantom(0, request.param, PATIENTS[request.param][0])


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    return write_download(tmp_path_factory.mktemp("download"))


class TestMakePhantom:
    def test_is_skull_stripped(self, phantom):
        brain = phantom.images[0] > 0
        assert ((phantom.images > 0) == brain).all()
        assert not any(brain.take(index, axis).any() for axis in range(3) for index in (0, -1))
        assert 0.2 < brain.mean() < 0.5

    def test_has_bratss_types_and_labels(self, phantom):
        assert phantom.images.dtype == np.int16
        assert phantom.labels.dtype == np.uint8
        assert set(np.unique(phantom.labels)) == {0, NECROSIS, EDEMA, ENHANCING}

    def test_tumour_is_inside_the_brain_and_in_one_hemisphere(self, phantom):
        assert (phantom.images[0][phantom.labels > 0] > 0).all()
        left = (phantom.labels[: phantom.labels.shape[0] // 2] > 0).sum() / (phantom.labels > 0).sum()
        assert abs(left - 0.5) > 0.2

    def test_shells_are_nested(self, phantom):
        """Walking out of the necrosis, one meets the enhancing rim before the edema nearly everywhere."""
        necrosis = phantom.labels == NECROSIS
        around = phantom.labels[binary_dilation(necrosis) & ~necrosis]
        assert (around == ENHANCING).mean() > 0.8

    def test_contrasts_are_those_of_the_modalities(self, phantom):
        labels, images = phantom.labels, phantom.images
        healthy = (images[0] > 0) & (labels == 0)
        mean = {name: images[:, mask].mean(1) for name, mask in (
            ("healthy", healthy), ("edema", labels == EDEMA), ("necrosis", labels == NECROSIS), ("rim", labels == ENHANCING)
        )}  # fmt: skip
        assert (mean["edema"][[FLAIR, T2]] > 1.3 * mean["healthy"][[FLAIR, T2]]).all()
        assert mean["edema"][T1] < mean["healthy"][T1]
        assert mean["rim"][T1CE] == max(values[T1CE] for values in mean.values())
        assert mean["necrosis"][T1CE] == min(values[T1CE] for values in mean.values())
        assert mean["rim"][T1CE] / mean["healthy"][T1CE] > mean["rim"][T1] / mean["healthy"][T1]

    def test_no_single_threshold_gives_the_tumour_away(self, phantom):
        """Otherwise the demo would prove nothing about learning."""
        truth = phantom.labels > 0
        for image in phantom.images:
            best = max(
                2 * (truth & (image > level)).sum() / (truth.sum() + (image > level).sum())
                for level in np.percentile(image[image > 0], range(40, 100, 2))
            )
            assert best < 0.95

    def test_same_seed_same_patient(self):
        first, second = (make_phantom(3, 1, "HGG") for _ in range(2))
        assert np.array_equal(first.images, second.images)
        assert np.array_equal(first.labels, second.labels)

    @pytest.mark.parametrize("other", [(4, 1), (3, 2)], ids=["other seed", "other patient"])
    def test_otherwise_another_one(self, other):
        assert not np.array_equal(make_phantom(3, 1, "HGG").labels, make_phantom(*other, "HGG").labels)

    def test_low_grade_core_is_smaller(self):
        def core(grade):
            return sum(np.isin(make_phantom(0, patient, grade).labels, (NECROSIS, ENHANCING)).sum() for patient in range(4))

        assert core("LGG") < 0.8 * core("HGG")


class TestWriteDownload:
    def test_layout_is_brats_2017s(self, download):
        assert download.name == ROOT
        expected = {f"{grade}/{case}/{case}_{name}.nii.gz" for grade, case in PATIENTS for name in (*MODALITIES, "seg")} | {
            "survival_data.csv"
        }
        found = {file.relative_to(download).as_posix() for file in download.rglob("*") if file.is_file()}
        assert found == expected

    def test_files_of_a_case_share_their_geometry(self, download):
        grade, case = PATIENTS[0]
        images = [nibabel.load(download / grade / case / f"{case}_{name}.nii.gz") for name in (*MODALITIES, "seg")]
        assert {image.shape for image in images} == {images[0].shape}
        assert all(np.array_equal(image.affine, images[0].affine) for image in images)
        assert [image.get_data_dtype() for image in images] == [np.int16] * 4 + [np.uint8]

    def test_survival_of_high_grade_patients(self, download):
        with (download / "survival_data.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["Brats17ID", "Age", "Survival"]
        assert [row["Brats17ID"] for row in rows] == [case for grade, case in PATIENTS if grade == "HGG"]

    def test_same_seed_same_bytes(self, download, tmp_path):
        again = write_download(tmp_path)
        for file in download.rglob("*.*"):
            if file.is_file():
                assert file.read_bytes() == (again / file.relative_to(download)).read_bytes(), file.name
