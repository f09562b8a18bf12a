"""Terms of other packages: found by their entry points and in the files of `nnUNet_fess_terms`, checked, and added to ours.

What is broken or refused is listed with the reason and never keeps anything else from being found.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from nnunet_fess import __version__
from nnunet_fess.errors import UserError
from nnunet_fess.folders import expanded
from nnunet_fess.plugin import KNOWN_CONTRACTS, FeatureTerm, MapTerm, Option, RegionTerm, Term
from nnunet_fess.streams import output_to_stderr
from nnunet_fess.trainers.catalogue import BUILT_IN, OF_BLENDS, OF_FEATURES, OPTIONS, PREFIX, RENAMED, Catalogue, Loss

GROUP = "nnunet_fess.terms"
VARIABLE = "nnUNet_fess_terms"
"""The environment variable that names files of terms: a list, as nnU-Net's nnUNet_extTrainer."""
# Threads that import modules of terms at present.
_collecting: set[int] = set()
# What is raised in here by a mistake of somebody's file is shown at the line of that file.
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, order=True)
class Origin:
    """What a term of somebody else's comes from.

    Attributes:
        distribution: name of the installed package; the path of a file.
        version: the package's; the first digits of a file's SHA-256.
        module: where its TERMS are; empty for a file.
    """

    distribution: str
    version: str
    module: str = ""

    def __str__(self) -> str:
        """Such as ``my-losses 1.0``."""
        return f"{self.distribution} {self.version}" if self.module else self.distribution


@dataclass(frozen=True)
class Refusal:
    """A term, or a module of terms, that is not taken.

    Attributes:
        origin: where it is from.
        term: its name; None for all of a module.
        reason: why.
    """

    origin: Origin
    term: str | None
    reason: str

    def __str__(self) -> str:
        """One line."""
        whose = f"{self.term} of {self.origin}" if self.term else str(self.origin)
        return f"{whose}: refused: {self.reason}"


@dataclass(frozen=True, eq=False)
class Registry:
    """All terms that there are.

    Attributes:
        catalogue: ours and other packages'.
        origins: name of a term of another package → where it is from.
        refused: what is not in the catalogue.
    """

    catalogue: Catalogue
    origins: Mapping[str, Origin] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()

    def provenance(self, loss: Loss) -> dict[str, dict[str, str]]:
        """Which of a loss's terms are of other packages: name → distribution, version, module. For checkpoints and logs."""
        found = {term.name: self.origins[term.name] for term in loss.terms if term.name in self.origins}
        return {name: vars(origin).copy() for name, origin in found.items()}


def registry() -> Registry:
    """The terms that are installed, and those of the files that `nnUNet_fess_terms` names at present.

    Raises:
        UserError: a module of terms asks for them while it is imported, which would begin anew for ever.
    """
    if threading.get_ident() in _collecting:
        raise UserError("a module of terms must not ask for terms or trainers while it is imported; its builders may")
    return _registry(os.environ.get(VARIABLE, ""))


@cache
def _registry(files: str) -> Registry:
    refused: list[Refusal] = []
    offers: list[tuple[Origin, Term]] = []
    for origin, found in _collected(files):
        terms = found if isinstance(found, str) else _terms_of(found)
        if isinstance(terms, str):
            refused.append(Refusal(origin, None, terms))
            continue
        for number, term in enumerate(terms):
            if not isinstance(term, (RegionTerm, MapTerm, FeatureTerm)):
                kind = f"TERMS[{number}] is a {type(term).__name__}, not a RegionTerm, MapTerm or FeatureTerm"
                refused.append(Refusal(origin, None, kind))
            elif not isinstance(term.name, str):
                refused.append(Refusal(origin, None, f"the name of TERMS[{number}] must be text. Got: {term.name!r}"))
            else:
                offers.append((origin, term))
    if not offers:
        return Registry(BUILT_IN, refused=tuple(refused))
    catalogue, origins, stock = BUILT_IN, {}, _stock_trainers()
    # In an order that does not depend on the one in which packages are found.
    for origin, term in sorted(offers, key=lambda offer: (offer[0], offer[1].name)):
        try:
            reason = _offered_twice(term, origin, offers) or _unfit(term, catalogue, stock)
        except Exception as error:  # attributes of types that nobody expects
            reason = f"{type(error).__name__}: {error}"
        if reason:
            refused.append(Refusal(origin, term.name, reason))
        else:
            catalogue, origins[term.name] = catalogue.joined_by(term), origin
    return Registry(catalogue, origins, tuple(refused))


