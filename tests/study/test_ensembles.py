"""Ensembles are nnU-Net's mean, and weights that the validation cases justify; they are tested on other cases."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_fess.errors import UserError
from nnunet_fess.study import ensembles
from nnunet_fess.study.config import load
from nnunet_fess.study.ensembles import fit, learn, make, recorded
from nnunet_fess.study.results import Run, Step, read_cases, write_run, write_runs
from nnunet_fess.study.scores import evaluate_study, report_study
from nnunet_fess.testing.tiny_trainer import LABELS, tiny_plans

SHAPE = (6, 8, 10)


def _sums(values, truth):
    """Σ p p and Σ p y of (members, classes, voxels) and (classes, voxels)."""
    return np.einsum("mcv,ncv->cmn", values, values), np.einsum("mcv,cv->cm", values, truth), truth.any(1)


def test_the_weights_are_those_of_a_solver_that_sees_all_voxels():
    from scipy.optimize import nnls

    random = np.random.default_rng(0)
    truth = random.random((3, 400)) < 0.3
    values = np.clip(truth + random.normal(0, 1, (4, 3, 400)) * np.array([0.1, 0.5, 1, 3])[:, None, None], 0, 1)
    weights = fit(*_sums(values, truth))
    for number in range(3):
        assert weights[number] == pytest.approx(nnls(values[:, number].T, truth[number].astype(float))[0], abs=1e-4)
    assert (weights >= 0).all()
    assert (weights.argmax(1) == 0).all()


def test_members_that_are_the_same_share_alike_and_a_class_that_is_nowhere_gets_the_mean():
    random = np.random.default_rng(0)
    truth = np.stack([random.random(300) < 0.4, np.zeros(300, bool)])
    one = np.clip(truth + random.normal(0, 0.2, (2, 300)), 0, 1)
    weights = fit(*_sums(np.stack([one, one]), truth))
    assert weights[0, 0] == pytest.approx(weights[0, 1], rel=1e-3)
    assert weights[1].tolist() == [0.5, 0.5]
    assert np.isfinite(fit(np.zeros((1, 2, 2)), np.zeros((1, 2)), np.array([True]))).all()


class Made:
    """A study of two losses with two seeds whose runs have ended: probabilities of validation and test cases, and truths.

    The second trainer's members say nothing: noise.
    """

    def __init__(self, root, kind: str) -> None:
        self.root, self.labels = root, LABELS[kind]
        self.random = np.random.default_rng(0)
        dataset = root / "preprocessed" / "Dataset999_Tiny"
        self.truth, self.test = dataset / "gt_segmentations", root / "labelsTs"
        for folder in (self.truth, self.test):
            folder.mkdir(parents=True)
        description = {"channel_names": {"0": "MR"}, "labels": self.labels, "file_ending": ".nii.gz"}
        if "regions" in kind:
            description["regions_class_order"] = [1, 2]
        (dataset / "dataset.json").write_text(json.dumps(description))
        truths = {f"val{n}": self._case(self.truth, f"val{n}") for n in range(3)}
        tests = {f"test{n}": self._case(self.test, f"test{n}") for n in range(2)}
        content = {"name": "made", "dataset": 999, "trainers": ["DiceCE", "CWCD"], "seeds": [0, 1], "test": "imagesTs"}
        content |= {"metrics": ["dice"], "ensembles": {"losses": ["DiceCE", "CWCD"]}}
        (root / "study.yaml").write_text(json.dumps(content))
        self.file = load(root / "study.yaml")
        self.runs = []
        for trainer, noise in (("DiceCE", 0.2), ("CWCD", 3.0)):
            for seed in (0, 1):
                run_id = f"{trainer}-seed{seed}-fold0-all"
                model = self.file.results / "models" / run_id / "fold_0"
                predictions = self.file.results / "runs" / run_id / "predictions"
                for folder, cases in ((model / "validation", truths), (predictions, tests)):
                    folder.mkdir(parents=True)
                    for case, truth in cases.items():
                        self._predict(folder, case, truth, noise)
                (model.parent / "dataset.json").write_text(json.dumps(description))
                (model.parent / "plans.json").write_text(json.dumps(tiny_plans()))
                step = Step("nnUNetv2_train", "2026-01-01T00:00:00+00:00", 60.0, 0, 100.0)
                known = {"fold": 0, "size": "all", "repeat": 0, "nnunet_fold": 0, "training_cases": 3, "status": "finished"}
                run = Run(run_id, "Dataset999_Tiny", "tiny", "nnUNetPlans", trainer, f"nnUNetTrainer{trainer}", seed, **known)
                places = {"model": model, "predictions": predictions, "truth": self.test}
                self.runs.append(replace(run, steps=(step,), dataset_json=dataset / "dataset.json", **places))
                write_run(self.file.results, self.runs[-1])
        write_runs(self.file.results, self.runs)

    def _case(self, folder, name):
        grid = np.indices(SHAPE)
        distance = np.linalg.norm(grid - self.random.uniform(2, 4, 3)[:, None, None, None], axis=0)
        truth = (distance < 4).astype(np.uint8) + (distance < 2.5)
        if "ignore" in self.labels:
            truth[:, :, -2:] = 3
        sitk.WriteImage(sitk.GetImageFromArray(truth), str(folder / f"{name}.nii.gz"))
        return truth

    def _predict(self, folder, case, truth, noise):
        clean = np.where(truth == 3, 0, truth)
        if any(isinstance(label, list) for label in self.labels.values()):
            known = np.stack([clean > 0, clean == 2]).astype(float)
            found = 1 / (1 + np.exp(-(8 * known - 4 + self.random.normal(0, 4 * noise, known.shape))))
        else:
            known = np.stack([clean == label for label in range(3)]) * 4.0 + self.random.normal(0, 4 * noise, (3, *SHAPE))
            found = np.exp(known) / np.exp(known).sum(0)
        np.savez_compressed(folder / f"{case}.npz", probabilities=found.astype(np.float32))
        stuff = {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
        with (folder / f"{case}.pkl").open("wb") as file:
            pickle.dump({"sitk_stuff": stuff, "spacing": [1.0, 1.0, 1.0]}, file)
        label = found.argmax(0) if len(found) == 3 else (found[0] > 0.5).astype(int) + (found[1] > 0.5)
        sitk.WriteImage(sitk.GetImageFromArray(label.astype(np.uint8)), str(folder / f"{case}.nii.gz"))


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Starting workers takes longer than these cases."""
    monkeypatch.setattr("nnunet_fess.machine.cores", lambda: 1)


