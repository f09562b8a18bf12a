"""Other packages' terms: found, composed, refused with the reason, and never in the way of anything else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nnunet_fess.trainers import NotOurs, parse
from nnunet_fess.trainers.catalogue import LOSSES
from nnunet_fess.trainers.registry import GROUP, VARIABLE, registry, without_caches

HEAD = "from nnunet_fess.plugin import *\nfrom nnunet_fess.plugin import Option, RegionTerm, MapTerm, FeatureTerm\n"
GOOD = HEAD + (
    'GAMMA = Option("gamma", "gammaX", 2.0, "how hard voxels weigh more")\n'
    'TOP = Option("top", "topN", 10, "of them", "whole number")\n'
    'TERMS = (RegionTerm("Mine", "a loss of mine", "mine:build", (TOP, GAMMA)),)\n'
)


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    without_caches()
    yield
    without_caches()


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write files of terms, by name, and have the variable name them."""

    def offer(**sources: str) -> list[Path]:
        paths = [tmp_path / f"{name}.py" for name in sources]
        for path, source in zip(paths, sources.values(), strict=True):
            path.write_text(source, "utf-8")
        monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, paths)))
        return paths

    return offer


def term(name: str, kind: str = "RegionTerm", more: str = "") -> str:
    return f'{HEAD}TERMS = ({kind}("{name}", "mine", lambda settings, host: None{more}),)\n'


def reasons() -> list[str]:
    return [refusal.reason for refusal in registry().refused]


def test_without_plugins_there_are_ours():
    assert registry().catalogue.losses == LOSSES
    assert registry().refused == ()


def test_a_file_brings_a_trainer_with_its_options_and_every_feature_term(offer):
    (path,) = offer(mine=GOOD)
    read = parse("nnUNetTrainerSupConMine_lambda0p9_gamma0p5_100epochs")
    assert (read.loss.feature.name, read.loss.region.name) == ("SupCon", "Mine")
    assert dict(read.settings_of(read.loss.region)) == {"top": 10, "gamma": 0.5}
    forms = [option.form for option in read.loss.options]
    assert forms == [
        "lambdaX", "tempX", "queueN", "levelN", "topN", "gammaX",
        "Nepochs", "Niters", "Nvaliters", "saveeveryN", "seedN", "bf16", "noDS", "noMirroring", "cutmixX", "emaX",
    ]  # fmt: skip
    (origin,) = registry().provenance(read.loss).values()
    assert (origin["distribution"], len(origin["version"])) == (str(path), 12)
    assert registry().provenance(parse("nnUNetTrainerFESS").loss) == {}


def test_a_map_and_a_feature_term_are_composed_as_ours(offer):
    offer(maps=term("MyMap", "MapTerm"), features=term("MyContrast", "FeatureTerm", ', defaults={"lambda": 0.9}'))
    assert parse("nnUNetTrainerMyMapDice").loss.map.name == "MyMap"
    assert parse("nnUNetTrainerMyContrast")["lambda"] == 0.9
    assert [each.name for each in parse("nnUNetTrainerMyContrastMyMapCE").loss.terms] == ["MyContrast", "MyMap", "CE"]


def test_a_word_that_a_term_of_ours_has_too_is_that_of_the_first_term_in_a_name(offer):
    option = 'Option("alpha", "alphaX", 0.3, "mine"), Option("temp", "tempX", 3.0, "mine")'
    offer(mine=term("Mine", more=f", options=({option})"))
    read = parse("nnUNetTrainerMine_alpha0p4_temp2_3epochs")
    assert dict(read.settings_of(read.loss.region)) == {"alpha": 0.4, "temp": 2.0}
    assert [each.form for each in read.loss.options][:3] == ["alphaX", "tempX", "Nepochs"]
    both = parse("nnUNetTrainerSupConMine_temp0p2_alpha0p4")
    assert both.settings_of(both.loss.feature).number("temp") == 0.2
    assert dict(both.settings_of(both.loss.region)) == {"alpha": 0.4, "temp": 3.0}


