#!/usr/bin/env python3
"""Runs of 10,000 jobs: they end right, are counted and paged right, and the orchestrator's memory stays what it is."""

import os
import random
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "model"))
import model  # noqa: E402
from graphs import STATES  # noqa: E402
from hodei import Platform, expect, run_tests, wait_for  # noqa: E402

p = None
JOBS = 10000
MEMORY_MB = 100  # of the orchestrator, at its highest; the compiled versions that it keeps, and the rows of one transaction


def memory_mb(field):
    with open("/proc/%d/status" % p.process("orchestrator")["pid"]) as file:
        return int(re.search(r"^%s:\s+(\d+) kB" % field, file.read(), re.M).group(1)) / 1024


def pages(run, size):
    """Every job of a run as its pages have it."""
    found, token = [], ""
    while True:
        page = p.get("/v1/runs/%s/jobs?page_size=%d%s" % (run, size, "&page_token=" + token if token else ""))
        expect(len(page["jobs"]) <= size, "a page of %d has %d jobs" % (size, len(page["jobs"])))
        found += page["jobs"]
        token = page.get("next_page_token")
        if not token:
            return found


def run_of(name, yaml, state, total):
    began = time.monotonic()
    p.apply(yaml)
    applied = time.monotonic()
    run = p.start_run(name)
    got = p.wait_run(run, state, 240)
    print("        %s: applied in %.1f s, run in %.1f s, orchestrator %.0f MB, at most %.0f MB" %
          (name, applied - began, time.monotonic() - applied, memory_mb("VmRSS"), memory_mb("VmHWM")))
    expect(got["jobs_total"] == got["jobs_ended"] == total, "counts: %d of %d" % (got["jobs_ended"], got["jobs_total"]))
    expect(len(got["jobs"]) == 1000, "a run is shown with its first 1000 jobs: %d" % len(got["jobs"]))
    expect(memory_mb("VmHWM") < MEMORY_MB, "the orchestrator's memory: %.0f MB" % memory_mb("VmHWM"))
    return run, got


def test_wide_fan():
    run, _ = run_of("wide", "hodei: v1\nname: wide\njobs:\n  j0: &j { executor: noop }\n" +
                    "".join("  j%d: *j\n" % i for i in range(1, JOBS)), "succeeded", JOBS)
    for size in (1000, 333):
        jobs = pages(run, size)
        expect([job["name"] for job in jobs] == ["j%d" % i for i in range(JOBS)], "each job once, in order, in pages of %d" % size)
        expect(all(job["state"] == "succeeded" and len(job["attempts"]) == 1 for job in jobs), "each ran once")


def layered():
    """Ten layers of a thousand, jobs with two needs of the layer above; some fail, some are skipped; all meet in one, and in a finally."""
    rng, jobs, width = random.Random(10000), [], (JOBS - 2) // 10
    for i in range(JOBS - 2):
        above = i // width * width - width
        needs = [above + n for n in rng.sample(range(min(width, JOBS - 2 - above)), 2)] if i >= width else []
        job = {"name": "j%d" % i, "finally": False, "output": "", "outcomes": {"j%d" % i: ["s"]},
               "needs": [{"job": "j%d" % n, "when": rng.choice(["always"] * 5 + [None]), "optional": False} for n in needs]}
        if rng.random() < 0.01:
            job["outcomes"][job["name"]] = ["e1"]
            if rng.random() < 0.5:
                job["allow"] = True
        if rng.random() < 0.02:
            job["if"] = ("literal", False)
        jobs.append(job)
    for name, last in (("meet", False), ("after", True)):
        jobs.append({"name": name, "finally": last, "output": "", "outcomes": {name: ["s"]}, "if": ("status", "failure"),
                     "needs": [] if last else [{"job": "j%d" % n, "when": "always", "optional": False} for n in range(JOBS - 2 - width, JOBS - 2)]})
    return jobs


