#!/usr/bin/env python3
"""Workers from outside: what people see of them, cordon and drain, what their agents refuse, how they stop and are checked."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import Platform, expect, run_tests, wait_for  # noqa: E402

p = None  # the platform that the tests share


def get(name="agent-1"):
    return p.get("/v1/workers/" + name)


def start(name, script, *lines):
    p.apply("hodei: v1\nname: %s\njobs:\n  only:\n%s    run: |\n      %s\n" %
            (name, "".join("    %s\n" % line for line in lines), script.replace("\n", "\n      ")))
    return p.start_run(name)


def explain(run):
    return p.get("/v1/runs/%s/jobs/only:explain" % run)


def test_worker_is_shown():
    worker = wait_for(lambda: get().get("load") and get(), "its load is known")
    expect(worker["load"]["memory_bytes_total"] > 1 << 20 and worker["load"]["disk_bytes_free"] > 1 << 20, "%r" % worker["load"])
    expect(worker["state"] == "online" and "cordon" not in worker, "%r" % worker)
    shown = p.cli("worker", "get", "agent-1").stdout
    expect("machine:" in shown and "disk free" in shown and "slots" in shown, shown)
    expect(p.api("GET", "/v1/workers/nobody").status == 404, "no such worker")


def test_cordon_keeps_new_jobs_away():
    gate = os.path.join(p.folder, "gate")
    running = start("cordon-running", "touch %s.there; while [ ! -e %s ]; do sleep 0.05; done" % (gate, gate))
    wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
    expect("cordoned" in p.cli("worker", "cordon", "agent-1", "--reason", "new kernel").stdout, "it says so")
    waiting = start("cordon-waiting", "echo ran")
    told = wait_for(lambda: (lambda e: "cordon" in e["text"] and e)(explain(waiting)), "explain says it")
    expect("hodei worker uncordon agent-1" in told["text"], "%r" % told)
    p.kill("agent-1")  # the cordon outlives the agent
    wait_for(lambda: get()["joined_at_ms"] / 1000 > time.time() - 60 and get()["state"] == "online", "it is back")
    cordon = get()["cordon"]
    expect(cordon["mode"] == "cordoned" and cordon["reason"] == "new kernel" and cordon["actor"], "%r" % cordon)
    expect("new kernel" in p.cli("worker", "get", "agent-1").stdout, "who and why")
    open(gate, "w").close()
    p.wait_run(running, "succeeded")  # what was there goes on
    expect(p.job_state(waiting, "only") == "ready", "nothing new was placed")
    p.cli("worker", "uncordon", "agent-1", "--reason", "done")
    p.wait_run(waiting, "succeeded")
    actions = [(a["action"], a["reason"]) for a in get()["actions"]]
    expect(actions == [("cordon", "new kernel"), ("uncordon", "done")], "%r" % actions)


def test_drain_ends_when_the_jobs_have():
    gate = os.path.join(p.folder, "drain")
    running = start("drain", "touch %s.there; while [ ! -e %s ]; do sleep 0.05; done" % (gate, gate))
    wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
    p.cli("worker", "drain", "agent-1")
    wait_for(lambda: time.time() - get()["cordon"]["at_ms"] / 1000 > 12, "long enough for an empty one to be drained", 20)
    expect(get()["cordon"]["mode"] == "draining", "while a job runs: %r" % get()["cordon"])
    open(gate, "w").close()
    p.wait_run(running, "succeeded")
    wait_for(lambda: get()["cordon"]["mode"] == "drained", "it is drained", 20)
    expect("drained" in p.cli("worker", "list").stdout, "in the list too")
    p.cli("worker", "uncordon", "agent-1")


def test_no_permission():
    p.sql("insert into auth.tokens (sha256, subject, tenant, permissions, created_at_ms) values (sha256('reader'), "
          "'token:reader', 'default', array['worker.read'], 0)")
    header = {"Authorization": "Bearer reader"}
    expect(p.raw("GET", "/v1/workers/agent-1", None, header).status == 200, "may read")
    reply = p.raw("POST", "/v1/workers/agent-1:cordon", None, header)
    expect(reply.status == 403 and "worker.write" in reply.body.decode(), "may not cordon: %r" % reply)


def main():
    global p
    p = Platform(agents=1, slots=4).start()
    try:
        return run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    finally:
        if p.dev and p.dev.poll() is None and sys.exc_info()[0]:
            p.print_logs()
        p.destroy()


if __name__ == "__main__":
    sys.exit(main())
