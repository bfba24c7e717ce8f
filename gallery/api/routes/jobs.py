"""`/v1/dedupe` and `/v1/jobs`: long-running work with progress, which survives a restart.

A job's row stores ids only; names are looked up when the job is read. Identities that were erased,
merged or marked as different since then are left out.
"""

from __future__ import annotations

import contextlib
import time
from http import HTTPStatus
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Request, Response
from filelock import FileLock, Timeout

from gallery.api.problems import without_folders
from gallery.dedupe.mislabelled import mislabelled_reason
from gallery.errors import GalleryError
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Job
from gallery.json_forms.to_json import face_record_json, identity_json
from gallery.store import audit, corrections, faces, identities, jobs, merges
from gallery.store.jobs import JobState
from gallery.store.records import JobRecord

_KIND = "dedupe"
_PROGRESS_INTERVAL = 0.5  # seconds
_POLL_INTERVAL = 10.0  # seconds, for jobs that could not be read or were left by another process
JobId = Annotated[str, Path(max_length=32, pattern="^[0-9a-f]+$", description="The id of a job.")]


class _Stopped(Exception):
    """The job was cancelled, or the server is shutting down."""


class JobRunner:
    """Runs one job at a time, in a thread. Failures are reported to `log`."""

    def __init__(self, gallery: Gallery, log: Any) -> None:
        self._gallery = gallery
        self._log = log
        self._lock_file = gallery.settings.home / "jobs.lock"
        self._wake = anyio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Look for a new job now."""
        self._wake.set()

    def stop(self) -> None:
        """Stop the running job soon; it starts over with the next server."""
        self._is_stopping = True

    async def run(self) -> None:
        """Run jobs until cancelled, including those another process left unfinished."""
        while True:
            self._wake = anyio.Event()
            for job in await anyio.to_thread.run_sync(self._unfinished):
                await anyio.to_thread.run_sync(self._run_exclusively, job.id)
            with anyio.move_on_after(_POLL_INTERVAL):
                await self._wake.wait()

    def _unfinished(self) -> list[JobRecord]:
        try:
            with self._gallery.database.reading() as session:
                return jobs.unfinished(session)
        except GalleryError as error:
            self._log.error("jobs not read", error=str(error))
            return []

    def _run_exclusively(self, job_id: str) -> None:
        """Run a job unless another server process runs it; a process's lock ends with it."""
        lock = FileLock(self._lock_file, mode=0o600)
        while not self._is_stopping:
            try:
                with lock.acquire(timeout=_PROGRESS_INTERVAL):
                    if any(job.id == job_id for job in self._unfinished()):
                        self._run_job(job_id)
                    return
            except Timeout:
                continue
            except OSError as error:  # a read-only home
                self._log.error("job not run", job=job_id, error=type(error).__name__)
                return

    def _run_job(self, job_id: str) -> None:
        try:
            with self._gallery.database.writing() as session:
                is_begun = jobs.begin(session, job_id)
            if not is_begun:
                return
            report = self._gallery.dedupe(self._progress(job_id))
            result = {
                "identities": report.identities,
                "faces": report.faces,
                "same_people": [
                    [
                        [ref.id for ref in pair.identities],
                        pair.probability,
                        [face.id for face in pair.deciding],
                    ]
                    for pair in report.same_people
                ],
                "same_faces": [
                    [[face.id for face in pair.faces], pair.similarity]
                    for pair in report.same_faces
                ],
                "misfiled": [
                    [
                        wrong.face.id,
                        wrong.face.identity.id,
                        None if wrong.suggested is None else wrong.suggested.id,
                        wrong.probability,
                        wrong.nearest.id,
                    ]
                    for wrong in report.misfiled
                ],
            }
            total = report.faces + report.identities
            self._update(job_id, state=JobState.DONE, done=total, total=total, result=result)
        except _Stopped:
            self._interrupt(job_id)
        except Exception as error:
            is_known = isinstance(error, GalleryError)
            self._log.error("job failed", job=job_id, exc_info=None if is_known else error)
            message = (
                without_folders(str(error))
                if is_known
                else f"internal error ({type(error).__name__})"
            )
            try:
                self._update(job_id, state=JobState.FAILED, error=message[:500])
            except (GalleryError, _Stopped):
                self._interrupt(job_id)  # still unfinished: it runs again

    def _interrupt(self, job_id: str) -> None:
        """Let the next server start the job, if it was not cancelled."""
        with contextlib.suppress(GalleryError), self._gallery.database.writing() as session:
            jobs.interrupt(session, job_id)

    def _progress(self, job_id: str) -> Any:
        updated = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal updated
            if self._is_stopping:
                raise _Stopped
            if time.monotonic() - updated >= _PROGRESS_INTERVAL:
                updated = time.monotonic()
                self._update(job_id, done=done, total=total)

        return progress

    def _update(self, job_id: str, **values: Any) -> None:
        """Raises _Stopped if the job was cancelled."""
        with self._gallery.database.writing() as session:
            if not jobs.change(session, job_id, **values):
                raise _Stopped


