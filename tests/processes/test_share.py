"""A command held to its share sees that many cores, in every Python, and so do its workers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nnunet_fess.processes import share


def _seen(environment, code="import multiprocessing; print(multiprocessing.cpu_count())"):
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("cores", [1, 3, 64])
def test_cpu_count_is_the_share(cores):
    assert _seen(share.of_cores(cores, os.environ)) == str(cores)


def test_workers_see_it_too():
    code = (
        "import multiprocessing, os\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(os.cpu_count))\n"
    )
    assert _seen(share.of_cores(3, os.environ), code) == "3"


def test_torch_computes_with_that_many_threads_once_nnunet_has_set_them():
    code = "import multiprocessing, torch; torch.set_num_threads(multiprocessing.cpu_count()); print(torch.get_num_threads())"
    assert _seen(share.of_cores(1, os.environ), code) == "1"


def test_the_users_own_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['THEIRS'] = 'ran'\n")
    environment = share.of_cores(1, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert _seen(environment, "import os; print(os.environ.get('THEIRS'), os.cpu_count())") == "ran 1"


def test_workers_that_the_user_has_set_stay():
    assert share.of_cores(4, {"nnUNet_n_proc_DA": "7"})["nnUNet_n_proc_DA"] == "7"
    assert share.of_cores(4, {})["nnUNet_n_proc_DA"] == "3"
    assert share.of_cores(1, {})["nnUNet_n_proc_DA"] == "1"  # nnU-Net's planner fails at 0
    assert share.of_cores(64, {})["nnUNet_n_proc_DA"] == "12"


@pytest.mark.parametrize(("seen", "gpu"), [("", "1"), ("4,7", "7"), ("GPU-a, GPU-b", "GPU-b")])
def test_gpus_are_counted_among_those_we_see(seen, gpu):
    assert share.of_gpus(1, {"CUDA_VISIBLE_DEVICES": seen}) == {"CUDA_VISIBLE_DEVICES": gpu}
