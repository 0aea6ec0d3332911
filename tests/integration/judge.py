"""Runs under faults, and who judges them: it knows what the API says and what the jobs themselves wrote into a file, and nothing else."""

import http.client
import json
import os
import random
import threading
import time

from hodei import expect, wait_for

LINES = 20  # of each job's log
FAILS_EACH = 10  # of so many jobs one fails, as it should
KNOWN_S = 1  # what was known of a gateway that long ago may be true no more
SCRIPT = ("echo begin $HODEI_RUN $HODEI_JOB $HODEI_ATTEMPT >>%(side)s; seq %(first)d %(last)d; sleep %(seconds)g; "
          "echo end $HODEI_RUN $HODEI_JOB $HODEI_ATTEMPT >>%(side)s; exit %(code)d")


class Client:
    """Asks as a careful client does: what is refused for now, or not answered, is asked again with the same key. It comes by a balancer,
    which knows which gateways are ready."""

    def __init__(self, platform, patience_s=90, answer_s=30, pause_s=0.1):
        self.p, self.token, self.patience_s, self.answer_s, self.pause_s = platform, platform.token, patience_s, answer_s, pause_s
        self.turn, self.refused = 0, []  # every answer that was not the one, and what kept one from coming

    def gateways(self):
        found = [x for x in self.p.read_info()["processes"] if x.get("http_port")]
        return [x["http_port"] for x in found if len(found) == 1 or self.ready(x["name"])] or [x["http_port"] for x in found]

    def ready(self, name):
        try:
            return self.p.ready(name)
        except (OSError, http.client.HTTPException):
            return False

    def connect(self):
        """To one that was ready just now: where this machine stood still in between, it is asked for anew."""
        while True:
            began = time.monotonic()
            ports = self.gateways()
            connection = http.client.HTTPConnection("127.0.0.1", ports[self.turn % len(ports)], timeout=self.answer_s)
            try:
                connection.connect()
                return connection
            except OSError:
                if time.monotonic() < began + KNOWN_S:
                    raise

    def once(self, method, path, body, headers):
        self.turn += 1
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def ask(self, method, path, body=None, key=None):
        """What the answer holds. A text is YAML."""
        headers = {"Authorization": "Bearer " + self.token, "Idempotency-Key": key or "%032x" % random.getrandbits(128),
                   "Content-Type": "application/yaml" if isinstance(body, str) else "application/json"}
        if body is not None and not isinstance(body, str):
            body = json.dumps(body)
        end = time.monotonic() + self.patience_s
        while True:
            try:
                status, text = self.once(method, path, body, headers)
                if status < 300:
                    return text
                self.refused.append((status, text[:300]))
                expect(status in (503, 504), "%s %s: %d %r" % (method, path, status, text[:500]))
            except (OSError, http.client.HTTPException) as error:
                self.refused.append((0, repr(error).encode()))
            expect(time.monotonic() < end, "%s %s: nothing but %r for %g s" % (method, path, self.refused[-3:], self.patience_s))
            time.sleep(self.pause_s)

    def call(self, method, path, body=None, key=None):
        return json.loads(self.ask(method, path, body, key))


