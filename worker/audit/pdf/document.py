"""The report as a PDF document on A4 paper, which a person can sign."""

from collections.abc import Sequence

from archetype.contract.audit import Finding
from archetype.contract.report.document import Report
from archetype.contract.report.evidence import Evidence, Picture
from archetype.contract.report.units import write_value
from shared.audits.pages import words
from shared.audits.pages.plots import draw_plots
from worker.audit.pdf.page import COLORS, HEADING, QUIET, SMALL, TITLE, ReportPDF

RESULT_COLORS = {"pass": (23, 102, 58), "warn": (122, 75, 0), "fail": COLORS["alert"], "error": COLORS["alert"]}
SMALL_PICTURE = 14.0
"""Side of the pictures of classes without findings in millimetres."""


def write_pdf(report: Report, digest: str) -> bytes:
    """The report as PDF. It has the same sections as the HTML page.

    Args:
        report: The document.
        digest: SHA-256 digest of report.json, which each page names.
    """
    pdf = ReportPDF(report, digest)
    for write in SECTIONS:
        write(pdf, report)
    _describe_origin(pdf, report, digest)
    _leave_room_for_a_signature(pdf)
    return bytes(pdf.output())


def _conclude(pdf: ReportPDF, report: Report) -> None:
    compared = f", compared with {', '.join(report.baselines)}" if report.baselines else ""
    pdf.paragraph(f"Audit of {report.subject}{compared}", size=TITLE)
    color = RESULT_COLORS.get(report.verdict, QUIET)
    pdf.box([(words.name_result(report.verdict), HEADING), (report.conclusion.decision, HEADING)], color)
    pdf.heading("What this is based on")
    pdf.bullets(report.conclusion.basis)
    pdf.heading("What was not tested")
    pdf.bullets(report.conclusion.untested)
    pdf.paragraph(
        f"{report.created_at:%d %B %Y, %H:%M} UTC, plan {report.plan.name} (version {report.plan_version}). All "
        f"intervals have a confidence level of {100 * report.level:g} %.",
        size=SMALL,
        color=QUIET,
    )


def _list_gates(pdf: ReportPDF, report: Report) -> None:
    pdf.heading("Gates")
    rows = [
        (
            gate.gate if len(report.baselines) < 2 or not gate.baseline else f"{gate.gate} ({gate.baseline})",
            words.name_result(gate.result),
            write_value(gate.limit, gate.gate).replace("percentage points", "pp"),
            words.write_change(gate),
            words.write_interval(gate),
            words.write_margin(gate),
            gate.explanation,
        )
        for gate in report.gates
    ]
    header = ("Gate", "Result", "Limit", "Largest change", "Interval", "Margin", "Explanation")
    pdf.rows(header, rows, (20, 22, 17, 16, 24, 15, 66), "LLRRRRL")
    pdf.paragraph(
        "pp: percentage points. Change, interval and margin have the unit of the limit. The margin is the limit minus "
        "the change.",
        size=SMALL,
        color=QUIET,
    )


def _list_accuracy(pdf: ReportPDF, report: Report) -> None:
    if not report.accuracy:
        return
    pdf.heading("Accuracy")
    rows = [
        (
            each.release,
            f"{each.correct} of {each.probes} pictures",
            f"{each.share:.1%}",
            f"{100 * each.low:.1f} to {100 * each.high:.1f} %",
        )
        for each in report.accuracy
    ]
    pdf.rows(("Release", "Correct", "Accuracy", "Interval"), rows, (60, 40, 25, 40), "LRRR")
    for each in report.comparisons:
        if each.overall.get("probes"):
            pdf.paragraph(
                f"Compared with {each.baseline}, the prediction of {each.overall['flips']:.0f} of "
                f"{each.overall['probes']:.0f} pictures changed: {each.overall['lost']:.0f} became wrong, "
                f"{each.overall['won']:.0f} became correct."
            )


def _list_findings(pdf: ReportPDF, report: Report) -> None:
    pdf.heading("Findings")
    if not report.findings:
        pdf.paragraph("None: no change is beyond the limit of its gate with an interval beyond the noise.")
    shown: set[tuple[str | None, str | None]] = set()
    for finding in report.findings:
        pdf.need(45)
        _write_finding(pdf, finding)
        place = (finding.baseline, finding.target)
        if finding.target is not None and place not in shown:
            _show(pdf, [each for each in report.evidence if (each.baseline, each.target) == place])
        shown.add(place)
    pdf.bullets([f"Not evaluated: {error}" for error in report.errors])


def _write_finding(pdf: ReportPDF, finding: Finding) -> None:
    compared = f", compared with {finding.baseline}" if finding.baseline else ""
    title = f"{words.name_result(finding.severity)}: {finding.target or 'all classes'}, gate {finding.gate}{compared}"
    reason = f"{finding.reason[:1].upper()}{finding.reason[1:]}. {words.write_finding(finding)}"
    lines = [(title, 10.5), (reason, 9.5)]
    if finding.waiver is not None:
        waiver = finding.waiver
        lines.append((f"Waived by {waiver.owner} until {waiver.expires}: {waiver.reason}", 9.5))
    if finding.action is not None:
        lines.append((f"Recommended: {finding.action}", 9.5))
    pdf.box(lines, RESULT_COLORS.get(finding.severity, QUIET))