def routes(gallery: Gallery, runner: JobRunner) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["jobs"], responses=PROBLEMS)

    @router.post(
        "/dedupe",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Job,
        summary="Start looking for duplicates",
    )
    async def dedupe(request: Request, response: Response) -> dict[str, Any]:
        """Start a job that finds identities of the same person, duplicate and mislabelled faces.

        Poll `GET /v1/jobs/{job}` for its progress and result. Only one such job runs at a time: if
        one is running already, it is returned.
        """

        def start() -> JobRecord:
            with gallery.database.writing() as session:
                running = [job for job in jobs.unfinished(session) if job.kind == _KIND]
                if running:
                    return running[0]
                audit.record(session, "dedupe")
                return jobs.add(session, _KIND)

        pool = request.app.state.database_pool
        job: JobRecord = await pool.run(request, start)
        runner.wake()
        response.headers["location"] = f"{request.scope['root_path']}/v1/jobs/{job.id}"
        answer: dict[str, Any] = await pool.run(request, lambda: _job_json(gallery, job))
        return answer

    @router.get("/jobs/{job}", response_model=Job, summary="Get a job")
    async def show_job(request: Request, job: JobId) -> dict[str, Any]:
        """Return the progress of a job, and its result once it is done."""

        def read() -> dict[str, Any]:
            with gallery.database.reading() as session:
                return _job_json(gallery, jobs.get(session, job))

        answer: dict[str, Any] = await request.app.state.database_pool.run(request, read)
        return answer

    @router.post("/jobs/{job}/cancel", response_model=Job, summary="Cancel a job")
    async def cancel_job(request: Request, job: JobId) -> dict[str, Any]:
        """Cancel a job. A job that has ended stays as it is."""

        def cancel() -> dict[str, Any]:
            with gallery.database.writing() as session:
                jobs.get(session, job)
                jobs.change(session, job, state=JobState.CANCELLED)
                return _job_json(gallery, jobs.get(session, job))

        answer: dict[str, Any] = await request.app.state.database_pool.run(request, cancel)
        return answer

    return router


def _job_json(gallery: Gallery, job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "result": None if job.result is None else _result_json(gallery, job.result),
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
    }


def _result_json(gallery: Gallery, result: dict[str, Any]) -> dict[str, Any]:
    """Return the stored result with present names, without findings that no longer hold."""
    face_ids = {i for _, _, pair in result["same_people"] for i in pair}
    face_ids |= {i for pair, _ in result["same_faces"] for i in pair}
    misfiled = result.get("misfiled", [])  # absent in jobs of earlier versions
    face_ids |= {i for face, _, _, _, nearest in misfiled for i in (face, nearest)}
    with gallery.database.reading() as session:
        identity_records = {record.id: record for record in identities.list_all(session)}
        face_records = faces.records_by_id(session, face_ids)
        distinct, confirmed = merges.distinct_pairs(session), corrections.confirmed_faces(session)
    return {
        "identities": result["identities"],
        "faces": result["faces"],
        "same_people": [
            {
                "identities": [identity_json(identity_records[i]) for i in pair],
                "probability": round(probability, 6),
                "deciding": [face_record_json(face_records[i]) for i in deciding],
            }
            for pair, probability, deciding in result["same_people"]
            if tuple(sorted(pair)) not in distinct
            and identity_records.keys() >= set(pair)
            and [face_records[i].identity.id for i in deciding if i in face_records] == pair
        ],
        "same_faces": [
            {
                "faces": [face_record_json(face_records[i]) for i in pair],
                "similarity": round(similarity, 6),
            }
            for pair, similarity in result["same_faces"]
            if face_records.keys() >= set(pair)
        ],
        "misfiled": [
            {
                "face": face_record_json(face_records[face]),
                "suggested": None
                if suggested is None
                else identity_json(identity_records[suggested]),
                "probability": round(probability, 6),
                "nearest": face_record_json(face_records[nearest]),
                "why": mislabelled_reason(suggested is not None, identity_records[owner].name),
            }
            for face, owner, suggested, probability, nearest in misfiled
            if face_records.keys() >= {face, nearest}
            and (face, owner) not in confirmed
            and face_records[face].identity.id == owner
            and (suggested is None or face_records[nearest].identity.id == suggested)
        ],
    }
