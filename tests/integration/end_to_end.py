"""The whole platform from outside: HTTP, the CLI, the bus. Every process is real."""

import base64
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import ENDED, HODEI, Platform, alive, expect, run_tests, wait_for  # noqa: E402

p = None  # the platform that the tests share


def one_job(name, script, extra=""):
    lines = "".join("      %s\n" % line for line in script.splitlines())
    return "hodei: v1\nname: %s\njobs:\n  only:\n%s    run: |\n%s" % (name, extra, lines)


def run_one(name, script, extra="", state="succeeded"):
    p.apply(one_job(name, script, extra))
    run = p.start_run(name)
    p.wait_run(run, state)
    return run


# --- the path --------------------------------------------------------------------------------------------------------


def test_start():
    print("        ready after %.1f s" % p.start_seconds)
    out = p.output()
    expect(p.info["server"] in out, "the address is shown")
    expect("admin-token" in out, "where the token is is shown")
    expect(p.token not in json.dumps(p.info), "the token is not in dev.json")
    workers = p.get("/v1/workers")["workers"]
    expect(len(workers) == 1 and workers[0]["state"] == "online", "one worker: %r" % workers)


def test_health():
    services = [x for x in p.info["processes"] if x["name"] not in ("postgres", "nats") and x["port"]]
    expect(len(services) >= 8, "eight services have health pages: %r" % services)
    import urllib.request
    for service in services:
        for path in ("livez", "readyz", "metrics"):
            with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (service["port"], path), timeout=5) as reply:
                body = reply.read()
                expect(reply.status == 200, "%s/%s" % (service["name"], path))
        expect(b"hodei_" in body and b"# TYPE" in body, "%s has metrics" % service["name"])


def test_pipelines():
    first = p.apply(one_job("crud", "true"))
    expect(first["changed"] and first["pipeline"]["version"] == 1, "first version: %r" % first)
    again = p.apply(one_job("crud", "true"))
    expect(not again.get("changed") and again["pipeline"]["version"] == 1, "the same changes nothing: %r" % again)
    second = p.apply(one_job("crud", "false"))
    expect(second["pipeline"]["version"] == 2, "second version: %r" % second)
    expect("false" in p.get("/v1/pipelines/crud")["source"], "the newest source")
    expect("true" in p.get("/v1/pipelines/crud?version=1")["source"], "the old source")
    expect("crud" in [x["name"] for x in p.get("/v1/pipelines")["pipelines"]], "listed")
    reply = p.api("POST", "/v1/pipelines:validate", one_job("valid-only", "true"))
    expect(reply.status == 200, "validate: %r" % reply)
    expect(p.api("GET", "/v1/pipelines/valid-only").status == 404, "validate stores nothing")
    expect(p.api("DELETE", "/v1/pipelines/crud").status == 204, "deleted")
    expect(p.api("GET", "/v1/pipelines/crud").status == 404, "gone")
    reply = p.api("POST", "/v1/runs", {"pipeline": "crud"})
    expect(reply.status in (404, 412), "no run of a deleted pipeline: %r" % reply)


def test_graph():
    p.apply("""
hodei: v1
name: graph
env: { A: pipeline, B: pipeline }
jobs:
  first:
    env: { B: job }
    run: echo "first $A $B $C"
  left:
    needs: [first]
    command: [/bin/echo, "left is", "$A"]
  right:
    needs: [first]
    steps:
      - run: echo right one
      - command: [sh, -c, "echo right two >&2"]
  last:
    needs: [left, right]
    run: echo last
""")
    run = p.start_run("graph", env={"C": "run"})
    got = p.wait_run(run, "succeeded")
    expect(got["jobs_total"] == 4 and got["jobs_ended"] == 4, "counts: %r" % got)
    jobs = p.jobs(run)
    expect(jobs["last"]["started_at_ms"] >= max(jobs["left"]["ended_at_ms"], jobs["right"]["ended_at_ms"]), "order")
    expect(all(len(j["attempts"]) == 1 for j in jobs.values()), "one attempt each")
    p.wait_log(run, b"last")
    p.wait_log(run, b"first", "first")
    p.wait_log(run, b"left", "left")
    p.wait_log(run, b"two", "right")
    expect(p.log(run, "first") == b"first pipeline job run\n", "env: %r" % p.log(run, "first"))
    expect(p.log(run, "left") == b"left is $A\n", "no shell: %r" % p.log(run, "left"))
    expect(p.log(run, "right") == b"right one\nright two\n", "both steps: %r" % p.log(run, "right"))


def test_failure():
    p.apply("""
hodei: v1
name: fails
jobs:
  bad: { run: "exit 3" }
  killed: { run: "kill -9 $$" }
  missing: { command: [/no/such/program] }
  after: { needs: [bad], run: echo never }
  beside: { run: echo beside }
""")
    run = p.start_run("fails")
    p.wait_run(run, "failed")
    jobs = p.jobs(run)
    states = {name: job["state"] for name, job in jobs.items()}
    expect(states == {"bad": "failed", "killed": "failed", "missing": "failed", "after": "skipped", "beside": "succeeded"},
           "states: %r" % states)
    expect(jobs["bad"]["attempts"][0]["exit_code"] == 3, "exit code: %r" % jobs["bad"])
    expect(jobs["killed"]["attempts"][0]["signal"] == 9, "signal: %r" % jobs["killed"])
    missing = jobs["missing"]["attempts"][0]
    expect(missing["cause"] == "start_failed" and "/no/such/program" in missing["message"], "why: %r" % missing)


def test_log_is_whole():
    run = run_one("bulk", "seq 1 400000; echo end >&2")
    want = b"".join(b"%d\n" % i for i in range(1, 400001)) + b"end\n"
    wait_for(lambda: len(p.log(run)) >= len(want), "all %d bytes are stored" % len(want))
    expect(p.log(run) == want, "exact and in order")


def test_usage():
    run = run_one("usage", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    usage = p.jobs(run)["only"]["attempts"][0]["usage"]
    expect(int(usage.get("user_ms", 0)) > 20, "CPU time is counted: %r" % usage)
    expect(int(usage["max_rss_bytes"]) > 100000, "memory is counted: %r" % usage)


def test_idempotency():
    p.apply(one_job("once", "true"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: p.start_run("once", key="the-key"), range(16)))
    expect(len(ids) == 1, "one run: %r" % ids)
    reply = p.api("POST", "/v1/runs", {"pipeline": "once"}, {"Idempotency-Key": "the-key"})
    expect(reply.json["existing"] is True, "said so: %r" % reply)
    expect(len(p.get("/v1/runs?pipeline=once")["runs"]) == 1, "one in the list")


def test_noop():
    p.apply("hodei: v1\nname: noops\njobs:\n" + "".join("  j%d: { executor: noop }\n" % i for i in range(500)))
    run = p.start_run("noops")
    p.wait_run(run, "succeeded")
    jobs = p.jobs(run)
    expect(len(jobs) == 500 and all(len(j["attempts"]) == 1 for j in jobs.values()), "each once")


def test_quota():
    folder = os.path.join(p.folder, "quota")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o777)
    try:
        p.limit(2)
        p.apply("hodei: v1\nname: limited\njobs:\n" + "".join(
            "  j%d: { run: 'mkdir %s/$$; ls %s | wc -l; sleep 0.2; rmdir %s/$$' }\n" % (i, folder, folder, folder) for i in range(8)))
        run = p.start_run("limited")
        p.wait_run(run, "succeeded")
        counts = []
        for name in p.jobs(run):
            wait_for(lambda name=name: p.log(run, name).strip(), "log of %s" % name)
            counts.append(int(p.log(run, name)))
        expect(max(counts) <= 2, "at most two at once: %r" % counts)
    finally:
        p.limit(1000)


def test_many_runs_at_once():
    p.apply(one_job("crowd", "echo $$"))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: p.start_run("crowd"), range(100)))
    for run in runs:
        p.wait_run(run, "succeeded")
    expect(len(set(runs)) == 100, "each its own")


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_cancel_running():
    mark = os.path.join(p.folder, "cancel.pid")
    p.apply("""
hodei: v1
name: cancel-me
jobs:
  long:
    run: |
      setsid sleep 600 &
      echo $! >%s.new; mv %s.new %s
      sleep 600
  later: { needs: [long], run: echo never }
""" % (mark, mark, mark))
    run = p.start_run("cancel-me")
    wait_for(lambda: os.path.exists(mark), "the job runs")
    expect(p.api("POST", "/v1/runs/%s:cancel" % run).status == 200, "cancelled")
    p.wait_run(run, "cancelled")
    jobs = p.jobs(run)
    expect(jobs["long"]["state"] == "cancelled" and jobs["later"]["state"] == "cancelled", "%r" % jobs)
    with open(mark) as file:
        daemon = int(file.read())
    wait_for(lambda: not alive(daemon), "the daemonised child is gone", 5)
    expect(p.api("POST", "/v1/runs/%s:cancel" % run).status in (200, 409, 412), "a second cancel harms nothing")
    expect(p.run(run)["state"] == "cancelled", "the end does not change")


def test_cancel_waiting():
    p.apply(one_job("nowhere", "true", "    labels: { planet: mars }\n"))
    run = p.start_run("nowhere")
    wait_for(lambda: p.job_state(run, "only") == "ready", "ready, and no worker has the label")
    p.api("POST", "/v1/runs/%s:cancel" % run)
    p.wait_run(run, "cancelled", 10)


