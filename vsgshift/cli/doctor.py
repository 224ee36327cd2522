"""`doctor`: whether this installation works, and what to do if it does not."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from vsgshift.cli.options import Commands, add_command
from vsgshift.errors import ProgramError

if TYPE_CHECKING:
    from vsgshift.doctor import Finding

EXAMPLES = """examples:
  vsgshift doctor          look, and say what to do
  vsgshift doctor --fix    also tell VapourSynth which Python vspipe is to run
  vsgshift doctor --json   the same for a program, or to attach to a report

The exit status is 1 if there is a problem, 0 if there are only warnings.
"""


def add(commands: Commands) -> None:
    """Enter the command."""
    doctor = add_command(
        commands,
        "doctor",
        run,
        help="check this installation and say what to do if something is wrong",
        description="Check Python, the libraries, devices, VapourSynth, the plugin, vspipe, ffmpeg and the models.",
        epilog=EXAMPLES,
    )
    doctor.add_argument("--fix", action="store_true", help="run `vapoursynth config` if vspipe needs it")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Examine, repair if that is asked for, and report."""
    from vsgshift.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not options.json:
            sys.stdout.write(f"{finding.state:8} {finding.subject}: {finding.text}\n")
            sys.stdout.flush()
    repair = _repair(findings) if options.fix else None
    problems = [finding for finding in findings if finding.state == "problem"]
    if options.json:
        known = {"ok": not problems, "findings": [asdict(finding) for finding in findings]}
        if repair:
            known["fix"] = repair
        sys.stdout.write(json.dumps(known, indent=2) + "\n")
    else:
        sys.stdout.write(_conclusion(findings, repair))
    return 1 if problems else 0


def _repair(findings: "list[Finding]") -> str:
    """Configure VapourSynth if vspipe needs it, and replace that finding; returns what was done."""
    from vsgshift.doctor import vapoursynth
    from vsgshift.video.programs import configure

    index = next((n for n, finding in enumerate(findings) if finding.subject == "vspipe"), None)
    if index is None:
        return "nothing was changed: VapourSynth itself does not work"
    if findings[index].state == "ok":
        return "nothing was changed: vspipe is configured"
    try:
        message = configure()
    except ProgramError as error:
        return f"vapoursynth config failed: {error}"
    findings[index] = vapoursynth.vspipe()
    return f"vapoursynth config: {message}; vspipe is now {findings[index].state}: {findings[index].text}"


def _conclusion(findings: "list[Finding]", repair: str | None) -> str:
    """What was done, and what is to be done, most serious first."""
    lines = [f"\n{repair}"] if repair else []
    for state, title in (("problem", "to make it work"), ("warning", "worth a look")):
        advice = [f"  {finding.subject}: {finding.advice}" for finding in findings if finding.state == state]
        if advice:
            lines += [f"\n{title}:", *advice]
    if all(finding.state == "ok" for finding in findings):
        lines.append("\nall is well")
    return "\n".join(lines) + "\n"
