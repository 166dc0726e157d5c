"""What `make demo` shows: a class-model job and a saliency job over HTTP, as any client would run them."""

from pathlib import Path

from shared.cli.terminal import watch_with_bar
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import ClassModel, Saliency

PICTURES = Path(__file__).parent / "pictures"
TARGETS: list[int | str] = ["lemon", "strawberry", "ladybird", "daisy", "bee", "sailing boat"]


def show(url: str, folder: Path, key: str | None = None) -> None:
    """Runs both jobs against a running service, and saves and names what came out.

    Raises:
        RuntimeError: A job did not succeed.
    """
    with Client(url, key=key) as client:
        print(f"The service runs at {url}. Asking it what its built-in network `shapes` has learned.", flush=True)
        images = [client.upload(path.read_bytes(), path.name).id for path in sorted(PICTURES.glob("*.png"))]
        dreams = client.submit(ClassModel(method="class_model", model="shapes", targets=TARGETS, tags=["demo"]))
        maps = client.submit(Saliency(method="saliency", model="shapes", images=images, tags=["demo"]))
        for job, label in ((dreams, "class models"), (maps, "saliency    ")):
            ended = watch_with_bar(client.watch(job.id, timeout=240), label)
            _keep(client, ended, folder / ended.method)
    print(FAREWELL.format(folder=folder, job=dreams.id))


def _keep(client: Client, job: Job, folder: Path) -> None:
    if job.state is not State.SUCCEEDED:
        raise RuntimeError(f"job {job.id} {job.state}: {job.error.detail if job.error else 'no reason given'}")
    client.save(client.job(job.id), folder)


FAREWELL = """
Look at these first:
  {folder}/class_model/contact-sheet.png   what the network likes best to see, class by class
  {folder}/saliency/contact-sheet.png      what it looks at in pictures

Next:
  make serve                               the service, until Ctrl-C; its page is http://127.0.0.1:8080
                                           in another terminal:
  .venv/bin/archetype submit class-model --model shapes --targets all --wait
  .venv/bin/archetype jobs show {job}
  http://127.0.0.1:8080/docs               every call of the API, to try in the browser
"""