def test_cancel_at_any_moment():
    p.apply(one_job("fleeting", "echo hello"))
    runs = []
    for i in range(30):
        run = p.start_run("fleeting")
        time.sleep(i * 0.002)  # at another point of its life each time
        p.api("POST", "/v1/runs/%s:cancel" % run)
        runs.append(run)
    states = [p.wait_run(run)["state"] for run in runs]
    expect(set(states) <= {"cancelled", "succeeded"}, "%r" % states)


def test_stubborn_job_is_killed():
    mark = os.path.join(p.folder, "stubborn.pid")
    p.apply(one_job("stubborn", "trap '' TERM\necho $$ >%s\nwhile :; do sleep 0.1; done" % mark, "    cancel_grace: 1s\n"))
    run = p.start_run("stubborn")
    wait_for(lambda: os.path.exists(mark) and open(mark).read().strip(), "the job runs")
    p.api("POST", "/v1/runs/%s:cancel" % run)
    p.wait_run(run, "cancelled", 15)
    expect(not alive(int(open(mark).read())), "killed")


def test_timeout():
    run = run_one("slow", "sleep 600", "    timeout: 1s\n    cancel_grace: 1s\n", "failed")
    expect(p.job_state(run, "only") == "timed_out", "timed out")


# --- the CLI ---------------------------------------------------------------------------------------------------------


def test_cli():
    yaml = one_job("by-cli", "echo one; sleep 0.3; echo two")
    path = os.path.join(p.folder, "by-cli.yml")
    with open(path, "w") as file:
        file.write(yaml)
    p.cli("pipeline", "apply", path)
    expect("by-cli" in p.cli("pipeline", "list").stdout, "listed")
    expect(p.cli("pipeline", "get", "by-cli").stdout == yaml, "source")
    run = p.cli("run", "start", "by-cli").stdout.strip()
    followed = p.cli("logs", "-f", run).stdout
    expect("one" in followed and "two" in followed, "followed: %r" % followed)
    watched = p.cli("run", "watch", run).stdout
    expect("succeeded" in watched, "watched: %r" % watched)
    expect(run in p.cli("run", "list").stdout, "in the list")
    expect(json.loads(p.cli("run", "get", run, "-o", "json").stdout)["state"] == "succeeded", "as JSON")
    expect("agent-1" in p.cli("worker", "list").stdout, "workers")
    p.apply(one_job("by-cli-bad", "exit 1"))
    done = p.cli("run", "start", "by-cli-bad", "--watch", code=None)
    expect(done.returncode != 0, "a failed run is an exit status")
    p.cli("pipeline", "delete", "by-cli")
    done = p.cli("pipeline", "get", "by-cli", code=None)
    expect(done.returncode != 0 and "by-cli" in done.stderr, "an error names what is missing: %r" % done.stderr)
    long = p.start_long("cli-cancel")
    p.cli("run", "cancel", long)
    p.wait_run(long, "cancelled")


def test_schedules():
    missed = int(time.time()) // 60 * 60 - 60
    expr = time.strftime("%M %H * * *", time.gmtime(missed))
    cron = "on: { cron: [ { expr: '%s', timezone: Etc/UTC } ] }\n" % expr
    p.apply(one_job("by-clock", "echo tick") + "\n" + cron)
    schedule, = p.get("/v1/schedules?pipeline=by-clock")["schedules"]
    expect(len(schedule["next_at_ms"]) == 5 and not schedule.get("paused"), "five times ahead: %r" % schedule)
    expect(schedule["trigger"]["timezone"] == "Etc/UTC", "its zone: %r" % schedule)
    listed = p.cli("schedule", "list").stdout
    expect(schedule["id"] in listed and expr in listed, "listed: %r" % listed)
    p.cli("schedule", "pause", schedule["id"], "--reason", "too early")
    expect("too early" in p.cli("schedule", "list", "--pipeline", "by-clock").stdout, "paused, with the reason")
    expect(p.get("/v1/schedules?pipeline=by-clock")["schedules"][0]["paused"], "paused")
    p.cli("schedule", "resume", schedule["id"])
    # Tomorrow is not waited for: it is told that it has missed today.
    p.sql("UPDATE pipelines.schedules SET tick_ms = %d, again_ms = 0" % (missed * 1000))

    def started():
        return p.get("/v1/schedules?pipeline=by-clock")["schedules"][0].get("last_run")

    run = wait_for(started, "the tick has started a run")
    expect(p.wait_run(run, "succeeded")["pipeline"] == "by-clock", "of its pipeline")
    expect(len(p.get("/v1/runs?pipeline=by-clock")["runs"]) == 1, "one run")
    problem = check_problem(p.api("POST", "/v1/pipelines", one_job("x", "true") + "\n" + cron.replace("Etc/", "Etcetera/")), 400, "zone")
    expect(problem["field"] == "on.cron[0].timezone" and "Etcetera/UTC" in problem["detail"], "the zone is named: %r" % problem)
    check_problem(p.api("POST", "/v1/schedules/nonsense:pause"), 400, "not an id")
    check_problem(p.api("POST", "/v1/schedules/019a0000-0000-7000-8000-000000000000:resume"), 404, "unknown id")
    p.cli("pipeline", "delete", "by-clock")
    expect(not p.get("/v1/schedules?pipeline=by-clock")["schedules"], "gone with its pipeline")


def followers(pipeline):
    """Ids of the runs that runs of the pipeline have, by the run that started them."""
    found = {}
    for run in p.get("/v1/runs?page_size=1000&pipeline=" + pipeline)["runs"]:
        expect(run["trigger"] == "pipeline" and run["actor"].startswith("pipeline:"), "what started it: %r" % run)
        found.setdefault(run["started_by"], []).append(run["id"])
    return found


def last_event(what):
    bus = p.nats()
    try:
        got = json.loads(bus.request("$JS.API.STREAM.MSG.GET.EVENTS", json.dumps({"last_by_subj": "hodei.evt.default." + what}).encode()))
        return base64.b64decode(got["message"]["data"]) if "message" in got else b""
    finally:
        bus.close()


def test_a_run_follows_another():
    end = "hodei: v1\nname: upstream\njobs: { a: { run: 'exit %d' } }\n"
    p.apply(end % 0)
    for name, when in (("after-success", ""), ("after-failure", ", when: failure"), ("after-all", ", when: always")):
        p.apply(one_job(name, "echo ${{ run.trigger }}") + "\non: { pipeline: [{ name: upstream%s }] }\n" % when)
    p.apply("hodei: v1\nname: after-asks\ninputs: { who: { required: true } }\njobs: { a: { run: x } }\non: { pipeline: [{ name: upstream }] }\n")
    good = p.start_run("upstream")
    wait_for(lambda: good in followers("after-success") and good in followers("after-all"), "two follow")
    follower, = followers("after-success")[good]
    p.wait_run(follower, "succeeded")
    wait_for(lambda: p.log(follower) == b"pipeline\n", "it knows what started it")
    expect("after run " + good in p.cli("run", "get", follower).stdout, "the command line shows it")
    wait_for(lambda: b"after-asks" in last_event("run.not_started") and b"is required" in last_event("run.not_started"), "what cannot start is told")
    p.apply(end % 1)
    bad = p.start_run("upstream")
    wait_for(lambda: bad in followers("after-failure") and bad in followers("after-all"), "two others follow")
    expect(good not in followers("after-failure") and bad not in followers("after-success"), "each as it says")
    p.apply(one_job("after-failure", "echo changed"))  # the newest version counts
    p.cli("pipeline", "delete", "after-success")
    last = p.start_run("upstream")
    wait_for(lambda: last in followers("after-all"), "one is left")
    expect(last not in followers("after-failure"), "it listens no longer")
    expect(all(len(x) == 1 for x in followers("after-all").values()), "each once: %r" % followers("after-all"))
    problem = check_problem(p.api("POST", "/v1/pipelines", one_job("self", "x") + "\non: { pipeline: [{ name: self }] }\n"), 400, "itself")
    expect(problem["field"] == "on.pipeline[0]" and "cannot start itself" in problem["detail"], "%r" % problem)


def test_a_loop_of_pipelines_ends():
    for name, other in (("ping", "pong"), ("pong", "ping")):
        p.apply("hodei: v1\nname: %s\njobs: { a: { executor: noop } }\non: { pipeline: [{ name: %s }] }\n" % (name, other))
    first = p.start_run("ping")
    wait_for(lambda: b"look for a loop in on.pipeline" in last_event("run.not_started"), "it ends")
    runs = p.get("/v1/runs?pipeline=ping")["runs"] + p.get("/v1/runs?pipeline=pong")["runs"]
    expect(len(runs) == 17, "the first and 16 that follow: %d" % len(runs))
    expect([r["id"] for r in runs if r["trigger"] == "api"] == [first], "one was asked for")
    expect(p.sql("select count(*) from orchestrator.follow_ups").strip() == "0", "nothing is left to do")


