#!/usr/bin/env python3
"""Quotas: each limit holds at every moment, what is over it waits or is refused with what to do, and counts stay exact.

quota.py [--clients N] [--replicas N] [test…]: so many clients start runs at once while orchestrator and quota are killed.
"""

import base64
import concurrent.futures
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import Platform, expect, run_tests, wait_for  # noqa: E402

p = None
CLIENTS, KILLS = 200, 3
MI = 1 << 20
OVER = ("SELECT count(*) FROM orchestrator.tenants WHERE granted AND NOT borrow AND ((used > job_limit) OR (cpu_limit >= 0 AND cpu_used > cpu_limit)"
        " OR (memory_limit >= 0 AND memory_used > memory_limit) OR (gpu_limit >= 0 AND gpu_used > gpu_limit)"
        " OR (queued_limit >= 0 AND pending > queued_limit) OR (runs_limit >= 0 AND runs > runs_limit))")
# What is there, and what the counters say, in one view of the tables; the jobs of these tests ask for 64 MiB each. A project's row is
# `<tenant>/<project>`, which is what its jobs name; a tenant's counts those of its projects too.
WRONG = ("SELECT t.name, t.used, c.counted, t.memory_used, t.pending, c.pending, t.queued, c.queued, t.runs, r.runs FROM orchestrator.tenants t,"
         " LATERAL (SELECT count(*) FILTER (WHERE state IN (3, 4, 5)) AS counted, count(*) FILTER (WHERE state IN (1, 2)) AS pending,"
         " count(*) FILTER (WHERE state = 2 AND hold = 0) AS queued FROM orchestrator.jobs j"
         " WHERE t.name IN (j.tenant, split_part(j.tenant, '/', 1))) c,"
         " LATERAL (SELECT count(*) AS runs FROM orchestrator.runs r WHERE t.name IN (r.tenant, r.tenant || '/' || r.project)) r"
         " WHERE (t.used, t.memory_used, t.pending, t.queued, t.runs) IS DISTINCT FROM"
         " (c.counted, c.counted * %d, c.pending, c.queued, r.runs)" % (64 * MI))


class Tenant:
    def __init__(self, name):
        self.name, self.headers = name, p.person(name, tenant=name)

    def api(self, method, path, body=None, **headers):
        return p.api(method, path, body, dict(self.headers, **headers))

    def get(self, path):
        reply = self.api("GET", path)
        expect(reply.status == 200, "GET %s: %r" % (path, reply))
        return reply.json

    def limit(self, **limits):
        reply = self.api("PUT", "/v1/quota", dict({"concurrent_jobs": 500}, **limits))
        expect(reply.status == 200, "limits: %r" % reply)
        wait_for(lambda: self.get("/v1/quota").get("enforced"), "the limits are in force")

    def apply(self, name, jobs, command="true", memory="64Mi"):
        text = "hodei: v1\nname: %s\njobs:\n" % name + "".join(
            "  j%d: { run: '%s', resources: { memory: %s } }\n" % (i, command, memory) for i in range(jobs))
        reply = self.api("POST", "/v1/pipelines", text)
        expect(reply.status == 200, "apply: %r" % reply)

    def start(self, pipeline, key=None):
        return self.api("POST", "/v1/runs", {"pipeline": pipeline}, **({"Idempotency-Key": key} if key else {}))

    def run(self, pipeline):
        reply = self.start(pipeline)
        expect(reply.status == 201, "start: %r" % reply)
        return reply.json["id"]

    def wait(self, run, state):
        return wait_for(lambda: (lambda got: got["state"] == state and got)(self.get("/v1/runs/" + run)), "run %s is %s" % (run, state), 60)

    def states(self, run):
        return {job["name"]: job["state"] for job in self.get("/v1/runs/%s/jobs?page_size=500" % run)["jobs"]}

    def why(self, run, job):
        return self.get("/v1/runs/%s/jobs/%s:explain" % (run, job))

    def refused(self, reply, status, field, words, hint):
        error = reply.json.get("error", reply.json)
        expect(reply.status == status, "%d: %r" % (status, reply))
        expect(field in str(error) and words in str(error) and hint in str(error), "%s, %s, %s: %r" % (field, words, hint, error))


