"""Pairs are read in full batches, and only one batch is in memory at a time."""

import io
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from archetype.contract.job import Progress
from archetype.contract.parameters.inputs import Archive, ImageInput, Top
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import Saliency
from shared.catalogue.catalogue import load_catalogue
from shared.media.image import decode_image
from shared.queue.sharding import ImageRange
from worker.inputs.pairs import PairReader, Pairs, ScoreExecutor
from worker.inputs.preprocess import Levels
from worker.inputs.sources import InputImage
from worker.inputs.view import open_view
from worker.job.cobatch import BatchRequest, run_alone
from worker.job.context import ImageAccess, JobContext, ShardPlace
from worker.methods import saliency
from worker.models.loader import Loader, ModelCache

CPU = torch.device("cpu")


def photograph(number: int, side: int = 600) -> bytes:
    levels = np.random.default_rng(number).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).resize((side, side)).save(buffer, "JPEG")
    return buffer.getvalue()


def read(data: bytes) -> Levels:
    return decode_image(data, max_pixels=10**9)[0]


def make_context(networks: Any, entries: list[InputImage], batch: int, **options: Any) -> JobContext[Saliency]:
    release = load_catalogue(None).find("shapes")
    classifier, _ = networks
    request = Saliency(method="saliency", model="shapes", images=Archive(archive="0" * 64), **options)
    return JobContext(
        request=request,
        release=release,
        targets=None,
        classifier=classifier,
        fast_classifier=classifier,
        batch=batch,
        images=ImageAccess(entries, decode=read),
        load_original=lambda: classifier.network,
        save=lambda *_, **__: None,
    )


def read_resident() -> float:
    """Returns the megabytes of memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_four_hundred_images_take_no_more_memory_than_forty() -> None:
    data = photograph(0)
    # Bytes after the end of a JPEG are ignored: one image gives many files with different digests.
    entries = [InputImage(f"{number}.jpg", None, lambda number=number: data + b"%d" % number) for number in range(400)]
    with ModelCache(Loader(), device=CPU).open(load_catalogue(None).find("shapes")) as opened:
        context = make_context(opened, entries, 16, params=SaliencyParameters(outputs=[]))
        resident: dict[int, float] = {}
        run, result = saliency.run(context), None
        with suppress(StopIteration):
            while True:
                event = run.send(result)
                result = event.executor.compute([event.payload])[0] if isinstance(event, BatchRequest) else None
                progress = event if isinstance(event, Progress) else event.progress
                resident |= {} if isinstance(event, BatchRequest) else {progress.done: read_resident()}
    assert max(resident) == 400
    early = max(size for done, size in resident.items() if 40 <= done <= 100)
    late = max(size for done, size in resident.items() if done > 320)
    assert late < early + 30  # all images together would be 400 megabytes


def test_batches_are_full_whatever_number_of_targets_images_have() -> None:
    data = photograph(1, 80)
    images = [ImageInput(id=f"{number:064x}", targets=list(range(1 + number))) for number in range(5)]
    entries = [InputImage(image.id, image, lambda: data) for image in images]
    with ModelCache(Loader(), device=CPU).open(load_catalogue(None).find("shapes")) as opened:
        pairs = Pairs(
            make_context(opened, entries, 4, targets=Top(top=2)),
            partial(open_view, preprocessing=load_catalogue(None).find("shapes").preprocessing),
        )
        sizes = [len(batch) for batch in pairs.read()]
    assert sizes == [4, 4, 4, 3]
    assert pairs.count() == sum(sizes) == 15


def test_a_shard_has_its_part_of_the_targets_of_its_first_and_last_image() -> None:
    data = photograph(1, 80)
    entries = [InputImage(f"{number}.jpg", None, lambda n=number: data + b"%d" % n) for number in range(4)]
    with ModelCache(Loader(), device=CPU).open(load_catalogue(None).find("shapes")) as opened:
        context = make_context(opened, entries, 4, targets=Top(top=5))
        whole = read_all(context)
        place = ShardPlace(1, 3, ImageRange(10, 14, first=3, last=2))
        part = read_all(replace(context, place=place))
        one = read_all(replace(context, images=ImageAccess(entries[:1], decode=read), place=place))
    assert part == [*whole[3:15], *whole[15:17]]
    assert one == []  # the first and the last image are the same


def read_all(context: JobContext[Saliency]) -> list[tuple[str, int]]:
    pairs = open_pairs(context)
    read_pairs = [(pair.name, pair.target) for batch in pairs.read() for pair in batch]
    assert pairs.count() == len(read_pairs)
    return read_pairs


def open_pairs(context: JobContext[Saliency]) -> Pairs:
    return Pairs(context, partial(open_view, preprocessing=context.release.preprocessing))


def test_a_reader_continues_after_any_number_of_pairs_and_reads_no_image_again() -> None:
    data = photograph(1, 80)
    reads: list[str] = []

    def open_entry(number: int) -> bytes:
        reads.append(f"{number}.jpg")
        return b"no image" if number in (0, 3, 6) else data + b"%d" % (1 if number == 4 else number)

    entries = [InputImage(f"{number}.jpg", None, partial(open_entry, number)) for number in range(7)]
    with ModelCache(Loader(), device=CPU).open(load_catalogue(None).find("shapes")) as opened:
        context = make_context(opened, entries, 4, targets=Top(top=3))
        executor = ScoreExecutor(context.classifier)
        whole = read_all_of(PairReader(open_pairs(context)), executor)
        assert [name for name, _ in whole[::3]] == ["1.jpg", "2.jpg", "5.jpg"]
        for processed in range(len(whole) + 1):
            pairs = open_pairs(context)
            reader = PairReader(pairs)
            read_all_of(reader, executor, up_to=processed)
            position = reader.find_position(processed)
            again = open_pairs(context)
            again.first.update(pairs.first)
            reads.clear()
            assert read_all_of(PairReader(again, position), executor) == whole[processed:]
            assert reads == [entry.name for entry in entries[position.images :]]
            assert position.pairs < 3


def read_all_of(reader: PairReader, executor: ScoreExecutor, up_to: int = 1000) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    while len(found) < up_to and (batch := run_alone(reader.next(executor))):
        found += [(pair.name, pair.target) for pair in batch]
    return found
