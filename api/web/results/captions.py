"""How to read the results of a method, and what they do not show."""

from typing import NamedTuple


class Caption(NamedTuple):
    """The caption of the results of a method.

    Attributes:
        reading: What the images show.
        caveat: What they do not show.
    """

    reading: str
    caveat: str


CAPTIONS = {
    "class_model": Caption(
        "Each image maximizes the score of a class. The probability is that of the saved image, in float32.",
        "A high probability does not mean that people or other networks recognize the class: the image shows what "
        "this network responds to. Other seeds give other images; compare several before you draw conclusions.",
    ),
    "saliency": Caption(
        "Bright pixels have a large influence on the class score of this image; teal pixels speak against the class.",
        "A map shows where the score is sensitive, not why. Some kinds change little if the network is randomized: "
        "the metric randomization tells.",
    ),
    "localization": Caption(
        "The colored part is the object that GraphCut segments from the saliency map, with its bounding box.",
        "The network was not trained to locate objects. A map that covers only a part of the object, or its "
        "background, gives a box of that.",
    ),
    "patches": Caption(
        "The marked squares change the probability of the class most if they are covered.",
        "The covering square is itself unlike the training images, and evidence outside of it can replace what it "
        "covers.",
    ),
    "fool": Caption(
        "Before, the amplified difference, and after: the changed image is predicted as the target.",
        "The difference is amplified. The change fools this network; it may not fool others, nor survive resizing or "
        "compression.",
    ),
    "feature_inversion": Caption(
        "Each image is reconstructed from the features of one layer. What is lost, the layer does not keep.",
        "The penalties decide what fills the gaps: sharpness and colors come from them as well as from the layer.",
    ),
    "deep_dream": Caption(
        "Features of the layer, channel or class that are present in the image are amplified.",
        "The result shows what the network could see in the image, not what it uses to classify it.",
    ),
    "activations": Caption(
        "Each tile is the output of one channel; bright is large.",
        "Tiles are scaled each on their own unless scale is all, so that their brightness cannot be compared.",
    ),
    "filters": Caption(
        "Each tile shows the weights of one filter of the convolution.",
        "Only filters on the input's own channels are images of what they detect; those of later layers are not.",
    ),
}
"""Captions by method."""
