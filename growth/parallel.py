"""Where work is done: in threads, or wherever joblib's backend sends it. The one place that chooses.

`Crew.of` takes what ``joblib.parallel_config`` says (``backend="dask"``, ``"ray"``, ``"loky"``), or else
threads of this process; `Crew.each` does a piece of work for each of many items there. The rest of the
package does not know where that is. Three rules make results the same, bit for bit, wherever it is:

* an item's result depends on the item alone, and whoever adds results up does it in the order of the items;
* work is done by one thread, with one thread of the linear algebra library;
* what is large does not travel with an item. `Crew.share` writes it once to a folder that all workers see,
  named by its content, and a worker reads what its items name. In threads it stays where it is.

joblib puts short items together to batches of about a second. When a worker is lost, its items are given to
others by the cluster's scheduler; those of which several workers died in a row are submitted again a few
times. Doing an item twice does no harm.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import finalize

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits

from growth.codec import decoded, encoded
from growth.disk import whole_file
from growth.errors import GrowthError, SpecError, StoreError, problem
from growth.source import code_digest

__all__ = ["Crew", "Shared", "on_cluster"]

T = TypeVar("T")
R = TypeVar("R")

_OPEN = 2
"""Shared values that a worker keeps at hand."""
_RESUBMITTED = 5
"""Times that an item is submitted again after the scheduler has given it up."""


@dataclass(frozen=True, slots=True, eq=False)
class Shared(Generic[T]):
    """A value at hand, or the file that it is read from."""

    value: T | None
    file: str = ""

    def get(self) -> T:
        """Return the value.

        Raises
        ------
        StoreError
            If its file cannot be read here.
        """
        return _at_hand.get(self.file) if self.value is None else self.value


class _AtHand:
    """The values that were read last, each read once, whichever threads ask."""

    def __init__(self) -> None:
        self._found, self._lock = OrderedDict[str, Any](), Lock()

    def get(self, file: str) -> Any:  # noqa: ANN401
        with self._lock:
            if file not in self._found:
                self._found[file] = _read(file)
                while len(self._found) > _OPEN:
                    self._found.popitem(last=False)
            self._found.move_to_end(file)
            return self._found[file]


_at_hand = _AtHand()


def _read(file: str) -> Any:  # noqa: ANN401
    try:
        return decoded(Path(file).read_bytes())
    except (OSError, ValueError):
        what, rule = f"A worker cannot read {file!r}", "workers read their parts from shared storage"
        fix = "name a folder that this machine and all workers see (checkpoints=, --checkpoints, folder=)"
        raise StoreError(problem(what, rule=rule, fix=fix)) from None


class _Temporary:
    """A folder of this machine that goes with the object."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="growth-"))
        finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, eq=False)