def test_existing_trainers_keep_name_options_and_order(offer):
    before = {name: [option.form for option in loss.options] for name, loss in LOSSES.items()}
    offer(mine=GOOD, more=term("Aaa", "FeatureTerm"))
    after = registry().catalogue.losses
    assert {name: [option.form for option in after[name].options] for name in before} == before


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (term("My_Loss"), "must not hold '_'"),
        (term("Größe"), "letters A to Z and digits alone"),
        (term("Dice"), "a term of that name already"),
        (term("dicece"), "a term of that name already"),
        (term("FESSCWCD"), "nnUNetTrainerFESSCWCD would mean two losses"),
        (term("FESSDICECE"), "would mean two losses"),
        (term("DiceLoss"), "nnUNetTrainerDiceLoss is, or begins like, a trainer of nnU-Net's own"),
        (term("DiceCELoss"), "begins like, a trainer of nnU-Net's own"),
        (term("noMirroring"), "a trainer of nnU-Net's own"),
        (HEAD + 'TERMS = (RegionTerm("A", "a", print), RegionTerm("A", "b", print))', "TERMS has that name twice"),
        (
            term("Mine", "FeatureTerm", ', options=(Option("l", "lambdaX", 1.0, "h"),)'),
            "nnunet-fess has _lambdaX with another meaning",
        ),
        (term("Mine", more=', options=(Option("epochs", "eX", 1.0, "h"),)'), "nnunet-fess has _Nepochs with another meaning"),
        (term("Mine", more=', options=(Option("s", "seed3", False, "h", "switch"),)'), "nnunet-fess has _seedN"),
        (term("Mine", more=', options=(Option("s", "sX", 1.0, "h", everywhere=True),)'), "everywhere is for the options of"),
        (term("Mine", more=', options=("gammaX",)'), "options must be of the class Option. Got: str"),
        (
            term("Mine", more=', options=(Option("g", "gX", 3.0, "h", accepts=between(0, 1)),)'),
            "3.0 is not in its range, 0 to 1",
        ),
        (term("Mine", more=', defaults={"lamda": 1}'), "it has no option 'lamda'"),
        (HEAD + 'TERMS = (RegionTerm("Mine", "two\\nlines", print),)', "summary must be one line"),
        (HEAD + 'TERMS = (RegionTerm("Mine", "mine", "nowhere"),)', "build must be a function or"),
        (HEAD + 'TERMS = (RegionTerm(3, "mine", print),)', "the name of TERMS[0] must be text. Got: 3"),
        (HEAD + 'TERMS = (RegionTerm("Mine", "mine", print, (Option("g", "g", 3.0, "h"),)),)', "form of a number is letters"),
        (HEAD + "CONTRACT = 99\n" + 'TERMS = (RegionTerm("Mine", "mine", print),)', "contract 99, and nnunet-fess"),
        (HEAD, "it has no TERMS"),
        (HEAD + 'TERMS = (RegionTerm("Mine", "mine", print))', "with the comma"),
        (HEAD + 'TERMS = {"Mine": 3}', "must be a tuple of terms, and is a dict"),
        (HEAD + "TERMS = ()", "TERMS is empty"),
        (HEAD + "TERMS = (3,)", "TERMS[0] is a int"),
        ("def broken(:\n", "broken.py, line 1: "),
        ("import sys\nsys.exit('bye')\n", "SystemExit: bye (broken.py, line 2)"),
        ("raise BaseException('odd')\n", "BaseException: odd (broken.py, line 1)"),
        ("def __getattr__(name):\n    raise ZeroDivisionError(name)\n", "ZeroDivisionError: "),
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason_and_the_others_are_taken(offer, source, reason):
    offer(broken=source, good=GOOD.replace("Mine", "Fine"))
    assert reason in reasons()[0]
    assert parse("nnUNetTrainerFine_3epochs").loss.region.name == "Fine"
    assert LOSSES.keys() <= registry().catalogue.losses.keys()
    assert all("refused: " in str(refusal) and "broken" in str(refusal) for refusal in registry().refused)


@pytest.mark.parametrize(
    "asks",
    [
        "from nnunet_fess.trainers.registry import registry; registry()",
        "from nnunet_fess.trainers import parse; parse('nnUNetTrainerFESS')",
        "from nnunet_fess.trainers import nnUNetTrainerFESS",
    ],
)
def test_a_file_that_asks_for_terms_while_it_is_imported_is_refused_where_it_asks(offer, asks):
    offer(broken=f"{GOOD}{asks}\n", good=GOOD.replace("Mine", "Fine"))
    for _ in range(2):
        (reason,) = reasons()
        assert "must not ask for terms or trainers while it is imported" in reason
        assert reason.endswith("(broken.py, line 6)")
    assert registry().origins.keys() == {"Fine"}


def test_a_package_that_asks_for_terms_while_it_is_imported_is_refused(install):
    install("my-losses", "plugged_one", f"{GOOD}from nnunet_fess.trainers import parse\nparse('nnUNetTrainerMine')\n")
    assert "must not ask for terms or trainers while it is imported" in reasons()[0]
    assert parse("nnUNetTrainerFESS").loss.feature.name == "FESS"


def test_a_builder_may_ask_for_terms(offer):
    builder = (
        "def build(settings, host):\n"
        "    from torch import nn\n"
        "    from nnunet_fess.trainers import parse\n"
        "    return nn.Identity(parse('nnUNetTrainerMine'))\n"
    )
    offer(mine=f'{HEAD}{builder}TERMS = (RegionTerm("Mine", "mine", build),)\n')
    read = parse("nnUNetTrainerMine")
    assert type(read.loss.region.make(read.settings_of(read.loss.region), None)).__name__ == "Identity"


