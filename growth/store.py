"""The only data disk: run folders, written whole or not at all.

A run folder holds::

    spec.toml        every choice of the run
    manifest.json    digests, versions, times, certificates; SHA-256 of every other file here
    cuts.json        cut points of the levels, to keep for later years
    norms.json       distributions schools were ranked in, to freeze for later years
    curves.zip       models of the cohorts, to freeze for later years
    students.parquet, students.csv, schools..., levels..., counts..., cells..., variance..., fairness...,
    neutrality...
    report.html      if asked for

Parquet is what `load_run` reads; CSV is for people and spreadsheets.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from growth.disk import reserve, whole_file, whole_folder
from growth.errors import GrowthError, StoreError, problem
from growth.freeze import FreezeBundle, pack, unpack
from growth.index import LevelCuts
from growth.pipeline import FRAMES, ON_REQUEST, GrowthRun
from growth.school import Norms
from growth.spec import GrowthSpec
from growth.student import FrozenCurves

__all__ = [
    "load_bundle",
    "load_cuts",
    "load_run",
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
CURVES = "curves.zip"

_FORMULA_START = r"^[=+\-@\t\r\n]"
"""What makes a spreadsheet program read a text as a formula."""
_NUMBER = r"^[+\-]?(\d+(\.\d*)?|\.\d+)([eE][+\-]?\d+)?$"


def save_run(
    run: GrowthRun,
    folder: str | Path,
    *,
    overwrite: bool = False,
    extras: Mapping[str, Callable[[Path], object]] | None = None,
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
        If it is not a run folder, or a file in it is missing or was changed.
    """
    source = Path(folder)
    manifest = read_manifest(source)
    with _disk(source, OSError, pl.exceptions.PolarsError, ValueError, KeyError):
        _check_files(source, manifest)
        files = manifest.pop("files")
        return GrowthRun(
            frames={name: pl.read_parquet(source / f"{name}.parquet") for name in _stored(files)},
            spec=GrowthSpec.from_toml(source / SPEC),
            manifest=manifest,
            cuts=LevelCuts.from_dict(_read_json(source / CUTS)),
            norms=Norms.from_dict(_read_json(source / NORMS)),
            curves=FrozenCurves.from_dict(unpack((source / CURVES).read_bytes())),
        )


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
            elif _digest(file) != digest:
                found[name] = "changed"
        others = {file.name for file in source.iterdir()} - set(files) - {MANIFEST}
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
    others = sorted(file.name for file in target.iterdir() if file.name not in own)
    if others:
        what = f"Run folder {str(folder)!r} also holds {', '.join(map(repr, others[:3]))}"
        raise StoreError(problem(what, rule="nothing but a run is replaced", fix="move it elsewhere first"))


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame that a spreadsheet shows instead of computing it.

    A text, or the name of a column, that a spreadsheet program would take for a formula gets a leading
    apostrophe; texts that are plain numbers, such as ``-3``, stay as they are. Lists become texts joined by
    semicolons.
    """
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List(pl.String)]
    frame = frame.with_columns(pl.col(name).list.join("; ") for name in lists)
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    guarded = frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA_START) & ~pl.col(name).str.contains(_NUMBER))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )
    return guarded.rename({name: f"'{name}" for name in guarded.columns if re.match(_FORMULA_START, name)})


@contextmanager
def _place(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Reserve a folder and give one to write to that takes its place."""
    with _disk(target, OSError, pl.exceptions.PolarsError), reserve(target):
        check_free(target, overwrite=overwrite)
        with whole_folder(target) as aside:
            yield aside


def _write(run: GrowthRun, folder: Path) -> None:
    for name, frame in run.frames.items():
        _write_frame(frame, folder, name)
    (folder / SPEC).write_text(run.spec.to_toml(), "utf-8")
    _write_json(folder / CUTS, run.cuts.to_dict())
    _write_json(folder / NORMS, run.norms.to_dict())
    (folder / CURVES).write_bytes(pack(run.curves.to_dict()))


def _write_frame(frame: pl.DataFrame, folder: Path, name: str) -> None:
    frame.write_parquet(folder / f"{name}.parquet")
    spreadsheet_safe(frame).write_csv(folder / f"{name}.csv")


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
    return {file.name: _digest(file) for file in sorted(folder.iterdir())}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    needed = {SPEC, CUTS, NORMS, CURVES, *(f"{name}.parquet" for name in _stored(manifest["files"]))}
    for name in sorted(needed):
        file = folder / name
        state = "is missing" if not file.is_file() else "was changed since it was written"
        if not file.is_file() or _digest(file) != manifest["files"].get(name):
            raise StoreError(
                problem(
                    f"{name!r} in run folder {str(folder)!r} {state}",
                    rule="a run is read as it was written",
                    fix="run again, or restore the file",
                )
            )


def _stored(files: Mapping[str, str]) -> list[str]:
    return [name for name in (*FRAMES, *ON_REQUEST) if f"{name}.parquet" in files]


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
