"""`evald eval`: one bundle, here and now."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from daemon.cli import outcome, screen
from daemon.cli.complete import files
from daemon.cli.judging import interrupted_by_any_end, mend_umask, warn_of_weakness
from daemon.cli.options import json_option, settings_options
from daemon.errors import BundleError, OperatorError

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.cli.bundles import ReadBundle
    from daemon.config import Settings
    from daemon.evaluation import Evaluation
    from daemon.layers import LoadedSettings
    from daemon.result_document import Subject

_PAUSE_S = 0.1


@click.command("eval")
@settings_options("metrics", "isolation", "device", "gpus", "log_level", "backend_paths")
@json_option
@click.argument("path", shell_complete=files)
def command(*, loaded: LoadedSettings, as_json: bool, path: str) -> int:
    """Judge the bundle at PATH here and now: no inbox, no database, nothing is left behind.

    PATH is a folder with a contract.json, an archive of one, a .json file, or - for such a file on stdin. With --json
    the result document is printed, the same as in result.json. Exit code 0: passed. 1: judged and not passed. 2: could
    not be judged, also for want of a device that the bundle requires.
    """
    from daemon import log, result_document
    from daemon.cli import bundles, report
    from daemon.evaluation import Evaluation
    from daemon.executor.host import scratch

    log.setup(loaded.settings.log_level if loaded.sources["log_level"] != "default" else "warning")
    mend_umask()
    warn_of_weakness(loaded.settings)
    place = bundles.existing(path)
    with scratch.folder("bundle") as folder:
        try:
            bundle = bundles.read(place, folder, loaded.settings)
        except BundleError as error:
            evaluation, subject = Evaluation.rejected(error.message), _subject(bundles.dropped_name(place), None)
        else:
            subject = _subject(bundle.name, bundle)
            evaluation = _judge(bundle, subject.job_id, _settings_for(loaded.settings, folder), as_json=as_json)
    document = result_document.compose(subject, evaluation, datetime.now(UTC))
    if as_json:
        screen.document(document)
    else:
        report.show(document)
    return outcome.exit_code([evaluation.verdict])


def _subject(name: str, bundle: ReadBundle | None) -> Subject:
    from daemon.intake.names import make_job_id
    from daemon.result_document import Subject

    if bundle is None:
        return Subject(make_job_id(), name)
    request = bundle.parsed.request
    return Subject(
        job_id=make_job_id(),
        name=name,
        problem=request.problem,
        labels=request.labels,
        source_sha256=bundle.parsed.source_sha256,
        contract_sha256=bundle.parsed.contract_sha256,
    )


def _settings_for(settings: Settings, folder: Path) -> Settings:
    """The settings for one job.

    - no control: there is nothing to warm up
    - no builder: there is no other job to compile ahead of
    - a state folder that is gone afterwards, where there is no cache that we may write
    """
    settings = settings.model_copy(update={"control_interval_s": 0.0, "ahead": 0})
    cache = settings.paths.cache
    # Not is_dir(), which raises where the state folder is closed to us.
    if os.access(cache, os.W_OK | os.X_OK, effective_ids=True):
        return settings
    return settings.model_copy(update={"state": folder / "state", "slots": 1})


def _judge(bundle: ReadBundle, job_id: str, settings: Settings, *, as_json: bool) -> Evaluation:
    """Judge in a thread of its own, so that an interrupt never hits the engine halfway through starting a process.

    Raises `OperatorError` when no device of this host can serve the bundle.
    """
    from daemon.cli.live import spinner
    from daemon.engine import JobSpec
    from daemon.executor.local import LocalEngine

    engine = LocalEngine(settings)
    if (reason := engine.refusal(bundle.parsed.request.requires)) is not None:
        raise OperatorError(
            f"{bundle.name} cannot be judged here: {reason}",
            hint="evald doctor names the devices of this host; evald submit leaves the bundle for a host that has one",
        )

    def work() -> Evaluation:
        with spinner(bundle.name, as_json=as_json) as on_progress:
            engine.start()
            return engine.evaluate(JobSpec(job_id, bundle.name, bundle.dir), on_progress)

    with interrupted_by_any_end(), ThreadPoolExecutor(1) as pool:
        judging: Future[Evaluation] | None = None
        try:
            judging = pool.submit(work)
            while not judging.done():  # a signal right before a wait is handled only when the wait ends
                wait([judging], _PAUSE_S)
            return judging.result()
        finally:  # also after an interrupt at the start: the work ends soon once the engine is closed
            engine.close()
            while judging is not None and not judging.done():  # it may just be starting another judge
                wait([judging], _PAUSE_S)
                engine.close()
