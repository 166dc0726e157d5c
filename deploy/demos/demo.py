"""The demo of `make demo`: a class visualization (class model) and saliency maps, requested over HTTP."""

from pathlib import Path

from archetype.cli.console import watch_with_bar
from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.request import ClassModel, Saliency
from deploy.demos.demo_network import MODEL, find_photographs

IMAGES = Path(__file__).parents[1] / "pictures"
TARGETS: list[int | str] = ["lemon", "strawberry", "ladybird", "daisy", "bee", "sailing boat"]
IMAGENET_TARGETS: list[int | str] = ["lemon", "zebra", "flamingo"]


def show(url: str, folder: Path, key: str | None = None, *, knows_photographs: bool = False) -> None:
    """Runs the jobs on a running service, saves their results and prints where they are.

    Args:
        url: The URL of the service.
        folder: Where the results are saved.
        key: The API key.
        knows_photographs: Whether the service has a network that knows photographs, which is used as well.

    Raises:
        RuntimeError: A job did not succeed.
    """
    with Client(url, key=key) as client:
        print(f"The service runs at {url}. Running two jobs on its built-in network, shapes.", flush=True)
        images = [client.upload(path.read_bytes(), path.name).id for path in sorted(IMAGES.glob("*.png"))]
        visualization = client.submit(ClassModel(method="class_model", model="shapes", targets=TARGETS, tags=["demo"]))
        maps = client.submit(Saliency(method="saliency", model="shapes", images=images, tags=["demo"]))
        for job, label in ((visualization, "class model"), (maps, "saliency   ")):
            ended = watch_with_bar(client.watch(job.id, timeout=240), label)
            _save(client, ended, folder / ended.method)
        if knows_photographs:
            _show_photographs(client, folder)
    print(NEXT_STEPS.format(folder=folder, job=visualization.id))


def _show_photographs(client: Client, folder: Path) -> None:
    """Draws classes of the ImageNet network, and explains its predictions for photographs if there are any."""
    request = ClassModel(method="class_model", model=MODEL, targets=IMAGENET_TARGETS, tags=["demo"])
    ended = watch_with_bar(client.watch(client.submit(request).id, timeout=600), "imagenet   ")
    _save(client, ended, folder / "imagenet")
    photographs = [client.upload(path.read_bytes(), path.name).id for path in find_photographs()]
    if photographs:
        maps = client.submit(Saliency(method="saliency", model=MODEL, images=photographs, tags=["demo"]))
        ended = watch_with_bar(client.watch(maps.id, timeout=600), "photographs")
        _save(client, ended, folder / "photographs")


def _save(client: Client, job: Job, folder: Path) -> None:
    if job.state is not State.SUCCEEDED:
        raise RuntimeError(f"job {job.id} {job.state}: {job.error.detail if job.error else 'no reason given'}")
    client.save(client.job(job.id), folder)


NEXT_STEPS = """
Results:
  {folder}/class_model/contact-sheet.png   images that maximize the score of each class
  {folder}/saliency/contact-sheet.png      the pixels that the predicted class depends on

Next steps:
  make serve                               run the service until Ctrl-C; web page: http://127.0.0.1:8080
                                           then, in another terminal:
  .venv/bin/archetype submit class-model --model shapes --targets all --wait
  .venv/bin/archetype jobs show {job}
  http://127.0.0.1:8080/docs               API documentation; you can send requests from it
"""