class Watch:
    """Samples the tables as fast as it can: no counter is ever above its limit, and each says what there is."""

    def __init__(self):
        self.samples, self.found, self.going = 0, [], True
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        while self.going:
            try:
                over, wrong = p.sql(OVER).strip(), p.sql(WRONG).strip()
            except Exception as error:  # noqa: B902: the sample counts, not why one failed
                self.found.append(str(error))
                return
            self.samples += 1
            if over != "0" or wrong:
                self.found.append("over: %s, wrong: %s" % (over, wrong))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()
        if not sys.exc_info()[0]:
            expect(not self.found, "%d of %d samples: %s" % (len(self.found), self.samples, self.found[:3]))
            expect(self.samples >= 1, "samples: %d" % self.samples)


def test_memory_is_waited_for():
    tenant = Tenant("memory")
    tenant.limit(memory_bytes=128 * MI)
    tenant.apply("three", 3, "while [ ! -e %s ]; do sleep 0.05; done" % os.path.join(p.folder, "go"))
    with Watch():
        run = tenant.run("three")
        wait_for(lambda: sorted(tenant.states(run).values()) == ["active", "active", "queued"], "two of three run")
        waiting = next(name for name, state in tenant.states(run).items() if state == "queued")
        why = tenant.why(run, waiting)
        expect(why["reason"] == "quota" and "asks for 64 MiB of memory, and jobs of the tenant have 128 MiB of memory of its 128 MiB" in why["text"], "%r" % why)
        quota = tenant.get("/v1/quota")
        expect(quota["usage"]["concurrent_jobs"] == 2 and quota["usage"]["memory_bytes"] == 128 * MI, "%r" % quota)
        expect(quota["usage"]["reached"] == ["memory_bytes"] and "cpu_milli" not in quota, "%r" % quota)
        open(os.path.join(p.folder, "go"), "w").close()
        tenant.wait(run, "succeeded")
    expect(not tenant.get("/v1/quota")["usage"].get("memory_bytes"), "it is given back")


def test_too_large_alone():
    tenant = Tenant("large")
    tenant.limit(memory_bytes=128 * MI)
    tenant.apply("small", 1)
    tenant.apply("large", 1, memory="129Mi")
    tenant.refused(tenant.start("large"), 412, "pipeline", "asks for 129 MiB of memory, and the tenant may use 128 MiB", "memory_bytes")
    tenant.limit(concurrent_jobs=0)
    run = tenant.run("large")  # no limit of memory: it waits for a slot
    tenant.limit(memory_bytes=128 * MI)
    wait_for(lambda: "can never start" in tenant.why(run, "j0")["text"], "it says that it can never start")
    tenant.wait(tenant.run("small"), "succeeded")  # and hides nobody
    tenant.limit(memory_bytes=129 * MI)
    tenant.wait(run, "succeeded")


def test_runs_and_queue_are_refused():
    tenant = Tenant("stock")
    tenant.apply("one", 1)
    tenant.apply("five", 5)
    tenant.limit(concurrent_jobs=0, runs_day=3, queued_jobs=7)
    runs = [tenant.run("five"), tenant.run("one")]
    tenant.refused(tenant.start("five"), 429, "quota.queued_jobs", "has used 6 of its 7 queued jobs, and this needs 5 more", "raised")
    runs.append(tenant.run("one"))
    tenant.refused(tenant.start("one"), 429, "quota.queued_jobs", "7 of its 7 queued jobs", "raised")
    tenant.limit(runs_day=3)
    for run in runs:
        tenant.wait(run, "succeeded")
    tenant.refused(tenant.start("one"), 429, "quota.runs_day", "has used 3 of its 3 runs a day", "midnight")
    rerun = tenant.api("POST", "/v1/runs/%s:rerun" % runs[0], {})
    tenant.refused(rerun, 429, "quota.runs_day", "has used 3 of its 3 runs a day", "midnight")
    expect(abs(int(rerun.headers["Retry-After"]) - (86400 - time.time() % 86400)) < 10, "until midnight: %s" % rerun.headers["Retry-After"])
    usage = tenant.get("/v1/quota")["usage"]
    expect(usage.get("runs_day") == 3 and usage["reached"] == ["runs_day"] and not usage.get("queued_jobs"), "%r" % usage)


