"""The study's file: what may stand in it, and every mistake in it told at once, with its line."""

from __future__ import annotations

import datetime
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from nnunet_fess.errors import UserError
from nnunet_fess.folders import expanded
from nnunet_fess.plans import checked_name
from nnunet_fess.study.trainers import Trainer, choose

Metric = Literal[
    "dice", "iou", "precision", "sensitivity", "specificity", "hd95", "assd", "nsd", "lesion_recall", "lesion_fp"
]  # nnunet_fess.study.metrics.METRICS, which takes long to import
METRICS: tuple[Metric, ...] = get_args(Metric)
_UNASKED = METRICS[:8]  # lesions on request
Size = Annotated[int, Field(ge=1)] | Literal["all"]
Whole = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
_LONGEST_NAME = 150  # bytes; file systems take 255, and what lies in the folder has a path, too
_MOST_VALUES = 10_000  # anchors of anchors make millions of few lines


def _one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("not one line")
    return text


def _a_folder_name(text: str) -> str:
    if len(_one_line(text).encode()) > _LONGEST_NAME or text != text.strip() or text.endswith("."):
        raise ValueError("not a name that every file system takes")
    return text


Text = Annotated[str, AfterValidator(_one_line)]


class _Part(BaseModel):
    # strict: "1" is no number and 1 no name; YAML tells them apart, and so does the reader of the file.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Sizes = Annotated[list[Size], Field(min_length=1)]


def _all_cases() -> Sizes | dict[str, Sizes]:
    return ["all"]


class TestFolders(_Part):
    """Test cases that lie outside nnU-Net's folders."""

    images: Text = Field(description="a folder with images named as nnU-Net names them (CASE_0000.nii.gz)")
    labels: Text = Field(description="a folder with their labels (CASE.nii.gz)")


class PatientTable(_Part):
    """Whose the cases are, in a table."""

    table: Text = Field(description="a CSV file with the columns case, patient and, if any, stratum")


class PatientRegex(_Part):
    """Whose the cases are, by their names."""

    regex: Text = Field(description="a regular expression that finds the patient in a case's name, such as 'patient\\d+'")


KINDS = ("local", "slurm")


class Local(_Part):
    """Runs on this machine."""

    kind: Literal["local"] = Field("local", description=" or ".join(KINDS))
    parallel: Annotated[int, Field(ge=1)] = Field(1, description="a whole number of runs at once, at least 1")
    gpus: list[Whole] | None = Field(
        None, min_length=1, description="a list of GPU numbers such as [0, 1], one run at a time on each"
    )


# One word each: they stand unquoted on #SBATCH lines, where nothing is expanded, but a space or a # ends a word.
_Word = Annotated[str, Field(pattern=r"^[^\s\"'`\\#;&|<>$\x00-\x1f]+$")]


def _no_control_characters(text: str) -> str:
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text):
        raise ValueError("control characters")
    return text


# What the study itself says to SLURM, and what would take a job away from it.
RESERVED = (
    *("array", "wrap", "parsable", "test-only", "job-name", "comment", "output", "error", "open-mode", "requeue", "no-requeue"),
    *("signal", "chdir", "wait", "hold", "interactive", "help", "usage", "version", "clusters"),
)
_SHORT = {"a": "array", "J": "job-name", "o": "output", "e": "error", "D": "chdir", "W": "wait", "H": "hold", "M": "clusters"}
_SHORT |= {"h": "help", "V": "version"}


def _an_option(text: str) -> str:
    name = re.fullmatch(r"--([a-z][a-z0-9-]*)(=.+)?|-([A-Za-z]) ?([^ ].*)?", _one_line(text))
    known = name and (name[1] or _SHORT.get(name[3], name[3]))
    # sbatch takes every beginning of an option's name that is no other's
    if not known or known in RESERVED or (name and name[1] and any(word.startswith(name[1]) for word in RESERVED)):
        raise ValueError("not an option of sbatch that is free")
    return text


