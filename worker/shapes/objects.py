"""Drawing functions for the twelve classes of `shapes`. Each draws an object in the unit circle."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Pen:
    """Draws in units of the object: (0, 0) is its center and 1 its radius; y points down.

    Attributes:
        draw: Drawing context of the image.
        center: Pixel coordinate of the object's center, in both directions.
        radius: Radius of the object in pixels.
        rng: Random generator of colors and details.
    """

    draw: ImageDraw.ImageDraw
    center: float
    radius: float
    rng: np.random.Generator

    def shade(self, color: Color, spread: int = 22) -> Color:
        """The color with a random change of brightness and a small random change of each channel."""
        shift = self.rng.integers(-spread, spread + 1) + self.rng.integers(-10, 11, 3)
        red, green, blue = np.clip(np.array(color) + shift, 0, 255)
        return int(red), int(green), int(blue)

    def points(self, points: list[Point]) -> list[Point]:
        """Pixel coordinates of points in object units."""
        return [(self.center + x * self.radius, self.center + y * self.radius) for x, y in points]

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        """Fills an ellipse with its center and radii."""
        self.draw.ellipse(self.points([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)

    def pie(self, r: float, start: float, end: float, fill: Color) -> None:
        """Fills a sector around the center, between two angles in degrees."""
        self.draw.pieslice(self.points([(-r, -r), (r, r)]), start, end, fill=fill)

    def polygon(self, points: list[Point], fill: Color) -> None:
        """Fills a polygon."""
        self.draw.polygon(self.points(points), fill=fill)

    def line(self, points: list[Point], width: float, fill: Color) -> None:
        """Draws a polyline with its width."""
        self.draw.line(self.points(points), fill=fill, width=max(1, round(width * self.radius)), joint="curve")

    def box(self, x0: float, y0: float, x1: float, y1: float, round_by: float, fill: Color) -> None:
        """Fills a rectangle with rounded corners."""
        self.draw.rounded_rectangle(self.points([(x0, y0), (x1, y1)]), round_by * self.radius, fill=fill)


def draw_lemon(pen: Pen) -> None:
    """Draws a lemon."""
    skin = pen.shade((246, 214, 50))
    pen.polygon([(-1, 0), (-0.6, -0.28), (-0.6, 0.28)], skin)
    pen.polygon([(1, 0), (0.6, -0.28), (0.6, 0.28)], skin)
    pen.ellipse(0, 0, 0.8, 0.58, skin)
    pen.ellipse(-0.12, -0.14, 0.5, 0.28, pen.shade((255, 236, 120), 8))
    for angle, distance in zip(pen.rng.uniform(0, 2 * math.pi, 26), pen.rng.uniform(0.1, 0.9, 26), strict=True):
        pen.ellipse(0.7 * distance * math.cos(angle), 0.5 * distance * math.sin(angle), 0.028, 0.028, (206, 166, 20))
    pen.polygon([(-0.86, -0.05), (-0.62, -0.62), (-0.2, -0.72), (-0.4, -0.3)], pen.shade((60, 140, 50)))


def draw_strawberry(pen: Pen) -> None:
    """Draws a strawberry."""
    flesh = pen.shade((214, 36, 46))
    pen.ellipse(-0.34, -0.2, 0.42, 0.42, flesh)
    pen.ellipse(0.34, -0.2, 0.42, 0.42, flesh)
    pen.polygon([(-0.74, -0.1), (0.74, -0.1), (0.3, 0.66), (0, 0.92), (-0.3, 0.66)], flesh)
    for row, y in enumerate((-0.3, -0.06, 0.18, 0.42, 0.66)):
        reach = 0.62 - 0.62 * max(0.0, y) * 0.95
        for x in np.linspace(-reach, reach, 5 - row // 2):
            pen.ellipse(float(x), y, 0.035, 0.06, (250, 220, 110))
    leaf = pen.shade((54, 150, 60))
    for x in (-0.5, -0.2, 0.1, 0.4):
        pen.polygon([(x - 0.12, -0.6), (x + 0.26, -0.6), (x + 0.12, -0.2)], leaf)
    pen.line([(0, -0.55), (0.06, -0.95)], 0.1, leaf)


def draw_watermelon(pen: Pen) -> None:
    """Draws a watermelon."""
    for radius, color in ((0.98, (40, 120, 48)), (0.88, (214, 238, 190)), (0.8, (232, 66, 74))):
        pen.pie(radius, 0, 180, pen.shade(color, 12))
    for radius, count in ((0.3, 3), (0.58, 6)):
        for angle in np.linspace(0.35, math.pi - 0.35, count):
            pen.ellipse(radius * math.cos(angle), radius * math.sin(angle), 0.045, 0.07, (30, 20, 20))


def draw_ladybird(pen: Pen) -> None:
    """Draws a ladybird."""
    black = (22, 20, 24)
    for y in (-0.3, 0.1, 0.5):
        pen.line([(-0.98, y - 0.12), (-0.6, y), (0.6, y), (0.98, y - 0.12)], 0.07, black)
    pen.ellipse(0, -0.62, 0.38, 0.3, black)
    pen.ellipse(0, 0.1, 0.74, 0.8, pen.shade((216, 40, 30)))
    pen.line([(0, -0.68), (0, 0.9)], 0.07, black)
    for x, y in ((0.36, -0.22), (0.42, 0.26), (0.22, 0.62)):
        pen.ellipse(x, y, 0.15, 0.15, black)
        pen.ellipse(-x, y, 0.15, 0.15, black)
    pen.ellipse(-0.18, -0.7, 0.08, 0.07, (240, 240, 235))
    pen.ellipse(0.18, -0.7, 0.08, 0.07, (240, 240, 235))


def draw_goldfish(pen: Pen) -> None:
    """Draws a goldfish."""
    body, fin = pen.shade((246, 130, 32)), pen.shade((252, 166, 70))
    pen.polygon([(0.4, 0), (1, -0.6), (0.86, 0), (1, 0.6)], fin)
    pen.polygon([(-0.2, -0.3), (0.1, -0.8), (0.36, -0.25)], fin)
    pen.polygon([(-0.1, 0.3), (0.1, 0.74), (0.3, 0.25)], fin)
    pen.ellipse(-0.22, 0, 0.76, 0.46, body)
    for x in (-0.28, -0.06, 0.16, 0.36):
        for y in (-0.22, 0.0, 0.22):
            scale = pen.points([(x - 0.16, y - 0.12), (x + 0.08, y + 0.12)])
            pen.draw.arc(scale, -80, 80, fill=(190, 84, 12), width=2)
    pen.ellipse(-0.64, -0.1, 0.13, 0.13, (250, 250, 245))
    pen.ellipse(-0.66, -0.1, 0.065, 0.065, (16, 16, 20))


def draw_toadstool(pen: Pen) -> None:
    """Draws a toadstool."""
    pen.box(-0.24, -0.1, 0.24, 0.95, 0.2, pen.shade((240, 230, 208), 10))
    pen.polygon([(-0.4, 0.22), (0.4, 0.22), (0.26, 0.4), (-0.26, 0.4)], pen.shade((222, 208, 180), 8))
    pen.draw.pieslice(pen.points([(-0.98, -0.9), (0.98, 1.0)]), 180, 360, fill=pen.shade((200, 30, 32)))
    large = ((-0.58, -0.2, 0.14), (-0.14, -0.24, 0.17), (0.36, -0.16, 0.13), (0.1, -0.64, 0.14))
    for x, y, r in (*large, (-0.38, -0.56, 0.1), (0.62, -0.34, 0.1)):
        pen.ellipse(x, y, r, r * 0.85, (250, 248, 240))


def draw_daisy(pen: Pen) -> None:
    """Draws a daisy."""
    petal, shadow = pen.shade((248, 248, 250), 6), (206, 208, 220)
    for count, reach, color in ((12, 0.66, shadow), (12, 0.62, petal)):
        for angle in np.linspace(0, 2 * math.pi, count, endpoint=False) + (0.13 if color == petal else 0):
            tip = (0.99 * math.cos(angle), 0.99 * math.sin(angle))
            side = (0.14 * -math.sin(angle), 0.14 * math.cos(angle))
            mid = (reach * math.cos(angle), reach * math.sin(angle))
            left, right = (mid[0] + side[0], mid[1] + side[1]), (mid[0] - side[0], mid[1] - side[1])
            pen.polygon([(0, 0), left, tip, right], color)
    pen.ellipse(0, 0, 0.34, 0.34, pen.shade((244, 190, 24)))
    for angle, distance in zip(pen.rng.uniform(0, 2 * math.pi, 18), pen.rng.uniform(0, 0.27, 18), strict=True):
        pen.ellipse(distance * math.cos(angle), distance * math.sin(angle), 0.035, 0.035, (196, 130, 10))


def draw_bee(pen: Pen) -> None:
    """Draws a bee."""
    wing = pen.shade((206, 226, 244), 8)
    pen.ellipse(-0.2, -0.52, 0.28, 0.44, wing)
    pen.ellipse(0.3, -0.5, 0.28, 0.42, wing)
    pen.polygon([(0.74, 0.02), (1.0, 0.16), (0.72, 0.3)], (24, 22, 20))
    pen.ellipse(0.06, 0.16, 0.74, 0.46, pen.shade((246, 196, 30)))
    for x in (-0.22, 0.1, 0.42):
        reach = 0.45 * math.sqrt(max(0.0, 1 - ((x - 0.06) / 0.76) ** 2))
        pen.line([(x, 0.16 - reach), (x + 0.05, 0.16), (x, 0.16 + reach)], 0.17, (26, 22, 20))
    pen.ellipse(-0.66, 0.08, 0.26, 0.28, (40, 32, 24))
    pen.ellipse(-0.74, 0.02, 0.08, 0.09, (250, 250, 250))
    pen.line([(-0.7, -0.15), (-0.9, -0.5)], 0.05, (30, 26, 22))


def draw_beach_ball(pen: Pen) -> None:
    """Draws a beach ball."""
    white = (250, 250, 248)
    colors: list[Color] = [(226, 50, 50), white, (44, 110, 214), white, (250, 204, 40), white]
    turn = float(pen.rng.uniform(0, 360))
    for sector, color in enumerate(colors):
        pen.pie(0.96, turn + 60 * sector, turn + 60 * (sector + 1), pen.shade(color, 6))
    pen.ellipse(0, 0, 0.18, 0.18, pen.shade((250, 250, 248), 4))


def draw_die(pen: Pen) -> None:
    """Draws a die."""
    pen.box(-0.84, -0.76, 0.88, 0.92, 0.24, (176, 172, 166))
    pen.box(-0.86, -0.86, 0.8, 0.8, 0.24, pen.shade((246, 244, 238), 8))
    five = [(-0.48, -0.48), (0.42, -0.48), (-0.03, -0.03), (-0.48, 0.42), (0.42, 0.42)]
    pips = five if pen.rng.random() < 0.5 else [*five[:2], (-0.48, -0.03), (0.42, -0.03), *five[3:]]
    for x, y in pips:
        pen.ellipse(x, y, 0.16, 0.16, (24, 24, 28))


def draw_traffic_light(pen: Pen) -> None:
    """Draws a traffic light."""
    pen.box(-0.46, -0.98, 0.46, 0.98, 0.18, pen.shade((44, 48, 54), 10))
    for y, color in ((-0.62, (238, 44, 36)), (0.0, (252, 186, 30)), (0.62, (40, 200, 80))):
        pen.ellipse(0, y, 0.29, 0.29, (16, 18, 20))
        pen.ellipse(0, y, 0.25, 0.25, pen.shade(color, 12))
        pen.ellipse(-0.08, y - 0.08, 0.08, 0.08, (255, 246, 226))


def draw_sailing_boat(pen: Pen) -> None:
    """Draws a sailing boat."""
    pen.line([(0, -0.96), (0, 0.5)], 0.08, (110, 74, 44))
    pen.polygon([(0.08, -0.9), (0.84, 0.34), (0.08, 0.34)], pen.shade((250, 248, 242), 6))
    pen.polygon([(-0.08, -0.74), (-0.7, 0.34), (-0.08, 0.34)], pen.shade((60, 130, 214)))
    for y in (-0.3, 0.0):
        pen.line([(0.1, y), (0.42 + 0.56 * (y + 0.3), y)], 0.05, (214, 60, 50))
    pen.polygon([(-0.94, 0.46), (0.94, 0.46), (0.62, 0.9), (-0.62, 0.9)], pen.shade((150, 82, 40)))
    pen.line([(-0.86, 0.54), (0.86, 0.54)], 0.07, (240, 232, 214))


OBJECTS: dict[str, Callable[[Pen], None]] = {
    "lemon": draw_lemon,
    "strawberry": draw_strawberry,
    "watermelon": draw_watermelon,
    "ladybird": draw_ladybird,
    "goldfish": draw_goldfish,
    "toadstool": draw_toadstool,
    "daisy": draw_daisy,
    "bee": draw_bee,
    "beach ball": draw_beach_ball,
    "die": draw_die,
    "traffic light": draw_traffic_light,
    "sailing boat": draw_sailing_boat,
}
