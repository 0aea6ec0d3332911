#!/usr/bin/env python3
"""real.py SIM [--seeds N] [--seed S]: the simulator with its orchestrators on a real PostgreSQL, a database and a process for each processor."""

import argparse
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from postgres import Postgres  # noqa: E402

# What is tested is what transactions see of each other, not what a disk keeps.
QUICK = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "deadlock_timeout=10ms", "-c", "autovacuum_naptime=1s"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sim")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    about = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="hodei-test-sim-") as folder:
        os.chmod(folder, 0o755)
        server = Postgres(os.path.join(folder, "pg")).start(*QUICK)
        try:
            began, processes = time.monotonic(), 1 if about.seed else os.cpu_count()
            at = "host=127.0.0.1 port=%d user=hodei dbname=" % server.port
            running = []
            for i in range(processes):
                subprocess.run([server.bin + "psql", "-q", at + "postgres", "-c", "CREATE DATABASE sim%d" % i], check=True)
                what = ["--seed", str(about.seed)] if about.seed else ["--some", str(1 + i), str(about.seeds), str(processes)]
                out = open(os.path.join(folder, "out%d" % i), "w+", encoding="utf-8", errors="replace")
                running.append((subprocess.Popen([about.sim, "--postgres", at + "sim%d" % i, *what], stdout=out, stderr=out), out))
            for process, out in running:
                code = process.wait()
                out.seek(0)
                text = out.read()
                counts = [line.split() for line in text.splitlines() if line.endswith(" failed")]
                passed, failed = passed + int(counts[-1][0] if counts else 0), failed + int(counts[-1][2] if counts else 1)
                print(text, end="" if code or about.seed else "" if text.endswith("\n") else "\n")
                out.close()
            print("        %.0f s" % (time.monotonic() - began))
        finally:
            server.end()
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
