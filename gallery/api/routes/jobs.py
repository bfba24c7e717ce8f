"""`/v1/dedupe` and `/v1/jobs`: long work, with progress, to be cancelled, surviving a restart.

A job's row keeps numbers alone; names are put to them when it is asked for. Whoever was erased,
merged or told apart meanwhile is not in the answer any more.
"""

from __future__ import annotations

import time
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Request, Response
from filelock import FileLock, Timeout

from gallery.dedupe.mislabelled import said
from gallery.errors import GalleryError
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Job
from gallery.json_forms.to_json import face_record_json, identity_json
from gallery.store import audit, corrections, faces, identities, jobs, merges
from gallery.store.jobs import JobState
from gallery.store.records import JobRecord

_KIND = "dedupe"
_EVERY = 0.5  # seconds between two notes of progress
_AGAIN = 10.0  # seconds until what could not be read, or was left by another process, is looked for
JobId = Annotated[str, Path(max_length=32, pattern="^[0-9a-f]+$", description="A job's id.")]


class _Ended(Exception):
    """The job was cancelled, or the server stops."""


class JobRunner:
    """One job at a time, in a thread. log : told of what no one was told."""

    def __init__(self, gallery: Gallery, log: Any) -> None:
        self._gallery = gallery
        self._log = log
        self._lock_file = gallery.settings.home / "jobs.lock"
        self._wake = anyio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def stop(self) -> None:
        """End what is running soon; it is done again from the start at the next one."""
        self._stopping = True

    async def keep_running(self) -> None:
        """Until it is cancelled; what another process left begins again."""
        while True:
            self._wake = anyio.Event()
            for job in await anyio.to_thread.run_sync(self._unended):
                await anyio.to_thread.run_sync(self._run_alone, job.id)
            with anyio.move_on_after(_AGAIN):
                await self._wake.wait()

    def _unended(self) -> list[JobRecord]:
        try:
            with self._gallery.database.reading() as session:
                return jobs.unended(session)
        except GalleryError as error:
            self._log.error("jobs not read", error=str(error))
            return []

    def _run_alone(self, job_id: str) -> None:
        """Not while a server of another process runs it; its lock is gone with the process."""
        lock = FileLock(self._lock_file, mode=0o600)
        while not self._stopping:
            with suppress(Timeout), lock.acquire(timeout=_EVERY):
                if any(job.id == job_id for job in self._unended()):
                    self._run(job_id)
                return

    def _run(self, job_id: str) -> None:
        try:
            self._change(job_id, state=JobState.RUNNING, done=0)
            report = self._gallery.dedupe(self._progress_of(job_id))
            result = {
                "identities": report.identities,
                "faces": report.faces,
                "same_people": [
                    [[ref.id for ref in s.identities], s.probability, [f.id for f in s.deciding]]
                    for s in report.same_people
                ],
                "same_faces": [[[f.id for f in s.faces], s.similarity] for s in report.same_faces],
                "misfiled": [
                    [
                        w.face.id,
                        w.face.identity.id,
                        None if w.suggested is None else w.suggested.id,
                        w.probability,
                        w.nearest.id,
                    ]
                    for w in report.misfiled
                ],
            }
            whole = report.faces + report.identities
            self._change(job_id, state=JobState.DONE, done=whole, total=whole, result=result)
        except _Ended:
            return
        except Exception as error:
            known = isinstance(error, GalleryError)
            self._log.error("job failed", job=job_id, exc_info=None if known else error)
            said = str(error) if known else f"a mistake in the program: {type(error).__name__}"
            try:
                self._change(job_id, state=JobState.FAILED, error=said[:500])
            except (GalleryError, _Ended):
                return  # it stays as it was, and is run again at the next start

    def _progress_of(self, job_id: str) -> Any:
        noted = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal noted
            if self._stopping:
                raise _Ended
            if time.monotonic() - noted >= _EVERY:
                noted = time.monotonic()
                self._change(job_id, done=done, total=total)

        return progress

    def _change(self, job_id: str, **values: Any) -> None:
        with self._gallery.database.writing() as session:
            if not jobs.change(session, job_id, **values):
                raise _Ended


