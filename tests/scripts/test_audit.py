"""scripts/audit.py, asking a server here that answers as OSV does (https://google.github.io/osv.dev/post-v1-query/)."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import REPOSITORY

KNOWN = {
    "id": "OSV-2020-1",
    "summary": "reads beyond the end",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2"}]}],
        }
    ],
}


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_known = asked == {"package": {"name": "leaky", "ecosystem": "PyPI"}, "version": "1.1"}
        body = json.dumps({"vulns": [KNOWN]} if is_known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def service():
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(folder, url, *packages):
    for name in packages:
        information = folder / f"{name.replace('==', '-')}.dist-info" / "METADATA"
        information.parent.mkdir(parents=True)
        information.write_text("Metadata-Version: 2.1\nName: {}\nVersion: {}\n".format(*name.split("==")))
    asked = ["--osv-url", url, "--path", folder, "--cache-dir", folder / "cache"]
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "audit.py", *asked], capture_output=True, text=True, check=False
    )


def test_a_known_vulnerability_is_named_and_fails_the_audit(tmp_path, service):
    done = audit(tmp_path, service, "leaky==1.1", "sound==2.0")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "leaky 1.1: OSV-2020-1, fixed in 1.2: reads beyond the end",
        "audit: known vulnerabilities: 1; packages that osv knows: 2",
    ]


def test_packages_without_one_pass(tmp_path, service):
    done = audit(tmp_path, service, "leaky==1.2")
    assert (done.returncode, done.stdout) == (0, "audit: known vulnerabilities: 0; packages that osv knows: 1\n")


def test_a_service_out_of_reach_is_a_notice_and_no_failure(tmp_path):
    done = audit(tmp_path, "http://127.0.0.1:9/v1/query", "leaky==1.1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("audit: notice: nothing was audited, no service answered (")


def test_an_option_that_pip_audit_does_not_know_is_no_notice(tmp_path):
    command = [sys.executable, REPOSITORY / "scripts" / "audit.py", "--no-such-option"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "audit: error: pip-audit failed" in done.stderr
