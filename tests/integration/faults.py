"""What may fail, during a run of 200 jobs: each process is killed in turn, all streams are wiped. Every job must run once."""

import base64
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import SERVICES, Platform, expect, run_side_by_side, wait_for  # noqa: E402

JOBS = 200


def fan(name, folder, seconds):
    """A run of JOBS jobs: a hundred, then ten that need ten each, and so on; each leaves a line in a file of its own."""
    lines = ["hodei: v1", "name: " + name, "jobs:"]
    for i in range(JOBS):
        needs = "needs: [%s], " % ", ".join("j%d" % ((i - 100) * 1 + k) for k in (0, 50)) if i >= 150 else ""
        lines.append("  j%d: { %srun: 'echo begin >>%s/j%d; sleep %g; echo end >>%s/j%d; echo out-%d' }" %
                     (i, needs, folder, i, seconds, folder, i, i))
    return "\n".join(lines) + "\n"


class World:
    def __init__(self, name, agents=1, slots=8, seconds=0.3):
        self.p = Platform(agents=agents, slots=slots).start()
        self.folder = os.path.join(self.p.folder, "out")
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o777)
        self.p.apply(fan(name, self.folder, seconds))
        self.run = self.p.start_run(name)

    def done(self):
        return len(os.listdir(self.folder))

    def wait_done(self, n):
        wait_for(lambda: self.done() >= n, "%d jobs have begun (%d have)" % (n, self.done()), 90)

    def check(self):
        self.p.wait_run(self.run, "succeeded", 120)
        jobs = self.p.jobs(self.run)
        expect(len(jobs) == JOBS, "%d jobs" % len(jobs))
        for name, job in jobs.items():
            with open(os.path.join(self.folder, name)) as file:
                did = file.read()
            expect(did == "begin\nend\n", "%s ran once: %r, %r" % (name, did, job["attempts"]))
            expect(job["state"] == "succeeded" and len(job["attempts"]) == 1, "%s: %r" % (name, job))
        for i in range(JOBS):
            want = b"out-%d\n" % i
            wait_for(lambda i=i, want=want: self.p.log(self.run, "j%d" % i) == want, "log of j%d" % i, 90)

    def end(self):
        if sys.exc_info()[0]:
            self.p.print_logs()
        self.p.destroy()


def around(world, faults):
    """Spreads the faults over the run."""
    try:
        for i, fault in enumerate(faults):
            world.wait_done(8 + i * (JOBS - 40) // len(faults))
            fault()
        world.check()
        world.p.healthy()
    finally:
        world.end()


def test_each_service_killed():
    world = World("services")
    around(world, [lambda name=name: world.p.kill(name) for name in SERVICES])


def test_base_killed():
    world = World("base")
    around(world, [lambda: world.p.kill("nats"), lambda: world.p.kill("postgres"),
                   lambda: world.p.kill("agent-1"), lambda: world.p.kill("nats"), lambda: world.p.kill("agent-1")])


def test_all_streams_wiped():
    world = World("wiped")

    def wipe():
        bus = world.p.nats()
        expect(len(bus.wipe()) >= 4, "there were streams")
        bus.close()

    around(world, [wipe, wipe])


def test_everything_at_once():
    world = World("at-once")

    def all_services():
        pids = world.p.pids()
        for name in SERVICES:
            os.kill(pids[name], signal.SIGKILL)

    around(world, [all_services, lambda: world.p.kill("nats"), all_services])


def test_worker_lost():
    """An agent that stays away: after lease and margin its job starts elsewhere, and its own late result is refused."""
    p = Platform(agents=2, slots=1).start()
    try:
        mark = os.path.join(p.folder, "lost")
        p.apply("hodei: v1\nname: lost\njobs:\n  only:\n    run: |\n"
                "      echo begin >>%s\n      if [ $(wc -l <%s) = 1 ]; then sleep 600; fi\n" % (mark, mark))
        run = p.start_run("lost")
        wait_for(lambda: os.path.exists(mark), "it runs")
        worker = wait_for(lambda: p.jobs(run)["only"]["attempts"][0]["worker"], "its worker is known")
        pid = p.process(worker)["pid"]
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        p.wait_run(run, "succeeded", 60)
        took = time.monotonic() - began
        attempts = p.jobs(run)["only"]["attempts"]
        expect([a["state"] for a in attempts] == ["lost", "succeeded"], "%r" % attempts)
        expect(attempts[1]["worker"] != worker, "elsewhere")
        expect(took >= 10, "not before lease and margin: %.1f s" % took)
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: sum(w["state"] == "online" for w in p.get("/v1/workers")["workers"]) == 2, "it is back", 30)
        wait_for(lambda: not [x for x in p.everything() if "sleep 600" in x[1]], "the old one is stopped", 20)
        expect([a["state"] for a in p.jobs(run)["only"]["attempts"]] == ["lost", "succeeded"], "the end stays")
    finally:
        if sys.exc_info()[0]:
            p.print_logs()
        p.destroy()


