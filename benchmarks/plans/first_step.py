"""Measures how long a job waits for its first step, with a network that no worker has loaded, and with a loaded one.

python -m benchmarks.plans.first_step squeezenet
"""

import argparse
import tempfile
import time
from pathlib import Path

from archetype import Client, Job
from benchmarks.service import find_models, make_request
from deploy.local import run_stack
from shared.settings import Settings

STEPS = 64


def wait_for_step(client: Client, model: str) -> tuple[float, str]:
    """Submits a class visualization; returns the seconds from the answer to its first step, and its plan."""
    job = client.submit(make_request(model, [0], STEPS))
    started = time.perf_counter()
    while not has_stepped(seen := client.job(job.id)):
        if time.perf_counter() > started + 300:
            raise RuntimeError(f"no step within 300 s: {seen.progress}")
        time.sleep(0.01)
    seconds = time.perf_counter() - started
    plan = (client.wait(job.id, timeout=300).provenance or {})["plan"]
    return seconds, f"{plan['precision']}, batch {plan['batch']}, {'measured' if plan['milliseconds'] else 'first'}"


def has_stepped(job: Job) -> bool:
    """Whether a job has made a step or has ended."""
    progress = job.progress
    return job.state.terminal or (progress is not None and progress.unit == "step" and progress.done > 0)


def main() -> None:
    """Prints a row for each job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model of the catalogue")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        run_stack(Path(folder), Settings(catalogue=find_models()), workers=1) as stack,
        Client(stack.url, timeout=120) as client,
    ):
        client.wait(client.submit(make_request("shapes", [0], 2)).id, timeout=120)  # the worker is ready
        print("| job | s to the first step | plan |\n|---|--:|---|")
        for name in ("first", "second"):
            seconds, plan = wait_for_step(client, options.model)
            print(f"| {name} | {seconds:.2f} | {plan} |")


if __name__ == "__main__":
    main()
