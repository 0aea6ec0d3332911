#!/usr/bin/env python3
"""Placement from outside: workers that differ, jobs that ask for labels and resources, and why a job waits."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import BUILD, Platform, expect, run_tests, wait_for  # noqa: E402

p = None  # the platform that the tests share; its own agent is in the pool "default", those of the tests in "mixed"
agents = {}


def start_agent(name, *settings):
    with open(os.path.join(p.folder, name + ".out"), "ab") as out:
        agents[name] = subprocess.Popen(
            [os.path.join(BUILD, "hodei-agent"), "--name=" + name, "--pool=mixed", "--state=" + os.path.join(p.folder, name),
             "--nats=" + p.info["nats"], "--nats-user=" + p.info["nats_user"],
             "--nats-password-file=" + p.info["nats_password_file"], "--join-token-file=" + p.info["join_token_file"],
             "--on-stop=stop", *settings], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    wait_for(lambda: worker(name)["state"] == "online", "%s is online" % name)


def worker(name):
    for one in p.get("/v1/workers")["workers"]:
        if one["name"] == name:
            return one
    raise KeyError(name)


def pipeline(name, *jobs):
    """Each job: (name, script, further lines)."""
    text = "hodei: v1\nname: %s\njobs:\n" % name
    for job, script, *lines in jobs:
        text += "  %s:\n    pool: mixed\n%s    run: |\n      %s\n" % (job, "".join("    %s\n" % x for x in lines), script)
    p.apply(text)
    return p.start_run(name)


# --- as much of protobuf as the question wants ------------------------------------------------------------------------


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def read(data):
    found, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        key = number()
        if key & 7 == 2:
            size = number()
            found.setdefault(key >> 3, []).append(data[at:at + size])
            at += size
        else:
            found.setdefault(key >> 3, []).append(number())
    return found


def explain(run, job=0, pool="mixed"):
    """(reason, sentence, position) by the leader of the pool."""
    nats = p.nats()
    try:
        question = field(1, pool) + field(2, field(1, run) + field(2, job))
        nats.socket.settimeout(3)
        reply = read(nats.request("hodei.rpc.scheduler.ExplainJobs", field(5, question)))
    finally:
        nats.close()
    expect(1 not in reply, "it is answered: %r" % reply)
    verdict = read(read(reply[3][0])[1][0])
    return verdict.get(3, [0])[0], verdict.get(4, [b""])[0].decode(), verdict.get(5, [0])[0]


def waits_because(run, text, job=0):
    def look():
        got = explain(run, job)  # without a leader nobody answers: a timeout, and asked again
        expect(text in got[1], got[1])
        return got

    return wait_for(look, "it waits because %s" % text, 15)


# --- tests ------------------------------------------------------------------------------------------------------------


def test_no_worker_yet():
    run = pipeline("early", ("only", "echo $HODEI_WORKER"))
    waits_because(run, 'pool "mixed" has no worker: start an agent for it')
    start_agent("small", "--cpu=2", "--memory=1Gi", "--labels=size=small,os=linux")
    p.wait_run(run, "succeeded")
    start_agent("large", "--cpu=4", "--memory=4Gi", "--gpu=1", "--labels=size=large,os=linux")


def test_workers_say_what_they_have():
    small, large, own = worker("small")["capacity"], worker("large")["capacity"], worker("agent-1")["capacity"]
    expect(int(small["cpu_milli"]) == 2000 and int(small["memory_bytes"]) == 1 << 30, "as the settings say: %r" % small)
    expect(int(large["gpu"]) == 1 and int(large["disk_bytes"]) > 0, "the rest as it is found: %r" % large)
    expect(int(own["cpu_milli"]) == 1000 * len(os.sched_getaffinity(0)), "as it is found: %r" % own)
    expect(int(own["memory_bytes"]) > 1 << 26, "as it is found: %r" % own)


def test_labels_choose():
    run = pipeline("choose", ("a", "echo on $HODEI_WORKER", "labels: { size: large }"),
                   ("b", "echo on $HODEI_WORKER", "labels: { size: small, os: linux }"))
    p.wait_run(run, "succeeded")
    expect(b"on large" in p.log(run, "a") and b"on small" in p.log(run, "b"), "each where its labels say")


def test_a_job_waits_for_room_and_then_runs():
    mark = os.path.join(p.folder, "go")
    holder = pipeline("holder", ("only", "while [ ! -e %s ]; do sleep 0.05; done" % mark, "resources: { cpu: 3 }"))
    wait_for(lambda: p.job_state(holder, "only") == "active", "it runs")
    big = pipeline("big", ("only", "echo on $HODEI_WORKER", "resources: { cpu: 2.5, memory: 2Gi }"))
    reason, text, position = waits_because(big, "2.5 CPUs free at the moment, the most is 1 CPU")
    expect(reason == 9 and position == 1, "busy, first in the queue: %r" % text)
    little = pipeline("little", ("only", "true", "resources: { cpu: 500m }"))
    p.wait_run(little, "succeeded")  # what fits is not held up by what does not
    expect(p.job_state(big, "only") == "ready", "it still waits")
    open(mark, "w").close()
    p.wait_run(holder, "succeeded")
    p.wait_run(big, "succeeded")
    expect(b"on large" in p.log(big), "on the only one that is large enough")


def test_room_is_never_exceeded():
    folder = os.path.join(p.folder, "room")
    os.mkdir(folder)
    script = "touch %s/$HODEI_WORKER.$HODEI_ATTEMPT.$HODEI_JOB; ls %s | grep -c ^$HODEI_WORKER; sleep 0.2; rm %s/$HODEI_WORKER.*.$HODEI_JOB"
    jobs = [("j%d" % i, script % (folder, folder, folder), "resources: { cpu: 1 }") for i in range(18)]
    run = pipeline("room", *jobs)
    p.wait_run(run, "succeeded")
    most = max(int(x) for x in p.log(run).decode().split() if x.isdigit())
    expect(1 < most <= 4, "at most one job a CPU: %d at once" % most)


def test_reasons():
    for job, text in (
            ("labels: { size: huge }", 'no worker of pool "mixed" has the label size=huge: 2 of 2 workers lack only that'),
            ("labels: { size: small, arch: arm64 }", "has the label arch=arm64: 1 of 2 workers lacks only that"),
            ("resources: { cpu: 16 }", "the job asks for 16 CPUs, and the largest of 2 workers of pool \"mixed\" has 4 CPUs"),
            ("resources: { memory: 100Gi }", "asks for 100 GiB of memory, and the largest of 2 workers"),
            ("executor: noop\n    labels: { os: none }", "has the label os=none")):
        run = pipeline("why", ("only", "true", job))
        waits_because(run, text)
        p.api("POST", "/v1/runs/%s:cancel" % run)


def test_taints_keep_away():
    start_agent("special", "--cpu=8", "--taints=gpu=only", "--labels=size=special")
    kept = pipeline("kept-away", ("only", "true", "labels: { size: special }"))
    waits_because(kept, "has the taint gpu=only: let the job tolerate it")
    let = pipeline("let-in", ("only", "echo on $HODEI_WORKER", "labels: { size: special }",
                              "tolerations: [{ key: gpu }]"))
    p.wait_run(let, "succeeded")
    expect(b"on special" in p.log(let), "on the tainted one")
    p.api("POST", "/v1/runs/%s:cancel" % kept)


def test_priority_and_position():
    mark = os.path.join(p.folder, "go-2")
    hold = "while [ ! -e %s ]; do sleep 0.05; done" % mark
    holder = pipeline("hold-both", ("a", hold, "resources: { cpu: 2 }", "labels: { size: small }"))
    wait_for(lambda: p.job_state(holder, "a") == "active", "it runs")
    same = ("resources: { cpu: 2 }", "labels: { size: small }")
    low = pipeline("low", ("only", "true", *same))
    waits_because(low, "it is number 1 of 1 in the queue")
    high = pipeline("high", ("only", "true", "priority: 10", *same))
    waits_because(high, "it is number 1 of 2 in the queue")
    waits_because(low, "1 job of higher priority goes first: raise its priority above 0")
    open(mark, "w").close()
    for run in (holder, high, low):
        p.wait_run(run, "succeeded")
    expect(explain(low)[0] == 2, "the leader forgets what has ended")


def test_a_new_leader_knows_what_is_taken():
    mark = os.path.join(p.folder, "go-3")
    holder = pipeline("holder", ("only", "while [ ! -e %s ]; do sleep 0.05; done" % mark, "resources: { gpu: 1 }"))
    wait_for(lambda: p.job_state(holder, "only") == "active", "it runs")
    p.kill("scheduler")
    next_one = pipeline("next", ("only", "true", "resources: { gpu: 1 }"))
    waits_because(next_one, "has 1 GPU free at the moment, the most is 0 GPUs")
    open(mark, "w").close()
    p.wait_run(next_one, "succeeded")


def main():
    global p
    p = Platform(slots=4)
    p.start()
    tests = [(name[5:], function) for name, function in globals().items() if name.startswith("test_")]
    code = run_tests(tests, sys.argv)
    for agent in agents.values():
        agent.terminate()
    for agent in agents.values():
        agent.wait(30)
    if code:
        p.print_logs()
    found = p.sanitizer_findings()
    p.destroy()
    print(found, end="")
    return 1 if found else code


if __name__ == "__main__":
    sys.exit(main())
