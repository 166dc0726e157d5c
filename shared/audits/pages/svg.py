"""Plots as SVG. Each shape has its tone as a class, to which the style sheet of the page gives a color."""

from functools import singledispatch
from html import escape

from shared.audits.pages.plots import Circle, Line, Plot, Shape, Text


def write_svg(plot: Plot) -> str:
    """The plot as an `svg` element, with its title for people who cannot see it."""
    shapes = "".join(_write(shape) for shape in plot.shapes)
    return (
        f'<svg viewBox="0 0 {plot.width:g} {plot.height:g}" width="{plot.width:g}" height="{plot.height:g}" role="img" '
        f'aria-label="{escape(plot.title)}">{shapes}</svg>'
    )


@singledispatch
def _write(shape: Shape) -> str:
    raise TypeError(f"there is no shape of type {type(shape).__name__}")


@_write.register
def _write_line(line: Line) -> str:
    dash = ' stroke-dasharray="4 3"' if line.is_dashed else ""
    return (
        f'<line class="{line.tone}" x1="{line.x1:.1f}" y1="{line.y1:.1f}" x2="{line.x2:.1f}" y2="{line.y2:.1f}" '
        f'stroke-width="{line.width:g}"{dash}/>'
    )


@_write.register
def _write_circle(circle: Circle) -> str:
    filled = "" if circle.is_filled else ' fill-opacity="0"'
    return (
        f'<circle class="{circle.tone}" cx="{circle.x:.1f}" cy="{circle.y:.1f}" r="{circle.radius:.1f}" '
        f'stroke-width="2"{filled}/>'
    )


@_write.register
def _write_text(text: Text) -> str:
    return (
        f'<text class="{text.tone}" x="{text.x:.1f}" y="{text.y:.1f}" text-anchor="{text.anchor}">'
        f"{escape(text.text)}</text>"
    )
