#!/usr/bin/env python3
"""Two replicas of each service: killed one after another during a run, then one of each stopped for good."""

import concurrent.futures
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import SERVICES, Platform, expect, run_tests, wait_for  # noqa: E402
from judge import Client  # noqa: E402

p = None
LAYER, LAYERS, SCHEDULES = 100, 3, 12


def graph(name, folder, layer=LAYER, seconds=0.3):
    """Layers of jobs that need two of the layer above each; every job leaves its lines in a file and in its log."""
    lines = ["hodei: v1", "name: " + name, "jobs:"]
    for i in range(layer * LAYERS):
        needs = [i - layer, (i - layer + 1) % layer + (i // layer - 1) * layer] if i >= layer else []
        lines.append("  j%d: { needs: [%s], run: 'echo begin >>%s/j%d; sleep %g; echo end >>%s/j%d; seq %d %d' }" %
                     (i, ", ".join("j%d" % n for n in needs), folder, i, seconds, folder, i, i, i + 20))
    return "\n".join(lines) + "\n"


def start_graph(name, **about):
    folder = os.path.join(p.folder, name)
    os.makedirs(folder)
    os.chmod(folder, 0o777)
    p.apply(graph(name, folder, **about))
    return folder, p.start_run(name)


def check_graph(folder, run, layer=LAYER):
    got = p.wait_run(run, "succeeded", 120)
    expect(got["jobs_total"] == got["jobs_ended"] == layer * LAYERS, "counts: %r" % got)
    jobs = p.jobs(run)
    expect(len(jobs) == layer * LAYERS, "%d jobs are listed" % len(jobs))
    for name, job in jobs.items():
        with open(os.path.join(folder, name)) as file:
            did = file.read()
        expect(did == "begin\nend\n" and len(job["attempts"]) == 1, "%s ran once: %r, %r" % (name, did, job))
    for name in jobs:
        n = int(name[1:])
        want = b"".join(b"%d\n" % i for i in range(n, n + 21))
        wait_for(lambda name=name, want=want: p.log(run, name) == want, "the log of %s is whole" % name, 20)


def names():
    return [name + suffix for name in SERVICES for suffix in ("", "-2")]


def start_anyhow(pipeline, key):
    client = Client(p, 30, 20)
    client.call("POST", "/v1/runs", {"pipeline": pipeline}, key)
    # 504: who was to answer has died with the question; it may have made the run. Who may do what is no such question.
    bad = [x for x in client.refused if x[0] == 504 and b'service \\"auth' in x[1]]
    expect(not bad, "a start is %r" % bad)


def test_two_of_each():
    processes = {x["name"]: x for x in p.read_info()["processes"]}
    expect(set(names()) <= set(processes), "all are there: %r" % sorted(processes))
    ports = [processes[n]["http_port"] for n in ("api-gateway", "api-gateway-2")]
    expect(p.info["server"].endswith(":%d" % ports[0]) and ports[1] != ports[0], "each gateway has its own port: %r" % ports)
    for name in names():
        wait_for(lambda name=name: p.ready(name), "%s is ready" % name)
    p.apply("hodei: v1\nname: short\njobs: { a: { executor: noop }, b: { needs: [a], executor: noop } }\n")
    for p.gateway in (ports[1], None):
        run = p.start_run("short")
        p.wait_run(run, "succeeded")


def test_one_of_them_explains():
    """Every scheduler hears the question; the one that leads the pool answers."""
    p.apply("hodei: v1\nname: nowhere\njobs: { only: { labels: { gpu: large }, run: 'true' } }\n")
    run = p.start_run("nowhere")
    for p.gateway in (p.process("api-gateway-2")["http_port"], None):
        for _ in range(5):
            said = wait_for(lambda: (lambda x: "gpu" in x.get("text", "") and x)(p.get("/v1/runs/%s/jobs/only:explain" % run)), "it is explained")
    print("        " + said["text"])
    p.api("POST", "/v1/runs/%s:cancel" % run)
    p.wait_run(run, "cancelled")


def tick_all(missed):
    """Every schedule has missed that tick; all replicas see it at once."""
    p.sql("UPDATE pipelines.schedules SET tick_ms = %d, again_ms = 0" % (missed * 1000))


def test_killed_in_turn():
    """A run goes on, runs are started, schedules tick, while each replica is killed and comes back."""
    missed = int(time.time()) // 60 * 60 - 60
    minute = time.strftime("%M %H * * *", time.gmtime(missed))
    for i in range(SCHEDULES):
        p.apply("hodei: v1\nname: tick-%d\non: { cron: [ { expr: '%s', timezone: Etc/UTC } ] }\njobs: { a: { executor: noop } }\n" % (i, minute))
    folder, run = start_graph("killed")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        starts = []
        for i, name in enumerate(names()):
            begun = 4 + i * (LAYER * LAYERS - 40) // len(names())
            wait_for(lambda begun=begun: len(os.listdir(folder)) >= begun, "%d jobs have begun" % begun)
            if name == "pipelines":
                tick_all(missed)
            starts += [pool.submit(start_anyhow, "short", "start-%d-%d" % (i, n)) for n in range(4)]
            p.gateway = p.process("api-gateway-2" if name == "api-gateway" else "api-gateway")["http_port"]
            p.kill(name)
            wait_for(lambda name=name: p.ready(name), "%s is ready again" % name)
            p.run(run)  # somebody answers
        for start in starts:
            start.result()
    p.gateway = None
    check_graph(folder, run)
    for i in range(SCHEDULES):
        wait_for(lambda i=i: p.get("/v1/runs?pipeline=tick-%d" % i)["runs"], "schedule %d has ticked" % i)
    wait_for(lambda: not int(p.sql("SELECT count(*) FROM orchestrator.runs WHERE ended_ms IS NULL")), "every run has ended")
    counts = p.sql("SELECT pipeline, count(*), min(state), max(state) FROM orchestrator.runs GROUP BY 1 ORDER BY 1").split("\n")
    counts = {x.split("|")[0]: x.split("|")[1:] for x in counts if x}
    want = dict({"tick-%d" % i: "1" for i in range(SCHEDULES)}, killed="1", nowhere="1", short=str(2 + 4 * len(names())))
    expect({name: row[0] for name, row in counts.items()} == want, "each start and each tick is one run: %r" % counts)
    expect(all(row[1] == row[2] for row in counts.values()), "all succeeded: %r" % counts)
    twice = p.sql("SELECT count(*) FROM (SELECT 1 FROM orchestrator.attempts GROUP BY run_id, idx HAVING count(*) > 1) x")
    expect(int(twice) == 0, "no job has a second attempt")


def test_one_of_each_is_enough():
    """The first replica of every second service leaves, the second of the others; what stays does the work."""
    folder, run = start_graph("alone", layer=30)
    wait_for(lambda: os.listdir(folder), "it has begun")
    left = [name + ("-2" if i % 2 else "") for i, name in enumerate(SERVICES)]
    p.gateway = p.process("api-gateway-2")["http_port"]
    for name in left:
        os.kill(p.process(name)["pid"], signal.SIGTERM)
    for name in left:
        wait_for(lambda name=name: p.process(name)["pid"] == 0, "%s has left" % name)
    check_graph(folder, run, 30)
    run = p.start_run("short")
    p.wait_run(run, "succeeded")
    expect(all(p.process(name)["pid"] == 0 for name in left), "who left stays away")
    staying = "scheduler" if "scheduler-2" in left else "scheduler-2"
    p.kill(staying, signal.SIGTERM)  # the last one is started again, also when it was asked to end
    p.wait_run(p.start_run("short"), "succeeded")


def main():
    global p
    p = Platform(slots=8, replicas=2)
    p.start()
    code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
