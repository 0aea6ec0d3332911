#!/usr/bin/env python3
"""Placement from outside: workers that differ, jobs that ask for labels and resources, and why a job waits."""

import os
import signal
import subprocess
import sys
import time

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


def waits_because(run, text, job=0, headers={}):
    def look():
        got = explain(run, job)  # without a leader nobody answers: a timeout, and asked again
        expect(text in got[1], got[1])
        return got

    found = wait_for(look, "it waits because %s" % text, 15)
    if headers is not None:  # what a user is told is the same
        path = "/v1/runs/%s/jobs/only:explain" % run
        wait_for(lambda: text in p.api("GET", path, headers=headers).json["text"], "the API says so: %r" % p.api("GET", path, headers=headers))
    return found


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
    p.wait_log(run, b"on large", "a")  # each where its labels say
    p.wait_log(run, b"on small", "b")


def test_a_retry_avoids_the_worker_before():
    def workers(run):
        return [a["worker"] for a in p.jobs(run)["only"]["attempts"]]

    rule = "retry: { limit: 1, avoid_worker: true, backoff: { initial: 0s } }"
    once = "test $HODEI_ATTEMPT = 2"
    run = pipeline("elsewhere", ("only", once, "labels: { os: linux }", rule))
    p.wait_run(run, "succeeded")
    expect(sorted(workers(run)) == ["large", "small"], "the other one: %r" % workers(run))
    run = pipeline("same", ("only", once, "labels: { size: small }", rule))
    p.wait_run(run, "succeeded")
    expect(workers(run) == ["small", "small"], "there is no other: %r" % workers(run))
    mark = os.path.join(p.folder, "go-avoid")
    holder = pipeline("fill", ("only", "while [ ! -e %s ]; do sleep 0.05; done" % mark, "resources: { cpu: 4 }"))
    wait_for(lambda: p.job_state(holder, "only") == "active", "it runs")
    run = pipeline("patient", ("only", once, "resources: { cpu: 1 }", rule))
    reason, _, _ = waits_because(run, 'worker "small" has room, and the attempt before ran there (retry.avoid_worker): wait for 1 other')
    expect(reason == 12, "its own reason: %r" % reason)
    told = p.cli("explain", run, "only").stdout
    expect("retry.avoid_worker" in told, "the command line says so: %r" % told)
    open(mark, "w").close()
    p.wait_run(holder, "succeeded")
    p.wait_run(run, "succeeded")
    expect(workers(run) == ["small", "large"], "it waited for the other: %r" % workers(run))


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
    p.wait_log(big, b"on large")  # the only one that is large enough


def test_room_is_never_exceeded():
    folder = os.path.join(p.folder, "room")
    os.mkdir(folder)
    script = "touch %s/$HODEI_WORKER.$HODEI_ATTEMPT.$HODEI_JOB; ls %s | grep -c ^$HODEI_WORKER; sleep 0.2; rm %s/$HODEI_WORKER.*.$HODEI_JOB"
    jobs = [("j%d" % i, script % (folder, folder, folder), "resources: { cpu: 1 }") for i in range(18)]
    run = pipeline("room", *jobs)
    p.wait_run(run, "succeeded")
    wait_for(lambda: len(p.log(run).split()) == len(jobs), "each has said how many there were")
    most = max(int(x) for x in p.log(run).decode().split())
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


def test_no_worker_has_the_executor():
    """Agents of today have them all: the stored version is made to ask for one that this one does not have."""
    p.apply("hodei: v1\nname: elsewhere-executed\njobs:\n  only: { pool: mixed, run: 'true' }\n")
    where = "where name = 'elsewhere-executed'"
    data = p.sql("select encode(data, 'hex') from orchestrator.pipeline_versions " + where).strip()
    at = data.index(b"mixed".hex()) + len(b"mixed".hex())
    expect(data[at:at + 4] == "4001", "executor is field 8: %r" % data[at:at + 8])
    p.sql("update orchestrator.pipeline_versions set data = '\\x%s' %s" % (data[:at] + "4003" + data[at + 4:], where))
    run = p.start_run("elsewhere-executed")
    waits_because(run, 'of pool "mixed" has the executor kubernetes: start one that has')
    p.api("POST", "/v1/runs/%s:cancel" % run)


def test_silent_workers():
    start_agent("silent", "--labels=size=silent")
    os.kill(agents["silent"].pid, signal.SIGSTOP)
    wait_for(lambda: worker("silent")["state"] == "suspect", "it is suspect", 30)
    run = pipeline("waits-for-silent", ("only", "true", "labels: { size: silent }"))
    waits_because(run, "could run it, and none is online: look at its agent")
    os.kill(agents["silent"].pid, signal.SIGCONT)
    p.wait_run(run, "succeeded")