def test_followers_survive_a_killed_orchestrator():
    p.apply("hodei: v1\nname: many-up\njobs: { a: { executor: noop } }\n")
    p.apply("hodei: v1\nname: many-down\njobs: { a: { executor: noop } }\non: { pipeline: [{ name: many-up }] }\n")
    runs = []
    for i in range(60):
        runs.append(wait_for(lambda i=i: p.start_run("many-up", key="many-up-%d" % i), "it is accepted"))
        if i in (10, 30, 50):
            p.kill("orchestrator")
    wait_for(lambda: set(followers("many-down")) == set(runs), "every one is followed", 60)
    for run in [x for xs in followers("many-down").values() for x in xs]:
        p.wait_run(run, "succeeded")
    expect(all(len(x) == 1 for x in followers("many-down").values()), "each once")


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_PIPELINES = [
    ("not YAML", "hodei: [v1\n", 400),
    ("unknown key", "hodei: v1\nname: x\njobs:\n  a:\n    rum: echo\n", 400),
    ("wrong type", "hodei: v1\nname: x\njobs: [1, 2]\n", 400),
    ("cycle", "hodei: v1\nname: x\njobs:\n  a: { needs: [b], run: a }\n  b: { needs: [a], run: b }\n", 400),
    ("unknown need", "hodei: v1\nname: x\njobs:\n  a: { needs: [zz], run: a }\n", 400),
    ("deep", "hodei: v1\nname: x\njobs: " + "[" * 5000 + "]" * 5000 + "\n", 400),
    ("alias bomb", "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        "%s: &%s [%s]\n" % (c, c, ",".join(["*" + chr(ord(c) - 1)] * 10)) for c in "bcdefghij") + "hodei: v1\n", 400),
    ("no jobs", "hodei: v1\nname: x\n", 400),
    ("bad duration", "hodei: v1\nname: x\njobs:\n  a: { run: a, timeout: soon }\n", 400),
    ("NUL", "hodei: v1\nname: \"x\\0y\"\njobs:\n  a: { run: a }\n", 400),
    ("two documents", "hodei: v1\nname: x\njobs: { a: { run: a } }\n---\nhodei: v1\n", 400),
]


def check_problem(reply, status, what):
    expect(reply.status == status, "%s: %r" % (what, reply))
    problem = reply.json
    expect(reply.headers["Content-Type"].startswith("application/problem+json"), "%s: its type" % what)
    expect(problem["status"] == status and problem["detail"] and problem["title"], "%s: %r" % (what, problem))
    return problem


def test_bad_pipelines():
    for what, source, status in BAD_PIPELINES:
        problem = check_problem(p.api("POST", "/v1/pipelines", source), status, what)
        expect(problem.get("line") or problem.get("field"), "%s names the place: %r" % (what, problem))
    problem = check_problem(p.api("POST", "/v1/pipelines", BAD_PIPELINES[1][1]), 400, "unknown key")
    expect(problem["line"] == 5 and "run" in problem["detail"] + problem.get("hint", ""), "the nearest: %r" % problem)
    check_problem(p.api("POST", "/v1/pipelines", "#" * (2 << 20) + "\nhodei: v1\n"), 413, "2 MiB and more")
    big = "hodei: v1\nname: x\njobs: { a: { run: a } }\n#" + "x" * (1 << 20)
    problem = p.api("POST", "/v1/pipelines", big)
    expect(problem.status in (400, 413), "above 1 MiB: %r" % problem)


def test_bad_requests():
    check_problem(p.raw("GET", "/v1/runs"), 401, "no token")
    reply = p.raw("GET", "/v1/runs", headers={"Authorization": "Bearer wrong"})
    check_problem(reply, 401, "wrong token")
    expect("Bearer" in reply.headers.get("WWW-Authenticate", ""), "says how")
    check_problem(p.raw("GET", "/v1/runs", headers={"Authorization": "Bearer " + "x" * 5000}), 401, "long token")
    check_problem(p.api("GET", "/v1/runs/019a0000-0000-7000-8000-000000000000"), 404, "unknown id")
    check_problem(p.api("GET", "/v1/runs/nonsense"), 400, "not an id")
    check_problem(p.api("GET", "/v1/pipelines/none"), 404, "unknown pipeline")
    check_problem(p.api("GET", "/v2/x"), 404, "unknown path")
    check_problem(p.api("PATCH", "/v1/runs"), 405, "unknown method")
    json_type = {"Content-Type": "application/json"}
    check_problem(p.api("POST", "/v1/runs", b"{not json", json_type), 400, "not JSON")
    check_problem(p.api("POST", "/v1/runs", {"pipeline": 7}), 400, "wrong type")
    problem = check_problem(p.api("POST", "/v1/runs", {"pipelin": "x"}), 400, "unknown key")
    expect("pipelin" in json.dumps(problem), "named: %r" % problem)
    check_problem(p.api("POST", "/v1/runs", b"[" * 100000, json_type), 400, "deep JSON")
    check_problem(p.api("POST", "/v1/runs", {"pipeline": "no-such"}), 404, "run of nothing")
    check_problem(p.api("POST", "/v1/runs", b"x=1", {"Content-Type": "application/x-www-form-urlencoded"}), 415, "form")
    check_problem(p.api("GET", "/v1/runs?page_size=100000"), 400, "page size")
    check_problem(p.api("GET", "/v1/runs?nonsense=1"), 400, "unknown parameter")
    check_problem(p.api("GET", "/v1/runs?page_token=%ff"), 400, "bad escape")
    check_problem(p.api("POST", "/v1/runs", {"pipeline": "x"}, {"Idempotency-Key": "k" * 5000}), 400, "long key")


def test_output_for_programs():
    p.apply("hodei: v1\nname: shown\nenv: { A: 'on', B: '1.5', C: 'two\\nlines', D: ' x: y #z' }\njobs:\n  j: { run: 'true' }\n")
    run = p.wait_run(p.start_run("shown"))["id"]
    expect(p.cli("run", "list", "--pipeline", "shown", "-o", "name").stdout == run + "\n", "the ids alone")
    expect("shown" in p.cli("pipeline", "list", "-o", "name").stdout.split("\n"), "or names")
    expect(p.cli("worker", "list", "-o", "name").stdout == "agent-1\n", "of workers")
    expect(p.cli("run", "get", run, "-o", "name").stdout == run + "\n", "of one")
    got = p.cli("run", "get", run, "-o", "yaml").stdout
    expect("\nstate: succeeded\n" in got and got.startswith("id: '%s'\n" % run) and "\njobs:\n" in got, "as YAML: %r" % got)
    source = p.cli("pipeline", "get", "shown", "-o", "yaml").stdout
    expect("\nsource: |\n  hodei: v1\n  name: shown\n" in "\n" + source, "what has lines: %r" % source)
    for words in ("logs", run, "-o", "yaml"), ("version", "-o", "name"), ("run", "list", "-o", "xml"):
        done = p.cli(*words, code=2)
        expect("is not known" in done.stderr and "json" in done.stderr, "%r: %r" % (words, done.stderr))


def test_completion():
    script = ('source <(%s completion bash); t() { COMP_WORDS=(%s "$@"); COMP_CWORD=$#; _hodei %s; echo "${COMPREPLY[*]}"; }; '
              't run l; t run list --st; t worker list --pool x --sta; t pipeline apply /; t run start --he; t nonsense x'
              % (HODEI, HODEI, HODEI))
    got = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split("\n")
    expect(got == ["list", "--state", "--state", "", "--help", "", ""], "bash completes: %r" % got)
    every = p.cli("completion", "words", ":").stdout.splitlines()
    expect(len(every) == len(set(every)) > 20 and all("\t" in line for line in every), "each once, with what it is: %r" % every)
    for shell in "zsh", "fish":
        expect("completion words" in p.cli("completion", shell).stdout, shell)


def test_runs_by_state_and_time():
    p.apply(one_job("listed-good", "true"))
    p.apply(one_job("listed-bad", "false"))

    def finished(name):
        return p.wait_run(p.start_run(name))

    def listed(query):
        return [run["id"] for run in p.get("/v1/runs?page_size=1000&" + query)["runs"]]
    good, bad = finished("listed-good"), finished("listed-bad")
    later = finished("listed-good")
    at, then = bad["created_at_ms"], later["created_at_ms"]
    expect(bad["id"] in listed("state=failed") and not {good["id"], later["id"]} & set(listed("state=failed")), "by state")
    both = listed("state=failed,succeeded&since_ms=%d" % good["created_at_ms"])
    expect(both[:3] == [later["id"], bad["id"], good["id"]], "by two, newest first: %r" % both)
    expect(listed("pipeline=listed-good&state=failed") == [], "by both")
    expect(listed("since_ms=%d&until_ms=%d" % (at, then))[0] == bad["id"], "by time")
    first = p.get("/v1/runs?page_size=1&state=succeeded&since_ms=%d" % at)
    expect([run["id"] for run in first["runs"]] == [later["id"]] and "next_page_token" not in first, "pages: %r" % first)
    problem = check_problem(p.api("GET", "/v1/runs?state=fialed"), 400, "no state")
    expect(problem["field"] == "state" and "failed" in problem["hint"], "named: %r" % problem)
    check_problem(p.api("GET", "/v1/runs?state=failed,"), 400, "nothing is no state")
    expect(check_problem(p.api("GET", "/v1/runs?since_ms=-1"), 400, "no time")["field"] == "since_ms", "named")
    shown = p.cli("run", "list", "--state", "failed", "--since", "1h").stdout
    expect(bad["id"] in shown and good["id"] not in shown, "by the CLI")
    expect(bad["id"] not in p.cli("run", "list", "--until", "1h").stdout, "before that")
    done = p.cli("run", "list", "--since", "yesterday", code=None)
    expect(done.returncode != 0 and "is not a duration" in done.stderr, "no duration: %r" % done.stderr)


def test_hostile_bus():
    before = p.pids()
    bus = p.nats()
    junk = [b"", b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" * 60000, b"\x12\x80", os.urandom(3000),
            b"\x0a\x05\xc3\x28abc"]
    nest = b""
    for _ in range(2000):
        nest = b"\x0a" + varint(len(nest)) + nest
    junk.append(nest)
    subjects = ["hodei.rpc.orchestrator.StartRun", "hodei.rpc.quota.GetQuota", "hodei.rpc.pipelines.ApplyPipeline",
                "hodei.rpc.worker-registry.Heartbeat", "hodei.rpc.worker-registry.Join", "hodei.rpc.auth.Authenticate",
                "hodei.rpc.observability.ReadLog", "hodei.flow.ready.default", "hodei.flow.placed",
                "hodei.report.agent-1.attempts", "hodei.report.nobody.attempts", "hodei.log.x.y.z.0",
                "hodei.log.agent-1.default.not-a-run.0", "hodei.work.agent-1", "hodei.ack.agent-1",
                "hodei.evt.default.run.changed", "hodei.evt.system.worker.changed", "hodei.strange.subject", "foreign"]
    for subject in subjects:
        for data in junk:
            bus.publish(subject, data)
    bus.flush()
    reply = bus.request("hodei.rpc.orchestrator.StartRun", b"\xff\xff")
    expect(reply, "an error comes back")
    bus.close()
    run_one("after-junk", "echo fine")
    expect(p.pids() == before, "every process is still the same one")


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


# --- agents and jobs that outlive them -------------------------------------------------------------------------------


def steer(run, command, job=None, code=200, key=None, **body):
    path = "/v1/runs/%s%s:%s" % (run, "/jobs/" + job if job else "", command)
    reply = p.api("POST", path, body or None, {"Idempotency-Key": key} if key else {})
    expect(reply.status == code, "%s: %r" % (command, reply))
    return reply.json


def states(run):
    return {name: job["state"] for name, job in p.jobs(run).items()}


def test_steering_a_run_that_goes_on():
    go = os.path.join(p.folder, "go")
    p.apply("""
hodei: v1
name: steered
jobs:
  first: { run: "while ! test -e %s; do sleep 0.05; done" }
  second: { needs: [first], run: echo second }
  third: { needs: [second], run: echo third }
  bad: { run: exit 1 }
  after-bad: { needs: [bad], run: echo went on }
  alone: { needs: [first], run: echo alone }
""" % go)
    run = p.start_run("steered")
    wait_for(lambda: p.job_state(run, "bad") == "failed" and p.job_state(run, "first") == "active", "bad has failed")
    expect(p.job_state(run, "after-bad") == "skipped", "what needs it is skipped")
    steer(run, "cancel", "bad", 412)
    steer(run, "approve", "first", 412)
    steer(run, "retry", "first", 412)
    steer(run, "rerun", code=412)
    steer(run, "cancel", "nobody", 404)
    steer(run, "pause", reason="lunch")
    steer(run, "pause", code=412)
    steer(run, "mark-done", "bad", reason="known", key="mark-1-" + run)
    steer(run, "mark-done", "bad", reason="known", key="mark-1-" + run)  # the same answer
    steer(run, "mark-done", "bad", code=409, reason="other", key="mark-1-" + run)
    got = p.jobs(run)
    expect(got["bad"]["state"] == "succeeded" and "known" in got["bad"]["message"], "marked: %r" % got["bad"])
    expect(got["after-bad"]["state"] == "queued" and got["after-bad"]["waits_for"] == ["pause"], "it waits: %r" % got["after-bad"])
    steer(run, "skip", "alone", reason="not today")
    steer(run, "cancel", "third")
    steer(run, "prioritize", priority=50)
    steer(run, "prioritize", code=400, priority=500)
    open(go, "w").close()
    wait_for(lambda: p.job_state(run, "first") == "succeeded", "the job that ran goes on")
    expect(p.job_state(run, "second") == "queued", "nothing starts while it is paused")
    steer(run, "resume")
    end = p.wait_run(run, "cancelled")
    expect(states(run) == {"first": "succeeded", "second": "succeeded", "third": "cancelled", "bad": "succeeded",
                           "after-bad": "succeeded", "alone": "skipped"}, "%r" % states(run))
    done = [a["action"] for a in end["actions"]]
    expect(done == ["pause", "mark_done", "skip_job", "cancel_job", "set_priority", "resume"], "the audit: %r" % done)
    expect(end["actions"][0]["reason"] == "lunch" and end["actions"][0]["actor"], "who and why: %r" % end["actions"][0])
    steer(run, "pause", code=412)


def test_reruns():
    gate = os.path.join(p.folder, "rerun-gate")
    p.apply("""
hodei: v1
name: again
inputs: { who: { default: world } }
jobs:
  build:
    steps: [{ id: b, run: 'echo "v=built for ${{ inputs.who }}" >>"$HODEI_OUTPUT"' }]
    outputs: { v: "${{ steps.b.outputs.v }}" }
  test:
    needs: [build]
    matrix: { axes: { n: [1, 2, 3] } }
    run: 'test ${{ matrix.n }} != 2 || test -e %s'
  deploy: { needs: [build, test], run: 'echo "${{ needs.build.outputs.v }}"' }
finally:
  clean: { run: echo clean }
""" % gate)
    run = p.start_run("again", inputs=[{"name": "who", "value": "you"}])
    p.wait_run(run, "failed")
    expect(states(run)["test.2"] == "failed" and states(run)["deploy"] == "skipped", "%r" % states(run))
    open(gate, "w").close()
    made = steer(run, "rerun", code=201, key="again-" + run, **{"from": "failed"})["run"]
    expect(steer(run, "rerun", code=201, key="again-" + run, **{"from": "failed"})["run"] == made, "the same key, the same run")
    end = p.wait_run(made, "succeeded")
    jobs = p.jobs(made)
    expect(end["rerun_of"] == run and end["trigger"] == "rerun", "linked: %r" % end)
    expect(jobs["build"].get("kept") and jobs["test.1"].get("kept") and not jobs["test.2"].get("kept"), "kept: %r" % jobs)
    expect(not jobs["build"]["attempts"] and len(jobs["test.2"]["attempts"]) == 1 and len(jobs["clean"]["attempts"]) == 1, "run again")
    wait_for(lambda: p.log(made, "deploy") == b"built for you\n", "outputs are taken over")
    expect(p.run(run)["state"] == "failed", "the end of a run never changes")
    expect(p.run(run)["actions"][0]["result"] == made, "the audit names the new run")
    one = p.api("POST", "/v1/runs/%s:rerun" % made, {"from": "job", "job": "deploy"}).json["run"]
    p.wait_run(one, "succeeded")
    kept = {name for name, job in p.jobs(one).items() if job.get("kept")}
    expect({"build", "test", "test.1", "test.2", "test.3"} == kept, "kept: %r" % kept)
    everything = steer(made, "rerun", code=201)["run"]
    p.wait_run(everything, "succeeded")
    expect(not [j for j in p.jobs(everything).values() if j.get("kept")], "nothing is kept")
    marked = steer(run, "mark-done", "test.2", 412)
    expect("not one that failed by itself" in marked["detail"], "%r" % marked)
    retried = steer(run, "retry", "test.2", 200)["run"]
    expect(retried != run, "a new run")
    p.wait_run(retried, "succeeded")


def test_approvals():
    p.apply("""
hodei: v1
name: gated
jobs:
  build: { run: echo built }
  deploy: { needs: [build], approval: { count: 1, timeout: 1h }, run: echo deployed }
  other: { approval: { users: [somebody-else] }, run: echo never }
  late: { approval: { timeout: 1s }, run: echo never }
""")
    run = p.start_run("gated")
    wait_for(lambda: p.jobs(run)["deploy"].get("waits_for") == ["approval"], "it waits")
    reply = p.api("POST", "/v1/runs/%s/jobs/other:approve" % run)
    expect(reply.status == 403 and "may not decide" in reply.json["detail"], "%r" % reply)
    steer(run, "approve", "deploy", comment="no such field", code=400)
    steer(run, "approve", "deploy", reason="looks good")
    wait_for(lambda: p.job_state(run, "deploy") == "succeeded", "it runs")
    steer(run, "approve", "deploy", 412)
    wait_for(lambda: p.job_state(run, "late") == "failed", "nobody came")
    expect(p.jobs(run)["late"]["cause"] == "approval_timeout", "%r" % p.jobs(run)["late"])
    steer(run, "cancel", "other")
    p.wait_run(run, "failed")
    run = p.start_run("gated")
    wait_for(lambda: p.jobs(run)["deploy"].get("waits_for") == ["approval"], "it waits")
    steer(run, "reject", "deploy", reason="on friday?")
    expect(p.jobs(run)["deploy"]["cause"] == "rejected" and "on friday?" in p.jobs(run)["deploy"]["message"], "rejected")
    p.api("POST", "/v1/runs/%s:cancel" % run, {"reason": "enough"})
    p.wait_run(run)


def test_approvals_by_people():
    ann, bob, carl = p.person("ann"), p.person("bob"), p.person("carl")
    dora, eve = p.person("dora", "run.read"), p.person("eve", tenant="other")
    p.apply("""
hodei: v1
name: by-people
jobs:
  deploy: { approval: { users: ["user:ann", "user:bob"], count: 2 }, run: echo deployed }
  any: { approval: { count: 2 }, run: echo any }
  no: { approval: { users: ["user:bob"] }, run: echo never }
""")
    run = p.api("POST", "/v1/runs", {"pipeline": "by-people"}, ann).json["id"]
    path = "/v1/runs/%s/jobs/" % run

    def decide(job, who, code, command="approve"):
        reply = p.api("POST", path + job + ":" + command, {"reason": "as I see it"}, who)
        expect(reply.status == code, "%s %s: %r" % (command, job, reply))
        return reply.json

    def waits(job, approvals):
        got = p.jobs(run)[job]
        expect(got["state"] == "queued" and got["waits_for"] == ["approval"] and got.get("approvals", 0) == approvals, "%r" % got)

    wait_for(lambda: p.jobs(run)["deploy"].get("waits_for") == ["approval"], "it waits")
    for who, detail in ((carl, "user:carl may not decide on job deploy"), (dora, "run.approve")):
        for command in ("approve", "reject"):
            refused = decide("deploy", who, 403, command)
            expect(detail in refused["detail"] + refused.get("hint", ""), "%r" % refused)
    expect("approval.users" in decide("deploy", carl, 403)["hint"], "what to change")
    decide("deploy", eve, 404)  # nobody learns of runs of another tenant
    waits("deploy", 0)
    expect(not p.run(run).get("actions"), "nothing was written down")
    decide("deploy", ann, 200)  # she has started the run, and is one of two all the same
    waits("deploy", 1)
    expect("1 of 2" in explain(run, "deploy")[1], "%r" % (explain(run, "deploy"),))
    expect("has approved job deploy already" in decide("deploy", ann, 412)["detail"], "the same one twice is one")
    waits("deploy", 1)
    decide("deploy", bob, 200)
    wait_for(lambda: p.job_state(run, "deploy") == "succeeded", "two have agreed")
    decide("deploy", bob, 412)
    decide("any", carl, 200)
    decide("any", bob, 200, "reject")
    expect(p.jobs(run)["any"]["state"] == "failed" and p.jobs(run)["any"]["cause"] == "rejected", "one who rejects is enough")
    decide("any", ann, 412)
    decide("no", ann, 403, "reject")
    decide("no", bob, 200, "reject")
    p.wait_run(run, "failed")
    done = [(a["action"], a["job"], a["actor"]) for a in p.run(run)["actions"]]
    expect(done == [("approve", "deploy", "user:ann"), ("approve", "deploy", "user:bob"), ("approve", "any", "user:carl"),
                    ("reject", "any", "user:bob"), ("reject", "no", "user:bob")], "the audit: %r" % done)


def test_concurrency_groups():
    go = os.path.join(p.folder, "group-go")
    p.apply("""
hodei: v1
name: deploy
inputs: { env: { default: prod }, slow: { default: "no" } }
jobs:
  build: { run: 'test ${{ inputs.slow }} = no || while ! test -e %s; do sleep 0.05; done' }
  deploy: { needs: [build], concurrency: { group: "deploy-${{ inputs.env }}" }, run: 'echo deployed; test ${{ inputs.slow }} = no || sleep 0.3' }
""" % go)
    slow = [{"name": "slow", "value": "yes"}]
    first = p.start_run("deploy", inputs=slow)
    second = p.start_run("deploy")
    other = p.start_run("deploy", inputs=[{"name": "env", "value": "test"}])
    p.wait_run(other, "succeeded")
    wait_for(lambda: p.jobs(second)["deploy"].get("waits_for") == ["group"], "the later one does not overtake")
    open(go, "w").close()
    p.wait_run(first, "succeeded")
    p.wait_run(second, "succeeded")
    a, b = p.jobs(first)["deploy"]["attempts"][0], p.jobs(second)["deploy"]["attempts"][0]
    expect(b["started_at_ms"] >= a["ended_at_ms"], "one after the other: %r %r" % (a, b))
    os.unlink(go)
    first = p.start_run("deploy", inputs=slow)
    second = p.start_run("deploy")
    wait_for(lambda: p.jobs(second)["deploy"].get("waits_for") == ["group"], "it waits")
    p.api("POST", "/v1/runs/%s:cancel" % first)
    p.wait_run(second, "succeeded", 10)  # a cancel frees the turn
    p.wait_run(first, "cancelled")


def test_waiting_never_counts_against_the_timeout():
    gate = os.path.join(p.folder, "timeout-gate")
    hold = "while ! test -e %s; do sleep 0.05; done" % gate
    p.apply("""
hodei: v1
name: patient
jobs:
  holder: { concurrency: { group: patient }, run: '%s' }
  queued: { needs: [first], concurrency: { group: patient }, timeout: 1s, run: echo in time }
  first: { run: echo first }
  h1: { needs: [first], run: '%s' }
  h2: { needs: [first], run: '%s' }
  h3: { needs: [first], run: '%s' }
  ready: { needs: [first], priority: -1, timeout: 1s, run: echo in time }
  slow: { timeout: 1s, cancel_grace: 1s, run: sleep 600 }
""" % (hold, hold, hold, hold))
    run = p.start_run("patient")
    wait_for(lambda: p.job_state(run, "slow") == "timed_out", "what runs for too long is stopped")

    def waited(job):
        got = p.jobs(run)[job]
        return not got.get("started_at_ms") and got["queued_at_ms"] and time.time() * 1000 > int(got["queued_at_ms"]) + 2500

    wait_for(lambda: waited("queued") and waited("ready"), "both have waited for longer than their timeout")
    expect(p.job_state(run, "queued") == "queued" and p.job_state(run, "ready") == "ready", "for a slot of the group, and for a worker: %r" % states(run))
    open(gate, "w").close()
    p.wait_run(run, "failed")
    expect(p.job_state(run, "queued") == "succeeded" and p.job_state(run, "ready") == "succeeded", "in time: %r" % states(run))


def test_slots_of_a_group_of_jobs():
    hold = "while ! test -e %s/$HODEI_RUN; do sleep 0.05; done" % p.folder
    text = "hodei: v1\nname: slots\njobs: { one: { concurrency: { group: slots, limit: %d }, cancel_grace: 1s, run: '" + hold + "' } }\n"

    def active(*runs):
        return [p.job_state(run, "one") == "active" for run in runs]

    p.apply(text % 1)
    runs = [p.start_run("slots") for _ in range(4)]
    wait_for(lambda: active(*runs) == [True, False, False, False], "one at a time")
    wait_for(lambda: all(p.jobs(run)["one"].get("waits_for") == ["group"] for run in runs[1:]), "the others wait")
    p.api("POST", "/v1/runs/%s/jobs/one:cancel" % runs[0])  # a cancel of who holds the slot frees it
    p.wait_run(runs[0], "cancelled", 10)
    wait_for(lambda: active(*runs[1:]) == [True, False, False], "the next in turn", 10)
    p.apply(text % 3)
    raised = p.start_run("slots")  # the limit is that of the newest that asks
    wait_for(lambda: active(*runs[1:]) == [True, True, True], "a raised limit releases what waits", 10)
    expect(p.jobs(raised)["one"].get("waits_for") == ["group"], "in their order")
    for run in runs[1:] + [raised]:
        open(os.path.join(p.folder, run), "w").close()
    for run in runs[1:] + [raised]:
        p.wait_run(run, "succeeded")


def test_full_groups():
    hold = "while ! test -e %s/$HODEI_RUN; do sleep 0.05; done" % p.folder
    for policy in ("reject", "replace_pending", "cancel_running"):
        p.apply("""
hodei: v1
name: full-%s
jobs:
  one: { concurrency: { group: full-%s, on_full: %s }, run: '%s', cancel_grace: 1s }
""" % (policy, policy, policy, hold))
        first = p.start_run("full-" + policy)
        wait_for(lambda: p.job_state(first, "one") == "active", "the first runs")
        second = p.start_run("full-" + policy)
        if policy == "reject":
            p.wait_run(second, "failed", 10)
            expect(p.jobs(second)["one"]["cause"] == "group_full", "%r" % p.jobs(second))
        elif policy == "replace_pending":
            wait_for(lambda: p.jobs(second)["one"].get("waits_for") == ["group"], "the second waits")
            third = p.start_run("full-" + policy)
            p.wait_run(second, "cancelled", 10)
            expect(p.jobs(second)["one"]["cause"] == "replaced", "%r" % p.jobs(second))
            expect(p.job_state(first, "one") == "active", "the first goes on")
            second = third
        else:
            p.wait_run(first, "cancelled", 15)
            wait_for(lambda: p.job_state(second, "one") == "active", "the second runs", 10)
        for run in (first, second):
            open(os.path.join(p.folder, run), "w").close()
        for run in (first, second):
            p.wait_run(run)
    p.apply("""
hodei: v1
name: one-run
concurrency: { group: one-run, limit: 1 }
jobs: { a: { run: '%s' } }
finally: { z: { run: echo z } }
""" % hold)
    runs = [p.start_run("one-run") for _ in range(4)]
    wait_for(lambda: p.job_state(runs[0], "a") == "active", "the first runs")
    expect([bool(p.run(r).get("held")) for r in runs] == [False, True, True, True], "the others wait")
    p.api("POST", "/v1/runs/%s:cancel" % runs[1])
    p.wait_run(runs[1], "cancelled", 10)
    p.apply("""
hodei: v1
name: one-run
concurrency: { group: one-run, limit: 3 }
jobs: { a: { run: '%s' } }
""" % hold)
    raised = p.start_run("one-run")  # a raised limit releases what waits
    wait_for(lambda: p.job_state(runs[2], "a") == "active" and p.job_state(runs[3], "a") == "active", "released", 10)
    expect(p.run(raised).get("held"), "in their order")
    for run in runs + [raised]:
        open(os.path.join(p.folder, run), "w").close()
    for run in runs + [raised]:
        p.wait_run(run)


def keyed(method, path, body, key, code):
    reply = p.api(method, path, body, {"Idempotency-Key": key})
    expect(reply.status == code, "%s %s with key %s: %r" % (method, path, key, reply))
    return reply.json


def test_every_command_knows_its_key():
    """The same key and the same command: the same answer and no second effect. Another command: CONFLICT, and no effect."""
    cron = "\non: { cron: [{ expr: '0 4 1 1 *' }] }\n"
    one, two = one_job("keyed", "echo 1") + cron, one_job("keyed", "echo 2") + cron
    first = keyed("POST", "/v1/pipelines", one, "apply-1", 200)
    expect(first["changed"] and keyed("POST", "/v1/pipelines", one, "apply-1", 200) == first, "as it was: %r" % first)
    conflict = keyed("POST", "/v1/pipelines", two, "apply-1", 409)
    expect(conflict["field"] == "idempotency_key" and "take a new key" in conflict["hint"], "%r" % conflict)
    expect(p.get("/v1/pipelines/keyed")["version"] == 1, "no version of it")
    expect(keyed("POST", "/v1/pipelines", two, "apply-2", 200)["pipeline"]["version"] == 2, "another key")
    expect(keyed("POST", "/v1/pipelines", one, "apply-1", 200) == first and p.get("/v1/pipelines/keyed")["version"] == 2, "late, and without effect")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: json.dumps(keyed("POST", "/v1/pipelines", one_job("keyed-2", "echo"), "apply-3", 200)), range(8)))
    expect(len(set(got)) == 1, "all at once, one answer: %r" % got)
    schedule = p.get("/v1/schedules?pipeline=keyed")["schedules"][0]["id"]
    path = "/v1/schedules/%s:" % schedule
    paused = keyed("POST", path + "pause?reason=a", None, "pause-1", 200)
    expect(keyed("POST", path + "pause?reason=a", None, "pause-1", 200) == paused, "as it was")
    keyed("POST", path + "pause?reason=b", None, "pause-1", 409)
    keyed("POST", path + "resume", None, "pause-1", 409)
    expect(p.get("/v1/schedules?pipeline=keyed")["schedules"][0]["paused"], "still paused")
    resumed = keyed("POST", path + "resume", None, "resume-1", 200)
    keyed("POST", path + "pause", None, "pause-2", 200)
    expect(keyed("POST", path + "resume", None, "resume-1", 200) == resumed, "as it was")
    expect(p.get("/v1/schedules?pipeline=keyed")["schedules"][0]["paused"], "late, and without effect")
    p.cli("pipeline", "delete", "keyed")

    gate = os.path.join(p.folder, "keyed-gate")
    hold = "while ! test -e %s; do sleep 0.05; done" % gate
    p.apply("hodei: v1\nname: keyed-run\njobs: { a: { run: sleep 600, cancel_grace: 1s } }\nfinally: { last: { run: '%s' } }\n" % hold)
    body = {"pipeline": "keyed-run"}
    run = keyed("POST", "/v1/runs", body, "start-1", 201)["id"]
    expect(keyed("POST", "/v1/runs", body, "start-1", 201)["id"] == run, "the same run")
    keyed("POST", "/v1/runs", {"pipeline": "keyed-2"}, "start-1", 409)
    wait_for(lambda: p.job_state(run, "a") == "active", "it runs")
    path = "/v1/runs/%s:" % run
    cancelled = keyed("POST", path + "cancel", {"reason": "enough"}, "cancel-1", 200)
    wait_for(lambda: p.job_state(run, "last") == "active", "finally runs")
    expect(keyed("POST", path + "cancel", {"reason": "enough"}, "cancel-1", 200) == cancelled, "as it was")
    keyed("POST", path + "cancel", {"reason": "other"}, "cancel-1", 409)
    keyed("POST", path + "pause", None, "cancel-1", 409)
    expect(p.job_state(run, "last") == "active" and len(p.run(run)["actions"]) == 1, "the jobs of finally are left alone")
    open(gate, "w").close()
    p.wait_run(run, "cancelled")
    expect(p.job_state(run, "last") == "succeeded", "to its end")
    made = keyed("POST", path + "rerun", None, "rerun-1", 201)
    expect(keyed("POST", path + "rerun", None, "rerun-1", 201) == made, "one run")
    keyed("POST", path + "rerun", {"from": "failed"}, "rerun-1", 409)
    new = "/v1/runs/%s" % made["run"]
    wait_for(lambda: p.job_state(made["run"], "a") == "active", "it runs")
    for command, body in ((":pause", None), (":resume", None), (":prioritize", {"priority": 7}), ("/jobs/a:cancel", None)):
        answer = keyed("POST", new + command, body, "steer" + command, 200)
        expect(keyed("POST", new + command, body, "steer" + command, 200) == answer, "%s: as it was" % command)
        keyed("POST", new + command, {"reason": "other"}, "steer" + command, 409)
    wait_for(lambda: p.run(made["run"])["state"] == "cancelled", "its one job is cancelled")
    expect([a["action"] for a in p.run(made["run"])["actions"]] == ["pause", "resume", "set_priority", "cancel_job"], "each once")
    for command in ("retry", "mark-done"):
        answer = keyed("POST", new + "/jobs/a:" + command, None, "steer-" + command, 200)
        expect(keyed("POST", new + "/jobs/a:" + command, None, "steer-" + command, 200) == answer, "%s: as it was" % command)
        p.api("POST", "/v1/runs/%s:cancel" % answer["run"])
    gated = "hodei: v1\nname: keyed-gates\njobs: { a: { approval: {}, run: x }, b: { approval: {}, run: x }, c: { approval: {}, run: x } }\n"
    p.apply(gated)
    run = p.start_run("keyed-gates")
    wait_for(lambda: all(j.get("waits_for") == ["approval"] for j in p.jobs(run).values()), "they wait")
    for job, command in (("a", "approve"), ("b", "reject"), ("c", "skip")):
        answer = keyed("POST", "/v1/runs/%s/jobs/%s:%s" % (run, job, command), None, "steer-" + command, 200)
        expect(keyed("POST", "/v1/runs/%s/jobs/%s:%s" % (run, job, command), None, "steer-" + command, 200) == answer, "%s: as it was" % command)
        keyed("POST", "/v1/runs/%s/jobs/%s:%s" % (run, "c" if job == "b" else "b", command), None, "steer-" + command, 409)
    p.wait_run(run, "failed")
    expect(len(p.run(run)["actions"]) == 3, "each once: %r" % p.run(run)["actions"])


