"""Labels of classes in images."""

from archetype.contract.class_names import ClassNames
from worker.engine.text import is_legible


def label_class(names: ClassNames, index: int) -> str:
    """The name of a class as an image shows it.

    Returns:
        The name; with its index if another class has the same name: `crane #134`; only the index if the font of images
        cannot show the name: `#134`.
    """
    label = names.label(index)
    return label if is_legible(label) else f"#{index}"
