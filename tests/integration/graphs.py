#!/usr/bin/env python3
"""Random graphs through the running system: applied, run, and their ends compared with the model of tests/model/model.py.

  graphs.py [--graphs N] [--seed N] [--replicas N]   N graphs from that seed on; a failure shows its seed and its graph

Graphs and outcomes are those of the model but for lost and refused attempts, which nobody can order from a worker. What an attempt
does stands in a file that the job's shell reads; jobs that always succeed and give nothing are no-ops.
"""

import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "model"))
import model  # noqa: E402
from hodei import ENDED, Platform, expect  # noqa: E402

STATES = {"succeeded": model.SUCCEEDED, "failed": model.FAILED, "cancelled": model.CANCELLED, "skipped": model.SKIPPED,
          "timed_out": model.TIMED_OUT}
AT_ONCE = 12
SCRIPT = """# outcome.sh FILE: ends as the line "$HODEI_JOB OUTCOME..." of FILE says for attempt $HODEI_ATTEMPT; the last one goes on for ever.
while read -r job outcomes; do
    [ "$job" = "$HODEI_JOB" ] && set -- $outcomes
done <"$1"
[ "$HODEI_ATTEMPT" -lt $# ] && shift $((HODEI_ATTEMPT - 1)) || shift $(($# - 1))
case $1 in
s) exit 0 ;;
e*) exit "${1#e}" ;;
g*) kill -"${1#g}" $$ ;;
t) exec sleep 600 ;;
esac
exit 99
"""


def make(seed):
    jobs = model.make(random.Random(seed))
    for job in jobs:
        for name, outcomes in job["outcomes"].items():
            job["outcomes"][name] = [o for o in outcomes if o not in "lr"] or ["s"]
    return jobs


def doing(script, file):
    def of(job):
        all_of_it = [o for outcomes in job["outcomes"].values() for o in outcomes]
        if set(all_of_it) == {"s"} and not job["output"]:
            return ["executor: noop"]
        act = "{ command: [sh, %s, %s] }" % (script, file)
        lines = ["timeout: 2s"] if "t" in all_of_it else []
        if not job["output"]:
            return lines + ["steps: [ %s ]" % act]
        give = "{ id: give, run: 'echo v=%s >>\"$HODEI_OUTPUT\"' }" % job["output"]
        return lines + ["steps: [ %s, %s ]" % (give, act), 'outputs: { v: "${{ steps.give.outputs.v }}" }']
    return of


class Graph:
    def __init__(self, p, seed, script):
        self.p, self.seed, self.jobs = p, seed, make(seed)
        file = os.path.join(p.folder, "outcomes-%d" % seed)
        with open(file, "w") as out:
            for job in self.jobs:
                out.writelines("%s %s\n" % (name, " ".join(o)) for name, o in job["outcomes"].items())
        self.yaml = model.yaml_of(self.jobs, doing(script, file)).replace("name: model", "name: graph-%d" % seed)
        self.began = time.monotonic()
        p.apply(self.yaml)
        self.run = p.start_run("graph-%d" % seed)

    def ended(self):
        """The run once it has ended; one that takes too long is a failure of its own."""
        got = self.p.run(self.run)
        expect(got["state"] in ENDED or time.monotonic() - self.began < 150,
               "seed %d has not ended: %r\n%s" % (self.seed, {n: j["state"] for n, j in self.p.jobs(self.run).items()}, self.yaml))
        return got if got["state"] in ENDED else None

    def check(self, run):
        solved = model.Model(self.jobs)
        wanted_run, wanted = solved.solve()
        jobs = self.p.jobs(self.run)
        got = {name: (STATES[job["state"]], len(job.get("attempts") or []), bool(job.get("failure_allowed")))
               for name, job in jobs.items()}
        if (wanted_run, wanted) != (model.RUN[run["state"]], got):
            model.show(self.seed, self.jobs, (wanted_run, wanted), (model.RUN[run["state"]], got))
            return False
        total = sum(not job.get("matrix_jobs") for job in jobs.values())  # those of a matrix count in its place
        expect(run["jobs_total"] == run["jobs_ended"] == total, "seed %d: %d jobs, not %d of %d" %
               (self.seed, total, run["jobs_ended"], run["jobs_total"]))
        for name, job in jobs.items():
            want = '{"v":"%s"}' % solved.outputs[name] if name in solved.outputs else ""
            expect((job.get("outputs") or "") == want, "seed %d: %s gives %r, not %r\n%s" % (self.seed, name, job.get("outputs"), want, self.yaml))
        return True


def run_all(p, seeds):
    """(passed, failed), with AT_ONCE runs under way."""
    script = os.path.join(p.folder, "outcome.sh")
    with open(script, "w") as file:
        file.write(SCRIPT)
    seeds, under_way, passed, failed = list(seeds), [], 0, 0
    while seeds or under_way:
        while seeds and len(under_way) < AT_ONCE:
            under_way.append(Graph(p, seeds.pop(0), script))
        for graph in list(under_way):
            try:
                run = graph.ended()
                good = graph.check(run) if run else None
            except Exception as error:  # pylint: disable=broad-except
                print(error)
                good = False
            if good is None:
                continue
            under_way.remove(graph)
            passed, failed = passed + good, failed + (not good)
        time.sleep(0.02)
    return passed, failed


def main(argv):
    def option(name, otherwise):
        return int(argv[argv.index(name) + 1]) if name in argv else otherwise

    first = option("--seed", 0)
    p = Platform(slots=16, replicas=option("--replicas", 0))
    p.start()
    passed, failed = run_all(p, range(first, first + option("--graphs", 30)))
    code = p.finish(1 if failed else 0)
    print("%d passed, %d failed" % (passed, failed))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