def test_what_cannot_be_done_is_refused():
    done = run_one("refusals", "echo done")
    for path, code, word in ((":cancel", 412, "the run has ended: it succeeded"), (":pause", 412, "has ended"), (":resume", 412, "has ended"),
                             ("/jobs/only:cancel", 412, "has ended"), ("/jobs/only:skip", 412, "has ended"),
                             ("/jobs/only:approve", 412, "has ended"), ("/jobs/only:mark-done", 412, "not one that failed")):
        problem = check_problem(p.api("POST", "/v1/runs/%s%s" % (done, path)), code, path)
        expect(word in problem["detail"], "%s: %r" % (path, problem))
    before = p.run(done)
    expect(not before.get("actions"), "nothing was done to it: %r" % before)
    long = start_long("refusals-long")
    wait_for(lambda: p.jobs(long)["only"]["attempts"][0]["state"] == "running", "its start is known")
    etag = p.run(long)["etag"]
    for path, body, code, word in ((":rerun", None, 412, "the run has not ended"), ("/jobs/only:retry", None, 412, "is active"),
                                   ("/jobs/only:mark-done", None, 412, "is active"), ("/jobs/only:skip", None, 412, "is active"),
                                   ("/jobs/only:approve", None, 412, "is active"), (":prioritize", {"priority": 101}, 400, "not -100 to 100"),
                                   (":rerun", {"from": "nowhere"}, 400, "from"), ("/jobs/none:cancel", None, 404, "no job"),
                                   (":pause", {"reason": "x" * 1001}, 400, "reason")):
        problem = check_problem(p.api("POST", "/v1/runs/%s%s" % (long, path), body), code, path)
        expect(word in problem["detail"] + problem.get("field", ""), "%s: %r" % (path, problem))
    expect(p.run(long)["etag"] == etag and not p.run(long).get("actions"), "no change")
    p.api("POST", "/v1/runs/%s:cancel" % long)
    p.wait_run(long, "cancelled")


