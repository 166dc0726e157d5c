"""The formats of boxes by name."""

from collections.abc import Callable, Sequence

from archetype.export.boxes import BoxedImage
from archetype.export.detection import Files, write_coco, write_voc, write_yolo
from archetype.export.labelling import write_fiftyone, write_label_studio

FORMATS: dict[str, Callable[[Sequence[BoxedImage]], Files]] = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
    "fiftyone": write_fiftyone,
    "labelstudio": write_label_studio,
}
