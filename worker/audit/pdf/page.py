"""Elements of a PDF page: headings, texts, tables, rows of pictures, and plots."""

import base64
import io
from collections.abc import Sequence
from importlib import resources
from typing import cast

from fpdf import FPDF, FontFace
from fpdf.enums import MethodReturnValue, XPos, YPos

from archetype.contract.report.document import Report
from archetype.contract.report.evidence import Picture
from shared.audits.pages.plots import Circle, Line, Plot, Text, Tone

FONT = "DejaVu"
MARGIN, PICTURE, GAP, LINE_HEIGHT = 15.0, 21.0, 2.0, 5.0
"""Margin of the page, side of a picture, space between pictures, and height of a line of text, in millimetres."""

SHEET = 120.0
"""Width of a wide picture in millimetres."""

PIXEL = 0.2646
"""A pixel of a plot in millimetres: 96 pixels are an inch."""

INK, QUIET = (29, 27, 34), (95, 91, 107)
COLORS: dict[Tone, tuple[int, int, int]] = {
    "ink": INK,
    "quiet": QUIET,
    "line": (190, 184, 204),
    "accent": (80, 52, 196),
    "alert": (163, 32, 42),
}
TEXT, SMALL, TITLE, HEADING = 9.5, 8.0, 16.0, 12.5
"""Sizes of the font in points."""


