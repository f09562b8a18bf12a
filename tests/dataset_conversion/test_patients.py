"""Who is whose patient: told by a table or a pattern, and asked for where names look as if patients had several cases."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_conversion.errors import ConversionError
from dataset_conversion.patients import Who, paired, refuse_paired
from dataset_conversion.splits import SPLITS, main

HEARTS = [f"patient{n:03d}_{phase}" for n in range(1, 21) for phase in ("ED", "ES")]


@pytest.mark.parametrize(
    "ids",
    [
        HEARTS,
        [f"patient{n:03d}_frame{m:02d}" for n in range(30) for m in (1, 8 + n % 9)],
        [f"sub-{n:02d}_ses-{m:02d}" for n in range(12) for m in (1, 2)],
        [f"sub-{n:02d}_ses-{m:02d}_T1w" for n in range(12) for m in (1, 2)],
        [f"sub-{n:02d}_{rest}" for n in range(12) for rest in ("ses-1_T1w", "acq-fast_ses-2_T2w")[: 1 + n % 2]],
        [f"{n:03d}_{when}_T1_brain" for n in range(12) for when in ("pre", "post")],
        [f"SUB-{n:02d}_ses-{m}_T1w" for n in range(2) for m in (1, 2)],
        [f"{'Pp'[m]}{n:02d}_{phase}" for n in range(9) for m, phase in enumerate(("ED", "ES"))],
        [f"{n:03d}{side}" for n in range(9) for side in "LR"],
        [f"case{n}_{when}" for n in range(5) for when in ("pre", "post")],
        [f"ED_patient{n:03d}" for n in range(9)] + [f"ES_patient{n:03d}" for n in range(9)],
        [f"left_{n}" for n in range(9)] + [f"right_{n}" for n in range(3)],
        [f"brats_tcia_pat{n}_{m:04d}" for n in range(150, 180) for m in range(1, 2 + n % 7 // 5)],
        [f"BraTS-GLI-{n:05d}-{m:03d}" for n in range(20) for m in range(1 + n % 2)],
        [f"p{n}_s{m:02d}" for n in range(4) for m in range(20)],
        ["a_1", "b_1", "c_1", "c_2"],
    ],
)
def test_names_of_patients_with_several_cases(ids: list[str]) -> None:
    first, second = paired(ids)
    assert {first, second} <= set(ids)


@pytest.mark.parametrize(
    "ids",
    [
        [f"hippocampus_{n:03d}" for n in range(1, 200)],
        [f"BRATS_{n:03d}" for n in range(1, 200)],
        [f"amos_{n:04d}" for n in range(1, 200)],
        [f"AbdomenCT1K_{n:05d}_CT" for n in range(1, 200)],
        [f"BraTS17_TCIA_{n}_1_HGG" for n in range(100, 140)] + [f"BraTS17_CBICA_A{c}B_1_LGG" for c in "ABCDEF"],
        [f"{site}_{n:03d}" for site in ("siteA", "siteB", "siteC") for n in range(40)],
        [f"KiTS19_{n:03d}" for n in range(30)] + [f"LiTS17_{n:03d}" for n in range(30)],
        [f"00{n}_S_{1000 + 7 * n + m}" for n in range(4) for m in range(5)],
        [f"s{n:04d}" for n in range(50)],
        [f"sub-{n:02d}_ses-01_T1w" for n in range(12)],
        [f"sub-{n:02d}" for n in range(12)],
        ["a_1_x_x", "b_1_x_x"],
        ["a", "b", "c"],
        [],
    ],
)
def test_names_of_patients_with_one_case(ids: list[str]) -> None:
    assert paired(ids) == ()


@pytest.mark.parametrize(
    ("ids", "patients"),
    [
        (HEARTS, 20),
        ([f"sub-{n:02d}_ses-{m}_{kind}" for n in range(8) for m in (1, 2) for kind in ("T1w", "T2w")], 8),
        ([f"sub-{n:02d}_ses-{m}_run-{k}_T1w" for n in range(8) for m in (1, 2) for k in (1, 2)], 8),
        ([f"site{n % 2}_sub-{n:02d}_ses-{m}_run-{k}" for n in range(8) for m in (1, 2) for k in (1, 2)], 8),
        ([f"P{n:03d}_visit{m}_scan{k}" for n in range(8) for m in (1, 2) for k in (1, 2)], 8),
        ([f"{n:03d}{side}" for n in range(9) for side in "LR"], 9),
    ],
)
def test_the_pattern_that_is_suggested_keeps_patients_whole(ids: list[str], patients: int) -> None:
    with pytest.raises(ConversionError, match="such as --patient-regex") as told:
        refuse_paired(ids, "Dataset")
    pattern = str(told.value).partition("such as --patient-regex '")[2].partition("'")[0]
    assert len(set(groups(Who(pattern=pattern), ids).values())) == patients


@pytest.mark.parametrize(
    "ids",
    [
        [f"ses-{m}_sub-{n:03d}" for n in range(5) for m in (1, 2)],
        [f"{name}_{phase}" for name in ("a", "ab", "abc") for phase in ("ED", "ES")],
        [f"{name}_{phase}" for name in ("ann", "anna", "joann", "hann") for phase in ("ED", "ES")],
    ],
)
def test_no_pattern_is_suggested_that_would_make_one_patient_of_all(ids: list[str]) -> None:
    with pytest.raises(ConversionError, match=r"or --patient-regex; if each case"):
        refuse_paired(ids, "Dataset")


@given(st.sets(st.text("abL0189_-. ", min_size=1, max_size=9), max_size=30))
def test_any_names_can_be_looked_at(ids: set[str]) -> None:
    example = paired(ids)
    assert len(example) in (0, 2)
    assert set(example) <= ids


def groups(who: Who, ids: list[str]) -> dict[str, str]:
    return {member.id: member.group for member in who.members(ids)}


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        (r"patient\d+", "patient001"),
        (r"patient(\d+)_", "001"),
        (r"(?P<patient>t\d+)_(?P<phase>..)", "t001"),
        (".+", "patient001_ED"),
    ],
)
def test_pattern(pattern: str, patient: str) -> None:
    assert groups(Who(pattern=pattern), HEARTS)["patient001_ED"] == patient


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"--patient-regex \(: is no regular expression"),
        ("heart", r"finds no patient in patient001_ED, patient001_ES, patient002_ED and 37 more"),
        ("()", "finds no patient in"),
    ],
)
def test_pattern_that_says_nothing(pattern: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        Who(pattern=pattern).members(HEARTS)


TABLE = "case,patient,phase,stratum\n" + "".join(f"{id},{id[:-3]},{id[-2:]},{'ABCDE'[int(id[7:10]) % 5]}\n" for id in HEARTS)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("case,patient", "Case, Patient") + "\n\n",
        lambda text: text + "patient999_ED,patient999,ED,A\n",
    ],
)
def test_table(change, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes(change(TABLE).encode())
    members = Who(path).members(HEARTS)
    assert [(member.id, member.group) for member in members] == [(id, id[:-3]) for id in HEARTS]
    assert {member.stratum for member in members} == set("ABCDE")


def test_table_without_strata(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("patient,case\n1,a\n1,b\n")
    assert Who(tmp_path / "p.csv").members(["a", "b"]) == [("a", "1", ""), ("b", "1", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"p\.csv cannot be read: No such file"),
        (b"", "line 1: columns case and patient .* expected, found nothing"),
        (b"case,subject\na,1\n", "line 1: columns case and patient .* found case, subject"),
        (b"case,patient\na,\n", "line 2: a case and its patient expected, found 'a,'"),
        (b"case,patient\na,1\na,2\n", "line 3: case a is of patient 2, above of 1"),
        (b"case,patient\na.nii.gz,1\n", r"does not say whose a is; it has 1 cases, such as a\.nii\.gz"),
        ("case,patient\nä,1\n".encode("latin-1"), "is no text in UTF-8"),
    ],
)
def test_table_that_says_nothing(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        Who(tmp_path / "p.csv").members(["a"])


@pytest.fixture
def hearts(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of another's with two phases per patient; returns where its folds will be."""
    folder = raw / "Dataset027_ACDC"
    (folder / "labelsTr").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    for id in HEARTS:
        (folder / "labelsTr" / f"{id}.nii.gz").touch()
    (tmp_path / "preprocessed").mkdir()
    (tmp_path / "patients.csv").write_text(TABLE)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    return tmp_path / "preprocessed" / folder.name / SPLITS


