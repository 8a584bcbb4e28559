"""``make audit-dependencies``: known vulnerabilities of the tested set, as far as the registry can be asked.

A mirror may serve packages and no advisories: what could not be asked is counted, and is no failure.
"""

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
COMMAND = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r")


def main() -> None:
    """Print each vulnerability; exit code 1 if there is one."""
    done = subprocess.run(
        [sys.executable, *COMMAND, str(CONSTRAINTS)], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"dependencies not audited: {why}")
        return
    asked = [package for package in packages if "skip_reason" not in package]
    found = [(package, entry) for package in asked for entry in package["vulns"]]
    for package, entry in found:
        mended = ", ".join(entry["fix_versions"]) or "nowhere yet"
        print(f"{package['name']} {package['version']}: {entry['id']}, mended in {mended}")
    print(
        f"dependencies: {len(asked)} of {len(packages)} audited, {len(found)} known vulnerabilities; "
        f"the registry knows no advisories of {len(packages) - len(asked)}"
    )
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