def test_fair_share():
    eve, mark = p.person("eve", tenant="other"), os.path.join(p.folder, "go-fair")
    hold = "while [ ! -e %s ]; do sleep 0.05; done" % mark
    same = ("resources: { cpu: 1 }", "labels: { size: small }")
    holders = [pipeline("fair-%d" % i, ("only", hold, *same)) for i in range(2)]
    for run in holders:
        wait_for(lambda run=run: p.job_state(run, "only") == "active", "it runs")
    text = "hodei: v1\nname: hers\njobs:\n  only:\n    pool: mixed\n    resources: { cpu: 1 }\n    labels: { size: small }\n    run: 'true'\n"
    expect(p.api("POST", "/v1/pipelines", text, eve).status == 200, "she has pipelines of her own")
    mine = pipeline("fair-mine", ("only", "true", *same))
    waits_because(mine, "it is number 1 of 1 in the queue")
    hers = p.api("POST", "/v1/runs", {"pipeline": "hers"}, eve).json["id"]
    waits_because(hers, "it is number 1 of 2 in the queue", headers=eve)  # she has less of the pool
    waits_because(mine, "1 job of tenants with less goes first, as the weights of the tenants say; it is number 2 of 2")
    expect(p.api("GET", "/v1/runs/%s/jobs/only:explain" % mine, headers=eve).status == 404, "she learns nothing of others")
    open(mark, "w").close()
    for run in holders + [mine]:
        p.wait_run(run, "succeeded")


def test_taints_keep_away():
    start_agent("special", "--cpu=8", "--taints=gpu=only", "--labels=size=special")
    kept = pipeline("kept-away", ("only", "true", "labels: { size: special }"))
    waits_because(kept, "has the taint gpu=only: let the job tolerate it")
    let = pipeline("let-in", ("only", "echo on $HODEI_WORKER", "labels: { size: special }",
                              "tolerations: [{ key: gpu }]"))
    p.wait_run(let, "succeeded")
    p.wait_log(let, b"on special")  # the tainted one
    p.api("POST", "/v1/runs/%s:cancel" % kept)


def test_long_small_jobs_do_not_pass_a_large_one_for_ever():
    """A worker of 2 CPUs has always one job of one CPU at least: each begins before the one before it ends. It takes a minute."""
    start_agent("narrow", "--cpu=2", "--labels=size=narrow")
    same, runs, ended = "labels: { size: narrow }", [], 0

    def mark(i):
        return os.path.join(p.folder, "pass-%d" % i)

    def one():
        i = len(runs)
        runs.append(pipeline("pass-%d" % i, ("only", "while [ ! -e %s ]; do sleep 0.05; done" % mark(i), "resources: { cpu: 1 }", same)))

    def active(i):
        return p.job_state(runs[i], "only") == "active"
    one()
    one()
    wait_for(lambda: active(0) and active(1), "they run")
    large = pipeline("large-one", ("only", "true", "resources: { cpu: 2 }", same))
    waits_because(large, "has 2 CPUs free at the moment")
    began = time.monotonic()

    def kept():
        return "takes nothing else until it has room for it" in explain(large)[1]
    while not kept():
        expect(time.monotonic() < began + 90, "it is passed over: %d small jobs have run" % ended)
        one()
        open(mark(ended), "w").close()
        wait_for(lambda: kept() or active(len(runs) - 1), "the next one runs")
        ended += 1
        time.sleep(1)  # so many are enough
    print("        %d small jobs passed it, %.0f s" % (ended, time.monotonic() - began))
    p.kill("scheduler")  # the next leader knows since when it waits, and keeps the worker free at once
    wait_for(kept, "it is kept free by the next one", 20)
    one()
    waits_because(runs[-1], 'worker "narrow" is kept free for a job that has waited long')
    for i in range(ended, len(runs) - 1):
        open(mark(i), "w").close()
    p.wait_run(large, "succeeded")
    expect(p.job_state(runs[-1], "only") in ("ready", "active"), "the last one came after it")
    open(mark(len(runs) - 1), "w").close()
    p.wait_run(runs[-1], "succeeded")


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
    wait_for(lambda: explain(low)[0] == 2, "the leader forgets what has ended")


def test_the_priority_is_changed_while_it_waits():
    mark = os.path.join(p.folder, "go-prio")
    same = ("resources: { cpu: 2 }", "labels: { size: small }")
    holder = pipeline("hold-prio", ("a", "while [ ! -e %s ]; do sleep 0.05; done" % mark, *same))
    wait_for(lambda: p.job_state(holder, "a") == "active", "it runs")
    older = pipeline("older", ("only", "true", *same))
    waits_because(older, "it is number 1 of 1 in the queue")
    newer = pipeline("newer", ("only", "true", *same))
    waits_because(newer, "it is number 2 of 2 in the queue")
    expect(p.api("POST", "/v1/runs/%s:prioritize" % newer, {"priority": 5}).status == 200, "raised")
    waits_because(newer, "it is number 1 of 2 in the queue")
    waits_because(older, "1 job of higher priority goes first: raise its priority above 0")
    p.limit(1)  # the same before the grant: what waits there is admitted by priority
    last = pipeline("prio-last", ("only", "true", *same))
    before = pipeline("prio-before", ("only", "true", *same))
    wait_for(lambda: p.job_state(last, "only") == p.job_state(before, "only") == "queued", "they wait for quota")
    expect(p.api("POST", "/v1/runs/%s:prioritize" % before, {"priority": 3}).status == 200, "raised")
    open(mark, "w").close()
    ends = [p.wait_run(run, "succeeded") and int(p.jobs(run)["only"]["started_at_ms"]) for run in (newer, older, before, last)]
    p.limit(1000)
    expect(ends == sorted(ends), "in the order of their priorities: %r" % ends)


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
    if len(sys.argv) == 1:
        tests = [one for one in tests if not one[0].startswith("long_")]  # those are asked for by name
    code = run_tests(tests, sys.argv)
    for agent in agents.values():
        agent.terminate()
    for agent in agents.values():
        agent.wait(30)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