def _collected(files: str) -> list[tuple[Origin, ModuleType | str]]:
    _collecting.add(threading.get_ident())
    try:
        return list(_modules(files))
    finally:
        _collecting.discard(threading.get_ident())


def _modules(files: str) -> Iterator[tuple[Origin, ModuleType | str]]:
    """Every module of terms, or why it cannot be had."""
    seen = set()
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        distribution = entry.dist
        name, version = (distribution.name, distribution.version) if distribution else (entry.name, "of unknown version")
        origin = Origin(name, version, entry.value)
        if entry.attr:
            yield origin, f"its entry point names {entry.value}; it must name a module with TERMS, as {entry.module}"
            continue
        found = _imported(entry.module)
        if isinstance(found, ModuleType):
            seen.add(os.path.realpath(found.__file__ or ""))
        yield origin, found
    for part in dict.fromkeys(part.strip() for part in files.split(os.pathsep)):
        path = os.path.realpath(expanded(part)) if part else ""
        if path and path not in seen:  # the file of an installed package may be named, too
            seen.add(path)
            yield from _of_file(Path(path))


def _of_file(path: Path) -> Iterator[tuple[Origin, ModuleType | str]]:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        yield Origin(str(path), ""), f"{VARIABLE} names it, but it cannot be read: {error.strerror}"
        return
    # A name of its own, since two files may be called alike.
    name = f"nnunet_fess_terms_{digest[:12]}_{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}"
    yield Origin(str(path), digest[:12]), _imported(name, path)


def module_of(name: str, path: Path) -> ModuleType:
    """A module of terms, by name if it can be imported, else from its file.

    Raises:
        ValueError: neither can be done; the message says why.
    """
    found = _imported(name)
    if isinstance(found, ModuleType) and os.path.realpath(found.__file__ or "") == os.path.realpath(path):
        return found
    found = _imported(name, path)
    if isinstance(found, ModuleType):
        return found
    raise ValueError(f"{path}: {found}")


def _imported(name: str, path: Path | None = None) -> ModuleType | str:
    """A module, or why there is none; whatever it does on import, except Ctrl-C."""
    try:
        if path is None:
            with output_to_stderr():
                return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            return "it is no Python file: its name must end in .py"
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        with output_to_stderr():
            spec.loader.exec_module(module)
        return module
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if path is not None:
            sys.modules.pop(name, None)
        if isinstance(error, SyntaxError):
            line = f", line {error.lineno}" if error.lineno else ""  # a file in UTF-16 has none
            return f"it cannot be imported: {Path(error.filename or path or name).name}{line}: {error.msg}"
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        said = " ".join(str(error).splitlines())
        return f"it cannot be imported: {type(error).__name__}{': ' if said else ''}{said}{place}"


def _is_theirs(file: str) -> bool:
    return "importlib" not in file and _PACKAGE not in Path(file).resolve().parents


def _terms_of(module: ModuleType) -> list[object] | str:
    """What its TERMS holds, or why it is not taken."""
    try:
        return _unfit_module(module) or list(module.TERMS)
    except Exception as error:  # a module may compute its attributes
        return f"its TERMS cannot be read: {type(error).__name__}: {error}"


def _unfit_module(module: ModuleType) -> str | None:
    contract = getattr(module, "CONTRACT", 1)
    if contract not in KNOWN_CONTRACTS:
        known = ", ".join(map(str, sorted(KNOWN_CONTRACTS)))
        return f"it is written for contract {contract!r}, and nnunet-fess {__version__} knows {known}: update one of the two"
    terms = getattr(module, "TERMS", None)
    if terms is None:
        return "it has no TERMS, a tuple such as TERMS = (RegionTerm(…),)"
    if isinstance(terms, Term):
        return "its TERMS is one term, not a tuple: write TERMS = (…,) with the comma"
    if not isinstance(terms, (tuple, list)):
        return f"its TERMS must be a tuple of terms, and is a {type(terms).__name__}"
    return None if terms else "its TERMS is empty"