def _show(pdf: ReportPDF, evidence: Sequence[Evidence]) -> None:
    for group in (group for each in evidence for group in each.groups):
        pdf.need(35)
        pdf.paragraph(f"{group.title}.", size=SMALL, color=QUIET)
        if group.is_wide:
            pdf.sheets(group.pictures)
        else:
            pdf.pictures(group.pictures, columns=group.columns)


def _show_changes(pdf: ReportPDF, report: Report) -> None:
    changes = [each for each in report.evidence if each.kind == "change"]
    if not changes:
        return
    pdf.heading("What changed", room=70)
    pdf.paragraph(words.GRIDS)
    for each in changes:
        if len(report.baselines) > 1:
            pdf.paragraph(f"Compared with {each.baseline}:")
        for group in each.groups:
            pdf.need(35)
            pdf.paragraph(f"{group.title}.", size=SMALL, color=QUIET)
            pdf.pictures(group.pictures, side=SMALL_PICTURE)


def _list_tables(pdf: ReportPDF, report: Report) -> None:
    for table in report.tables:
        if table.rows:
            pdf.heading(table.title)
            count = len(table.header)
            pdf.rows(table.header, table.rows, [2, *[1] * (count - 1)], "L" + "R" * (count - 1))


def _draw(pdf: ReportPDF, report: Report) -> None:
    plots = draw_plots(report)
    if plots:
        pdf.heading("Changes", room=80)
    for plot in plots:
        pdf.plot(plot)


def _list_others(pdf: ReportPDF, report: Report) -> None:
    others = [each for each in report.evidence if each.kind == "reference"]
    if others:
        pdf.heading("Classes without findings")
    for each in others:
        pictures = [picture for group in each.groups for picture in group.pictures]
        pdf.need(SMALL_PICTURE + 12)
        pdf.paragraph(f"{each.target}: {'; '.join(group.title for group in each.groups)}.", size=7, color=QUIET)
        pdf.pictures(pictures, side=SMALL_PICTURE)


def _list_probes(pdf: ReportPDF, report: Report) -> None:
    shown = [probe for probe in report.probes if probe.thumbnail]
    if not shown:
        return
    pdf.heading("Probes", room=70)
    pictures = [
        Picture(
            source=probe.thumbnail or "",
            title=f"probe of {probe.target}",
            caption="\n".join(
                [
                    f"{probe.target} {probe.name or ''}".strip(),
                    probe.id[:12],
                    *(
                        f"{'✓' if each.correct else '✕'} {each.release}: {each.predicted} {each.probability:.0%}"
                        for each in probe.predictions
                    ),
                ]
            ),
        )
        for probe in shown
    ]
    pdf.pictures(pictures, columns=6, side=28)
    if len(report.probes) > len(shown):
        pdf.paragraph(f"{len(report.probes) - len(shown)} more probes are in report.json.")


def _describe(pdf: ReportPDF, report: Report) -> None:
    pdf.heading("Plan")
    pdf.bullets(report.plan_in_words)


def _describe_origin(pdf: ReportPDF, report: Report, digest: str) -> None:
    pdf.heading("Provenance")
    if report.identity_note:
        pdf.paragraph(report.identity_note)
    for release in report.releases:
        pdf.paragraph(
            f"{release.release}: {words.describe_network(release)}\n"
            f"weights SHA-256 {release.weights_sha256 or 'not known'}\n"
            f"weight file SHA-256 {release.file_sha256 or 'not known'}\nsettings SHA-256 {release.settings_sha256}",
            size=SMALL,
        )
    pdf.bullets(
        [
            *([f"Requested by {report.requested.by}, tenant {report.requested.tenant}, "
               f"{report.requested.at:%d %B %Y, %H:%M:%S} UTC."] if report.requested else []),
            f"Written {report.created_at:%d %B %Y, %H:%M:%S} UTC; time since the request: "
            f"{words.write_duration(report.seconds)}.",
            *(
                f"{each.device}: {', '.join(f'{name} {version}' for name, version in each.versions.items())}. Jobs: "
                f"{', '.join(each.roles)}."
                for each in report.machines
            ),
            *(
                f"{role}: job {job['job']}{' (reused)' if job['reused'] else ''}."
                for role, job in report.identity["jobs"].items()
            ),
            f"To run it again: {report.rerun}",
            f"report.json has the SHA-256 digest {digest}. It contains everything in this document.",
            words.SIGNING,
        ]
    )  # fmt: skip


def _leave_room_for_a_signature(pdf: ReportPDF) -> None:
    pdf.need(35)
    pdf.ln(16)
    header = ("Decision (approve, reject, waive)", "Name", "Date", "Signature")
    pdf.rule()
    pdf.rows(header, [], (50, 50, 30, 50), "LLLL")


SECTIONS = (
    *(_conclude, _list_gates, _list_accuracy, _list_findings, _show_changes),
    *(_list_tables, _draw, _list_others, _list_probes, _describe),
)
"""The sections of the document up to the provenance, in their order."""
