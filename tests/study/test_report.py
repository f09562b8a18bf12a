"""The report says what the scores say, opens offline, and survives names, sizes and numbers of all kinds."""

import base64
import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from study.made_up import make

from nnunet_fess.errors import UserError
from nnunet_fess.study.formats import plain, tex
from nnunet_fess.study.report import write_report
from nnunet_fess.study.results import Case, Run
from nnunet_fess.study.statistics import summaries
from nnunet_fess.study.tables import Described


class Page(HTMLParser):
    """Links, targets, pictures and table rows of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.sources, self.tags, self.rows = [], set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []
        self.ids |= {found["id"]} if "id" in found else set()
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if self.rows and data.strip():
            self.rows[-1].append(data.strip())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of three trainers, two training sizes, three seeds."""
    results = tmp_path_factory.mktemp("ä b") / "study"
    results.mkdir()
    runs, cases = make(results)
    described = Described("Größe <b>&", "DiceCE", ["dice", "hd95"], texts={"study.yaml": "name: <x>"})
    write_report(results, described, runs, cases)
    return results, cases, (results / "report.html").read_text("utf-8")


def test_opens_offline_and_without_scripts(written):
    page = Page(written[2])
    assert "script" not in page.tags and "link" not in page.tags
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    for source in page.sources:
        assert base64.b64decode(source.partition(",")[2]).startswith(b"\x89PNG")
    assert not re.search(r"https?://", written[2])


def test_every_number_is_linked_to_its_run_and_every_run_to_its_folder(written):
    _, _, text = written
    page = Page(text)
    within = {link[1:] for link in page.links if link.startswith("#")}
    assert within and within <= page.ids
    assert "runs/CWCD_adaptive-seed1-fold0-all/" in page.links


def test_names_are_text_and_not_markup(written):
    assert "<b>&" not in written[2] and "Größe &lt;b&gt;&amp;" in written[2]
    assert "name: &lt;x&gt;" in written[2]


def test_the_table_has_the_means(written):
    _, cases, text = written
    found = next(row for row in summaries(cases, ["dice"]) if (row.trainer, row.structure) == ("CWCD_adaptive", "edema"))
    assert f"{found.mean:.3f} ± {found.sd:.3f}" in text
    assert "1 undefined" in text


def test_a_failed_run_is_listed_with_its_reason(written):
    assert "nnUNetv2_train ended with exit code 1" in written[2]


def test_several_plans_stand_side_by_side_and_are_never_mixed(tmp_path):
    """A table of trainers by plans, as papers print it, and tables and tests of each plans' own."""
    runs, cases = make(tmp_path / "study", ("DiceCE", "CWCD"), (0, 1), ("all",), plans=("nnUNetPlans", "nnUNetPlansVNet"))
    described = Described("networks", "DiceCE", ["dice"])
    text = write_report(tmp_path / "study", described, runs, cases).read_text("utf-8")
    markdown = (tmp_path / "study" / "report.md").read_text("utf-8")
    assert "2 trainers, 2 plans, 2 seeds" in text
    table = markdown.partition("### Dice, mean, by plans, all training cases\n\n")[2].partition("\n\n")[0].splitlines()
    assert table[0] == "| trainer | nnUNetPlans | nnUNetPlansVNet | runs |"
    means = {}
    for row in summaries(cases, ["dice"]):
        if row.structure == "mean":
            means[row.trainer, row.setting.plans] = f"{row.mean:.3f} ± {row.sd:.3f}"
    assert len(set(means.values())) == 4
    for line in table[2:]:
        trainer, *cells, count = [cell.strip(" *") for cell in line.strip("|").split("|")]
        assert cells == [means[trainer, plans] for plans in ("nnUNetPlans", "nnUNetPlansVNet")] and count == "4"
    headings = ("### Dice, nnUNetPlans, all training cases", "### Dice, nnUNetPlansVNet, all training cases")
    assert all(markdown.count(heading) == 2 for heading in headings)  # results, and against the baseline
    rows = csv.DictReader(io.StringIO((tmp_path / "study/statistics.csv").read_text("utf-8")))
    assert {(row["plans"], row["trainer"]) for row in rows} == {
        (plans, trainer) for plans in ("nnUNetPlans", "nnUNetPlansVNet") for trainer in ("DiceCE", "CWCD")
    }
    assert (tmp_path / "study/figures/plans_Dataset999_Made_all.png").is_file()


