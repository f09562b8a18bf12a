"""`nnunet_fess convert DATASET SOURCE…`, also `python -m dataset_conversion DATASET SOURCE…`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import PurePath

from dataset_conversion.datasets import datasets
from dataset_conversion.errors import ConversionError, NothingFoundError
from dataset_conversion.facts import Dataset
from dataset_conversion.pipeline import Options, convert
from dataset_conversion.places import raw_to_write
from dataset_conversion.sources import list_files, resolve
from dataset_conversion.write import TRANSFERS
from nnunet_fess import arguments, program
from nnunet_fess.machine import cores

EXIT_CODES = """exit code: 0 done, 1 a problem with the data or the options (all problems are listed, nothing is written),
2 wrong arguments, 130 interrupted (the same command goes on)."""
EPILOG = f"""Every voxel of every file is read and judged; then DatasetXXX_Name is written into the folder that nnUNet_raw
names, which must be there (--raw DIR may be new): images, labels, dataset.json, and splits_final.json, whose folds never
separate the scans of one patient. A fifth of the labelled cases is held out as a test set (--test-fraction). The download is
never changed, an existing dataset only replaced with --overwrite. --dry-run checks and writes nothing.

options:  nnunet_fess convert DATASET --help
more:     docs/how-to/convert-any-dataset.md, and one page per dataset beside it

{EXIT_CODES}"""


def _add_arguments(parser: argparse.ArgumentParser, dataset: Dataset) -> None:
    target, channels = next(iter(dataset.targets)), ",".join(dataset.channels)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder of the download, unpacked; never changed")
    parser.add_argument(
        "-d",
        dest="dataset_id",
        type=arguments.whole_number(1, 999),
        default=dataset.default_id,
        metavar="ID",
        help="dataset id (%(default)s)",
    )
    parser.add_argument("--raw", metavar="DIR", help="where to write (the environment variable nnUNet_raw)")
    parser.add_argument("--target", metavar="|".join(dataset.targets), help=f"what to learn ({target})")
    parser.add_argument("--channels", metavar="LIST", help=f"which channels, in which order ({channels})")
    parser.add_argument(
        "--test-fraction",
        type=arguments.fraction,
        default=0.2,
        metavar="F",
        help="share of the labelled cases to hold out, as whole patients (%(default)s; 0 for none)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of test set and folds (%(default)s)")
    parser.add_argument(
        "-np",
        dest="workers",
        type=arguments.whole_number(1),
        default=min(8, cores()),
        metavar="N",
        help="processes (%(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="read and check everything, write nothing")
    editions = [edition.name for edition in dataset.editions]
    parser.add_argument(
        "--overlap",
        metavar="|".join(["group", *(f"drop-{name}" for name in editions)]),
        default="group",
        help="patients in both editions: keep all their scans together (group), or leave out those of one edition"
        if len(editions) > 1
        else argparse.SUPPRESS,
    )
    parser.add_argument(
        "--transfer",
        choices=TRANSFERS,
        default="copy",
        help="how images that need no repair get there; reference: nnU-Net reads them where they are (%(default)s)",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="cases with problems: write nothing, or leave them out (%(default)s)",
    )
    parser.add_argument("--sha256", action="store_true", help="record it for every source file in the report")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")


def _options(dataset: Dataset, chosen: argparse.Namespace) -> Options:
    """The options, once they make sense for this dataset.

    Raises:
        ConversionError: they do not.
    """
    if len(dataset.targets) == 1 and chosen.target not in (None, *dataset.targets):
        raise ConversionError(f"--target {chosen.target}: {dataset.name} has one target, {next(iter(dataset.targets))}")
    target = chosen.target or next(iter(dataset.targets))
    if target not in dataset.targets:
        raise ConversionError(f"--target {target}: unknown; valid: {', '.join(dataset.targets)}")
    channels = tuple(name.strip().lower() for name in (chosen.channels or ",".join(dataset.channels)).split(","))
    unknown = [name for name in channels if name not in dataset.channels]
    if unknown or len(set(channels)) != len(channels):
        raise ConversionError(
            f"--channels {chosen.channels}: {dataset.name} has {', '.join(dataset.channels)}; name each at most once"
        )
    editions = [edition.name for edition in dataset.editions]
    raw = raw_to_write(chosen.raw)
    if chosen.overlap != "group" and chosen.overlap.removeprefix("drop-") not in editions:
        valid = ", ".join(["group", *(f"drop-{edition}" for edition in editions)])
        raise ConversionError(f"--overlap {chosen.overlap}: unknown; valid: {valid}")
    if chosen.overlap != "group" and len(editions) == 1:
        raise ConversionError(f"--overlap {chosen.overlap}: {dataset.name} has one edition, so nothing overlaps")
    return Options(
        dataset_id=chosen.dataset_id,
        raw=raw,
        target=target,
        channels=channels,
        test_fraction=chosen.test_fraction,
        seed=chosen.seed,
        workers=chosen.workers,
        overlap=chosen.overlap,
        transfer=chosen.transfer,
        on_error=chosen.on_error,
        sha256=chosen.sha256,
        dry_run=chosen.dry_run,
        overwrite=chosen.overwrite,
    )


def _looks_like(dataset: Dataset, sources: Sequence[str]) -> str:
    """A hint naming the dataset that the folders do hold."""
    for other in datasets().values():
        if other.name != dataset.name and len(other.editions) == 1:
            edition = other.editions[0]
            for root in resolve(sources):
                files = list_files(root, lambda *_: None)
                if any(edition.match(PurePath(root.name, path.relative_to(root).as_posix())) for path in files):
                    return f"; it holds {edition.title}: try  convert {other.name}"
    return ""


def _described(dataset: Dataset) -> str:
    wanted = "\n".join(f"  {edition.example}" for edition in dataset.editions)
    return (
        f"{dataset.about['description']}.\n\nSOURCE has, at any depth:\n{wanted}\n\n"
        f"It becomes Dataset{dataset.default_id}_{dataset.title} in nnUNet_raw; see docs/how-to/convert-{dataset.name}.md."
    )


def make_parser(prog: str) -> argparse.ArgumentParser:
    """One command per dataset."""
    parser = arguments.parser(prog, "Write a raw download in nnU-Net's format.", EPILOG)
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    for _, dataset in sorted(datasets().items()):
        command = commands.add_parser(
            dataset.name,
            help=dataset.about["description"],
            description=_described(dataset),
            epilog=EXIT_CODES,
            formatter_class=parser.formatter_class,
        )
        _add_arguments(command, dataset)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "nnunet_fess convert") -> int:
    """Convert one download; returns the exit code."""

    def work() -> int:
        chosen = make_parser(prog).parse_args(argv)
        name = f"{prog} {chosen.dataset}"
        return program.run(name, lambda: _run(datasets()[chosen.dataset], chosen, name))

    return program.run(prog, work)


def _run(dataset: Dataset, chosen: argparse.Namespace, name: str) -> int:
    try:
        convert(dataset, chosen.sources, _options(dataset, chosen))
    except NothingFoundError as error:
        raise NothingFoundError(f"{error}{_looks_like(dataset, chosen.sources)}") from error
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from here", file=sys.stderr)
        return program.INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(prog="python -m dataset_conversion"))