@pytest.mark.skipif(os.name != "posix", reason="echo is a program")
def test_what_programs_and_libraries_print_that_a_file_calls_does_not_either(offer, capfd):
    offer(mine="import os, subprocess\nos.write(1, b'library')\nsubprocess.run(['echo', 'program'])\n" + term("Mine"))
    assert "Mine" in registry().origins
    print("list")
    said = capfd.readouterr()
    assert said.out == "list\n"
    assert "library" in said.err
    assert "program" in said.err


def test_a_file_in_utf_16_is_named(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(term("Mine"), "utf-16")
    (tmp_path / "empty.py").write_bytes(b"\0")
    monkeypatch.setenv(VARIABLE, os.pathsep.join([str(tmp_path / "mine.py"), str(tmp_path / "empty.py")]))
    one, other = reasons()
    assert one.startswith("it cannot be imported: mine.py")
    assert other.startswith("it cannot be imported: empty.py")
    assert "None" not in one + other


def test_a_reason_of_several_lines_is_one(offer):
    offer(mine="raise ValueError('one\\ntwo')", other="raise KeyError")
    assert reasons() == [
        "it cannot be imported: ValueError: one two (mine.py, line 1)",
        "it cannot be imported: KeyError (other.py, line 1)",
    ]


def test_what_a_file_prints_does_not_get_into_lists(offer, capsys):
    offer(mine="print('hello')\n" + HEAD + 'TERMS = (RegionTerm("Mine", "mine", print),)')
    assert parse("nnUNetTrainerMine").loss.region.name == "Mine"
    assert capsys.readouterr() == ("", "hello\n")


def test_a_list_of_terms_is_one_too(offer):
    offer(mine=HEAD + 'TERMS = [RegionTerm("Mine", "mine", print)]')
    assert parse("nnUNetTrainerMine").loss.region.name == "Mine"


def test_two_files_with_one_term_are_both_refused_and_named(offer):
    one, other = offer(one=GOOD, other=GOOD.replace("a loss of mine", "another"))
    assert str(other) in reasons()[0]
    assert str(one) in reasons()[1]
    with pytest.raises(NotOurs, match="2 of other packages' terms are refused"):
        parse("nnUNetTrainerMine")


def test_two_files_called_alike_are_two_modules(tmp_path, monkeypatch):
    paths = [tmp_path / folder / "löss.py" for folder in ("a", "ü b")]
    for path, name in zip(paths, ("One", "Two"), strict=True):
        path.parent.mkdir()
        path.write_text(term(name))
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["", str(paths[0]), f" {paths[1]} ", str(paths[0])]))
    assert registry().origins.keys() == {"One", "Two"}
    assert not reasons()


@pytest.mark.parametrize(("value", "reason"), [("/no/such/file.py", "No such file"), ("", None)])
def test_a_file_that_is_not_there_is_told(monkeypatch, value, reason):
    monkeypatch.setenv(VARIABLE, value)
    assert [reason in found for found in reasons()] == ([True] if reason else [])


def test_a_folder_is_no_file(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert "cannot be read" in reasons()[0]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with an entry point, as pip would leave it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(distribution: str, module: str, source: str, value: str | None = None) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{distribution} = {value or module}\n")
        sys.modules.pop(module, None)

    yield install
    for module in ("plugged_one", "plugged_two"):
        sys.modules.pop(module, None)


def test_an_installed_package_is_found_with_name_and_version(install):
    install("my-losses", "plugged_one", GOOD)
    read = parse("nnUNetTrainerMine_gamma3")
    assert registry().provenance(read.loss) == {
        "Mine": {"distribution": "my-losses", "version": "1.5", "module": "plugged_one"}
    }
    assert str(registry().origins["Mine"]) == "my-losses 1.5"


def test_two_packages_with_one_term_are_both_refused_and_named(install):
    install("one-losses", "plugged_one", GOOD)
    install("two-losses", "plugged_two", GOOD)
    assert "two-losses 1.5 has a term of that name, too" in reasons()[0]
    assert "one-losses 1.5 has a term of that name, too" in reasons()[1]


def test_an_entry_point_names_a_module(install):
    install("my-losses", "plugged_one", GOOD, "plugged_one:TERMS")
    assert "it must name a module with TERMS, as plugged_one" in reasons()[0]


def test_the_file_of_an_installed_package_may_be_named_too(install, tmp_path, monkeypatch):
    install("my-losses", "plugged_one", GOOD)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "plugged_one.py"))
    assert str(registry().origins["Mine"]) == "my-losses 1.5"
    assert not reasons()