def test_pipelines_are_refused():
    tenant = Tenant("shelf")
    tenant.limit(pipelines=2)
    bus, told = events("shelf")
    tenant.apply("a", 1)
    expect(told() == 0, "half of it is no mark")
    tenant.apply("b", 1)
    wait_for(lambda: told() == 1, "80 and 100 % are told")
    bus.close()
    tenant.apply("b", 2)  # a version is not another pipeline
    text = "hodei: v1\nname: c%s\njobs: { j: { run: 'true' } }\n"
    tenant.refused(tenant.api("POST", "/v1/pipelines", text % ""), 429, "quota.pipelines", "has 2 of its 2 pipelines", "raised")
    usage = tenant.get("/v1/quota")["usage"]
    expect(usage["pipelines"] == 2 and usage["reached"] == ["pipelines"], "%r" % usage)
    expect(tenant.api("DELETE", "/v1/pipelines/a").status in (200, 204), "one is deleted")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda i: tenant.api("POST", "/v1/pipelines", text % i), range(16)))
    expect(sorted(r.status for r in replies) == [200] + [429] * 15, "one of sixteen: %r" % [r.status for r in replies])
    expect(p.sql("SELECT count(*) FROM pipelines.pipelines WHERE tenant = 'shelf' AND version = 0").strip() == "0", "nothing is left of the others")
    tenant.limit()
    tenant.apply("more", 1)