def test_a_job_is_held_for_its_worker():
    """on_worker_lost: hold. No other attempt starts; what comes back is taken, unless somebody has decided meanwhile."""
    p = Platform(agents=2, slots=4).start()

    def steer(job, command):
        reply = p.api("POST", "/v1/runs/%s/jobs/%s:%s" % (run, job, command), {"reason": "it burned"})
        expect(reply.status == 200, "%s: %r" % (command, reply))
        return reply.json

    def attempts(job):
        return [a["state"] for a in p.jobs(run)[job]["attempts"]]

    def held_event():
        got = json.loads(bus.request("$JS.API.STREAM.MSG.GET.EVENTS", b'{"last_by_subj":"hodei.evt.default.job.held"}'))
        return run.encode() in base64.b64decode(got["message"]["data"])

    try:
        folder = os.path.join(p.folder, "held")
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        wait = "echo >>%s/$HODEI_JOB; test $HODEI_ATTEMPT = 1 || exit 0; while ! test -e %s/go-$HODEI_JOB; do sleep 0.1; done" % (folder, folder)
        p.apply("hodei: v1\nname: held\ndefaults: { on_worker_lost: hold }\njobs:\n" +
                "".join("  %s: { run: '%s' }\n" % (job, wait) for job in ("back", "again", "done", "stop")) +
                "  after: { needs: [back], run: echo after }\n")
        run = p.start_run("held")
        wait_for(lambda: len(os.listdir(folder)) == 4, "all four run")
        wait_for(lambda: all(p.jobs(run)[job]["attempts"][0]["state"] == "running" for job in ("back", "again", "done", "stop")), "and are known to")
        workers = {p.jobs(run)[job]["attempts"][0]["worker"] for job in ("back", "again", "done", "stop")}
        expect(len(workers) == 1, "on one worker: %r" % workers)
        worker, = workers
        pid = p.process(worker)["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(p.jobs(run)[job].get("waits_for") == ["worker"] for job in ("back", "again", "done", "stop")), "all are held", 60)
        job = p.jobs(run)["back"]
        expect(job["state"] == "active" and len(job["attempts"]) == 1 and job["attempts"][0]["state"] == "running", "its attempt goes on: %r" % job)
        expect(int(job["attempts"][0]["gone_since_ms"]) > 0 and "is gone since" in job["message"], "said so: %r" % job)
        why = p.get("/v1/runs/%s/jobs/back:explain" % run)
        expect(why["reason"] == "worker_gone" and "its worker %s is gone since" % worker in why["text"] and "decide" in why["text"], "%r" % why)
        expect("active (worker)" in p.cli("run", "get", run).stdout, "the command line shows it")
        bus = p.nats()
        expect(held_event(), "an event says so")
        bus.close()
        for service in ("orchestrator", "scheduler"):
            p.kill(service)  # it is not forgotten
        open(os.path.join(folder, "go-back"), "w").close()  # it ends while nobody hears of it
        expect(steer("again", "retry")["job_state"] in ("queued", "ready"), "it is tried again")
        expect(steer("done", "mark-done")["job_state"] == "succeeded", "somebody knows that it is done")
        steer("stop", "cancel")
        wait_for(lambda: p.job_state(run, "again") == "succeeded" and p.job_state(run, "stop") == "cancelled", "both are decided", 20)
        expect(attempts("again") == ["lost", "succeeded"] and attempts("done") == ["lost"] and attempts("stop") == ["lost"],
               "%r %r %r" % (attempts("again"), attempts("done"), attempts("stop")))
        expect(p.jobs(run)["again"]["attempts"][1]["worker"] != worker, "elsewhere")
        expect("given up by" in p.jobs(run)["again"]["attempts"][0]["message"], "who: %r" % p.jobs(run)["again"]["attempts"][0])
        expect(p.job_state(run, "back") == "active", "this one still waits")
        os.kill(pid, signal.SIGCONT)
        p.wait_run(run, "cancelled", 40)
        expect(p.job_state(run, "back") == "succeeded" and attempts("back") == ["succeeded"], "what came back is taken: %r" % p.jobs(run)["back"])
        expect(p.job_state(run, "after") == "succeeded", "and what needs it goes on")
        wait_for(lambda: not [x for x in p.everything() if "/go-" in x[1]], "the others are stopped", 20)
        expect(attempts("done") == ["lost"] and attempts("stop") == ["lost"], "an end stays")
        lines = {job: open(os.path.join(folder, job)).read().count("\n") for job in ("back", "again", "done", "stop")}
        expect(lines == {"back": 1, "again": 2, "done": 1, "stop": 1}, "each started as often as was decided: %r" % lines)
    finally:
        if sys.exc_info()[0]:
            p.print_logs()
        p.destroy()


def test_a_successor_in_a_group_never_overlaps():
    """The agent is gone; its shim kills the job of a group when the lease runs out, before another worker may start it."""
    p = Platform(agents=2, slots=1).start()
    try:
        mark = os.path.join(p.folder, "fence")
        p.apply("hodei: v1\nname: fence\njobs:\n  only:\n    concurrency: { group: fence }\n    run: |\n"
                "      echo begin $HODEI_ATTEMPT $(date +%%s%%N) >>%s\n"
                "      if [ $HODEI_ATTEMPT = 1 ]; then while sleep 0.05; do echo alive 1 $(date +%%s%%N) >>%s; done; fi\n" % (mark, mark))
        run = p.start_run("fence")
        wait_for(lambda: os.path.exists(mark), "it runs")
        worker = wait_for(lambda: p.jobs(run)["only"]["attempts"][0]["worker"], "its worker is known")
        os.kill(p.process(worker)["pid"], signal.SIGSTOP)
        p.wait_run(run, "succeeded", 60)
        with open(mark) as file:
            lines = [line.split() for line in file]
        last = max(int(at) for what, attempt, at in lines if attempt == "1")
        second = min(int(at) for what, attempt, at in lines if attempt == "2")
        expect(last < second, "the first was killed %d ms before the second began" % ((second - last) // 1000000))
        expect([a["state"] for a in p.jobs(run)["only"]["attempts"]] == ["lost", "succeeded"], "%r" % p.jobs(run)["only"]["attempts"])
        os.kill(p.process(worker)["pid"], signal.SIGCONT)
        wait_for(lambda: sum(w["state"] == "online" for w in p.get("/v1/workers")["workers"]) == 2, "it is back", 30)
    finally:
        if sys.exc_info()[0]:
            p.print_logs()
        p.destroy()


if __name__ == "__main__":
    sys.exit(run_side_by_side([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv))
