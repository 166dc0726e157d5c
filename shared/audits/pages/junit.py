"""JUnit XML of a report, so that a CI pipeline lists the gates that failed."""

from collections.abc import Sequence
from xml.etree import ElementTree

from archetype.contract.report.document import Report
from archetype.contract.report.measurements import GateResult


def write_junit(report: Report) -> bytes:
    """A test case for each gate and baseline, and for each part that could not be evaluated."""
    suite = ElementTree.Element("testsuite", name=f"audit of {report.subject}", timestamp=report.created_at.isoformat())
    for baseline in report.baselines or [""]:
        classname = f"{report.subject} compared with {baseline}" if baseline else report.subject
        difference = next(
            (each.why for each in report.comparisons if each.baseline == baseline and not each.comparable), None
        )
        for gate in _list_gates(report, baseline):
            case = ElementTree.SubElement(suite, "testcase", classname=classname, name=gate)
            results = [each for each in report.gates if each.gate == gate and each.baseline in (baseline, None)]
            _add_result(case, report, results, difference)
    for error in report.errors:
        case = ElementTree.SubElement(suite, "testcase", classname=report.subject, name="evaluation")
        ElementTree.SubElement(case, "error", message=error)
    counts = {"tests": "testcase", "failures": ".//failure", "errors": ".//error", "skipped": ".//skipped"}
    suite.attrib.update({name: str(len(suite.findall(path))) for name, path in counts.items()})
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _list_gates(report: Report, baseline: str) -> list[str]:
    """Names of the gates that the plan does not disable."""
    gates = report.plan.gates
    return [
        name for name in type(gates).model_fields
        if getattr(gates, name).severity != "off" and (baseline or name == "sanity")
    ]  # fmt: skip


def _add_result(
    case: ElementTree.Element, report: Report, results: Sequence[GateResult], difference: str | None
) -> None:
    """Adds the result of a gate to its test case: skipped, failed, or passed with warnings."""
    names, baselines = {each.gate for each in results}, {each.baseline for each in results}
    findings = [each for each in report.findings if each.gate in names and each.baseline in (*baselines, None)]
    failures = [finding for finding in findings if finding.severity == "fail"]
    if difference is not None:
        ElementTree.SubElement(case, "skipped", message=difference)
    elif failures:
        failure = ElementTree.SubElement(case, "failure", message=failures[0].reason)
        failure.text = "\n".join(finding.reason for finding in failures)
    elif findings:
        output = ElementTree.SubElement(case, "system-out")
        output.text = "\n".join(f"{finding.severity}: {finding.reason}" for finding in findings)
    elif results and all(each.result == "abstained" for each in results):
        ElementTree.SubElement(case, "skipped", message=results[0].explanation)