def test_logs_are_cut():
    """What is over is not kept, the log says so once, its end is known all the same, and with more quota it goes on."""
    p.cli("tenant", "create", "writer")
    tenant = Tenant("writer")
    tenant.limit(log_bytes_day=100000)
    bus, told = events("writer")
    tenant.apply("loud", 1, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 20000 /dev/zero | tr \\\\0 x; echo; sleep 0.3; done; echo the end")
    followed = p.cli("run", "start", "loud", "--watch", "--logs", "--tenant", "writer", timeout=60).stdout
    expect(60000 < followed.count("x") <= 100000 and followed.count("is used up") == 1 and "the end" not in followed,
           "%d bytes: %s" % (followed.count("x"), followed[-500:]))
    expect("97.6 KiB of logs a day" in followed or "97.6 KiB" in followed, "how much: %s" % followed[-500:])
    usage = tenant.get("/v1/quota")["usage"]
    expect(60000 < usage["log_bytes_day"] <= 100000 and usage["reached"] == ["log_bytes_day"], "%r" % usage)
    wait_for(told, "the marks are told")
    shown = p.cli("quota", "show", "--tenant", "writer").stdout
    expect("logs today" in shown and "97.6 KiB" in shown, shown)
    p.cli("quota", "set", "--log-bytes-day", "1Mi", "--tenant", "writer")
    wait_for(lambda: tenant.get("/v1/quota").get("enforced"), "the limits are in force")
    followed = p.cli("run", "start", "loud", "--watch", "--logs", "--tenant", "writer", timeout=60).stdout
    expect(followed.count("x") >= 240000 and "the end" in followed, "with more: %d" % followed.count("x"))
    bus.close()


def events(tenant):
    """The bus, and how many events of the tenant's marks it has."""
    bus, subject = p.nats(), "hodei.evt.%s.quota.crossed" % tenant

    def told():
        info = json.loads(bus.request("$JS.API.STREAM.INFO.EVENTS", json.dumps({"subjects_filter": subject}).encode()))
        return (info["state"].get("subjects") or {}).get(subject, 0)

    return bus, told


def test_projects_within_their_tenant():
    """A project waits for its own limits and keeps back nobody else; starts and pipelines over them are refused; each counts in both."""
    tenant = Tenant("house")
    p.cli("tenant", "create", "house")
    tenant.limit(concurrent_jobs=20)

    def project(name, **limits):
        reply = tenant.api("PUT", "/v1/projects/%s/quota" % name, dict({"concurrent_jobs": 100}, **limits))
        expect(reply.status == 200 and reply.json["project"] == name, "limits: %r" % reply)
        wait_for(lambda: tenant.get("/v1/projects/%s/quota" % name).get("enforced"), "the limits are in force")

    def apply(name, where, jobs, command="true"):
        text = "hodei: v1\nname: %s\njobs:\n" % name + "".join("  j%d: { run: '%s', resources: { memory: 64Mi } }\n" % (i, command) for i in range(jobs))
        return tenant.api("POST", "/v1/pipelines?project=" + where, text)

    project("web", concurrent_jobs=2, runs_day=3, pipelines=2)
    for name, where in (("site", "web"), ("other", "data")):
        expect(apply(name, where, 6, "sleep 600").status == 200, name)
    site, other = tenant.run("site"), tenant.run("other")

    def counted(run):
        return sum(state in ("ready", "active") for state in tenant.states(run).values())

    wait_for(lambda: counted(site) == 2 and counted(other) == 6, "two of the project, all of the other: it keeps back nobody")
    waits = next(name for name, state in tenant.states(site).items() if state == "queued")
    why = tenant.why(site, waits)
    expect(why["reason"] == "quota" and "the project web has 2 of its 2 concurrent jobs" in why["text"], "why: %r" % why)
    usage = tenant.get("/v1/projects/web/quota")["usage"]
    expect(usage["concurrent_jobs"] == 2 and usage["queued_jobs"] == 4 and usage["pipelines"] == 1 and "concurrent_jobs" in usage["reached"], "%r" % usage)
    whole = tenant.get("/v1/quota")["usage"]
    expect(whole["concurrent_jobs"] == 8 and whole["queued_jobs"] == 4 and whole["memory_bytes"] == 8 * 64 * MI, "the tenant has both: %r" % whole)
    project("web", concurrent_jobs=4, runs_day=3, pipelines=2)
    wait_for(lambda: counted(site) == 4, "raised, it goes on at once")
    p.kill("orchestrator")
    for run in (other, site):
        wait_for(lambda run=run: tenant.api("POST", "/v1/runs/%s:cancel" % run).status == 200, "it is cancelled")
    tenant.wait(site, "cancelled")
    tenant.wait(other, "cancelled")
    expect(tenant.get("/v1/projects/web/quota")["usage"].get("concurrent_jobs", 0) == 0, "nothing is left")
    expect(apply("quick", "web", 1).status == 200, "a second one")
    tenant.refused(apply("third", "web", 1), 429, "quota.pipelines", "the project web has 2 of its 2 pipelines", "raised")
    expect(apply("third", "data", 1).status == 200, "elsewhere it may be")
    for _ in range(2):
        tenant.run("quick")
    tenant.refused(tenant.start("quick"), 429, "quota.runs_day", "the project web has used 3 of its 3 runs a day", "midnight")
    tenant.run("third")
    project("web", concurrent_jobs=0)  # it is stopped
    held = tenant.run("quick")
    tenant.wait(tenant.run("third"), "succeeded")
    expect(tenant.states(held) == {"j0": "queued"}, "it waits")
    project("web", concurrent_jobs=1)
    tenant.wait(held, "succeeded")
    for body, field in (({"concurrent_jobs": 1, "weight": 3}, "weight"), ({"concurrent_jobs": 1, "borrow": True}, "borrow"),
                        ({"concurrent_jobs": 1, "log_bytes_day": 5}, "log_bytes_day")):
        reply = tenant.api("PUT", "/v1/projects/web/quota", body)
        expect(reply.status == 400 and reply.json["field"] == field, "%s: %r" % (field, reply))
    expect(tenant.api("PUT", "/v1/projects/default/quota", {"concurrent_jobs": 1}).status == 400, "the default one is the tenant itself")
    shown = p.cli("quota", "set", "--project", "web", "--jobs", "7", "--tenant", "house").stdout
    expect("tenant house, project web" in shown and "of 7" in shown and "weight" not in shown, shown)
    said = json.loads(p.cli("quota", "show", "--tenant", "house", "-o", "json").stdout)
    expect(said["concurrent_jobs"] == 20 and not said.get("project"), "the tenant's are what they were: %r" % said)


def test_marks_are_told_once():
    tenant = Tenant("marks")
    tenant.apply("one", 1)
    tenant.limit(runs_day=5)
    subject = "hodei.evt.marks.quota.crossed"
    bus, told = events("marks")

    try:
        for _ in range(3):
            tenant.run("one")
        run = tenant.run("one")
        wait_for(lambda: told() == 1, "80 % are told")
        expect(tenant.get("/v1/quota")["usage"]["near"] == ["runs_day"], "and shown")
        p.kill("orchestrator")
        tenant.wait(run, "succeeded")
        last = wait_for(lambda: tenant.start("one").status == 201 and tenant.get("/v1/quota")["usage"]["reached"] == ["runs_day"], "the last one")
        wait_for(lambda: told() == 2, "100 % are told")
        for _ in range(5):
            expect(last and tenant.start("one").status == 429, "refused")
        said = json.loads(bus.request("$JS.API.STREAM.MSG.GET.EVENTS", json.dumps({"last_by_subj": subject}).encode()))
        data = base64.b64decode(said["message"]["data"])
        expect(b"runs_day\x10\x64\x18\x05\x20\x05" in data, "runs_day, 100 %%, 5 of 5: %r" % data)
        expect(told() == 2, "each once: %d" % told())
    finally:
        bus.close()


def test_job_minutes():
    tenant = Tenant("minutes")
    tenant.apply("one", 1, "sleep 0.3")
    tenant.wait(tenant.run("one"), "succeeded")
    spent = int(p.sql("SELECT job_ms FROM orchestrator.tenants WHERE name = 'minutes'"))
    expect(300 <= spent < 3000, "%d ms are counted" % spent)
    p.sql("UPDATE orchestrator.tenants SET job_ms = 60000 - 100 WHERE name = 'minutes'")
    tenant.limit(job_minutes_month=1)
    tenant.wait(tenant.run("one"), "succeeded")
    tenant.refused(tenant.start("one"), 429, "quota.job_minutes_month", "used 1 of its 1 job minute a month", "month")


def test_counters_are_mended():
    tenant = Tenant("mended")
    tenant.limit(concurrent_jobs=0)
    tenant.apply("one", 3)
    run = tenant.run("one")
    p.sql("UPDATE orchestrator.tenants SET memory_used = 123, queued = 1, pending = 9, used = 4 WHERE name = 'mended'")
    expect("mended" in p.sql(WRONG), "they are wrong")
    p.kill("orchestrator")  # a new process looks at once, others every minute
    wait_for(lambda: "mended" not in p.sql(WRONG), "they are mended", 90)
    tenant.limit()
    tenant.wait(run, "succeeded")


def test_borrowing():
    """One tenant uses what the other leaves of its limit, not more, and gives it back as its jobs end."""
    borrower, owner = Tenant("borrower"), Tenant("owner")
    others = p.sql("SELECT name FROM orchestrator.tenants WHERE granted AND name NOT IN ('borrower', 'owner') AND name !~ '/'").split()
    for name in others:
        Tenant(name).limit(concurrent_jobs=0)
    try:
        go, again = os.path.join(p.folder, "borrow"), os.path.join(p.folder, "back")
        borrower.apply("wide", 12, "while [ ! -e %s ]; do sleep 0.05; done; while [ -e %s.hold ]; do sleep 0.05; done" % (go, go))
        owner.apply("wide", 12, "while [ ! -e %s ]; do sleep 0.05; done" % again)
        owner.limit(concurrent_jobs=4)
        borrower.limit(concurrent_jobs=2)
        used = lambda tenant: int(p.sql("SELECT used FROM orchestrator.tenants WHERE name = '%s'" % tenant.name))  # noqa: E731
        with Watch():
            first = borrower.run("wide")
            wait_for(lambda: used(borrower) == 2, "its own two")
            borrower.limit(concurrent_jobs=2, borrow=True)
            wait_for(lambda: used(borrower) == 6, "and the other's four")
            expect(borrower.get("/v1/quota")["borrow"] is True, "it is shown")
            second = owner.run("wide")
            wait_for(lambda: used(owner) == 4, "the owner has its four at once")
            expect(used(borrower) == 6, "nothing is stopped for it")
            open(go, "w").close()
            wait_for(lambda: borrower.get("/v1/runs/" + first)["jobs_ended"] >= 6, "the borrower's jobs end")
            seen = max(used(borrower) for _ in range(20))
            expect(seen <= 2, "and are not followed by borrowed ones: %d" % seen)
            open(again, "w").close()
            borrower.wait(first, "succeeded")
            owner.wait(second, "succeeded")
    finally:
        for name in others:
            Tenant(name).limit()
        for tenant in (borrower, owner):
            tenant.limit()


def test_cli():
    p.cli("quota", "set", "--memory", "64Gi", "--cpu", "16", "--runs-day", "100000", "--weight", "3")
    shown = p.cli("quota", "show").stdout
    expect("weight 3" in shown and "0 of 16" in shown and "0 B of 64 GiB" in shown and "[....................]   0 %" in shown, shown)
    p.cli("quota", "set", "700", "--memory", "none", "--cpu", "none", "--runs-day", "none")
    expect("of 700" in p.cli("quota", "show").stdout, "jobs at once")
    expect("0 B, no limit" in p.cli("quota", "show").stdout, "no limit any more")
    failed = p.cli("quota", "set", "--memory", "64", code=None)
    expect(failed.returncode == 2 and "64Gi" in failed.stderr, "%d: %s" % (failed.returncode, failed.stderr))
    expect('"usage"' in p.cli("quota", "show", "-o", "json").stdout, "JSON")


def one_client(tenant, i, ends):
    """Starts one run, over and over with its key until it is accepted or refused for good."""
    while time.monotonic() < ends:
        try:
            reply = tenant.start("crowd", "client-%d" % i)
        except OSError:
            continue
        if reply.status == 201 or (reply.status == 429 and "quota.runs_day" in reply.body.decode()):
            return reply
        expect(reply.status in (201, 200, 408, 429, 502, 503, 504), "client %d: %r" % (i, reply))
        time.sleep(random.random() * 0.2)
    raise AssertionError("client %d has no answer" % i)


def test_a_crowd_over_quota():
    """Many clients start more than the quota has, while those that count are killed: exactly the quota starts, and all of it ends."""
    tenant, allowed = Tenant("crowd"), CLIENTS // 2
    tenant.apply("crowd", 2)
    tenant.limit(concurrent_jobs=20, memory_bytes=10 * 64 * MI, runs_day=allowed, queued_jobs=40)
    ends = time.monotonic() + 60 + CLIENTS // 4
    names = [name for name in ("orchestrator", "quota", "orchestrator-2", "quota-2") if name in p.pids()]
    with Watch() as watch, concurrent.futures.ThreadPoolExecutor(min(CLIENTS, 2000)) as pool:
        clients = [pool.submit(one_client, tenant, i, ends) for i in range(CLIENTS)]
        for i in range(KILLS * len(names) if p.replicas == 1 else KILLS * len(names) // 2):
            wait_for(lambda i=i: sum(c.done() for c in clients) > i * CLIENTS // (KILLS * len(names) + 1), "clients get on", 120)
            p.kill(names[i % len(names)])
        replies = [client.result() for client in clients]
        accepted = {reply.json["id"] for reply in replies if reply.status == 201}
        refused = sum(reply.status == 429 for reply in replies)
        expect(len(accepted) == allowed and refused == CLIENTS - allowed, "%d accepted, %d refused" % (len(accepted), refused))
        rows = p.sql("SELECT id FROM orchestrator.runs WHERE tenant = 'crowd'").split()
        expect(set(rows) == accepted and len(rows) == allowed, "%d runs are there" % len(rows))
        wait_for(lambda: p.sql("SELECT count(*) FROM orchestrator.runs WHERE tenant = 'crowd' AND state = 3").strip() == str(allowed), "all have succeeded", 240)
    usage = tenant.get("/v1/quota")["usage"]
    expect(usage["runs_day"] == allowed and not any(usage.get(k) for k in ("concurrent_jobs", "memory_bytes", "queued_jobs")), "%r" % usage)
    print("        %d clients: %d accepted, %d refused; %d samples, none above a limit" % (CLIENTS, allowed, refused, watch.samples))


def main():
    global p, CLIENTS
    argv, replicas = sys.argv[:], 0
    while len(argv) > 2 and argv[1] in ("--clients", "--replicas"):
        if argv[1] == "--clients":
            CLIENTS = int(argv[2])
        else:
            replicas = int(argv[2])
        del argv[1:3]
    p = Platform(slots=8, replicas=replicas)
    p.start()
    code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], argv)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