class Load:
    """One pipeline of two layers whose jobs say what they do, started again and again by clients at the same time."""

    def __init__(self, platform, name, jobs=100, seconds=0.2, pool="default", more=""):
        self.p, self.name, self.jobs = platform, name, jobs
        self.side = os.path.join(platform.folder, name + ".side")
        open(self.side, "w").close()
        os.chmod(self.side, 0o666)
        lines = ["hodei: v1", "name: " + name, "jobs:"]
        for i in range(jobs):
            needs = "needs: [j%d, j%d], " % (i - jobs // 2, (i - jobs // 2 + 1) % (jobs // 2)) if i >= jobs // 2 and jobs > 3 else ""
            script = SCRIPT % {"side": self.side, "first": i, "last": i + LINES - 1, "seconds": seconds, "code": 3 if self.fails(i) else 0}
            lines.append("  j%d: { pool: %s, %sallow_failure: { exit_codes: [3] }, %srun: '%s' }" % (i, pool, needs, more, script))
        platform.apply("\n".join(lines) + "\n")
        self.runs, self.lock = [], threading.Lock()
        self.refused = []

    @staticmethod
    def fails(i):
        return i % FAILS_EACH == FAILS_EACH - 1

    def start(self, n=1):
        client = Client(self.p)
        for _ in range(n):
            run = client.call("POST", "/v1/runs", {"pipeline": self.name})["id"]
            with self.lock:
                self.runs.append(run)
        with self.lock:
            self.refused += client.refused

    def lines(self):
        with open(self.side) as file:
            return [line.split() for line in file.read().splitlines()]

    def begun(self):
        return sum(line[0] == "begin" for line in self.lines())

    def wait_begun(self, n, timeout=120):
        wait_for(lambda: self.begun() >= n, "%d jobs have begun (%d have)" % (n, self.begun()), timeout)

    def check(self, may_be_lost=False, timeout=180):
        """Every job ran to its end, none twice without a loss behind it; results and logs are what they must be. How many were lost."""
        did, lost = {}, 0
        for run in self.runs:
            self.p.wait_run(run, "succeeded", timeout)
        for what, run, job, attempt in self.lines():
            did.setdefault((run, job), []).append((what, int(attempt)))
        expect({run for run, _ in did} == set(self.runs), "nothing runs that nobody has started")
        for run in self.runs:
            jobs = self.p.jobs(run)
            expect(len(jobs) == self.jobs, "%s has %d jobs" % (run, len(jobs)))
            for i in range(self.jobs):
                lost += self.check_job(run, i, jobs["j%d" % i], did.get((run, "j%d" % i), []), may_be_lost)
        return lost

    def check_job(self, run, i, job, did, may_be_lost):
        about = "%s of %s: %r, attempts %r" % (job["name"], run, did, job["attempts"])
        attempts = job["attempts"]
        begun = [n for what, n in did if what == "begin"]
        ended = [n for what, n in did if what == "end"]
        expect(len(begun) == len(set(begun)), "an attempt starts once at most: " + about)
        lost = [a["number"] for a in attempts if a["state"] == "lost"]
        expect(may_be_lost or not lost, "nobody was lost: " + about)
        expect([a["state"] for a in attempts[:-1] if a["state"] not in ("lost", "refused")] == [], "only what is lost or refused is tried again: " + about)
        last = attempts[-1]
        expect(last["state"] == ("failed" if self.fails(i) else "succeeded"), "its result: " + about)
        expect(last.get("exit_code", 0) == (3 if self.fails(i) else 0), "its exit code: " + about)
        expect(begun and begun[-1] == last["number"] and ended and ended[-1] == last["number"], "what counts is what ran last: " + about)
        expect(set(begun) <= set(lost) | {last["number"]}, "none starts twice without a loss behind it: " + about)
        want = b"".join(b"%d\n" % n for n in range(i, i + LINES))
        wait_for(lambda: (lambda log: log == want if len(begun) == 1 else log.endswith(want))(self.p.log(run, job["name"])),
                 "the log of %s of %s is whole" % (job["name"], run), 90)
        return len(lost)


def nothing_left(p):
    """Of all that was done only its record is left."""
    p.healthy()
    wait_for(lambda: p.sql("select count(*) from orchestrator.tenants where used + pending + queued > 0").strip() == "0", "counters are at zero")
    wait_for(lambda: p.sql("select count(*) from orchestrator.group_members").strip() == "0", "no slot of a group is held")
    bus = p.nats()
    clustered = "," in p.info["nats"]
    try:
        workers = {"WORK_" + w["name"] for w in p.get("/v1/workers")["workers"]}
        shared = {"EVENTS", "FLOW", "REPORTS", "LOGS"}
        wait_for(lambda: set(bus.streams()) - workers == shared, "streams: those of workers and the shared ones")

        def info(stream):
            return json.loads(bus.request("$JS.API.STREAM.INFO." + stream))["state"]
        for stream in sorted(set(bus.streams()) - {"EVENTS"}):
            wait_for(lambda stream=stream: info(stream)["messages"] == 0 or clustered and waiting(bus, stream) == 0,
                     "%s is empty: %r, for its consumers %d" % (stream, info(stream), waiting(bus, stream)), 60)
        pools = p.sql("select count(distinct pool) from orchestrator.pool_leases")
        most = {"FLOW": 1 + int(pools), "REPORTS": 1, "LOGS": 1, "EVENTS": 1}
        for stream in bus.streams():
            has = info(stream)["consumer_count"]
            expect(has <= most.get(stream, 1), "%s has %d consumers" % (stream, has))
    finally:
        bus.close()
    for state in states(p):
        for what in ("work", "spool"):
            folder = os.path.join(state, what)
            wait_for(lambda folder=folder: not os.listdir(folder), "%s is empty: %r" % (folder, os.listdir(folder)), 60)
        with open(os.path.join(state, "session")) as file:
            group = "hodei-" + file.read().strip()
        wait_for(lambda group=group: not in_groups(group), "nothing runs in a control group of %s" % group, 30)
    wait_for(lambda: not job_processes(p), "no process of a job is left", 30)


def waiting(bus, stream):
    """What consumers have still to get or to acknowledge. In a cluster, nats-server 2.9 keeps messages of a work queue that were acknowledged
    while a leader changed, until they are too old; nobody gets them again."""
    names = json.loads(bus.request("$JS.API.CONSUMER.NAMES." + stream))["consumers"] or []
    about = [json.loads(bus.request("$JS.API.CONSUMER.INFO.%s.%s" % (stream, name))) for name in names]
    return sum(x["num_pending"] + x["num_ack_pending"] for x in about)


def states(p):
    """The state folders of agents below the platform's."""
    return [folder for folder, _, files in os.walk(p.folder) if "session" in files]


def in_groups(name):
    """Processes in an agent's control groups; groups themselves it keeps for the next jobs."""
    found = []
    for top in [os.path.join(folder, name) for folder, inside, _ in os.walk("/sys/fs/cgroup") if name in inside]:
        for folder, _, _ in os.walk(top):
            try:
                with open(os.path.join(folder, "cgroup.procs")) as file:
                    found += file.read().split()
            except OSError:
                pass
    return found


def job_processes(p):
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open("/proc/%s/environ" % entry, "rb") as file:
                environment = file.read().split(b"\0")
        except OSError:
            continue
        if any(x.startswith(b"HODEI_WORKSPACE=" + p.folder.encode()) for x in environment):
            found.append(int(entry))
    return found


def shim_of(p, agent):
    state = os.path.join(p.data, agent)
    return next(pid for pid, command in p.everything() if "hodei-shim" in command and state in command)