class Crew:
    """Those who do the work."""

    workers: int
    """How many items are done at the same time."""
    folder: Path | None
    """Where what is finished is kept, and what is shared is written."""
    apart: bool
    """Whether workers are other processes: what one has read or computed is not at the others' hand."""
    _backend: Any
    _own: _Temporary | None = None

    @classmethod
    def of(cls, n_jobs: int | None, folder: Path | None = None) -> Crew:
        """Return the crew that joblib is set to, or threads.

        Parameters
        ----------
        n_jobs : int or None
            Items at the same time; -1 for as many as there are cores or workers, None for one, unless a
            ``joblib.parallel_config`` says otherwise.
        folder : Path, optional
            Seen by all workers. Without one, workers apart get a temporary one of this machine.

        Raises
        ------
        GrowthError
            If there is nobody at the cluster.
        """
        backend, _ = get_active_backend(prefer="threads")
        try:
            workers = int(joblib.effective_n_jobs(n_jobs))
        except TimeoutError:
            what = "The cluster has no workers"
            raise GrowthError(problem(what, fix="start some: dask worker ADDRESS --nthreads 1")) from None
        backend = _patient(backend, workers)
        # joblib does by itself what a backend has one worker for, unless that is elsewhere.
        others = workers > 1 or getattr(backend, "elsewhere", False)
        if n_jobs == 1 or not others or getattr(backend, "supports_sharedmem", False):
            return cls(workers, folder, False, "threading")
        own = _Temporary() if folder is None else None
        return cls(workers, own.folder if own else folder, True, backend, own)

    @classmethod
    def alone(cls) -> Crew:
        """Return a crew of this thread only."""
        return cls(1, None, False, "threading")

    def within(self, items: int) -> int:
        """Return how many threads each of so many items may use when they are done side by side."""
        return 1 if self.apart or items >= self.workers else self.workers

    def here(self) -> int:
        """Return how many threads of this process may be used."""
        return min(self.workers, int(joblib.cpu_count())) if self.apart else self.workers

    def together(self, items: int, most: int) -> int:
        """Return how many of so many items that have much in common make one, `most` at most.

        Each of the workers apart has to read and compute for itself what they have in common.
        """
        return max(1, min(most, -(-items // (2 * self.workers)))) if self.apart else 1

    def at_hand(self, value: T) -> T | None:
        """Return what only this process can use, None for workers elsewhere."""
        return None if self.apart else value

    def share(self, value: T) -> Shared[T]:
        """Return a value in a form that goes with items.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        if not self.apart or self.folder is None:
            return Shared(value)
        data = encoded(value)  # begins with its digest
        file = self.folder.resolve() / f"shared-{data[:40].decode()}"
        try:
            if not file.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                with whole_file(file) as aside:
                    aside.write_bytes(data)
        except OSError as error:
            what = f"What workers need cannot be written to {str(self.folder)!r}: {error.strerror}"
            raise StoreError(problem(what, fix="make room or choose another folder")) from None
        return Shared(None, str(file))

    def each(self, work: Callable[[T], R], items: Iterable[T], *, in_order: bool = False) -> Iterator[R]:
        """Do the work for each item; yield results as they come, or in the order of the items.

        Parameters
        ----------
        work : callable
            Of a module, not of a function, with whatever it holds small or shared.
        items : iterable
            Taken one by one as there is somebody to do them.
        in_order : bool
        """
        how = "generator" if in_order else "generator_unordered"
        if self.apart and not getattr(self._backend, "supports_return_generator", False):
            how = "list"
        alone = _Alone(work, code_digest() if self.apart else "")
        with threadpool_limits(limits=1, user_api="blas"):
            pool = joblib.Parallel(n_jobs=self.workers, backend=self._backend, return_as=how)
            yield from pool(joblib.delayed(alone)(item) for item in items)


@dataclass(frozen=True, slots=True, eq=False)
class _Alone(Generic[T, R]):
    """Work that uses one thread, wherever it is done."""

    work: Callable[[T], R]
    code: str
    """Digest of the source of whoever asks; empty within a process."""

    def __repr__(self) -> str:
        """Name the work in the logs of a cluster, and nothing of what it holds."""
        return type(self.work).__name__.strip("_")

    def __call__(self, item: T) -> R:
        if self.code and self.code != code_digest():
            what = "A worker has another version of growth, numpy, scipy or numba"
            raise GrowthError(problem(what, rule="one version per run", fix="install the same everywhere"))
        # Other processes keep the limit: with several threads, one's end would lift it for the others.
        limit = threadpool_limits(limits=1, user_api="blas")
        try:
            with joblib.parallel_config(backend="threading", n_jobs=1):
                return self.work(item)
        finally:
            if not self.code:
                limit.restore_original_limits()


@contextmanager
def on_cluster(scheduler: str | None) -> Iterator[None]:
    """Let crews made within be the workers of a Dask cluster; nothing changes without an address.

    Parameters
    ----------
    scheduler : str or None
        Address of the cluster's scheduler, ``tcp://host:8786``.

    Raises
    ------
    SpecError
        If dask.distributed is not installed, or no scheduler answers.
    """
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ModuleNotFoundError:
        what = "A scheduler needs dask.distributed"
        raise SpecError(problem(what, fix="pip install 'growth[dask]'")) from None
    try:
        client = Client(scheduler, set_as_default=False)
    except (OSError, TimeoutError, ValueError):
        what = f"No Dask scheduler answers at {scheduler!r}"
        raise SpecError(problem(what, fix="give the address that `dask scheduler` prints")) from None
    with client, joblib.parallel_config(backend="dask", client=client):
        yield


def _patient(backend: Any, workers: int) -> Any:  # noqa: ANN401
    """Return joblib's Dask backend with patience for lost workers; any other as it is.

    The scheduler gives an item up when several workers in a row died with it, and joblib then waits for it
    for ever. Where one worker is left, joblib would do all items itself, and where none is, give up after a
    while; others are being started.
    """
    if type(backend).__name__ != "DaskDistributedBackend":
        return backend
    from distributed.scheduler import KilledWorker
    from joblib._dask import DaskDistributedBackend

    class Patient(DaskDistributedBackend):  # type: ignore[misc]
        elsewhere = True

        def effective_n_jobs(self, n_jobs: int | None) -> int:
            now: dict[str, int] = self.client.ncores()
            return max(2, workers, sum(now.values()))

        async def _collect(self) -> None:
            """Hand results on, and submit again what was given up."""
            import asyncio

            again: dict[str, int] = {}
            while self._continue:
                async for future, result in self.waiting_futures:
                    error = result[1] if isinstance(result, tuple) else result
                    tries = again.get(future.key, 0)
                    if isinstance(error, KilledWorker) and tries < _RESUBMITTED:
                        again[future.key] = tries + 1
                        await self.client._retry([future])
                        self.waiting_futures.add(future)
                        continue
                    done, callback = self._results.pop(future), self._callbacks.pop(future)
                    if future.status == "finished":
                        done.set_result(result)
                        callback(result)
                    else:
                        done.set_exception(_given_up(error))
                        callback(_Lost(_given_up(error)))
                await asyncio.sleep(0.01)

        def retrieve_result_callback(self, out: Any) -> Any:  # noqa: ANN401
            if isinstance(out, _Lost):
                raise out.error
            return super().retrieve_result_callback(out)

    return Patient(
        client=backend.client,
        wait_for_workers_timeout=backend.wait_for_workers_timeout,
        **backend.submit_kwargs,
    )


@dataclass(frozen=True, slots=True)
class _Lost:
    """In the place of a result that never came."""

    error: GrowthError


def _given_up(error: object) -> GrowthError:
    what = f"The cluster has lost a piece of work again and again: {type(error).__name__}"
    fix = "see the workers' logs, give them more memory or the same packages, and run again with --resume"
    return GrowthError(problem(what, rule="what is finished is kept", fix=fix))