def test_two_commands_at_once():
    """Of two that conflict one wins and the other is refused; what is there afterwards is what the winner said."""
    p.apply("hodei: v1\nname: duel\njobs: { a: { approval: {}, run: x }, b: { run: x } }\n")
    barrier = threading.Barrier(2)

    def fire(path):
        barrier.wait()
        return p.api("POST", path).status

    ends = {"approve": ("succeeded", "failed"), "reject": ("failed",), "skip": ("skipped",), "cancel": ("cancelled",)}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for first, second in (("approve", "reject"), ("skip", "reject"), ("reject", "cancel"), ("skip", "cancel"), ("approve", "approve")) * 4:
            run = p.start_run("duel")
            wait_for(lambda: p.jobs(run)["a"].get("waits_for") == ["approval"], "it waits")
            codes = list(pool.map(fire, ["/v1/runs/%s/jobs/a:%s" % (run, c) for c in (first, second)]))
            expect(sorted(codes) == [200, 412], "%s and %s: %r" % (first, second, codes))
            won = (first, second)[codes.index(200)]
            wait_for(lambda: p.run(run)["state"] in ENDED, "it ends")
            expect(p.job_state(run, "a") in ends[won], "%s won, and it %s" % (won, p.job_state(run, "a")))
            expect(len(p.run(run)["actions"]) == 1, "only the winner is written down: %r" % p.run(run)["actions"])
        run = start_long("duel-pause")
        for command in ("pause", "resume") * 4:
            codes = list(pool.map(fire, ["/v1/runs/%s:%s" % (run, command)] * 2))
            expect(sorted(codes) == [200, 412], "%s twice: %r" % (command, codes))
        p.api("POST", "/v1/runs/%s:cancel" % run)
        p.wait_run(run, "cancelled")