def seconds_of(time: str | int) -> int | None:
    """A time limit as SLURM writes it, in seconds; None for one that is no limit.

    Raises:
        ValueError: it is none.
    """
    if isinstance(time, int):
        return time * 60
    if time.upper() in ("UNLIMITED", "INFINITE"):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time, re.ASCII)
    if not found:
        raise ValueError(f"{time} is no time")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is None:  # minutes, minutes:seconds, hours:minutes:seconds
        numbers = {1: [0, *numbers, 0], 2: [0, *numbers], 3: numbers}[len(numbers)]
    hours, minutes, seconds = (*numbers, 0, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _a_time(time: str | int) -> str | int:
    seconds = seconds_of(time)
    if seconds is not None and seconds < 60:
        raise ValueError("shorter than a minute, which is the shortest limit that SLURM keeps")
    return time


class Slurm(_Part):
    """Runs as jobs of a cluster."""

    kind: Literal["slurm"] = Field(description=" or ".join(KINDS))
    partition: _Word | None = Field(
        None, description="the name of a partition such as gpu, one word, or several with commas (see sinfo)"
    )
    gpus: Whole | None = Field(
        None, description="a whole number of GPUs for each training (default: 1 with device cuda, else 0)"
    )
    cpus: Annotated[int, Field(ge=1)] = Field(8, description="a whole number of cores for each training, at least 1")
    memory: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[1-9]\d*[KMGT]?$")] | None = Field(
        None, description="memory for each training such as 32G, or a number of megabytes"
    )
    time: Annotated[int | str, AfterValidator(_a_time)] | None = Field(
        None, description='a time limit for each job such as "24:00:00" or 2-00:00:00, or a number of minutes, at least 1'
    )
    account: _Word | None = Field(None, description="the account that is charged, one word")
    extra: list[Annotated[str, AfterValidator(_an_option)]] = Field(
        [],
        description='a list of further options of sbatch such as ["--constraint=a100"], but none that the study gives itself',
    )
    setup: list[Annotated[str, AfterValidator(_no_control_characters)]] = Field(
        [], description="a list of shell commands that come before the training, such as [module load cuda]"
    )
    stop_before: Annotated[int, Field(ge=60, le=65535)] | None = Field(
        None,
        description="a number of seconds before the time limit at which a training is told to write a checkpoint, 60 to 65535",
    )


def _kind_of(executor: Any) -> str:
    kind = executor.get("kind", "local") if isinstance(executor, dict) else getattr(executor, "kind", "local")
    return kind if kind in KINDS else "local"  # which then says what is allowed


Executor = Annotated[Annotated[Local, Tag("local")] | Annotated[Slurm, Tag("slurm")], Discriminator(_kind_of)]


class Ensembles(_Part):
    """Means of predictions."""

    losses: list[Text] | None = Field(
        None, min_length=2, description="a list of at least two of the trainers that have seeds, whose predictions are averaged"
    )
    seeds: list[Text] | None = Field(
        None,
        min_length=1,
        description="a list of trainers that have seeds; the predictions of several seeds of each are averaged",
    )
    weights: list[Literal["mean", "learned"]] | None = Field(
        None, min_length=1, description="a list of mean and learned (default: both, with test: validation the mean alone)"
    )


