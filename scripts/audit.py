"""Asks PyPI, and where that does not answer OSV, whether the installed packages have known vulnerabilities: make audit.

Ends with 1 where there are some. A service that cannot be reached is told in one line and is no failure.
"""

import json
import subprocess
import sys
from typing import Any

_SERVICES = ("pypi", "osv")
_UNREACHABLE = ("ConnectionError", "ServiceError", "Timeout", "Connection refused")


def main(arguments: list[str]) -> int:
    """`arguments` are handed on to pip-audit; a server that `--osv-url` names is asked alone."""
    reasons = []
    for service in ("osv",) if "--osv-url" in arguments else _SERVICES:
        packages, reason = _ask(service, arguments)
        audited = [package for package in packages if "skip_reason" not in package]
        if audited:
            return _tell(service, audited, len(packages) - len(audited))
        reasons.append(f"{service}: {reason}")
    print(f"audit: notice: nothing was audited, no service answered ({'; '.join(reasons)}); try again with a network")
    return 0


def _ask(service: str, arguments: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit makes of each package, or nothing and why not."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--skip-editable", "--format", "json"]
    process = subprocess.run([*command, "--vulnerability-service", service, *arguments], capture_output=True, text=True)
    try:
        packages = json.loads(process.stdout)["dependencies"]
    except ValueError:
        last = (process.stderr.strip().splitlines() or [f"status {process.returncode}"])[-1]
        if any(kind in process.stderr for kind in _UNREACHABLE):
            return [], last.partition(":")[0].rpartition(".")[2]
        sys.exit(f"audit: error: pip-audit failed: {last}")
    return packages, "knows none of the packages"


def _tell(service: str, audited: list[dict[str, Any]], num_skipped: int) -> int:
    """Prints what was found, and gives the exit status."""
    found = [(package, problem) for package in audited for problem in package["vulns"]]
    for package, problem in found:
        fixed = " or ".join(problem["fix_versions"]) or "no version yet"
        text = problem["description"][:120]
        print(f"{package['name']} {package['version']}: {problem['id']}, fixed in {fixed}: {text}")
    skipped = f"; {num_skipped} more are unknown to it" if num_skipped else ""
    print(f"audit: known vulnerabilities: {len(found)}; packages that {service} knows: {len(audited)}{skipped}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