def test_what_is_not_interruptible_runs_to_its_end():
    hold = "while ! test -e %s/$HODEI_RUN; do sleep 0.05; done" % p.folder

    def go(*runs):
        for run in runs:
            open(os.path.join(p.folder, run), "w").close()

    p.apply("""
hodei: v1
name: spared
jobs: { one: { concurrency: { group: spared, on_full: cancel_running }, interruptible: false, run: '%s' } }
""" % hold)
    first = p.start_run("spared")
    wait_for(lambda: p.job_state(first, "one") == "active", "the first runs")
    second = p.start_run("spared")
    wait_for(lambda: p.jobs(second)["one"].get("waits_for") == ["group"], "the second waits")
    third = p.start_run("spared")
    p.wait_run(second, "cancelled", 10)  # it had not started: the third takes its place
    expect(p.jobs(second)["one"]["cause"] == "replaced", "%r" % p.jobs(second))
    expect(p.job_state(first, "one") == "active" and p.job_state(third, "one") == "queued", "the first goes on, the third waits")
    go(first, third)
    p.wait_run(first, "succeeded", 10)
    p.wait_run(third, "succeeded", 10)
    p.apply("""
hodei: v1
name: spared-run
concurrency: { group: spared-run, on_full: cancel_running }
jobs:
  kept: { interruptible: false, run: '%s' }
  not: { run: 'sleep 600', cancel_grace: 1s }
  after: { needs: [kept], run: echo never }
""" % hold)
    first = p.start_run("spared-run")
    wait_for(lambda: p.job_state(first, "kept") == p.job_state(first, "not") == "active", "both run")
    second = p.start_run("spared-run")
    wait_for(lambda: p.job_state(first, "not") == "cancelled", "what may be interrupted is")
    expect(p.job_state(first, "kept") == "active" and p.run(second).get("held"), "the other goes on, the later run waits")
    go(first)
    p.wait_run(first, "cancelled", 10)
    expect(states(first) == {"kept": "succeeded", "not": "cancelled", "after": "cancelled"}, "%r" % states(first))
    wait_for(lambda: p.job_state(second, "kept") == "active", "now the later one")
    p.api("POST", "/v1/runs/%s:cancel" % second)  # somebody who asks is obeyed
    p.wait_run(second, "cancelled", 20)
    p.apply("""
hodei: v1
name: spared-matrix
jobs:
  m:
    matrix: { axes: { n: [1, 2, 3] }, max_parallel: 2, fail_fast: true }
    interruptible: false
    run: 'test ${{ matrix.n }} = 1 && while ! test -e %s/fail-$HODEI_RUN; do sleep 0.05; done && exit 1; %s'
""" % (p.folder, hold))
    run = p.start_run("spared-matrix")
    wait_for(lambda: p.job_state(run, "m.1") == p.job_state(run, "m.2") == "active", "two run")
    go("fail-" + run)
    wait_for(lambda: p.job_state(run, "m.3") == "cancelled", "what has not started is cancelled")
    expect(p.job_state(run, "m.2") == "active", "what has goes on")
    go(run)
    p.wait_run(run, "failed", 10)
    expect(states(run) == {"m": "failed", "m.1": "failed", "m.2": "succeeded", "m.3": "cancelled"}, "%r" % states(run))


