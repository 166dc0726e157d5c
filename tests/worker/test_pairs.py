"""Pairs come in full batches, and only a batch of them is ever held."""

import io
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from shared.catalogue import load_catalogue
from shared.methods import Saliency
from shared.parameters.saliency import SaliencyParameters
from shared.parameters.subjects import Archive, Picture, Top
from shared.pictures import decode_picture
from worker.methods import saliency
from worker.networks import Loader, Networks
from worker.pairs import Pairs
from worker.pool import Want
from worker.preprocess import Levels
from worker.sources import Entry
from worker.task import Task
from worker.view import open_view

CPU = torch.device("cpu")


def photograph(number: int, side: int = 600) -> bytes:
    levels = np.random.default_rng(number).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).resize((side, side)).save(buffer, "JPEG")
    return buffer.getvalue()


def read(data: bytes) -> Levels:
    return decode_picture(data, max_pixels=10**9)[0]


def make_task(networks: Any, entries: list[Entry], batch: int, **options: Any) -> Task[Saliency]:
    release = load_catalogue(None).find("shapes")
    classifier, _ = networks
    request = Saliency(method="saliency", model="shapes", images=Archive(archive="0" * 64), **options)
    return Task(
        request=request, release=release, targets=None, classifier=classifier, climber=classifier, batch=batch,
        judges=(), load_picture=read, decode=read, load_original=lambda: classifier.network, save=lambda *_, **__: None,
        entries=entries,
    )  # fmt: skip


def read_resident() -> float:
    """Megabytes of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_a_thousand_pictures_take_no_more_memory_than_a_hundred() -> None:
    data = photograph(0)
    # What follows the end of a JPEG is ignored: a thousand files, and as many digests, from one picture.
    entries = [Entry(f"{number}.jpg", None, lambda number=number: data + b"%d" % number) for number in range(1000)]
    with Networks(Loader(), device=CPU).open(load_catalogue(None).find("shapes")) as opened:
        task = make_task(opened, entries, 16, params=SaliencyParameters(outputs=[]))
        resident: dict[int, float] = {}
        run, answer = saliency.run(task), None
        with suppress(StopIteration):
            while True:
                said = run.send(answer)
                answer = said.pool.compute([said.what])[0] if isinstance(said, Want) else None
                resident |= {} if isinstance(said, Want) else {said.done: read_resident()}
    assert max(resident) == 1000
    early = max(size for done, size in resident.items() if 96 <= done <= 200)
    late = max(size for done, size in resident.items() if done > 800)
    assert late < early + 30  # the pictures alone would be a gigabyte


def test_batches_are_full_whatever_number_of_targets_pictures_have() -> None:
    data = photograph(1, 80)
    known = [Picture(id=f"{number:064x}", targets=[0] * 1 + list(range(1, 1 + number))) for number in range(5)]
    entries = [Entry(picture.id, picture, lambda: data) for picture in known]
    with Networks(Loader(), device=CPU).open(load_catalogue(None).find("shapes")) as opened:
        pairs = Pairs(
            make_task(opened, entries, 4, targets=Top(top=2)),
            partial(open_view, preprocessing=load_catalogue(None).find("shapes").preprocessing),
        )
        sizes = [len(batch) for batch in pairs.read()]
    assert sizes == [4, 4, 4, 3]
    assert pairs.count() == sum(sizes) == 15