def compact(name, jobs):
    """A definition has 1 MiB at most."""
    lines = ["hodei: v1", "name: " + name, "jobs:"]
    for job in jobs:
        keys = ["run: exit 1" if job["outcomes"][job["name"]] == ["e1"] else "executor: noop"]
        if job["needs"]:
            keys.append("needs: [%s]" % ",".join("{job: %s, when: always}" % n["job"] if n["when"] else n["job"] for n in job["needs"]))
        if "if" in job:
            keys.append("if: %s" % model.text_of(job["if"]))
        if "allow" in job:
            keys.append("allow_failure: true")
        lines += (["finally:"] if job["finally"] else []) + ["  %s: {%s}" % (job["name"], ", ".join(keys))]
    return "\n".join(lines) + "\n"


def test_layers_and_fan_in():
    jobs = layered()
    wanted_run, wanted = model.Model(jobs).solve()
    expect(len({end[0] for end in wanted.values()}) == 3 and len(wanted) == JOBS, "all sorts of ends are expected")
    run, got = run_of("layers", compact("layers", jobs), "failed", JOBS)
    ends = {job["name"]: (STATES[job["state"]], len(job["attempts"]), bool(job.get("failure_allowed"))) for job in pages(run, 1000)}
    wrong = sorted(name for name in wanted if wanted[name] != ends.get(name))
    expect(not wrong and len(ends) == JOBS, "%d end otherwise than the model, such as %r" % (len(wrong), [(n, wanted[n], ends.get(n)) for n in wrong[:5]]))
    expect(wanted_run == model.RUN[got["state"]], "the run's end")
    expect(got["jobs_failed"] == sum(end[0] == model.FAILED and not end[2] for end in wanted.values()), "failures: %d" % got["jobs_failed"])


def test_matrix():
    axis = list(range(100))
    run, _ = run_of("squares", "hodei: v1\nname: squares\njobs:\n  m: { executor: noop, matrix: { axes: { a: %s, b: %s }, exclude: [ { a: 99, b: 99 } ] } }\n"
                    "  after: { needs: [m], executor: noop }\n" % (axis, axis), "succeeded", JOBS)
    jobs = {job["name"]: job for job in pages(run, 1000)}
    expect(set(jobs) == {"m", "after"} | {"m.%d" % i for i in range(1, JOBS)}, "%d jobs are listed" % len(jobs))
    expect(jobs["m"]["matrix_jobs"] == JOBS - 1, "the matrix has %r" % jobs["m"])
    expect(jobs["after"]["started_at_ms"] >= max(j["ended_at_ms"] for n, j in jobs.items() if n != "after"), "the last one waited for all")


def test_cancel():
    p.apply("hodei: v1\nname: cancelled\njobs:\n  first: { run: sleep 600 }\n" +
            "".join("  j%d: { needs: [first], executor: noop }\n" % i for i in range(JOBS - 1)))
    run = p.start_run("cancelled")
    wait_for(lambda: p.get("/v1/runs/%s/jobs?page_size=1" % run)["jobs"][0]["state"] == "active", "the first runs")
    began = time.monotonic()
    expect(p.api("POST", "/v1/runs/%s:cancel" % run).status == 200, "it is cancelled")
    got = p.wait_run(run, "cancelled", 30)
    print("        ended %.1f s after the cancel" % (time.monotonic() - began))
    expect(got["jobs_ended"] == JOBS, "all have ended: %d" % got["jobs_ended"])


def test_one_too_many():
    reply = p.api("POST", "/v1/pipelines", "hodei: v1\nname: toomany\njobs:\n  j0: &j { executor: noop }\n" +
                  "".join("  j%d: *j\n" % i for i in range(1, JOBS + 1)))
    expect(reply.status == 400 and b"10000" in reply.body.replace(b",", b""), "refused, with the limit: %r" % reply)


def test_memory_does_not_grow():
    """The same large run twice more: what the first has needed is enough."""
    p.wait_run(p.start_run("layers"), "failed", 240)
    before = memory_mb("VmRSS")
    p.wait_run(p.start_run("layers"), "failed", 240)
    after = memory_mb("VmRSS")
    print("        %.0f MB, then %.0f MB" % (before, after))
    expect(after < before * 1.2 + 10, "it grows with each run: %.0f MB, %.0f MB" % (before, after))


def main():
    global p
    p = Platform(slots=200)
    p.start()
    code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