class Study(_Part):
    """One comparison, as its file says it.

    The description of a field is what an error message says is allowed.
    """

    name: Annotated[str, AfterValidator(_a_folder_name)] = Field(
        pattern=r"^[^/\\:.][^/\\:]*$", description="a name that a folder can have, such as hippocampus-losses"
    )
    results: Text | None = Field(None, description="a folder; a relative one is beside this file (default: the name)")
    dataset: Whole | Text | Annotated[list[Whole | Text], Field(min_length=1)] = Field(
        description="the number or name of a dataset of nnU-Net such as 504, or a list of them"
    )
    configuration: Text = Field("3d_fullres", description="a configuration of the plans such as 3d_fullres")
    plans: Text | Annotated[list[Text], Field(min_length=1)] = Field(
        "nnUNetPlans", description="the name of plans such as nnUNetPlans, or a list of them, none twice"
    )
    device: Literal["cuda", "cpu", "mps"] = Field("cuda", description="cuda, cpu or mps")
    trainers: list[Text] = Field(min_length=1, description="a list of trainers such as [DiceCE, FESS_lambda0p8, nnUNetTrainer]")
    options: str = Field("", description="options of our trainers such as 100epochs_noMirroring")
    baseline: Text | None = Field(None, description="one of the trainers (default: the first)")
    seeds: list[Seed] = Field([0], min_length=1, description="a list of whole numbers from 0 to 4294967295, none twice")
    folds: list[Whole] = Field([0], min_length=1, description="a list of nnU-Net's folds such as [0, 1, 2], none twice")
    training_sizes: Sizes | dict[str, Sizes] = Field(
        default_factory=_all_cases,
        description="a list of numbers of training cases and 'all', none twice; or such a list for each of some datasets",
    )
    repeats: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="a whole number of draws of each training size, 1 to 1000"
    )
    patients: PatientTable | PatientRegex | None = Field(
        None, description="{table: FILE.csv} or {regex: 'patient\\d+'}, for a dataset that nnunet_fess convert has not made"
    )
    test: Literal["validation", "imagesTs"] | TestFolders = Field(
        "validation", description="validation, imagesTs, or {images: FOLDER, labels: FOLDER}"
    )
    metrics: list[Metric] = Field(list(_UNASKED), min_length=1, description=f"a list of {', '.join(METRICS)}, none twice")
    nsd_tolerance_mm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(1.0, description="a number of mm above 0")
    executor: Executor = Field(
        Local.model_validate({}),
        description="{kind: local, parallel: 1}, {kind: local, gpus: [0, 1]}, or {kind: slurm, partition: …}",
    )

    ensembles: Ensembles | None = Field(None, description="{losses: [DiceCE, CWCD, Dice], seeds: [DiceCE]}, or a part of it")

    @property
    def gpus_of_a_training(self) -> int:
        """How many GPUs one training has."""
        if self.device != "cuda":
            return 0
        asked = self.executor.gpus if isinstance(self.executor, Slurm) else None
        return 1 if asked is None else asked

    @property
    def datasets(self) -> list[int | str]:
        """The datasets, also where the file names a single one."""
        return self.dataset if isinstance(self.dataset, list) else [self.dataset]

    @property
    def all_plans(self) -> list[str]:
        """The plans, also where the file names only one."""
        return self.plans if isinstance(self.plans, list) else [self.plans]

    def sizes_of(self, dataset: int | str) -> list[Size]:
        """Training sizes of one of the datasets; all cases where the file has sizes for others only."""
        if isinstance(self.training_sizes, dict):
            return self.training_sizes.get(str(dataset), ["all"])
        return self.training_sizes


@dataclass(frozen=True)
class StudyFile:
    """A study's file, read and found right.

    Attributes:
        path: the file, absolute.
        study: its content.
        trainers: those of the study in its order, resolved.
        lines: key → its line in the file, keys of keys joined by dots.
    """

    path: Path
    study: Study
    trainers: Sequence[Trainer]
    lines: Mapping[str, int]

    @property
    def results(self) -> Path:
        """The folder of the results, absolute."""
        return self.path.parent / expanded(self.study.results or self.study.name)

    @property
    def baseline(self) -> Trainer:
        """What the others are compared with."""
        return next(trainer for trainer in self.trainers if trainer.given == (self.study.baseline or self.study.trainers[0]))

    def at(self, key: str, item: int | None = None) -> str:
        """Where a key stands, as the messages say it; with an item of its list, that one's line."""
        known = (self.lines[name] for name in _above(key if item is None else f"{key}.{item}") if name in self.lines)
        line = next(known, None)
        return f"{self.path}, line {line}, {key}" if line else f"{self.path}, {key}"


