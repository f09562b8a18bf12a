"""What the study knows of a dataset with plans: where it is, what is still to be made, its folds, what runs are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dataset_conversion import splits
from dataset_conversion.errors import ConversionError
from dataset_conversion.patients import Who
from dataset_conversion.splits import Planned
from nnunet_fess import files, machine
from nnunet_fess.errors import UserError
from nnunet_fess.folders import expanded, folder, refuse_overlap
from nnunet_fess.networks.catalogue import NETWORKS
from nnunet_fess.plans import Wish, default_name, read_plans_file, resolve
from nnunet_fess.study.config import PatientTable, StudyFile, TestFolders
from nnunet_fess.study.jobs import Job, Subset, jobs, subsets

# Plans that nnU-Net makes by itself -> the planner that does.
PLANNERS = {
    "nnUNetPlans": "ExperimentPlanner",
    **{f"nnUNetResEncUNet{size}Plans": f"nnUNetPlannerResEnc{size}" for size in ("M", "L", "XL")},
}
# Plans that `nnunet_fess plans` calls so if no name is given -> the plans that it starts from, and its options.
DERIVED = {
    default_name(base, wish): (base, [*(["--network", network] if network else []), *(["--cpu"] if cpu else [])])
    for base in PLANNERS
    for network in (None, *NETWORKS)
    for cpu in (False, True)
    if not (wish := Wish(NETWORKS[network] if network else None, cpu)).empty()
}


@dataclass(frozen=True)
class Test:
    """Where test cases lie.

    Attributes:
        images: folder of images to predict.
        labels: folder of their labels.
        cases: their identifiers.
    """

    images: Path
    labels: Path
    cases: Sequence[str]


class Data:
    """A dataset of the study with plans of the study; what it reads, it reads once.

    Args:
        file: the study.
        dataset: as in the file.
        plans: their name.

    Raises:
        UserError: there is no such dataset, or nnU-Net's folders are not known.
    """

    def __init__(self, file: StudyFile, dataset: int | str, plans: str) -> None:
        self.file = file
        self.given = dataset
        self.plans_name = plans
        folder("nnUNet_preprocessed")
        refuse_overlap()
        try:
            self.place = splits.locate(str(dataset), None)
        except ConversionError as error:
            raise UserError(f"{file.at('dataset')}: {error}") from error
        assert self.place.preprocessed is not None  # its root is set
        self.preprocessed: Path = self.place.preprocessed
        self.name = self.place.name

    @property
    def number(self) -> str:
        """As nnU-Net's commands take it."""
        return str(int(self.name[7:10]))

    @property
    def plans_file(self) -> Path:
        """The plans, which may be still to be made."""
        return self.preprocessed / f"{self.plans_name}.json"

    @cached_property
    def plans(self) -> dict[str, Any]:
        """Its plans, read."""
        return read_plans_file(self.plans_file)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The study's configuration of the plans, with what it inherits."""
        return self._configuration(self.plans_file, self.plans)

    def _configuration(self, path: Path, plans: dict[str, Any]) -> dict[str, Any]:
        name = self.file.study.configuration
        try:
            found = resolve(plans, name)
        except UserError as error:
            raise UserError(f"{self.file.at('configuration')}: {path}: {error}") from error
        if not isinstance(found.get("data_identifier"), str):
            raise UserError(f'{path} holds no plans of nnU-Net: configuration {name!r} has no "data_identifier".')
        return found

    @cached_property
    def dataset_json(self) -> dict[str, Any]:
        """nnU-Net's description of the dataset."""
        return dict(files.read_json(self.dataset_json_file))

    @property
    def dataset_json_file(self) -> Path:
        """The preprocessed copy, or before there is one the raw one."""
        copy = self.preprocessed / "dataset.json"
        if copy.is_file() or self.place.raw is None:
            return copy
        return self.place.raw / "dataset.json"

    @property
    def truth(self) -> Path:
        """nnU-Net's copy of the training cases' labels."""
        return self.preprocessed / "gt_segmentations"

    @property
    def cases(self) -> Path:
        """Folder of the preprocessed cases."""
        return self.preprocessed / str(self.configuration["data_identifier"])

    # What nnU-Net still has to do

    def to_do(self) -> list[tuple[str, list[str]]]:
        """Title and command of each preparation that is missing.

        Raises:
            UserError: plans are missing that nothing here makes.
        """
        workers = str(min(machine.cores(), 8))
        if self.plans_file.is_file():
            return [] if self.unprepared() == [] else [self._preprocess(self.plans_name, workers)]
        if self.plans_name not in PLANNERS and self.plans_name not in DERIVED:
            there = ", ".join(sorted(path.stem for path in self.preprocessed.glob("*lans*.json"))) or "none"
            raise UserError(
                f"{self.file.at('plans')}: {self.plans_file} does not exist. Make it  (nnunet_fess plans {self.number} …), or "
                f"take one of those there: {there}. The study makes by itself: {', '.join(PLANNERS)}, and what "
                f"nnunet_fess plans --network … --cpu makes of them under its own name, such as {', '.join([*DERIVED][:3])}."
            )
        base, options = DERIVED.get(self.plans_name, (self.plans_name, []))
        configuration = ["-c", self.file.study.configuration]
        todo = []
        if not (self.preprocessed / f"{base}.json").is_file():
            if self.place.raw is None or not self.place.raw.is_dir():
                raise UserError(
                    f"{self.file.at('dataset')}: {self.name} is not planned yet, and its raw data are not here. Set nnUNet_raw."
                )
            plan = ["nnUNetv2_plan_and_preprocess", "-d", self.number, *configuration, "--verify_dataset_integrity"]
            plan += ["-npfp", workers, "-np", workers] + (["-pl", PLANNERS[base]] if base != "nnUNetPlans" else [])
            todo.append((f"Check, plan and preprocess {self.name}", plan))
        elif options and self._lacking(base) != []:
            todo.append(self._preprocess(base, workers))
        if options:
            derive = ["nnunet_fess", "plans", self.number, "-p", base, *configuration, *options]
            todo.append((f"Write {self.plans_name} of {self.name}", derive))
        return todo

    def _preprocess(self, plans: str, workers: str) -> tuple[str, list[str]]:
        command = [
            "nnUNetv2_preprocess",
            "-d",
            self.number,
            "-plans_name",
            plans,
            "-c",
            self.file.study.configuration,
            "-np",
            workers,
        ]
        return f"Preprocess {self.name}", command

    def unprepared(self) -> list[str]:
        """Cases of the study's folds that are not preprocessed."""
        return self._lacking(self.plans_name)

    def _lacking(self, plans: str) -> list[str]:
        path = self.preprocessed / f"{plans}.json"
        folder_name = str(self._configuration(path, read_plans_file(path))["data_identifier"])
        there = {path.stem for path in (self.preprocessed / folder_name).glob("*.pkl")}
        labels = cases_in(self.truth, self.ending)
        needed = {
            case
            for number in self.fold_numbers().values()
            for part in ("train", "val")
            for case in self.splits.splits[number][part]
        }
        return sorted(case for case in needed if case not in there or case not in labels)

    @property
    def ending(self) -> str:
        """Of label files."""
        return str(self.dataset_json["file_ending"])

    # Folds

    @cached_property
    def splits(self) -> Planned:
        """nnU-Net's folds with the training sets of the study; not written yet.

        Raises:
            UserError: a fold does not exist, or a size is out of range.
        """
        study = self.file.study
        sizes = [size for size in study.sizes_of(self.given) if size != "all"]
        try:
            return self._planned(study.folds, sizes, study.repeats)
        except ConversionError as error:
            raise UserError(self._at("dataset", error)) from error

    def _planned(self, folds: Sequence[int], sizes: Sequence[int], repeats: int = 1) -> Planned:
        return splits.planned(self.place, [splits.Wish(fold, sizes, repeats) for fold in folds], self.who)

    def _at(self, key: str, error: ConversionError, item: int | None = None) -> str:
        told = str(error)
        patients = "--patient" in told or isinstance(self.file.study.patients, PatientTable)
        key = "patients" if key == "dataset" and patients and self.file.study.patients else key
        hint = " In this file:  patients: {table: FILE.csv} or {regex: …}" if "--patient" in told else ""
        return f"{self.file.at(key, item)}: {told.removeprefix('--patient-regex ')}.{hint}"

    def wrong_splits(self) -> list[str]:
        """Each fold and each training size that cannot be, not the first alone."""
        try:
            self._planned([], [])
        except ConversionError as error:
            return [self._at("dataset", error)]
        wrong: dict[str, None] = {}
        folds = []
        for position, fold in enumerate(self.file.study.folds):
            try:
                self._planned([fold], [])
                folds.append(fold)
            except ConversionError as error:
                wrong[self._at("folds", error, position)] = None
        given = self.file.study.training_sizes
        key = f"training_sizes.{self.given}" if isinstance(given, dict) else "training_sizes"
        for position, size in enumerate(self.file.study.sizes_of(self.given)):
            if size == "all":
                continue
            for fold in folds:
                try:
                    self._planned([fold], [size])
                except ConversionError as error:
                    of_size = str(error).startswith("--sizes")
                    wrong[self._at(key, error, position) if of_size else self._at("dataset", error)] = None
        return list(wrong)

    def wrong_patients(self) -> list[str]:
        """Cases of which the file's `patients` does not say whose they are: statistics need it of all that is tested on."""
        if self.who is None:
            return []
        cases = {case for number in self.fold_numbers().values() for case in self.splits.splits[number]["val"]}
        try:
            self.who.members(sorted(cases if self.test is None else self.test.cases))
        except ConversionError as error:
            return [self._at("patients", error)]
        return []

    @property
    def jobs(self) -> list[Job]:
        """The study's runs on this dataset with these plans."""
        return [job for job in jobs(self.file) if (job.dataset, job.plans) == (self.given, self.plans_name)]

    @property
    def who(self) -> Who | None:
        """Whose the cases are, as the file says."""
        return who_of(self.file)

    def recorded_patients(self) -> dict[str, str]:
        """Case → patient, as our converter recorded it; nothing of a dataset that it has not made."""
        if self.place.report is None:
            return {}
        cases = files.read_json(self.place.report)["cases"]
        return {str(case): str(found["group"]) for case, found in cases.items()}

    def fold_numbers(self) -> dict[Subset, int]:
        """Training set → number of nnU-Net's fold."""
        drawn = {Subset(fold["subset"]["of_fold"], size, repeat): number for number, repeat, size, fold in self.splits.wished}
        return {subset: subset.fold if subset.size == "all" else drawn[subset] for subset in subsets(self.file, self.given)}

    # The test

    @cached_property
    def test(self) -> Test | None:
        """The test cases; None where they are each fold's validation cases.

        Raises:
            UserError: images or labels are missing, or do not fit together.
        """
        wish = self.file.study.test
        if wish == "validation":
            return None
        if isinstance(wish, TestFolders):
            images, labels = ((self.file.path.parent / expanded(path)) for path in (wish.images, wish.labels))
        elif self.place.raw is None:
            raise UserError(f"{self.file.at('test')}: imagesTs is in the raw dataset. Set nnUNet_raw.")
        else:
            images, labels = self.place.raw / "imagesTs", self.place.raw / "labelsTs"
        for path in (images, labels):
            if not path.is_dir():
                raise UserError(f"{self.file.at('test')}: {path} does not exist. Make it, or write  test: validation")
        channels = range(len(self.dataset_json["channel_names"]))
        found: dict[str, set[int]] = {}
        for path in images.glob(f"*{self.ending}"):
            case, _, channel = path.name.removesuffix(self.ending).rpartition("_")
            if channel.isdecimal():
                found.setdefault(case, set()).add(int(channel))
        labelled = cases_in(labels, self.ending)
        short = sorted(case for case, numbers in found.items() if numbers != set(channels))
        if not found or short:
            what = f"{short[0]} has {len(found[short[0]])}" if short else "there is no image"
            raise UserError(
                f"{self.file.at('test')}: {images}: {what}; each case needs {len(channels)} channels, *_0000{self.ending} …"
            )
        if labelled != set(found):
            odd = sorted(labelled ^ set(found))
            raise UserError(
                f"{self.file.at('test')}: {len(odd)} cases are in one of {images} and {labels} only: {', '.join(odd[:3])}, …"
            )
        return Test(images, labels, sorted(found))

    # What runs are made of

    def made_of(self, trainer_name: str, number: int) -> dict[str, Any]:
        """All that a training depends on, short enough for its record: another value means another run.

        Preprocessed data are known by nnU-Net's own fingerprint of the images and by the labels' names and sizes.
        """
        study = self.file.study
        fold = self.splits.splits[number]
        return {
            "trainer": trainer_name,
            "device": study.device,
            "configuration": study.configuration,
            "plans": self.plans_name,
            "training cases": digest(sorted(fold["train"])),
            "validation cases": digest(sorted(fold["val"])),
            **({"GPUs": study.gpus_of_a_training} if study.gpus_of_a_training > 1 else {}),
            **self._facts,
        }

    @cached_property
    def _facts(self) -> dict[str, Any]:
        shared = {key: value for key, value in self.plans.items() if key != "configurations"}
        sizes = sorted((path.name, path.stat().st_size) for path in self.truth.glob(f"*{self.ending}"))
        return {
            "content of the plans": digest([shared, self.configuration]),
            "dataset.json": digest(self.dataset_json),
            "images": digest(files.read_json(self.preprocessed / "dataset_fingerprint.json")),
            "labels": digest(sizes),
        }

    def tested_on(self) -> dict[str, Any]:
        """All that a test depends on besides the training."""
        if self.test is None:
            return {"test": "validation"}
        return {"test": str(self.test.images), "images": digest(sorted(_sizes(self.test.images.glob(f"*{self.ending}"))))}


def who_of(file: StudyFile) -> Who | None:
    """Whose the cases are, as the file says; None for what our converter recorded, or a patient per case."""
    given = file.study.patients
    if isinstance(given, PatientTable):
        return Who(table=file.path.parent / expanded(given.table))
    return Who(pattern=given.regex) if given else None


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ."""
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def _sizes(paths: Iterable[Path]) -> Iterable[tuple[str, int]]:
    return ((path.name, path.stat().st_size) for path in paths)


def cases_in(folder: Path, ending: str) -> set[str]:
    """The cases of a folder with a file for each, such as labels; none of one that is not there."""
    return {path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")}


def digest(content: Any) -> str:
    """Short enough for a record, and another one for other content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
