"""The only data disk: run folders, written whole or not at all.

A run folder holds::

    spec.toml        every choice of the run
    manifest.json    digests, versions, times, certificates; SHA-256 of every other file here
    cuts.json        cut points of the levels, to keep for later years
    norms.json       distributions schools were ranked in, to freeze for later years
    curves.zip       models of the cohorts, to freeze for later years
    students/        students by year, subject and grade, Parquet (`growth.partitions`)
    students.csv, schools.csv, schools.parquet, levels..., counts..., cells..., variance..., fairness...,
    neutrality...
    cohorts/         fits of the cohorts, for a later run to use again; they hold no ids
    report.html      if asked for

Parquet is what `load_run` reads, each frame when it is asked for; CSV is for people and spreadsheets.
Folders of earlier versions, with students.parquet and without cohorts, are read as well.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from growth.disk import reserve, whole_file, whole_folder
from growth.errors import GrowthError, StoreError, problem
from growth.freeze import FreezeBundle, pack, unpack
from growth.index import LevelCuts
from growth.partitions import (
    StoredFrames,
    check_digests,
    file_digest,
    file_names,
    is_among,
    parts_of,
    read_parts,
    spreadsheet_safe,
    write_csv,
    write_parts,
)
from growth.pipeline import FRAMES, ON_REQUEST, GrowthRun, KeptCohorts
from growth.school import Norms
from growth.spec import GrowthSpec
from growth.student import FrozenCurves

__all__ = [
    "kept_cohorts",
    "load_bundle",
    "load_cuts",
    "load_run",
    "load_students",
    "load_table",
    "read_manifest",
    "save_bundle",
    "save_run",
    "save_tables",
    "spreadsheet_safe",
    "strange_files",
    "under_way",
]

MANIFEST, SPEC, CUTS, NORMS = "manifest.json", "spec.toml", "cuts.json", "norms.json"
CURVES, COHORTS = "curves.zip", "cohorts"
_PARTED = ("students",)
"""Frames that are kept by year, subject and grade."""


def save_run(
    run: GrowthRun,
    folder: str | Path,
    *,
    overwrite: bool = False,
    extras: Mapping[str, Callable[[Path], object]] | None = None,
    cohorts: str | Path | None = None,
) -> Path:
    """Write a run to a folder, whole or not at all.

    Everything is written beside the folder first and then renamed.

    Parameters
    ----------
    run : GrowthRun
    folder : str or Path
        New, or empty; missing parents are made.
    overwrite : bool
        Replace an earlier run folder. A folder that holds anything besides one run is never replaced.
    extras : mapping of file name to callable, optional
        Further files: each callable gets the path to write to.
    cohorts : str or Path, optional
        Where the run has kept its fits (``checkpoints``): they are kept with it, for `kept_cohorts`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StoreError
        If the folder is not empty, is being written by another run, or cannot be written.
    """
    target = Path(folder).resolve()
    with _place(target, overwrite=overwrite) as aside:
        _write(run, aside)
        for name, write in (extras or {}).items():
            write(aside / name)
        if cohorts is not None:
            _copy_cohorts(Path(cohorts), run.manifest["cohorts"]["files"], aside / COHORTS)
        manifest = {**run.manifest, "files": _digests(aside)}
        _write_json(aside / MANIFEST, manifest)
    return target


@contextmanager
def under_way(folder: str | Path, *, resume: bool) -> Iterator[Path]:
    """Reserve a run folder while its run is computed and written, and give a place for finished parts.

    The parts lie beside the folder; they go when the run has been written, and stay when it fails.

    Parameters
    ----------
    folder : path
    resume : bool
        Keep what an earlier run has left there.

    Raises
    ------
    StoreError
        If another run is writing the folder, or the place cannot be written.
    """
    target = Path(folder).resolve()
    parts = target.with_name(f".{target.name}.parts")
    with ExitStack() as held:
        with _disk(target, OSError):
            held.enter_context(reserve(target))
            if parts.exists() and not resume:
                shutil.rmtree(parts)
        yield parts
        shutil.rmtree(parts, ignore_errors=True)


def load_run(folder: str | Path) -> GrowthRun:
    """Read a run folder back; its frames are polars.

    Raises
    ------
    StoreError
        If it is not a run folder, or a file in it is missing or was changed; of the students, when they are
        asked for.
    """
    source = Path(folder)
    manifest = read_manifest(source)
    with _disk(source, OSError, pl.exceptions.PolarsError, ValueError, KeyError):
        _check_files(source, manifest)
        files = manifest.pop("files")
        return GrowthRun(
            frames=StoredFrames(source, files, _stored(files)),
            spec=GrowthSpec.from_toml(source / SPEC),
            manifest=manifest,
            cuts=LevelCuts.from_dict(_read_json(source / CUTS)),
            norms=Norms.from_dict(_read_json(source / NORMS)),
            curves=FrozenCurves.from_dict(unpack((source / CURVES).read_bytes())),
        )


def load_students(
    folder: str | Path,
    *,
    years: Iterable[int] | None = None,
    subjects: Iterable[str] | None = None,
    grades: Iterable[int] | None = None,
    columns: Iterable[str] | None = None,
) -> pl.DataFrame:
    """Return the students of some years, subjects and grades of a run folder, and read no others.

    Parameters
    ----------
    folder : str or Path
    years, subjects, grades : iterable, optional
        All, if not given.
    columns : iterable of str, optional
        Of the students frame; all if not given.

    Returns
    -------
    polars.DataFrame
        In the order of the students frame.

    Raises
    ------
    StoreError
        If it is not a run folder, a file in it is missing or was changed, or there are no such students.
    """
    source, files = Path(folder), read_manifest(folder)["files"]
    asked = dict(zip(("year", "subject", "grade"), (years, subjects, grades), strict=True))
    wanted = {key: {str(one) for one in values} for key, values in asked.items() if values is not None}
    names = [name for name in parts_of(files, "students") if is_among(name, wanted)]
    if not names:
        what = f"Run folder {str(source)!r} has no students by year, subject and grade, or none of these"
        raise StoreError(problem(what, fix="load_run(folder).students reads folders of any version"))
    with _disk(source, OSError, pl.exceptions.PolarsError):
        check_digests(source, files, names)
        return read_parts([source / name for name in names], columns)


def kept_cohorts(folder: str | Path) -> KeptCohorts:
    """Return the fits that a run folder keeps, for ``growth.run(..., reuse=...)``.

    Raises
    ------
    StoreError
        If it is not a run folder, or keeps none.
    """
    source = Path(folder).resolve()
    manifest = read_manifest(source)
    start = f"{COHORTS}/"
    kept = {n.removeprefix(start): d for n, d in manifest["files"].items() if n.startswith(start)}
    if not kept:
        what = f"Run folder {str(folder)!r} keeps no cohorts"
        raise StoreError(problem(what, rule="they are kept since version 0.1", fix="run without --reuse"))
    return KeptCohorts(source / COHORTS, kept, file_digest(source / MANIFEST))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a run folder, with the digests of its files, and trust nothing else of it.

    Raises
    ------
    StoreError
        If it is not a run folder, or its manifest cannot be read.
    """
    source = Path(folder)
    if not (source / MANIFEST).is_file():
        what = f"{str(source)!r} is not a run folder: it has no {MANIFEST}"
        raise StoreError(problem(what, fix="give a folder that `growth run` or save_run wrote"))
    with _disk(source, OSError, ValueError):
        manifest = _read_json(source / MANIFEST)
        if not isinstance(manifest.get("files"), dict):
            raise ValueError("a manifest without digests of files")
    return manifest


