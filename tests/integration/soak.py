#!/usr/bin/env python3
"""soak.py [--minutes N] [--seed N]: random faults under load, then the judgement. A seed decides the faults, not their effect."""

import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import worker_faults  # noqa: E402
from hodei import SERVICES, Platform, expect, wait_for  # noqa: E402
from judge import Client, Load, nothing_left, shim_of  # noqa: E402

FENCE = ("for i in 1 2 3 4 5 6 7 8 9 10; do echo $HODEI_RUN $HODEI_ATTEMPT $(date +%%s%%N) >>%s; sleep 0.1; done")


class Fence:
    """Runs of one job in a group with one slot, each of which says when it lives."""

    def __init__(self, p):
        self.p, self.side, self.runs = p, os.path.join(p.folder, "fence.side"), []
        open(self.side, "w").close()
        os.chmod(self.side, 0o666)
        p.apply("hodei: v1\nname: fence\njobs:\n  only:\n    concurrency: { group: fence }\n    run: '%s'\n" % (FENCE % self.side))

    def check(self):
        lives = {}
        with open(self.side) as file:
            for run, attempt, at in (line.split() for line in file):
                lives.setdefault((run, attempt), []).append(int(at))
        spans = sorted((min(at), max(at), who) for who, at in lives.items())
        for (_, end, first), (begin, _, second) in zip(spans, spans[1:]):
            expect(end < begin, "%r and %r of one group lived at the same time, for %d ms" % (first, second, (end - begin) // 1000000))
        return len(spans)


class Soak:
    def __init__(self, p, rng):
        self.p, self.rng, self.done, self.over = p, rng, {}, threading.Event()
        self.load, self.fence, self.errors = Load(p, "soak", jobs=20, seconds=0.3), Fence(p), []
        self.far = None
        if worker_faults.may_cut():
            worker_faults.p = p
            self.net = worker_faults.Net()
            self.far = worker_faults.Agent("far", "default", self.net.prefix, self.net.url, slots=8)
        self.threads = [threading.Thread(target=self.feed, args=(what,)) for what in (self.load.start, self.load.start, self.start_fenced)]

    def start_fenced(self):
        self.fence.runs.append(Client(self.p, 180).call("POST", "/v1/runs", {"pipeline": "fence"})["id"])
        wait_for(lambda: self.over.is_set() or self.p.run(self.fence.runs[-1])["state"] == "succeeded", "a fenced run ends", 240)

    def feed(self, start):
        try:
            while not self.over.is_set():
                start()
                self.over.wait(1)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)

    # Each of them returns in its own time; what is stopped goes on by itself.

    def pause(self, name, seconds):
        pid = self.p.process(name)["pid"]
        if not pid:
            return
        os.kill(pid, signal.SIGSTOP)

        def go_on():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        threading.Timer(seconds, go_on).start()

    def kill(self, name):
        pid = self.p.process(name)["pid"]
        if pid:
            os.kill(pid, signal.SIGKILL)

    def service(self):
        return self.rng.choice(SERVICES) + self.rng.choice(("", "-2"))

    def faults(self):
        rng = self.rng

        def cut():
            self.net.cut()
            threading.Timer(rng.uniform(1, 30), self.net.heal).start()

        def wipe():
            bus = self.p.nats()
            bus.wipe()
            bus.close()

        def restart():
            name = self.service()
            pid = self.p.process(name)["pid"]
            if pid:
                os.kill(pid, signal.SIGTERM)
            threading.Timer(5, lambda: self.p.dev.send_signal(signal.SIGUSR1)).start()
        found = [("kill a service", 6, lambda: self.kill(self.service())),
                 ("pause a service", 6, lambda: self.pause(self.service(), rng.uniform(1, 25))),
                 ("restart a service", 3, restart),
                 ("kill nats", 2, lambda: self.kill("nats")), ("pause nats", 1, lambda: self.pause("nats", rng.uniform(1, 8))),
                 ("kill postgres", 1, lambda: self.kill("postgres")), ("wipe all streams", 1, wipe),
                 ("kill an agent", 4, lambda: self.kill(rng.choice(("agent-1", "agent-2")))),
                 ("pause an agent", 2, lambda: self.pause(rng.choice(("agent-1", "agent-2")), rng.uniform(1, 40))),
                 ("kill a shim", 1, lambda: os.kill(shim_of(self.p, rng.choice(("agent-1", "agent-2"))), signal.SIGKILL))]
        return found + ([("cut a network", 2, cut)] if self.far else [])

    def run(self, seconds):
        end = time.monotonic() + seconds
        faults = self.faults()
        for thread in self.threads:
            thread.start()
        while time.monotonic() < end and not self.errors:
            time.sleep(self.rng.uniform(0.5, 6))  # the moment is what is random
            name, _, do = self.rng.choices(faults, [weight for _, weight, _ in faults])[0]
            self.done[name] = self.done.get(name, 0) + 1
            try:
                do()
            except (OSError, StopIteration, KeyError, ValueError) as error:  # who was to be hit is not there now
                print("        %s: %s" % (name, error))
        self.over.set()
        for thread in self.threads:
            thread.join()
        expect(not self.errors, "%r" % self.errors)

    def check(self):
        if self.far:
            self.net.heal()
        for name in ["agent-1", "agent-2"] + ["far"] * bool(self.far):
            wait_for(lambda name=name: self.p.get("/v1/workers/" + name)["state"] == "online", "%s is online" % name, 90)
        lost = self.load.check(may_be_lost=True, timeout=300)
        for run in self.fence.runs:
            self.p.wait_run(run, "succeeded", 300)
        print("        %d runs of %d jobs, %d attempts lost, %d lives in the group; %s" %
              (len(self.load.runs), self.load.jobs, lost, self.fence.check(), ", ".join("%s: %d" % x for x in sorted(self.done.items()))))
        nothing_left(self.p)

    def end(self):
        self.over.set()
        if self.far:
            self.net.heal()
            self.far.end()
            self.net.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    about = parser.parse_args()
    print("        seed %d, %g minutes" % (about.seed, about.minutes), flush=True)
    p, soak, failed = Platform(agents=2, slots=8, replicas=2).start(), None, 1
    try:
        soak = Soak(p, random.Random(about.seed))
        soak.run(about.minutes * 60)
        soak.check()
        failed = 0
    finally:
        if failed:
            p.print_logs(15)
            print(open(os.path.join(p.folder, "far.out")).read()[-3000:] if soak and soak.far else "")
        if soak:
            soak.end()
        p.destroy()
        print("%d passed, %d failed" % (1 - failed, failed), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