def routes(gallery: Gallery, runner: JobRunner) -> APIRouter:
    """The routes of long work."""
    router = APIRouter(prefix="/v1", tags=["jobs"], responses=PROBLEMS)

    @router.post("/dedupe", status_code=HTTPStatus.ACCEPTED, response_model=Job)
    async def dedupe(request: Request, response: Response) -> dict[str, Any]:
        """Find who is enrolled twice: identities that seem to be one person, faces enrolled twice.

        Answers at once with a job; ask `GET /v1/jobs/{id}` how it goes. One at a time: while one
        runs, that one is the answer.
        """

        def begin() -> JobRecord:
            with gallery.database.writing() as session:
                running = [job for job in jobs.unended(session) if job.kind == _KIND]
                if running:
                    return running[0]
                audit.record(session, "dedupe")
                return jobs.add(session, _KIND)

        job: JobRecord = await request.app.state.rows.do(request, begin)
        runner.wake()
        response.headers["location"] = f"/v1/jobs/{job.id}"
        shown: dict[str, Any] = await request.app.state.rows.do(
            request, lambda: _shown(gallery, job)
        )
        return shown

    @router.get("/jobs/{job}", response_model=Job)
    async def show_job(request: Request, job: JobId) -> dict[str, Any]:
        """How far a job is, and what it found."""

        def read() -> dict[str, Any]:
            with gallery.database.reading() as session:
                return _shown(gallery, jobs.get(session, job))

        found: dict[str, Any] = await request.app.state.rows.do(request, read)
        return found

    @router.post("/jobs/{job}/cancel", response_model=Job)
    async def cancel_job(request: Request, job: JobId) -> dict[str, Any]:
        """Cancel a job; one that has ended stays as it is."""

        def cancel() -> dict[str, Any]:
            with gallery.database.writing() as session:
                jobs.get(session, job)
                jobs.change(session, job, state=JobState.CANCELLED)
                return _shown(gallery, jobs.get(session, job))

        found: dict[str, Any] = await request.app.state.rows.do(request, cancel)
        return found

    return router


def _shown(gallery: Gallery, job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "result": None if job.result is None else _named(gallery, job.result),
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
    }


def _named(gallery: Gallery, result: dict[str, Any]) -> dict[str, Any]:
    """The result with the names of today."""
    face_ids = {i for _, _, pair in result["same_people"] for i in pair}
    face_ids |= {i for pair, _ in result["same_faces"] for i in pair}
    wrong = result.get("misfiled", [])  # jobs of an earlier version have none
    face_ids |= {i for face, _, _, _, nearest in wrong for i in (face, nearest)}
    with gallery.database.reading() as session:
        people = {record.id: record for record in identities.list_all(session)}
        records = faces.records_by_id(session, face_ids)
        distinct, right = merges.all_distinct(session), corrections.known_right(session)
    return {
        "identities": result["identities"],
        "faces": result["faces"],
        "same_people": [
            {
                "identities": [identity_json(people[i]) for i in pair],
                "probability": round(probability, 6),
                "deciding": [face_record_json(records[i]) for i in deciding],
            }
            for pair, probability, deciding in result["same_people"]
            if tuple(sorted(pair)) not in distinct
            and people.keys() >= set(pair)
            and [records[i].identity.id for i in deciding if i in records] == pair
        ],
        "same_faces": [
            {
                "faces": [face_record_json(records[i]) for i in pair],
                "similarity": round(similarity, 6),
            }
            for pair, similarity in result["same_faces"]
            if records.keys() >= set(pair)
        ],
        "misfiled": [
            {
                "face": face_record_json(records[face]),
                "suggested": None if suggested is None else identity_json(people[suggested]),
                "probability": round(probability, 6),
                "nearest": face_record_json(records[nearest]),
                "why": said(suggested is not None, people[owner].name),
            }
            for face, owner, suggested, probability, nearest in wrong
            if records.keys() >= {face, nearest}
            and (face, owner) not in right
            and records[face].identity.id == owner
            and (suggested is None or records[nearest].identity.id == suggested)
        ],
    }
