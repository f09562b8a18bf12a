"""`study.lock.yaml`: what was run, resolved: the file's content with every default, the runs, versions and machine."""

from __future__ import annotations

import io
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from nnunet_fess import files, machine
from nnunet_fess.study.config import StudyFile
from nnunet_fess.study.results import Run

LOCK = "study.lock.yaml"
LOCKS = ".locks"  # a file per run, held by whoever works on it
PACKAGES = ("nnunet-fess", "nnunetv2", "torch", "numpy")


def lock_of(results: Path, run_id: str) -> Path:
    """The file that whoever works on a run holds."""
    return results / LOCKS / run_id


def write_lock(file: StudyFile, runs: Sequence[Run]) -> None:
    """Write the lock, also before anything is known of the runs: it makes the folder a study's."""
    from ruamel.yaml import YAML

    content = {
        "file": str(file.path),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"host": platform.node(), "processor": machine.processor(), "cores": machine.cores()},
        "versions": machine.versions(PACKAGES),
        "commit": machine.commit(Path(__file__).parent),
        "study": file.study.model_dump(mode="json"),
        "runs": {
            run.id: {
                "dataset": run.dataset,
                "trainer": run.trainer_name,
                "nnunet_fold": run.nnunet_fold,
                "training_cases": run.training_cases,
                "made_of": dict(run.made_of),
                "tested_on": dict(run.tested_on),
            }
            for run in runs
        },
    }
    text = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(content, text)
    files.write_text(file.results / LOCK, text.getvalue())