@pytest.fixture(params=["plain", "regions", "ignore", "regions and ignore"])
def made(request, tmp_path):
    return Made(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path):
    return Made(tmp_path, "plain")


def _read(run, case):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(run.predictions / f"{case}.nii.gz")))


def test_the_mean_is_the_mean_and_the_weights_leave_the_noise_out(made):
    found, problems = make(made.file, made.runs)
    assert problems == []
    assert len(found) == 6  # losses of two seeds, two seeds of the baseline; mean and learned
    mean, learned = (
        next(run for run in found if run.id == f"{kind}ensemble-losses-seed0-fold0-all") for kind in ("", "weighted-")
    )
    members = [run for run in made.runs if run.seed == 0]
    by_hand = np.mean([np.load(run.predictions / "test0.npz")["probabilities"] for run in members], axis=0)
    if len(by_hand) == 3:
        expected = by_hand.argmax(0)
    else:
        expected = np.zeros(SHAPE, int)
        expected[by_hand[0] > 0.5] = 1
        expected[by_hand[1] > 0.5] = 2
    assert np.array_equal(_read(mean, "test0"), expected)
    weights = json.loads((learned.model / "weights.json").read_text())["weights"]
    for row in weights.values():
        good, noisy = row.values()
        assert good > 3 * noisy >= 0
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(made.test / "test0.nii.gz")))
    right = {kind: (_read(run, "test0") == truth)[truth != 3].mean() for kind, run in (("mean", mean), ("learned", learned))}
    assert right["learned"] > right["mean"]


def test_an_ensemble_costs_what_its_members_cost_and_is_made_once(plain):
    found, _ = make(plain.file, plain.runs)
    assert {run.seconds for run in found} == {120.0}
    stamp = (found[0].predictions / "test0.nii.gz").stat().st_mtime_ns
    again, _ = make(plain.file, plain.runs)
    assert again == found == recorded(plain.file)
    assert (found[0].predictions / "test0.nii.gz").stat().st_mtime_ns == stamp
    plain._predict(plain.runs[0].predictions, "test0", plain._case(plain.test, "test0"), 0.1)
    make(plain.file, plain.runs)
    assert (found[0].predictions / "test0.nii.gz").stat().st_mtime_ns != stamp


def test_test_cases_change_no_weight(plain):
    found, _ = make(plain.file, plain.runs)
    path = next(run.model / "weights.json" for run in found if run.id.startswith("weighted"))
    before = path.read_text()
    for run in plain.runs:
        plain._predict(run.predictions, "test0", plain._case(plain.test, "test0"), 5.0)
    make(plain.file, plain.runs)
    assert path.read_text() == before


def test_unfinished_members_make_no_ensemble_and_missing_probabilities_are_told(plain):
    waiting = [replace(run, status="waiting") if run.id == "CWCD-seed1-fold0-all" else run for run in plain.runs]
    found, problems = make(plain.file, waiting)
    assert not [run for run in found if "losses-seed1" in run.id]
    assert problems == []
    for path in plain.runs[0].predictions.glob("*.npz"):
        path.unlink()
    _, problems = make(plain.file, plain.runs)
    assert any("DiceCE-seed0-fold0-all has kept no probabilities" in problem for problem in problems)


def test_a_damaged_file_is_named(plain):
    path = plain.runs[0].model / "validation" / "val0.npz"
    path.write_bytes(b"half of a fil")
    with pytest.raises(UserError, match=r"val0\.npz cannot be read"):
        learn(plain.runs[:2], [ensembles._probabilities(run.model / "validation", run.id) for run in plain.runs[:2]])


def test_ensembles_have_rows_of_their_own_and_are_compared_with_their_control(plain):
    assert evaluate_study(plain.file) == []
    trainers = list(dict.fromkeys(case.trainer for case in read_cases(plain.file.results)))
    assert trainers == [
        "DiceCE",
        "CWCD",
        "ensemble: losses DiceCE + CWCD",
        "ensemble: 2 seeds of DiceCE",
        "weighted ensemble: losses DiceCE + CWCD",
        "weighted ensemble: 2 seeds of DiceCE",
    ]
    page, problems = report_study(plain.file)
    assert problems == []
    text = (page.parent / "report.md").read_text()
    assert "Ensembles against ensemble: 2 seeds of DiceCE" in text
    assert "ensemble: losses DiceCE + CWCD against ensemble: 2 seeds of DiceCE" in text