def _offered_twice(term: Term, origin: Origin, offers: Iterable[tuple[Origin, Term]]) -> str | None:
    others = {other for other, same in offers if same is not term and same.name.lower() == term.name.lower()}
    if origin in others:
        return "its TERMS has that name twice"
    return f"{' and '.join(map(str, sorted(others)))} has a term of that name, too: uninstall one of them" if others else None


def _unfit(term: Term, catalogue: Catalogue, stock: frozenset[str]) -> str | None:
    """Why a term cannot join; None if it can."""
    name = term.name
    if "_" in name:
        return "a name must not hold '_', which sets options apart"
    if not re.fullmatch("[A-Za-z0-9]+", name):
        return "a name is made of the letters A to Z and digits alone: it becomes part of a folder's name"
    if name.lower() in {each.lower() for each in (*RENAMED, *(other.name for other in catalogue.terms))}:
        return "there is a term of that name already"
    if not isinstance(term.summary, str) or not term.summary.strip() or len(term.summary.splitlines()) > 1:
        return "its summary must be one line"
    if not callable(term.build) and not re.fullmatch(r"[\w.]+:[\w.]+", str(term.build)):
        return f"build must be a function or 'package.module:function'. Got: {term.build!r}"
    meant: dict[str, Loss] = {}
    known = {trainer.lower() for trainer in catalogue.losses}
    for loss in catalogue.joined_by(term).every_loss():
        trainer = loss.trainer.lower()
        if trainer in meant or (term in loss.terms and trainer in known):
            return f"with it, {loss.trainer} would mean two losses"
        if term in loss.terms and trainer in stock:
            return f"{loss.trainer} is, or begins like, a trainer of nnU-Net's own, which is searched first"
        meant[trainer] = loss
    return _unfit_options(term)


def _unfit_options(term: Term) -> str | None:
    words: set[str] = set()
    for option in term.options:
        if not isinstance(option, Option):
            return f"its options must be of the class Option. Got: {type(option).__name__}"
        if option.everywhere:
            return f"option _{option.form}: everywhere is for the options of nnunet-fess alone"
        if not {option.key, option.word.lower()}.isdisjoint(words):
            return f"option _{option.form}: two options have that key or that word"
        words |= {option.key, option.word.lower()}
        # With a term of ours in one name, the first term's option counts, as with SDL's λ. These are in every such name:
        always = {"feature": OF_FEATURES, "map": OF_BLENDS, "region": ()}[term.slot]
        for ours in (*always, *(option for option in OPTIONS if option.everywhere)):
            same = ours.key == option.key or ours.word.lower() == option.word.lower() or re.fullmatch(ours.pattern, option.form)
            if same and not ours.says_the_same_as(option):
                return f"option _{option.form}: nnunet-fess has _{ours.form} with another meaning; take another key and word"
    options = {option.key: option for option in (*(OF_FEATURES if term.slot == "feature" else ()), *term.options)}
    for key in term.defaults:
        if key not in options:
            return f"defaults: it has no option {key!r}"
    for option in options.values():
        default = term.default(option)
        if default is not None and option.kind != "switch" and not option.accepts.test(default):
            return f"option _{option.form}: the default {default!r} is not in its range, {option.accepts.words}"
    return None


@cache
def _stock_trainers() -> frozenset[str]:
    """Lower-case names of the trainers in nnU-Net's own folder, and what stands before their first underscore.

    Read as text: importing all of them takes half a minute and can fail.
    """
    names = {name.lower() for name in stock_trainers()}
    return frozenset(names | {name.split("_")[0] for name in names} - {PREFIX.lower()})


def stock_trainers() -> set[str]:
    """Names of the trainers in nnU-Net's own folder."""
    spec = importlib.util.find_spec("nnunetv2")
    roots = spec.submodule_search_locations if spec else None
    files = [file for root in roots or () for file in Path(root, "training", "nnUNetTrainer").rglob("*.py")]
    return {name for file in files for name in re.findall(r"^class (\w+)\(", file.read_text("utf-8"), re.MULTILINE)}


def without_caches() -> None:
    """Have packages and files looked at again; for tests, and for a notebook in which a package has been installed."""
    _registry.cache_clear()
