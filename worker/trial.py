"""The trial of a release that was registered: it is loaded once, and accepted or refused with a reason."""

import structlog

from shared.catalogue import Release
from shared.errors import Problem, RefusedRelease, Unavailable
from shared.registration import Registration, RegistrationState
from worker.attempt import Bench
from worker.networks import describe_network

MOST_ATTEMPTS = 3

log = structlog.get_logger()


def try_registered(bench: Bench, name: str, release: str) -> None:
    """Loads a release, describes it and writes down what became of it; once that is said, it is never said again."""
    try:
        registration = bench.storage.load_registration(name, release)
        if registration is None or registration.state is not RegistrationState.TRYING:
            return
        registration = registration.model_copy(update={"attempt": registration.attempt + 1})
        bench.storage.save_registration(registration)
        decided = decide(bench, registration)
        now = bench.storage.load_registration(name, release)
        if now is None or now.state is not RegistrationState.TRYING or now.entry != registration.entry:
            return  # another worker was faster, and what it decided holds
        bench.storage.save_registration(decided)
        log.info("release.decided", model=decided.entry.reference, state=decided.state)
    except Unavailable as problem:
        log.warning("release.interrupted", error=problem.detail)  # the sweep sends it again


def decide(bench: Bench, registration: Registration) -> Registration:
    """The registration as it ends."""
    try:
        if registration.attempt > MOST_ATTEMPTS:
            raise RefusedRelease(
                "three workers fell silent while they loaded it; it may need more memory than they have"
            )
        entry = try_entry(bench, registration.entry)
    except Unavailable:
        raise
    except Problem as problem:
        refusal = RefusedRelease(problem.detail, *problem.errors)
        return registration.model_copy(update={"state": RegistrationState.REFUSED, "error": refusal.document})
    return registration.model_copy(update={"state": RegistrationState.ACCEPTED, "entry": entry})


def try_entry(bench: Bench, release: Release) -> Release:
    """Loads a release and describes it; returns it with the digest of its weights, which from now on is the one.

    Raises:
        Problem: It cannot be loaded, or is not what it says.
    """
    loaded = bench.networks.loader.load(release, bench.device)
    description = describe_network(loaded, release, bench.device)
    bench.storage.save_description(release.name, release.release, description)
    has_file = release.key is not None or release.published
    return release.model_copy(update={"sha256": loaded.sha256}) if has_file else release