class ReportPDF(FPDF):
    """An A4 document whose footer names the digest of report.json and the page."""

    def __init__(self, report: Report, digest: str) -> None:
        super().__init__(format="A4")
        self._digest = digest
        self.set_title(f"Audit of {report.subject}")
        self.set_creation_date(report.created_at)
        self.set_lang("en")
        self.set_image_filter("DCTDecode")  # JPEG: a quarter of the size
        self.add_font(FONT, fname=str(resources.files("worker.engine") / "fonts" / "DejaVuSans.ttf"))
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, margin=MARGIN + 5)
        self.use_text(TEXT)
        self.add_page()

    def footer(self) -> None:
        """Writes the digest and the page number below each page."""
        self.set_y(-MARGIN)
        self.use_text(6.5, QUIET)
        self.cell(0, 4, f"report.json SHA-256 {self._digest}")
        self.set_x(MARGIN)
        self.cell(0, 4, f"page {self.page_no()} of {{nb}}", align="R")

    def use_text(self, size: float, color: tuple[int, int, int] = INK) -> None:
        """Sets size and color of the text that follows."""
        self.set_font(FONT, size=size)
        self.set_text_color(*color)

    def need(self, height: float) -> None:
        """Begins a new page if this height in millimetres is not left on this one."""
        if self.will_page_break(height):
            self.add_page()

    def heading(self, text: str, size: float = HEADING, *, room: float = 30) -> None:
        """Writes a heading and keeps it with what follows, which needs this room in millimetres."""
        self.need(room)
        self.ln(3)
        self.use_text(size)
        self.multi_cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
        self.ln(1)

    def paragraph(self, text: str, *, size: float = TEXT, color: tuple[int, int, int] = INK) -> None:
        """Writes a paragraph."""
        self.use_text(size, color)
        self.multi_cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
        self.ln(1)

    def bullets(self, texts: Sequence[str]) -> None:
        """Writes a list."""
        for text in texts:
            self.use_text(TEXT)
            self.cell(4, LINE_HEIGHT, "•")
            self.multi_cell(0, LINE_HEIGHT, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
        self.ln(1)

    def box(self, lines: Sequence[tuple[str, float]], color: tuple[int, int, int]) -> None:
        """Writes lines, each with its size, beside a bar in this color."""
        top = self.get_y()
        self.set_left_margin(MARGIN + 5)
        self.set_x(MARGIN + 5)
        for text, size in lines:
            self.use_text(size, color if text is lines[0][0] else INK)
            self.multi_cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
        self.set_fill_color(*color)
        self.rect(MARGIN, top, 2.5, self.get_y() - top, style="F")
        self.set_left_margin(MARGIN)
        self.set_x(MARGIN)
        self.ln(2)

    def rule(self) -> None:
        """Draws a line over the width of the page."""
        self.set_draw_color(*INK)
        self.set_line_width(0.3)
        self.line(MARGIN, self.get_y(), MARGIN + self.epw, self.get_y())

    def rows(self, header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], numbers: str) -> None:
        """Writes a table whose header is repeated on each page.

        Args:
            header: Titles of the columns.
            rows: Texts of the cells.
            widths: Relative widths of the columns.
            numbers: A letter per column: `L` aligns it to the left, `R` to the right.
        """
        self.use_text(SMALL)
        self.set_draw_color(*COLORS["line"])
        self.set_line_width(0.2)
        self.set_fill_color(255)
        style = FontFace(color=QUIET)
        with self.table(
            col_widths=tuple(widths),
            text_align=tuple({"L": "LEFT", "R": "RIGHT"}[letter] for letter in numbers),
            borders_layout="HORIZONTAL_LINES",
            line_height=SMALL * 0.5,
            headings_style=style,
            padding=(0.6, 1, 0.6, 0),
        ) as table:
            for cells in (header, *rows):
                row = table.row()
                for cell in cells:
                    row.cell(cell)
        self.ln(1)

    def pictures(self, pictures: Sequence[Picture], *, columns: int | None = None, side: float = PICTURE) -> None:
        """Places pictures with their captions in rows."""
        fits = int((self.epw + GAP) // (side + GAP))
        number = min(columns or fits, fits)
        for start in range(0, len(pictures), number):
            self._place_row(pictures[start : start + number], side)

    def sheets(self, pictures: Sequence[Picture]) -> None:
        """Places wide pictures below each other."""
        for picture in pictures:
            data = io.BytesIO(base64.b64decode(picture.source.partition(",")[2]))
            self.image(data, MARGIN, w=SHEET, alt_text=picture.title)
            self.ln(GAP)

    def _place_row(self, pictures: Sequence[Picture], side: float) -> None:
        self.use_text(6.5, QUIET)
        height = side + 3 + max(self._measure_caption(each.caption, side) for each in pictures)
        self.need(height)
        top = self.get_y()
        for place, picture in enumerate(pictures):
            left = MARGIN + place * (side + GAP)
            data = io.BytesIO(base64.b64decode(picture.source.partition(",")[2]))
            self.image(data, left, top, w=side, h=side, keep_aspect_ratio=True, alt_text=picture.title)
            self.set_xy(left, top + side + 0.5)
            if picture.caption:
                self.multi_cell(side, 2.8, picture.caption, align="L")
        self.set_xy(MARGIN, top + height)

    def _measure_caption(self, caption: str, width: float) -> float:
        """Height of a caption in millimetres."""
        output = MethodReturnValue.HEIGHT
        height = self.multi_cell(width, 2.8, caption, dry_run=True, output=output, align="L") if caption else 0.0
        return cast("float", height)

    def plot(self, plot: Plot) -> None:
        """Draws a plot with its title."""
        self.need(plot.height * PIXEL + 8)
        left, top = MARGIN, self.get_y()
        for shape in plot.shapes:
            self._draw(shape, left, top)
        self.set_xy(MARGIN, top + plot.height * PIXEL)
        self.paragraph(f"{plot.title}.", size=7, color=QUIET)

    def _draw(self, shape: Line | Circle | Text, left: float, top: float) -> None:
        color = COLORS[shape.tone]
        self.set_draw_color(*color)
        self.set_fill_color(*color)
        if isinstance(shape, Line):
            self.set_line_width(0.2 * shape.width)
            self.set_dash_pattern(*((1, 0.8) if shape.is_dashed else ()))
            ends = (left + shape.x1 * PIXEL, top + shape.y1 * PIXEL, left + shape.x2 * PIXEL, top + shape.y2 * PIXEL)
            self.line(*ends)
            self.set_dash_pattern()
        elif isinstance(shape, Circle):
            self.set_line_width(0.4)
            style = "F" if shape.is_filled else "D"
            self.circle(left + shape.x * PIXEL, top + shape.y * PIXEL, shape.radius * PIXEL, style=style)
        else:
            self.use_text(7.5, color)
            shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[shape.anchor] * self.get_string_width(shape.text)
            self.text(left + shape.x * PIXEL - shift, top + shape.y * PIXEL, shape.text)