def load(path: str | Path) -> StudyFile:
    """Read a study's file.

    Raises:
        UserError: it cannot be read, or is no study; a line for each mistake, with its place, what was found, what is allowed.
    """
    path = expanded(path).absolute()
    content, lines, mistakes = _read(path)
    wrong: set[str] = set()
    study = None
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        explained = list(_explained(error, content))
        for key, text in explained:
            if any(other.startswith(f"{key}.") for other, _ in explained):
                continue  # no member of a union fits, and one of them says more precisely why
            wrong.add(key.partition(".")[0])
            mistakes.append((_line(lines, key), text))
    for key, text in _contradictions(content, wrong):
        mistakes.append((_line(lines, key), f"{key}: {text}"))
    trainers: list[Trainer] = []
    if not wrong & {"trainers", "options"}:
        trainers, found = choose(content["trainers"], content.get("options", ""))
        mistakes += [(_line(lines, key), f"{key}: {text}") for key, text in found]
    if mistakes or study is None:
        told = "\n".join(f"  line {line}, {text}" for line, text in sorted(mistakes))
        raise UserError(f"{path}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}\n{told}")
    return StudyFile(path, study, trainers, lines)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int], list[tuple[int, str]]]:
    """The file as plain values, the line of each key, and line and text of what is wrong with it as YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. Make one:  nnunet_fess study init > {path.name}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: byte {error.start}. Save it as UTF-8.") from error
    reader = YAML(typ="rt")
    reader.allow_duplicate_keys = True  # told with the other mistakes
    try:
        content = reader.load(text)
        twice = list(_twice(YAML(typ="rt").compose(text), set()))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        what = "; ".join(part for part in (error.context, error.problem) if part).split("\n")[0]
        hint = " Use spaces, not tabs." if "'\\t'" in what else ""
        raise UserError(f"{path}, {line}no YAML: {what}.{hint}") from error
    except ReaderError as error:
        before = text[: error.position].count("\n")
        what = f"a character that no text has, number {ord(text[error.position])}"
        raise UserError(f"{path}, line {before + 1}: no YAML: {what}.") from error
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path} is no YAML: {error}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: keys with values expected, such as  name: my-study; found {_shown(content)}.")
    lines = dict(itertools.islice(_lines(content), _MOST_VALUES))
    if len(lines) == _MOST_VALUES:
        raise UserError(f"{path}: more than {_MOST_VALUES} values; its anchors repeat too much. Write out what is meant.")
    return _plain(content), lines, twice


def _twice(node: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[int, str]]:
    """Line and text of each key that stands twice in one place."""
    if id(node) in seen or not isinstance(getattr(node, "value", None), list):
        return
    seen.add(id(node))
    first: dict[str, int] = {}
    for position, item in enumerate(node.value):
        if not isinstance(item, tuple):
            yield from _twice(item, seen, f"{prefix}{position}.")
            continue
        name, line = str(item[0].value), item[0].start_mark.line + 1
        if name in first:
            yield line, f"{prefix}{name}: found twice, before in line {first[name]}; allowed: each key once"
        first.setdefault(name, line)
        yield from _twice(item[1], seen, f"{prefix}{name}.")


def _lines(node: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Key → line, also of what a list holds: `trainers.2`."""
    where = getattr(node, "lc", None)
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        try:
            line = (where.key(key) if isinstance(node, dict) else where.item(key))[0] + 1  # type: ignore[union-attr]
        except (AttributeError, KeyError, TypeError):  # merged from an anchor
            line = getattr(where, "line", 0) + 1
        yield f"{prefix}{key}", line
        yield from _lines(node[key], f"{prefix}{key}.")


