"""The trial of a release that was registered: it is loaded once, and accepted or refused with a reason."""

import time
from collections.abc import Callable

import structlog

from shared.errors import Problem, RefusedRelease, Unavailable
from shared.registration import Registration, RegistrationState
from worker.attempt import Bench
from worker.downloads import Report

MOST_ATTEMPTS = 3
SILENT_SECONDS = 120
"""A trial that says nothing for longer is over: to load a network takes less, once its weights are here."""

log = structlog.get_logger()


def try_registered(bench: Bench, name: str, release: str) -> None:
    """Loads a release and writes down what became of it; once that is said, it is never said again."""
    what = f"trial:{name}@{release}"
    try:
        with bench.records.alone(what, SILENT_SECONDS) as alone:
            registration = bench.storage.load_registration(name, release) if alone else None
            if registration is None or registration.state is not RegistrationState.TRYING:
                return
            registration = registration.model_copy(update={"attempt": registration.attempt + 1})
            bench.storage.save_registration(registration)
            decided = decide(bench, registration, keep(lambda: bench.records.keep_alone(what, SILENT_SECONDS)))
            bench.storage.save_registration(decided)
            log.info("release.decided", model=decided.entry.reference, state=decided.state)
    except Unavailable as problem:
        log.warning("release.interrupted", error=problem.detail)  # the sweep sends it again


def keep(renew: Callable[[], None], every: float = 5.0) -> Report:
    """Renews the trial now and then while weights are fetched."""
    renewed = time.monotonic()

    def report(_done: int, _total: int) -> None:
        nonlocal renewed
        if time.monotonic() - renewed > every:
            renew()
            renewed = time.monotonic()

    return report


def decide(bench: Bench, registration: Registration, report: Report) -> Registration:
    """The registration as it ends, with the digest of its weights, which from now on is the one."""
    release = registration.entry
    try:
        if registration.attempt > MOST_ATTEMPTS:
            raise RefusedRelease(
                "three workers fell silent while they loaded it; it may need more memory than there is"
            )
        description = bench.networks.load_apart(release, report).description
        bench.storage.save_description(release.name, release.release, description)
    except Unavailable:
        raise
    except Problem as problem:
        return refuse(registration, RefusedRelease(problem.detail, *problem.errors))
    except Exception as error:  # a network is anybody's code
        log.exception("release.failed", model=release.reference)
        return refuse(registration, RefusedRelease(f"it cannot be loaded: {type(error).__name__}: {error}"))
    has_file = release.key is not None or release.published
    entry = release.model_copy(update={"sha256": description.sha256}) if has_file else release
    return registration.model_copy(update={"state": RegistrationState.ACCEPTED, "entry": entry})


def refuse(registration: Registration, problem: RefusedRelease) -> Registration:
    return registration.model_copy(update={"state": RegistrationState.REFUSED, "error": problem.document})
