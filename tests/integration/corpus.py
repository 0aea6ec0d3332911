#!/usr/bin/env python3
"""Runs every pipeline under tests/pipelines/ for real and compares its course with what its comments expect.

  # input: NAME=VALUE          an input of the run
  # expect: run STATE          how the run ends
  # expect: JOB STATE [KEY=VALUE]... [log=TEXT]
                               how the job ends; KEY is a field of the job, or of its last attempt (attempts: how many);
                               log, to the end of the line: parts that its output holds, in this order, set apart by |

corpus.py [NAME...]. BUILD names the folder of the binaries.
"""
import glob
import os
import re
import sys

from hodei import Failed, Platform, expect, run_tests, wait_for

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pipelines")


def read(path):
    inputs, wanted = [], []
    for line in open(path):
        found = re.match(r"# (input|expect): (.*)", line.rstrip("\n"))
        if found and found.group(1) == "input":
            name, value = found.group(2).split("=", 1)
            inputs.append({"name": name, "value": value})
        elif found:
            text, _, log = found.group(2).partition(" log=")
            name, state, *fields = text.split()
            wanted.append((name, state, dict(f.split("=", 1) for f in fields), log.split("|") if log else []))
    return inputs, wanted


def wait_log(p, run, job, parts):
    """The job's output; a line may come a moment after the end of its job is known."""
    def whole():
        text = p.log(run, job).decode()
        return text if all(part in text for part in parts) else None
    try:
        return wait_for(whole, "the output of %s" % job, 10)
    except Failed:  # what is missing is said by who asked
        return p.log(run, job).decode()


def check_job(p, run, job, state, fields, log):
    name = job["name"]
    expect(job["state"] == state, "%s is %s, not %s: %r" % (name, job["state"], state, job))
    last = (job.get("attempts") or [{}])[-1]
    for key, value in fields.items():
        got = len(job.get("attempts") or []) if key == "attempts" else job.get(key) or last.get(key) or ""
        if isinstance(got, bool) or got == "" and value == "false":
            got = "true" if got else "false"
        if key == "message":
            expect(value in got, "%s: the message is %r" % (name, got))
        else:
            expect(str(got) == value, "%s: %s is %r, not %s: %r" % (name, key, got, value, job))
    at = 0
    text = wait_log(p, run, name, log) if log else ""
    for part in log:
        at = text.find(part, at)
        expect(at >= 0, "%s: its output lacks %r (or it stands before the one before): %r" % (name, part, text))


def one(p, path):
    inputs, wanted = read(path)
    expect(wanted and wanted[0][0] == "run", "the first expectation is the run's")
    source = open(path).read()
    p.apply(source)
    name = re.search(r"^name: (\S+)", source, re.M).group(1)
    run = p.start_run(name, inputs=inputs)
    end = p.wait_run(run, wanted[0][1])
    for key, value in wanted[0][2].items():
        expect(end.get(key) == value, "the run's %s is %r" % (key, end.get(key)))
    jobs = p.jobs(run)
    for name, state, fields, log in wanted[1:]:
        expect(name in jobs, "there is no job %s: %s" % (name, ", ".join(jobs)))
        check_job(p, run, jobs[name], state, fields, log)
    expect(not [j for j in jobs.values() if j["state"] in ("waiting", "queued", "ready", "active")], "all have ended")


def main():
    p = Platform(slots=8)
    p.start()
    paths = sorted(glob.glob(os.path.join(HERE, "*.yml")))
    tests = [(os.path.basename(path)[:-4], lambda path=path: one(p, path)) for path in paths]
    code = run_tests(tests, sys.argv)
    if code:
        p.print_logs()
    found = p.sanitizer_findings()
    p.destroy()
    print(found, end="")
    return 1 if found else code


if __name__ == "__main__":
    sys.exit(main())
