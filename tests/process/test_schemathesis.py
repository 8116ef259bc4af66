"""The server is what its OpenAPI document says: schemathesis sends what the document allows, and what it does not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.kit.server_process import started

HERE = Path(__file__).parent
# It takes a minute on two cores.
SECONDS = 300
ECHO = {
    "CHATSERVER_PROVIDERS": json.dumps({"main": {"kind": "echo", "pace_ms": 0}}),
    "CHATSERVER_DEFAULT_PROVIDER": "main",
}


async def test_server_matches_its_document(
    database_url: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    document_file, report_file = tmp_path / "openapi.json", tmp_path / "report.json"
    async with started("--database-url", database_url, **ECHO) as server:
        assert server.process.stderr is not None
        log = asyncio.create_task(server.process.stderr.read())
        document = await server.ok("GET", "/api/openapi.json")
        # From a file: it would not try the path where it found the document.
        document_file.write_text(json.dumps(document))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
            *("run", str(document_file), "--url", f"http://127.0.0.1:{server.port}", "--checks", "all"),
            *("--report", "json", "--report-json-path", str(report_file)),
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(SECONDS):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        assert process.returncode == 0, output.decode()
        server.terminate()
        assert await server.ended() == (0, "")
        assert b"Traceback" not in await log

    report = json.loads(report_file.read_text())
    operations = sum(len(set(item) - {"parameters"}) for item in document["paths"].values())
    assert report["operations"]["tested"] == report["operations"]["total"] == operations
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    assert (report["failures"], report["test_cases"]["errored"]) == ([], 0)
    assert report["test_cases"]["generated"] > 1_000
    assert not any(report["warnings"].values()), report["warnings"]
    # What the document allows was taken at least once, everywhere.
    rates = report["valid_rates"]
    assert len(rates) == operations
    assert [name for name, phases in rates.items() if not any(each["accepted"] for each in phases.values())] == []
    record_property("cases", report["test_cases"]["generated"])
    print(f"schemathesis ran {report['test_cases']['generated']} cases in {report['running_time']:.0f} s")