def _plain(node: Any) -> Any:
    """Without the reader's own types, which remember comments."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if type(node) is datetime.date:
        return node.isoformat()  # a name, not a day
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _explained(error: ValidationError, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and message of each mistake, one per key: what found no member of a union is told once."""
    told: set[str] = set()
    for item in error.errors():
        # pydantic's place of an error also names members of unions; those are no keys of the file
        value: Any = content
        path: list[str] = []
        model: type[BaseModel] | None = Study
        allowed = ""
        for part in item["loc"]:
            there = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
            field = model.model_fields.get(str(part)) if model else None
            if field is not None:
                allowed = field.description or ""
                model = _model_of(field.annotation, value.get(part) if isinstance(value, dict) else None)
            if there:
                value = value[part]
                path.append(str(part))
            elif item["type"] in ("missing", "extra_forbidden") and part == item["loc"][-1]:
                path.append(str(part))
        key = ".".join(path)
        if key in told or any(f"{other}.".startswith(f"{key}.") for other in told):
            continue
        told.add(key)
        if item["type"] == "missing":
            yield key, f"{key}: missing; needed: {allowed}"
        elif item["type"] == "extra_forbidden":
            owner = _owner(content, path)
            known = [name for name in owner.model_fields if name]
            near = difflib.get_close_matches(path[-1], known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield key, f"{key}: no such key{hint}; allowed: {', '.join(known)}"
        else:
            yield key, f"{key}: found {_shown(value)}; allowed: {allowed}"


def _model_of(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The part of the schema that a mapping under a key is held to."""
    if not isinstance(value, dict):
        return None
    members = [member for member in _members(annotation) if isinstance(member, type) and issubclass(member, BaseModel)]
    kinds = [member for member in members if value.get("kind") in _members(_annotation(member, "kind"))]
    return next(iter(kinds or members), None)


def _annotation(model: type[BaseModel], key: str) -> Any:
    field = model.model_fields.get(key)
    return field.annotation if field else None


def _members(annotation: Any) -> list[Any]:
    """Classes and literals that an annotation is a union of."""
    if isinstance(annotation, (type, str)):
        return [annotation]
    return [member for argument in getattr(annotation, "__args__", ()) for member in _members(argument)]


def _owner(content: Mapping[str, Any], path: Sequence[str]) -> type[BaseModel]:
    owner: type[BaseModel] = Study
    value: Any = content
    for part in path[:-1]:
        value = value[part]
        owner = _model_of(owner.model_fields[part].annotation, value) or owner
    return owner


def _contradictions(content: Mapping[str, Any], wrong: set[str]) -> Iterator[tuple[str, str]]:
    """Mistakes that lie between keys, each of which is fine by itself."""

    def good(*keys: str) -> bool:
        return not wrong.intersection(keys)

    lists = {key: content.get(key) for key in ("dataset", "plans", "seeds", "folds", "training_sizes", "metrics")}
    sizes = content.get("training_sizes", ["all"])
    if isinstance(sizes, dict) and good("dataset", "training_sizes"):
        datasets = content["dataset"] if isinstance(content["dataset"], list) else [content["dataset"]]
        for name, listed in sizes.items():
            lists[f"training_sizes.{name}"] = listed
            if name not in map(str, datasets):
                yield f"training_sizes.{name}", f"found {name}; allowed: one of the datasets, {', '.join(map(str, datasets))}"
    executor = content.get("executor")
    lists["executor.gpus"] = executor.get("gpus") if isinstance(executor, dict) else None
    for key, items in lists.items():
        plain = [item for item in items if type(item) in (int, str)] if isinstance(items, list) else []
        for item in sorted({str(item) for item in plain if plain.count(item) > 1}):
            yield key, f"found {item} twice; allowed: each once"
    plans = content.get("plans", [])
    for position, name in enumerate(plans if isinstance(plans, list) else [plans]) if good("plans") else ():
        try:
            checked_name(name, "found", reserved=False)
        except UserError as error:
            yield f"plans.{position}" if isinstance(plans, list) else "plans", str(error)
    trainers = content.get("trainers") or []
    baseline = content.get("baseline")
    if baseline is not None and good("trainers", "baseline") and baseline not in trainers:
        yield "baseline", f"found {_shown(baseline)}; allowed: one of the trainers, {', '.join(trainers)}"
    if isinstance(content.get("dataset"), list) and good("dataset", "test") and isinstance(content.get("test"), dict):
        yield "test", "found folders for several datasets; allowed: validation or imagesTs, which each dataset has its own of"
    if isinstance(content.get("dataset"), list) and good("dataset", "patients") and content.get("patients"):
        yield "patients", "found with several datasets; allowed: one dataset, whose cases they are"
    if good("executor", "device"):
        contradict = _of_slurm if _kind_of(content.get("executor")) == "slurm" else _of_local
        yield from contradict(content.get("executor") or {}, content.get("device", "cuda"))
    if good("ensembles", "trainers", "options", "seeds", "baseline", "test") and content.get("ensembles") is not None:
        yield from _of_ensembles(content, content["ensembles"])
    if good("training_sizes", "repeats") and content.get("repeats", 1) > 1 and sizes == ["all"]:
        yield "repeats", f"found {content['repeats']}, but training_sizes has no number to draw; allowed: 1"


def _of_ensembles(content: Mapping[str, Any], ensembles: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seeds = content.get("seeds", [0])
    trainers, mistakes = choose(content["trainers"], content.get("options", ""))
    if mistakes:  # told already
        return
    with_seeds = [trainer.given for trainer in trainers if trainer.ours]
    losses, of_seeds = ensembles.get("losses") or [], ensembles.get("seeds") or []
    if not losses and not of_seeds:
        yield "ensembles", "found neither losses nor seeds; allowed: one of them or both"
    for key, given in (("losses", losses), ("seeds", of_seeds)):
        for position, name in enumerate(given):
            where = f"ensembles.{key}.{position}"
            if name not in with_seeds:
                yield (
                    where,
                    f"found {name!r}; allowed: trainers of this study that have seeds, {', '.join(with_seeds) or 'none'}",
                )
            elif name in given[:position]:
                yield where, f"found {name} twice; allowed: each once"
    needed = len(losses) or 2
    if len(seeds) < needed:
        what = f"{len(losses)} losses, whose control is as many seeds of the baseline" if losses else "seeds"
        yield (
            "ensembles",
            f"found {len(seeds)} seeds for an ensemble of {what}; allowed: at least {needed}, such as seeds: [0, 1, 2]",
        )
    baseline = content.get("baseline") or content["trainers"][0]
    if losses and baseline not in with_seeds:
        yield "ensembles.losses", f"their control is an ensemble of seeds of the baseline, and {baseline} has none"
    if "learned" in (ensembles.get("weights") or []) and content.get("test", "validation") == "validation":
        yield (
            "ensembles.weights",
            "found learned with test: validation; weights are fitted on each fold's validation cases, and a test on what they "
            "were fitted to proves nothing; allowed: mean, or test cases of their own (test: imagesTs)",
        )


def _of_local(executor: Mapping[str, Any], device: str) -> Iterator[tuple[str, str]]:
    gpus = executor.get("gpus")
    if gpus and device != "cuda":
        yield "executor.gpus", f"found {gpus} with device {device}; allowed: gpus with device cuda only"
    if gpus and executor.get("parallel", len(gpus)) != len(gpus):
        yield (
            "executor.parallel",
            f"found {executor['parallel']} for {len(gpus)} gpus; allowed: leave it out, each GPU has a run",
        )


def _of_slurm(executor: Mapping[str, Any], device: str) -> Iterator[tuple[str, str]]:
    gpus = executor.get("gpus")
    if device == "mps":
        yield "device", "found mps with a cluster; allowed: cuda or cpu"
    if gpus and device == "cpu":
        yield "executor.gpus", f"found {gpus} with device cpu; allowed: gpus with device cuda only"
    if gpus == 0 and device == "cuda":
        yield "executor.gpus", "found 0 with device cuda; allowed: at least 1, or device cpu"
    limit = seconds_of(executor["time"]) if executor.get("time") is not None else None
    if limit is not None and executor.get("stop_before", 0) >= limit:
        yield "executor.stop_before", f"found {executor['stop_before']} for a limit of {limit} seconds; allowed: less"


def _line(lines: Mapping[str, int], key: str) -> int:
    """The line of a key, or of the nearest key above it; 1 for what is missing."""
    return next((lines[known] for known in _above(key) if known in lines), 1)


def _above(key: str) -> Iterator[str]:
    """A key and those above it: `a.b.1`, `a.b`, `a`."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