def test_all_kinds_of_figures_are_there(written):
    names = {path.name.split("_")[0] for path in (written[0] / "figures").iterdir()}
    assert names == {"boxes", "training", "components", "overlay", "learning", "cost"}


def test_markdown_and_latex_have_the_same_tables(written):
    results = written[0]
    markdown, latex = (results / "report.md").read_text("utf-8"), (results / "report.tex").read_text("utf-8")
    assert "| CWCD_adaptive |" in markdown and "CWCD\\_adaptive &" in latex
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 4
    for picture in re.findall(r"\]\((figures/[^)]+)\)", markdown):
        assert (results / picture).is_file()


def test_statistics_csv_has_a_row_per_trainer_structure_and_metric(written):
    rows = list(csv.DictReader(io.StringIO((written[0] / "statistics.csv").read_text("utf-8"))))
    assert len(rows) == 2 * 3 * 3 * 2
    row = next(row for row in rows if (row["trainer"], row["structure"], row["size"]) == ("FESSDiceCE", "mean", "8"))
    assert row["baseline"] == "DiceCE" and float(row["difference"]) and row["in_words"]


@pytest.mark.skipif(shutil.which("latex") is None, reason="LaTeX is not installed")
def test_latex_compiles(written, tmp_path):
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{%s}\end{document}"
    (tmp_path / "a.tex").write_text(document % (written[0] / "report.tex"))
    subprocess.run(["latex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"], cwd=tmp_path, check=True)


def test_markdown_makes_nothing_of_names():
    assert plain("a*b* <b> `c` $d_1$ [e](f) | g\\h\ni") == r"a\*b\* \<b\> \`c\` \$d_1\$ \[e\](f) \| g\\h i"
    assert plain("nnUNetTrainer_5epochs_x, _y_") == r"nnUNetTrainer_5epochs_x, \_y\_"


def test_tex_writes_out_commands():
    assert tex("a < b | c > d") == r"a \textless{} b \textbar{} c \textgreater{} d"
    assert tex("50 % of a_b & ~c^2 \\x ±") == r"50 \% of a\_b \& \textasciitilde{}c\textasciicircum{}2 \textbackslash{}x $\pm$"


@pytest.mark.parametrize(("trainers", "structures"), [(2, 1), (12, 16)])
def test_few_and_many(tmp_path, trainers, structures):
    runs, cases = [], []
    for trainer in range(trainers):
        name = f"FESS_lambda0p8_temp0p1_Ä{trainer}"
        runs.append(Run(f"{name}-0", "D", "c", "p", name, name, None, 0, "all", 0, 0, 10, "finished"))
        cases += [
            Case.of(
                runs[-1], f"case{number}", f"Struktur {place} mit langem Namen", {"dice": (number + trainer + place) % 7 / 7}
            )
            for number in range(3)
            for place in range(structures)
        ]
    write_report(tmp_path, Described("many", runs[0].trainer, ["dice"]), runs, cases)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    row = next(row for row in page.rows if row and row[0] == runs[1].trainer)
    assert len([cell for cell in row if re.match(r"0\.\d+", cell)]) == structures + (structures > 1)


def test_without_scores_there_is_no_report(tmp_path):
    with pytest.raises(UserError, match="no score to report"):
        write_report(tmp_path, Described("x", "A", ["dice"]), [], [])
    assert not list(tmp_path.iterdir())