def strange_files(folder: str | Path) -> dict[str, str]:
    """Return the files of a run folder that are not as they were written: name -> what is wrong.

    Raises
    ------
    StoreError
        As `read_manifest`; if a file cannot be read.
    """
    source, files = Path(folder), read_manifest(folder)["files"]
    found: dict[str, str] = {}
    with _disk(source, OSError):
        for name, digest in sorted(files.items()):
            file = source / name
            if not file.is_file():
                found[name] = "missing"
            elif file_digest(file) != digest:
                found[name] = "changed"
        others = set(file_names(source)) - set(files) - {MANIFEST}
    return found | dict.fromkeys(sorted(others), "not part of the run")


def save_bundle(bundle: FreezeBundle, file: str | Path, *, overwrite: bool = False) -> Path:
    """Write a freeze bundle, whole or not at all.

    Raises
    ------
    StoreError
        If the file exists and is not to be overwritten, or cannot be written.
    """
    target = Path(file).resolve()
    if target.is_dir() or (target.exists() and not overwrite):
        what = f"{str(file)!r} already exists"
        raise StoreError(problem(what, fix="choose another name, or allow it to be overwritten"))
    with _disk(target, OSError, what="The bundle"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as aside:
            aside.write_bytes(bundle.to_bytes())
    return target


def load_bundle(file: str | Path) -> FreezeBundle:
    """Read a freeze bundle; nothing in the file is executed, and everything is checked.

    Raises
    ------
    StoreError
        If the file cannot be read, is not a bundle, was changed, or comes from a later version.
    SpecError
        If a part of it is impossible.
    """
    source = Path(file)
    with _disk(source, OSError, what="The bundle"):
        return FreezeBundle.from_bytes(source.read_bytes())


def save_tables(
    frames: Mapping[str, pl.DataFrame],
    folder: str | Path,
    spec: GrowthSpec,
    *,
    cuts: LevelCuts | None = None,
    overwrite: bool = False,
    extras: Mapping[str, Callable[[Path], object]] | None = None,
) -> Path:
    """Write tables made from a run, as an index or pairs, to a folder of their own, whole or not at all.

    Parameters
    ----------
    frames : mapping of name to polars.DataFrame
        Each written as Parquet and CSV.
    folder : str or Path
        New, or empty; missing parents are made.
    spec : GrowthSpec
        Written beside them, as spec.toml.
    cuts : LevelCuts, optional
        Written as cuts.json, for `load_cuts`.
    overwrite : bool
        Replace an earlier folder of this kind.
    extras : mapping of file name to callable, optional
        Further files, as pictures: each callable gets the path to write to.

    Raises
    ------
    StoreError
        If the folder is not empty, or cannot be written.
    """
    target = Path(folder).resolve()
    with _place(target, overwrite=overwrite) as aside:
        for name, frame in frames.items():
            _write_frame(frame, aside, name)
        for name, write in (extras or {}).items():
            write(aside / name)
        (aside / SPEC).write_text(spec.to_toml(), "utf-8")
        if cuts is not None:
            _write_json(aside / CUTS, cuts.to_dict())
        _write_json(aside / MANIFEST, {"tables": list(frames), "spec": spec.digest, "files": _digests(aside)})
    return target


def load_cuts(folder: str | Path) -> LevelCuts:
    """Return the cut points that a folder keeps.

    Raises
    ------
    StoreError
        If it has none, or they cannot be read.
    """
    file = Path(folder) / CUTS
    if not file.is_file():
        what = f"{str(folder)!r} has no {CUTS}"
        raise StoreError(problem(what, fix="give a folder that `growth index` wrote"))
    with _disk(Path(folder), OSError, ValueError, KeyError):
        return LevelCuts.from_dict(_read_json(file))


def load_table(folder: str | Path, name: str) -> pl.DataFrame:
    """Return a table of a folder that `save_tables` wrote.

    Raises
    ------
    StoreError
        If there is none, or it cannot be read.
    """
    file = Path(folder) / f"{name}.parquet"
    if not file.is_file():
        raise StoreError(
            problem(f"{str(folder)!r} has no table {name!r}", fix="give the folder that holds it")
        )
    with _disk(Path(folder), OSError, pl.exceptions.PolarsError):
        return pl.read_parquet(file)


def check_free(folder: str | Path, *, overwrite: bool) -> None:
    """Refuse a folder that a run must not be written to.

    Raises
    ------
    StoreError
        If it holds a run that must not be overwritten, or anything that is not part of a run.
    """
    target = Path(folder)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file():
        what = f"{str(folder)!r} exists and is not a run folder"
        raise StoreError(problem(what, rule="only run folders are replaced", fix="choose another folder"))
    if not overwrite:
        what = f"{str(folder)!r} already holds a run"
        raise StoreError(problem(what, fix="choose another folder, or allow it to be overwritten"))
    with _disk(target, OSError, ValueError, KeyError):
        own = {MANIFEST, *_read_json(target / MANIFEST)["files"]}
    others = sorted(set(file_names(target)) - own)
    if others:
        what = f"Run folder {str(folder)!r} also holds {', '.join(map(repr, others[:3]))}"
        raise StoreError(problem(what, rule="nothing but a run is replaced", fix="move it elsewhere first"))


@contextmanager
def _place(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Reserve a folder and give one to write to that takes its place."""
    with _disk(target, OSError, pl.exceptions.PolarsError), reserve(target):
        check_free(target, overwrite=overwrite)
        with whole_folder(target) as aside:
            yield aside


def _write(run: GrowthRun, folder: Path) -> None:
    for name, frame in run.frames.items():
        if name in _PARTED:
            write_parts(frame, folder / name)
            write_csv(frame, folder / f"{name}.csv")
        else:
            _write_frame(frame, folder, name)
    (folder / SPEC).write_text(run.spec.to_toml(), "utf-8")
    _write_json(folder / CUTS, run.cuts.to_dict())
    _write_json(folder / NORMS, run.norms.to_dict())
    (folder / CURVES).write_bytes(pack(run.curves.to_dict()))


def _write_frame(frame: pl.DataFrame, folder: Path, name: str) -> None:
    frame.write_parquet(folder / f"{name}.parquet")
    write_csv(frame, folder / f"{name}.csv")


@contextmanager
def _disk(folder: Path, *expected: type[Exception], what: str = "The run folder") -> Iterator[None]:
    """Say which folder or file a failure is about."""
    try:
        yield
    except GrowthError:
        raise
    except expected as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}"
        text = f"{what} {str(folder)!r} cannot be read or written: {reason}"
        raise StoreError(problem(text, fix="check that it is whole, and its permissions")) from error


def _digests(folder: Path) -> dict[str, str]:
    return {name: file_digest(folder / name) for name in sorted(file_names(folder))}


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    files = manifest["files"]
    whole = [f"{name}.parquet" for name in _stored(files) if f"{name}.parquet" in files]
    check_digests(folder, files, [SPEC, CUTS, NORMS, CURVES, *whole])


def _stored(files: Mapping[str, str]) -> list[str]:
    known = (*FRAMES, *ON_REQUEST)
    return [name for name in known if f"{name}.parquet" in files or parts_of(files, name)]


def _copy_cohorts(source: Path, names: Iterable[str], folder: Path) -> None:
    folder.mkdir()
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _write_json(file: Path, data: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(_finite(data), indent=1, allow_nan=False) + "\n", "utf-8")


def _finite(value: Any) -> Any:  # noqa: ANN401
    """Return the value with NaN and infinities, which JSON cannot hold, as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _read_json(file: Path) -> dict[str, Any]:
    data = json.loads(file.read_text("utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{file.name} holds no object")
    return data