def test_cli_steers_and_lints():
    good, bad = os.path.join(p.folder, "good.yml"), os.path.join(p.folder, "bad.yml")
    with open(good, "w") as file:
        file.write(one_job("by-cli", "exit 1"))
    with open(bad, "w") as file:
        file.write("hodei: v1\nname: bad\njobs:\n  a: { rum: x }\n")
    expect("is right" in p.cli("lint", good).stdout, "a good one")
    done = p.cli("lint", good, bad, code=None)
    expect(done.returncode == 2 and "bad.yml:4:8: jobs.a.rum" in done.stderr and "did you mean \"run\"" in done.stderr, "%r" % done)
    done = p.cli("lint", os.path.join(p.folder, "none.yml"), code=2)
    expect(done.stderr.count("none.yml: No such file") == 1 and ":0:0" not in done.stderr, "a file that is not there has no line: %r" % done.stderr)
    schema = json.loads(p.cli("schema").stdout)
    expect("needs" in schema["$defs"]["job"]["properties"] and "needs" not in schema["$defs"]["defaults"]["properties"], "the schema")
    p.cli("pipeline", "apply", good)
    run = p.start_run("by-cli")
    p.wait_run(run, "failed")
    expect("it failed" in p.cli("explain", run, "only").stdout, "why")
    made = p.cli("run", "rerun", run, "--failed", "--reason", "again").stdout.strip()
    p.wait_run(made, "failed")
    p.wait_run(p.cli("job", "done", run, "only").stdout.strip(), "succeeded")
    expect(p.run(run)["actions"][0]["reason"] == "again", "the reason is kept")
    expect(p.cli("run", "pause", run, code=None).returncode != 0, "it has ended")
    done = p.cli("logs", run, "--job", "onyl", code=None)
    expect(done.returncode != 0 and 'no job "onyl"' in done.stderr, "a job that is not there is no empty log: %r" % done)
    done = p.cli("run", "list", "--token-file", "/nonexistent", code=None)
    expect(done.returncode != 0 and "the token file: /nonexistent: No such file" in done.stderr, "which file: %r" % done)
    p.apply("hodei: v1\nname: cli-input\ninputs: { who: { required: true } }\njobs: { only: { run: 'echo ${{ inputs.who }}' } }\n")
    refused = p.cli("run", "start", "cli-input", code=None)
    expect(refused.returncode != 0 and "is required" in refused.stderr, "%r" % refused)
    run = p.cli("run", "start", "cli-input", "--input", "who=you").stdout.strip()
    p.wait_run(run, "succeeded")
    wait_for(lambda: p.log(run) == b"you\n", "the input is used")


def explain(run, job):
    reply = p.get("/v1/runs/%s/jobs/%s:explain" % (run, job))
    expect(reply["reason"] and reply["text"], "%r" % reply)
    return reply["reason"], reply["text"]


