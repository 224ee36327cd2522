"""`doctor`: whether this installation works, and what to do where it does not."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vsgshift.cli import Commands
    from vsgshift.doctor import Finding

EXAMPLES = """examples:
  vsgshift doctor          look, and say what to do
  vsgshift doctor --fix    also tell VapourSynth which Python vspipe shall run
  vsgshift doctor --json   the same for a program, or to attach to a report

The exit status is 1 where there is a problem, 0 where there are only warnings.
"""


def add(commands: "Commands") -> None:
    """Enter the command."""
    doctor = commands.add_parser(
        "doctor",
        help="check this installation and say what to do where something is wrong",
        description="Check Python, the libraries, devices, VapourSynth, the plugin, vspipe, ffmpeg and the models.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--fix", action="store_true", help="run `vapoursynth config` where vspipe needs it")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine, repair where that was asked for, and report."""
    from vsgshift.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not options.json:
            sys.stdout.write(f"{finding.state:8} {finding.subject}: {finding.text}\n")
            sys.stdout.flush()
    repair = _repaired(findings) if options.fix else None
    problems = [finding for finding in findings if finding.state == "problem"]
    if options.json:
        known = {"ok": not problems, "findings": [asdict(finding) for finding in findings]}
        if repair:
            known["fix"] = repair
        sys.stdout.write(json.dumps(known, indent=2) + "\n")
    else:
        sys.stdout.write(_conclusion(findings, repair))
    return 1 if problems else 0


def _repaired(findings: "list[Finding]") -> str:
    """Configure VapourSynth where vspipe needs it, and replace what was found there; returns what was done."""
    from vsgshift.doctor import host
    from vsgshift.doctor.asking import NoAnswerError

    place = next((n for n, finding in enumerate(findings) if finding.subject == "vspipe"), None)
    if place is None:
        return "nothing was changed: VapourSynth itself does not work"
    if findings[place].state == "ok":
        return "nothing was changed: vspipe is configured"
    try:
        said = host.configure()
    except NoAnswerError as error:
        return f"vapoursynth config failed: {error}"
    findings[place] = host.vspipe(host.vapoursynth()[1])
    return f"vapoursynth config: {said}; vspipe is now {findings[place].state}: {findings[place].text}"


def _conclusion(findings: "list[Finding]", repair: str | None) -> str:
    """What was done, and what is to be done, gravest first."""
    lines = [f"\n{repair}"] if repair else []
    for state, title in (("problem", "to make it work"), ("warning", "worth a look")):
        advice = [f"  {finding.subject}: {finding.advice}" for finding in findings if finding.state == state]
        if advice:
            lines += [f"\n{title}:", *advice]
    if all(finding.state == "ok" for finding in findings):
        lines.append("\nall is well")
    return "\n".join(lines) + "\n"
