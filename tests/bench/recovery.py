"""From a kill to work flowing again: seconds until something that needs the killed process is done, asked again and again by a client with
one key a try. One replica and two; nats-server, PostgreSQL; a worker that is gone; a start with a million jobs that wait."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from hodei import ENDED, SERVICES, Failed, Platform, wait_for  # noqa: E402
from judge import Client  # noqa: E402

LOST_MS = 20000  # a worker's lease and margin
NOOP = "hodei: v1\nname: probe\njobs: { a: { executor: noop } }\n"
ECHO = "hodei: v1\nname: echo\njobs: { a: { run: echo out } }\n"


class Probe(Client):
    """Who waits for a process that is dead measures his own patience: so it is short."""

    def __init__(self, platform):
        super().__init__(platform, patience_s=60, answer_s=1, pause_s=0.01)
        platform.apply(NOOP)
        platform.apply(ECHO)

    def run(self, pipeline="probe"):
        run = self.call("POST", "/v1/runs", {"pipeline": pipeline})["id"]
        while self.call("GET", "/v1/runs/" + run)["state"] not in ENDED:
            time.sleep(self.pause_s)
        return run

    def work(self, name):
        """What cannot be done without it, and a run."""
        paths = {"worker-registry": "/v1/workers/agent-1", "quota": "/v1/quota", "auth": "/v1/tokens"}
        if name in paths:
            self.call("GET", paths[name])
        elif name == "pipelines":
            self.call("POST", "/v1/pipelines", NOOP)
        elif name == "observability":
            run = self.run("echo")
            while b"out" not in self.ask("GET", "/v1/runs/%s/logs?format=text" % run):
                time.sleep(self.pause_s)
        self.run()


def measure_services(samples, say, rounds, replicas):
    p = Platform(agents=1, slots=64, replicas=replicas).start()
    try:
        probe = Probe(p)
        for name in SERVICES + ["nats", "postgres"] * (replicas == 1):
            say("recovery of %s, %d of it" % (name, replicas))
            for i in range(rounds):
                victim = name + ("-2" if replicas == 2 and i % 2 else "")
                probe.work(name)
                pid = p.process(victim)["pid"]
                began = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                probe.work(name)
                key = "recovery.%s%s_s" % (name.replace("-", "_"), "_of_two" if replicas == 2 else "")
                samples.setdefault(key, []).append(time.monotonic() - began)
                wait_for(lambda: p.process(victim)["pid"] not in (0, pid) and (name in ("nats", "postgres") or p.ready(victim)), "it is back", 60)
    finally:
        p.destroy()


def measure_worker_lost(samples, say):
    say("a worker is lost")
    p = Platform(agents=2, slots=4).start()
    try:
        mark = os.path.join(p.folder, "mark")
        p.apply("hodei: v1\nname: lost\njobs:\n  only:\n    run: |\n      echo $HODEI_WORKER >>%s\n      if [ $(wc -l <%s) = 1 ]; then sleep 600; fi\n" % (mark, mark))
        run = p.start_run("lost")
        wait_for(lambda: os.path.exists(mark), "it runs")
        with open(mark) as file:
            worker = file.read().strip()
        wait_for(lambda: p.running(run, "only"), "that is known")
        began = time.monotonic()
        os.kill(p.process(worker)["pid"], signal.SIGSTOP)
        p.wait_run(run, "succeeded", 90)
        samples.setdefault("recovery.worker_lost_s", []).append(time.monotonic() - began)
        samples.setdefault("recovery.worker_lost_beyond_grace_s", []).append(time.monotonic() - began - LOST_MS / 1000)
    finally:
        p.destroy()


def measure_million(samples, say, runs):
    """Runs of 10,000 jobs for a pool without workers, which wait for the tenant's limit; then orchestrator and scheduler are killed, and another
    tenant's run is what is waited for."""
    p = Platform(agents=1, slots=64).start()
    try:
        other = p.person("other", tenant="other")
        p.apply("hodei: v1\nname: wide\njobs:\n" + "".join("  j%d: { pool: nowhere, executor: noop }\n" % i for i in range(10000)))
        reply = p.api("POST", "/v1/pipelines", NOOP, other)
        if reply.status != 200:
            raise Failed("%r" % reply)
        probe = Probe(p)
        began = time.monotonic()
        for i in range(runs):
            p.start_run("wide", key="wide-%d" % i)
            if i % 20 == 19:
                say("%d jobs wait, after %.0f s" % ((i + 1) * 10000, time.monotonic() - began))
        probe.token = other["Authorization"].split()[1]
        for _ in range(3):
            probe.run()
            pids = [p.process(x)["pid"] for x in ("orchestrator", "scheduler")]
            began = time.monotonic()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            probe.run()
            samples.setdefault("recovery.million_rows_start_s", []).append(time.monotonic() - began)
            wait_for(lambda: all(p.process(x)["pid"] not in [0] + pids for x in ("orchestrator", "scheduler")), "both are back")
    finally:
        p.destroy()


def measure(samples, say, quick):
    rounds = 2 if quick else 4
    for replicas in (1, 2):
        measure_services(samples, say, rounds, replicas)
    measure_worker_lost(samples, say)
    measure_million(samples, say, 10 if quick else 100)