def whole(fold: dict) -> bool:
    """Whether no patient is on two sides, and all of the training set's patients are complete."""
    train, val = ({id[:-3] for id in fold[part]} for part in ("train", "val"))
    return not train & val and len(fold["train"]) == 2 * len(train)


def test_paired_names_are_refused(hearts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["27", "--sizes", "6"]) == 1
    error = capsys.readouterr().err
    assert "patient001_ED and patient001_ES look like one patient's" in error
    assert r"such as --patient-regex 'patient\d+'" in error
    assert "--patients FILE.csv (columns case, patient and, if any, stratum)" in error
    assert not hearts.exists()


def test_the_suggested_command_works(hearts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["27", "--sizes", "6"])
    (pattern,) = re.findall(r"such as --patient-regex '([^']+)'", capsys.readouterr().err)
    assert main(["27", "--sizes", "6", "--patient-regex", pattern]) == 0
    assert all(map(whole, json.loads(hearts.read_text())))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["table", "pattern"])
def test_patients_are_kept_whole(how: str, seed: int, hearts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = ["--patients", str(tmp_path / "patients.csv")] if how == "table" else ["--patient-regex", r"patient\d+"]
    assert main(["27", "--sizes", "14,6", "--repeats", "2", "--seed", str(seed), *who]) == 0
    splits = json.loads(hearts.read_text())
    assert len(splits) == 9
    assert all(map(whole, splits))
    assert sorted(id for fold in splits[:5] for id in fold["val"]) == sorted(HEARTS)
    assert [len(fold["train"]) for fold in splits[5:]] == [14, 6, 14, 6]
    shown = capsys.readouterr()
    assert "40 cases of 20 patients in fold 0" in shown.out
    assert "patient of its own" not in shown.err


def test_strata_of_the_table_are_balanced(hearts: Path, tmp_path: Path) -> None:
    assert main(["27", "--sizes", "10", "--patients", str(tmp_path / "patients.csv")]) == 0
    splits = json.loads(hearts.read_text())
    for fold in splits[:5]:
        assert len({int(id[7:10]) % 5 for id in fold["val"]}) > 2


def test_same_command_again_changes_nothing(hearts: Path) -> None:
    arguments = ["27", "--sizes", "6", "--patient-regex", r"patient\d+"]
    assert main(arguments) == 0
    before = hearts.read_bytes()
    assert main(arguments) == 0
    assert hearts.read_bytes() == before


def test_folds_that_tear_patients_are_refused(hearts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hearts.parent.mkdir()
    torn = [{"train": HEARTS[1:], "val": HEARTS[:1]}]
    hearts.write_text(json.dumps(torn))
    assert main(["27", "--sizes", "6", "--patient-regex", r"patient\d+"]) == 1
    assert "--fold 0: 1 patients are in its training and validation set, such as patient001" in capsys.readouterr().err
    assert json.loads(hearts.read_text()) == torn


def test_each_case_may_be_declared_a_patient(hearts: Path) -> None:
    assert main(["27", "--sizes", "5", "--patient-regex", ".+"]) == 0
    assert len(json.loads(hearts.read_text())[5]["train"]) == 5


def test_folds_of_whole_patients_are_drawn_from_only_when_patients_are_told(hearts: Path, capsys) -> None:
    assert main(["27", "--sizes", "6", "--patient-regex", r"patient\d+"]) == 0
    assert main(["27", "--sizes", "6"]) == 1
    assert "look like one patient's" in capsys.readouterr().err


def test_both_ways_at_once_are_refused(hearts: Path) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["27", "--sizes", "6", "--patient-regex", "x", "--patients", "y"])
    assert exit.value.code == 2


def test_preprocessed_folder_that_is_a_typo_is_not_created(hearts: Path, monkeypatch, capsys) -> None:
    typo = hearts.parents[1].with_name("preprocesed")
    monkeypatch.setenv("nnUNet_preprocessed", str(typo))
    assert main(["27", "--sizes", "6", "--patient-regex", r"patient\d+"]) == 1
    assert f"nnUNet_preprocessed is {typo}, which does not exist" in capsys.readouterr().err
    assert not typo.exists()


def test_acdc(shared: Path, hearts: Path, raw: Path) -> None:
    """The real table of the real dataset."""
    for file in (shared / "data" / "acdc" / "labelsTr").iterdir():
        (raw / "Dataset027_ACDC" / "labelsTr" / file.name).touch()
    table = shared / "data" / "acdc" / "patients.csv"
    for id in {path.name[:-7] for path in (raw / "Dataset027_ACDC" / "labelsTr").iterdir()} - {
        line.split(",")[0] for line in table.read_text().splitlines()
    }:
        (raw / "Dataset027_ACDC" / "labelsTr" / f"{id}.nii.gz").unlink()
    assert main(["27", "--sizes", "14,6", "--patients", str(table)]) == 0
    assert all(map(whole, json.loads(hearts.read_text())))