def test_explain():
    gate = os.path.join(p.folder, "explain-gate")
    p.apply("""
hodei: v1
name: why
jobs:
  first: { run: "while ! test -e %s; do sleep 0.05; done" }
  second: { needs: [first], run: echo second }
  approve: { approval: {}, run: echo approved }
  slot: { concurrency: { group: why }, run: "while ! test -e %s; do sleep 0.05; done" }
  slotless: { concurrency: { group: why }, run: echo slotless }
  again: { run: exit 1, retry: { limit: 1, backoff: { initial: 1h } } }
  nowhere: { labels: { moon: dark }, run: echo never }
  many: { matrix: { axes: { n: [1, 2] }, max_parallel: 1 }, run: "while ! test -e %s; do sleep 0.05; done" }
finally:
  last: { run: echo last }
""" % (gate, gate, gate))
    run = p.start_run("why")
    wait_for(lambda: p.running(run, "first") and p.jobs(run)["again"].get("waits_for") == ["backoff"], "all is in place")
    wait_for(lambda: p.running(run, "many.1") and p.running(run, "slot"), "these run")
    wanted = {"first": ("running", "it runs on worker agent-1"), "second": ("needs", "first"), "approve": ("approval", "0 of 1"),
              "slotless": ("group", "group why: 1 of 1"), "again": ("backoff", "tried again in"), "nowhere": ("label", "moon"),
              "many": ("matrix", "2 jobs"), "many.2": ("matrix", "raise max_parallel"), "last": ("needs", "finally")}
    for job, (reason, text) in wanted.items():
        got = explain(run, job)
        expect(got[0] == reason and text in got[1], "%s: %r, not %s: %s" % (job, got, reason, text))
    steer(run, "pause")
    got = explain(run, "nowhere")
    expect(got[0] == "paused", "%r" % (got,))
    expect(p.api("GET", "/v1/runs/%s/jobs/nobody:explain" % run).status == 404, "no such job")
    open(gate, "w").close()
    wait_for(lambda: p.job_state(run, "first") == "succeeded", "it ends")
    expect(explain(run, "first") == ("ended", "it succeeded"), "%r" % (explain(run, "first"),))
    p.api("POST", "/v1/runs/%s:cancel" % run)
    p.wait_run(run, "cancelled")
    p.apply("hodei: v1\nname: why-held\nconcurrency: { group: why-held }\njobs: { only: { run: sleep 600 } }\n")
    holder, held = p.start_run("why-held"), p.start_run("why-held")
    got = explain(held, "only")
    expect(got[0] == "group" and got[1].startswith("the run waits for its concurrency group why-held: 1 of 1") and holder in got[1], "%r" % (got,))
    for run in (holder, held):
        p.api("POST", "/v1/runs/%s:cancel" % run)
        p.wait_run(run, "cancelled")
    p.limit(1)
    try:
        runs = [start_long("why-quota-0")]
        p.apply(one_job("why-quota-2", "echo x"))
        second = p.start_run("why-quota-2")
        got = explain(second, "only")
        expect(got[0] == "quota" and "1 of its 1 concurrent jobs" in got[1], "%r" % (got,))
        p.api("POST", "/v1/runs/%s:cancel" % runs[0])
        p.wait_run(second, "succeeded")
    finally:
        p.limit(1000)


def test_agent_killed():
    mark = os.path.join(p.folder, "agent.runs")
    p.apply(one_job("outlive", "echo x >>%s\nfor i in $(seq 1 40); do echo line $i; sleep 0.1; done" % mark))
    run = p.start_run("outlive")
    wait_for(lambda: b"line 3" in p.log(run), "it runs and its log is stored")
    p.kill("agent-1")
    p.wait_run(run, "succeeded")
    job = p.jobs(run)["only"]
    expect(len(job["attempts"]) == 1, "one attempt: %r" % job)
    want = b"".join(b"line %d\n" % i for i in range(1, 41))
    wait_for(lambda: p.log(run) == want, "the log is whole: %r" % p.log(run)[-200:])
    with open(mark) as file:
        expect(file.read() == "x\n", "it ran once")


def test_agent_away_while_the_job_ends():
    p.apply(one_job("end-alone", "echo begin; sleep 1; echo end; exit 5"))
    run = p.start_run("end-alone")
    wait_for(lambda: b"begin" in p.log(run), "it runs")
    pid = p.process("agent-1")["pid"]
    os.kill(pid, signal.SIGSTOP)  # deaf for longer than the job takes
    time.sleep(1.5)
    os.kill(pid, signal.SIGKILL)
    p.wait_run(run, "failed")
    expect(p.jobs(run)["only"]["attempts"][0]["exit_code"] == 5, "the result came by the shim")
    wait_for(lambda: p.log(run) == b"begin\nend\n", "the log is whole")


def test_shim_killed():
    mark = os.path.join(p.folder, "shim.pid")
    p.apply(one_job("shimless", "echo $$ >>%s\nif [ $(wc -l <%s) = 1 ]; then exec sleep 600; fi" % (mark, mark)))
    run = p.start_run("shimless")
    wait_for(lambda: os.path.exists(mark) and open(mark).read().strip(), "it runs")
    shims = [pid for pid, command in p.everything() if "hodei-shim" in "".join(command.split()[:1])]
    expect(len(shims) == 1, "one shim: %r" % shims)
    with open("/proc/net/tcp") as file:
        inodes = {"socket:[%s]" % line.split()[9] for line in file if not line.startswith("  sl")}
    held = open_files(shims[0])
    expect(not held & inodes, "the shim keeps no connection of its agent open")
    os.kill(shims[0], signal.SIGKILL)
    got = p.wait_run(run)
    attempts = p.jobs(run)["only"]["attempts"]
    expect(attempts[0]["state"] == "lost", "lost with its shim: %r" % attempts)
    expect(got["state"] == "succeeded" and len(attempts) == 2, "a new attempt did it: %r" % attempts)
    with open(mark) as file:
        wait_for(lambda first=int(file.readline()): not alive(first), "the first one is dead", 5)


# --- dev itself ------------------------------------------------------------------------------------------------------


def test_dev_killed_and_started_again():
    p.apply(one_job("survivor", "sleep 3; echo survived"))
    before = p.run(run_one("kept", "echo kept"))
    run = p.start_run("survivor")
    wait_for(lambda: p.job_state(run, "only") == "active", "it runs")
    os.kill(p.dev.pid, signal.SIGKILL)
    p.dev.wait()
    p.dev = None
    token = p.token
    p.start()
    expect(p.token == token, "the same token")
    expect(p.run(before["id"])["state"] == "succeeded", "runs are kept")
    expect("kept" in [x["name"] for x in p.get("/v1/pipelines")["pipelines"]], "pipelines are kept")
    wait_for(lambda: p.log(before["id"]) == b"kept\n", "logs are kept")
    p.wait_run(run, "succeeded")
    expect(len(p.jobs(run)["only"]["attempts"]) == 1, "adopted, not begun again")


def test_two_side_by_side():
    other = Platform()
    try:
        other.start()
        expect(other.info["server"] != p.info["server"], "its own port")
        other.apply(one_job("second", "echo there"))
        run = other.start_run("second")
        other.wait_run(run, "succeeded")
        expect(p.api("GET", "/v1/runs/" + run).status == 404, "its own data")
        reply = p.raw("GET", "/v1/runs", headers={"Authorization": "Bearer " + other.token})
        expect(reply.status == 401, "its own token")
        locked = subprocess.run([HODEI, "dev", "--data", other.data], capture_output=True, text=True, timeout=20)
        expect(locked.returncode != 0 and "another" in locked.stderr, "one at a time: %r" % locked.stderr)
        expect(other.stop() == 0, "Ctrl-C is a good end")
        wait_for(lambda: not other.everything(), "nothing is left", 10)
    finally:
        other.destroy()


def test_what_dev_cannot_use_is_said():
    for option, value, text in (("--postgres", "postgresql://db/x", "not as an address"), ("--postgres", "host=/x password=geheim", "PGPASSFILE"),
                                ("--postgres", "host=/x nonsense", 'missing "=" after "nonsense"'), ("--nats-servers", "2", "1, 3 or 5"),
                                ("--postgres", "host=/nowhere user=x dbname=y", "/nowhere")):
        folder = os.path.join(p.folder, "cannot")
        done = subprocess.run([HODEI, "dev", "--data", folder, "--agents", "0", option, value], capture_output=True, text=True, timeout=20)
        expect(done.returncode in (2, 10) and text in done.stderr and "geheim" not in done.stdout + done.stderr, "%s %s: %r" % (option, value, done))


def test_started_at_the_same_moment():
    """Each chooses its ports before its services listen on them; no two choose the same."""
    both = [Platform(agents=0) for _ in range(3)]
    try:
        with concurrent.futures.ThreadPoolExecutor(len(both)) as pool:
            list(pool.map(lambda one: one.start(), both))
        ports = [x["port"] for one in both for x in one.info["processes"] if x["port"]] + [one.info["server"] for one in both]
        expect(len(set(ports)) == len(ports), "all differ: %r" % sorted(map(str, ports)))
        for one in both:
            expect(all(x["starts"] == 1 for x in one.read_info()["processes"]), "nothing had to start again: %s" % one.output())
    finally:
        for one in both:
            one.destroy()


def test_stops_everything():
    mark = os.path.join(p.folder, "stop.pid")
    p.apply(one_job("at-the-end", "echo $$ >%s; exec sleep 600" % mark))
    p.start_run("at-the-end")
    wait_for(lambda: os.path.exists(mark) and open(mark).read().strip(), "a job runs")
    began = time.monotonic()
    expect(p.stop() == 0, "exit status 0")
    print("        stopped in %.1f s" % (time.monotonic() - began))
    wait_for(lambda: not p.everything(), "nothing is left: %r" % p.everything(), 5)
    expect(not alive(int(open(mark).read())), "the job ended with it")


def open_files(pid):
    """What the descriptors of a process stand for; it may close some while we look."""
    found = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:
            pass
    return found


def start_long(name):
    p.apply(one_job(name, "sleep 600"))
    run = p.start_run(name)
    wait_for(lambda: p.job_state(run, "only") == "active", "it runs")
    return run


def main():
    global p
    p = Platform(slots=4)
    p.start_long = start_long
    p.start()
    tests = [(name[5:], function) for name, function in globals().items() if name.startswith("test_")]
    code = run_tests(tests, sys.argv)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
