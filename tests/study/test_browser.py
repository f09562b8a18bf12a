"""The report as a browser lays it out: headless Chromium, at the width of a desk and of a telephone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from study.made_up import make

from nnunet_fess.study.report import write_report
from nnunet_fess.study.tables import Described

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
DESK, TELEPHONE = 1280, 390

# The page itself has no script: one around it, with the page in two frames, says how it was laid out.
AROUND = """<!DOCTYPE html><meta charset="utf-8"><pre id="said"></pre>
<iframe id="desk" src="report.html" width="{desk}" height="900"></iframe>
<iframe id="telephone" src="report.html" width="{telephone}" height="900"></iframe>
<script>
window.onload = () => {{
  const said = {{}};
  for (const name of ["desk", "telephone"]) {{
    const page = document.getElementById(name).contentDocument, root = page.documentElement;
    const wide = [...page.querySelectorAll(".wide")];
    const boxes = [...page.querySelectorAll("h1, h2, h3, p, figure, img, pre, ul, .wide")].map(e => e.getBoundingClientRect());
    said[name] = {{
      width: root.clientWidth, needed: root.scrollWidth,
      beyond: boxes.filter(box => box.right > root.clientWidth + 1).length,
      broken: [...page.images].filter(image => !image.naturalWidth).length, images: page.images.length,
      tables: wide.length, reachable: wide.filter(e => e.scrollWidth <= e.clientWidth + 1
        || getComputedStyle(e).overflowX === "auto").length,
      text: page.body.innerText.length, mode: page.compatMode
    }};
  }}
  document.getElementById("said").textContent = "SAID" + JSON.stringify(said) + "DIAS";
}};
</script>
"""


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """What the browser says of a report with more trainers and longer names than fit a telephone."""
    results = tmp_path_factory.mktemp("ä b") / "study"
    results.mkdir()
    trainers = ["DiceCE", "CWCD_adaptive_6mm_contour2p5_lambda0p75", "nnUNetTrainerÄäkkösetJaTyöyöaie_noSmooth"]
    runs, cases = make(results, trainers=trainers, seeds=(0, 1), sizes=("all",), cases=3)
    described = Described("Lymphknotengröße, Härkä & <b>", "DiceCE", ["dice", "hd95"], texts={"study.yaml": "x" * 400})
    write_report(results, described, runs, cases)
    (results / "around.html").write_text(AROUND.format(desk=DESK, telephone=TELEPHONE), "utf-8")
    return json.loads(_dom(results / "around.html", tmp_path_factory.mktemp("profile")))


def _dom(page: Path, profile: Path) -> str:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    found = re.search("<pre[^>]*>SAID(.*?)DIAS", done.stdout, re.DOTALL)
    assert found, done.stdout[:2000] + done.stderr[-2000:]
    return found[1]


@pytest.mark.parametrize(("name", "width"), [("desk", DESK), ("telephone", TELEPHONE)])
def test_nothing_sticks_out(laid_out, name, width):
    """What is wide scrolls by itself; the page does not."""
    seen = laid_out[name]
    assert seen["width"] > width - 40
    assert seen["needed"] <= seen["width"]
    assert seen["beyond"] == 0
    assert seen["tables"] == seen["reachable"] > 3


def test_everything_is_shown(laid_out):
    for seen in laid_out.values():
        assert seen["broken"] == 0
        assert seen["images"] > 5
        assert seen["text"] > 2000
        assert seen["mode"] == "CSS1Compat"
