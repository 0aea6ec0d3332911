#!/usr/bin/env python3
"""Random graphs: the real decision code against a model that says the same in another way.

The code under test reacts to ends, one after another, in an order that the seed decides. The model knows no events: the end of a job is
a function of its definition, of the ends of its needs and of its outcomes, and is written down as one. Both must agree on every
job's end, number of attempts and allowed failure, and on the run. tests/integration/graphs.py asks the same of the running system.

  model.py DRIVER [--graphs N] [--seed N]   one seed: shows the case
  model.py DRIVER --mutants                 each wrong rule in the model must be found

Left out since the order of events decides legitimately: a cancel, and fail_fast where more than one job of the matrix runs at a time.
"""
import random
import subprocess
import sys

SUCCEEDED, FAILED, CANCELLED, SKIPPED, TIMED_OUT = 6, 7, 8, 9, 10
RUN = {"succeeded": 3, "failed": 4, "cancelled": 5}
RESULT = {SUCCEEDED: "success", FAILED: "failure", TIMED_OUT: "failure", CANCELLED: "cancelled", SKIPPED: "skipped"}


# --- definitions ------------------------------------------------------------------------------------------------------------
def condition(rng, needs, depth=0):
    """An expression as a tree over (job, its output's kind) pairs; words of status only where wanted."""
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return ("status", rng.choice(["success", "failure", "always", "cancelled"]))
    if kind == 1 and needs:
        return ("result", rng.choice(needs)[0], rng.choice(["==", "!="]), rng.choice(["success", "failure", "skipped"]))
    if kind == 2:
        return ("input", rng.choice(["==", "<", ">="]), rng.randrange(4))
    if kind == 3:
        return ("text", rng.choice(["starts_with", "ends_with", "contains"]), rng.choice(["ab", "b", "x"]))
    if kind == 4:
        return ("literal", rng.random() < 0.7)
    given = [need for need in needs if need[1]]
    if kind == 5 and given:
        return ("output",) + rng.choice(given) + (rng.choice(["==", "!="]), rng.choice("ab"))
    if kind <= 6:
        return ("not", condition(rng, needs, depth + 1))
    return (rng.choice(["and", "or"]), condition(rng, needs, depth + 1), condition(rng, needs, depth + 1))


def text_of(tree):
    kind = tree[0]
    if kind == "status":
        return tree[1] + "()"
    if kind == "result":
        return "needs.%s.result %s '%s'" % tree[1:]
    if kind == "input":
        return "inputs.n %s %d" % tree[1:]
    if kind == "text":
        return "%s('abc', '%s')" % tree[1:]
    if kind == "literal":
        return "true" if tree[1] else "false"
    if kind == "output":
        _, need, of, op, value = tree
        if of == "list":
            return "%scontains(needs.%s.outputs.v, '%s')" % ("!" if op == "!=" else "", need, value)
        return "needs.%s.outputs.v %s '%s'" % (need, op, value)
    if kind == "not":
        return "!(%s)" % text_of(tree[1])
    return "(%s) %s (%s)" % (text_of(tree[1]), {"and": "&&", "or": "||"}[kind], text_of(tree[2]))


def uses_status(tree):
    return tree[0] == "status" or any(uses_status(part) for part in tree[1:] if isinstance(part, tuple))


OUTCOMES = ["s"] * 6 + ["e1", "e2", "e3", "g9", "t", "l", "r"]


def make(rng):
    jobs, main = [], rng.randrange(1, rng.choice([4, 12, 40]))
    for i in range(main + (rng.randrange(1, 4) if rng.random() < 0.3 else 0)):
        job = {"name": "j%d" % i, "finally": i >= main, "needs": [], "outcomes": {}}
        before = [j for j in jobs if j["finally"] == job["finally"] or job["finally"]]
        for need in rng.sample(before, min(len(before), rng.choice([0, 1, 1, 2, 3]))):
            job["needs"].append({"job": need["name"], "when": rng.choice([None, None, None, "success", "failure", "skipped", "always"]),
                                 "optional": rng.random() < 0.15})
        if rng.random() < 0.35:
            kinds = {j["name"]: ("list" if j.get("matrix") else "text") if j["output"] else "" for j in jobs}
            job["if"] = condition(rng, [(n["job"], kinds[n["job"]]) for n in job["needs"]])
        job["output"] = rng.choice("ab") if rng.random() < 0.4 else ""
        if rng.random() < 0.2:
            job["matrix"] = rng.randrange(1, 5)
            job["max_parallel"] = rng.choice([0, 0, 1, 2])
            job["fail_fast"] = job["max_parallel"] == 1 and rng.random() < 0.5
        if rng.random() < 0.25:
            job["retry"] = {"limit": rng.randrange(1, 4), "on": rng.sample(["1", "2", "signal", "infra", "timeout", "exit_code"], rng.randrange(0, 3))}
        if rng.random() < 0.2:
            job["allow"] = rng.choice([True, [1], [2, 3]])
        for name in names_of(job):
            job["outcomes"][name] = [rng.choice(OUTCOMES) for _ in range(rng.randrange(1, 6))]
            if all(o in "lr" for o in job["outcomes"][name][-1:]):
                job["outcomes"][name].append("s")
        jobs.append(job)
    order = jobs[:main]
    rng.shuffle(order)  # a definition may name jobs before what they need
    return order + jobs[main:]


def names_of(job):
    return ["%s.%d" % (job["name"], i + 1) for i in range(job["matrix"])] if job.get("matrix") else [job["name"]]


def doing_nothing(job):
    """What a job does, for the driver, which knows the outcomes itself."""
    return ["executor: noop"] + (["outputs: { v: %s }" % job["output"]] if job["output"] else [])


def yaml_of(jobs, doing=doing_nothing):
    lines = ["hodei: v1", "name: model", "inputs: { n: { type: number, default: 2 } }"]
    for part in (False, True):
        if any(j["finally"] == part for j in jobs):
            lines.append("finally:" if part else "jobs:")
        for job in (j for j in jobs if j["finally"] == part):
            lines.append("  %s:" % job["name"])
            lines += ["    " + line for line in doing(job)]
            if job["needs"]:
                lines.append("    needs:")
            for need in job["needs"]:
                lines.append("      - { job: %s%s%s }" % (need["job"], ", when: " + need["when"] if need["when"] else "",
                                                         ", optional: true" if need["optional"] else ""))
            if "if" in job:
                lines.append("    if: \"%s\"" % text_of(job["if"]))
            if job.get("matrix"):
                lines.append("    matrix: { axes: { v: %s }%s%s }" % (list(range(job["matrix"])),
                             ", max_parallel: %d" % job["max_parallel"] if job["max_parallel"] else "", ", fail_fast: true" if job["fail_fast"] else ""))
            if "retry" in job:
                on = ", on: [%s]" % ", ".join(job["retry"]["on"]) if job["retry"]["on"] else ""
                lines.append("    retry: { limit: %d%s, backoff: { initial: 10ms, max: 10ms } }" % (job["retry"]["limit"], on))
            if "allow" in job:
                lines.append("    allow_failure: %s" % ("true" if job["allow"] is True else "{ exit_codes: %s }" % job["allow"]))
    return "\n".join(lines) + "\n"


# --- the model --------------------------------------------------------------------------------------------------------------
class Model:
    def __init__(self, jobs, wrong=""):
        self.jobs = {job["name"]: job for job in jobs}
        self.ends, self.outputs, self.wrong = {}, {}, wrong
        self.main = [j["name"] for j in jobs if not j["finally"]]

    def attempts(self, job, name):
        """(end, attempts, allowed) of one job that runs. What ended by itself has its output, also where it failed."""
        end, n, allowed = self.attempts_of(job, name)
        if job["output"] and (end == SUCCEEDED or end == FAILED and job["outcomes"][name][min(n, len(job["outcomes"][name])) - 1] != "l"):
            self.outputs[name] = job["output"]
        return end, n, allowed

    def attempts_of(self, job, name):
        listed, losses, retries, n = job["outcomes"][name], 0, 0, 0
        while True:
            outcome = listed[min(n, len(listed) - 1)]
            n += 1
            if outcome == "s":
                return SUCCEEDED, n, False
            if outcome == "r":
                continue
            if outcome == "l":
                losses += 1
                if losses <= 3:
                    continue
                return FAILED, n, job.get("allow") is True
            if self.again(job, outcome, retries):
                retries += 1
                continue
            allow = job.get("allow", False)
            allowed = allow is True or (isinstance(allow, list) and outcome[0] == "e" and int(outcome[1:]) in allow)
            return (TIMED_OUT if outcome == "t" else FAILED), n, allowed

    def again(self, job, outcome, done):
        rule = job.get("retry")
        if not rule or done >= rule["limit"] + (self.wrong == "one retry more"):
            return False
        kind = {"e": "exit_code", "g": "signal", "t": "timeout"}[outcome[0]]
        return not rule["on"] or kind in rule["on"] or (kind == "exit_code" and outcome[1:] in rule["on"])

    def end(self, name):
        if name not in self.ends:
            self.ends[name] = self.decide(self.jobs[name])
        return self.ends[name]

    def counts_as(self, need):
        """What others see of an end: its result, and whether a failure or cancel stands behind it."""
        state, _, allowed, seen = self.end(need)
        result = "success" if allowed and self.wrong != "allowed is failure" else RESULT[state]
        behind = {result} & {"failure", "cancelled"}
        if result == "skipped" and self.wrong != "skips hide failures":
            behind = seen
        return result, behind

    def decide(self, job):
        met, seen, clean = True, set(), True
        for need in job["needs"]:
            result, behind = self.counts_as(need["job"])
            accepted = self.accepted(job, need)
            met = met and result in accepted
            seen |= behind
            clean = clean and (result == "success" or (result == "skipped" and "skipped" in accepted and not behind))
            if result in ("failure", "cancelled"):
                clean = False
        if job["finally"]:
            seen_run, clean_run = self.of_run()
            seen_run = seen_run | seen
            clean_run = clean_run and not seen
        else:
            seen_run, clean_run = seen, clean
        if not met or ("if" in job and not self.holds(job, job["if"], seen_run, clean_run)):
            return SKIPPED, 0, False, seen
        if not job.get("matrix"):
            return self.attempts(job, job["name"]) + (set(),)
        return self.matrix(job)

    def accepted(self, job, need):
        when = need["when"]
        if when is None:
            free = ("if" in job and uses_status(job["if"])) or (job["finally"] and not self.jobs[need["job"]]["finally"])
            when = "always" if free else "success"
        accepted = {"success", "failure", "skipped", "cancelled"} if when == "always" else {when}
        return accepted | ({"skipped"} if need["optional"] and self.wrong != "optional" else set())

    def of_run(self):
        """What the jobs before leave on those of finally, where success() and failure() look at the run and at needs in finally."""
        ends = [self.end(name) for name in self.main]
        bad = any(s in (FAILED, TIMED_OUT) and not allowed for s, _, allowed, _ in ends)
        return ({"failure"} if bad else set()), not bad and not any(s == CANCELLED for s, _, _, _ in ends)

    def holds(self, job, tree, seen, clean):
        kind = tree[0]
        if kind == "status":
            return {"success": clean, "failure": "failure" in seen, "always": True,
                    "cancelled": "cancelled" in seen and not job["finally"]}[tree[1]]
        if kind == "result":
            got = RESULT[self.end(tree[1])[0]]
            return (got == tree[3]) == (tree[2] == "==")
        if kind == "input":
            return {"==": 2 == tree[2], "<": 2 < tree[2], ">=": 2 >= tree[2]}[tree[1]]
        if kind == "text":
            return {"starts_with": "abc".startswith, "ends_with": "abc".endswith, "contains": "abc".__contains__}[tree[1]](tree[2])
        if kind == "literal":
            return tree[1]
        if kind == "output":
            _, need, of, op, value = tree
            self.end(need)
            if of == "list":
                return any(self.outputs.get(name) == value for name in names_of(self.jobs[need])) == (op == "==")
            return (self.outputs.get(need) == value) == (op == "==") or (need not in self.outputs and self.wrong == "no output is any")
        if kind == "not":
            return not self.holds(job, tree[1], seen, clean)
        first, second = (lambda: self.holds(job, tree[1], seen, clean)), (lambda: self.holds(job, tree[2], seen, clean))
        return (first() and second()) if kind == "and" else (first() or second())

    def matrix(self, job):
        parts, stopped = [], False
        for name in names_of(job):
            part = (CANCELLED, 0, False) if stopped else self.attempts(job, name)
            bad = part[0] in (FAILED, TIMED_OUT) and not part[2]
            stopped = stopped or (job["fail_fast"] and bad)
            self.ends[name] = part + (set(),)
            parts.append((part[0], bad))
        if any(bad for _, bad in parts):
            return FAILED, 0, False, set()
        return (CANCELLED if any(s == CANCELLED for s, _ in parts) else SUCCEEDED), 0, False, set()

    def solve(self):
        for name in list(self.jobs):
            self.end(name)
        single = [end for name, end in self.ends.items() if name not in self.jobs or not self.jobs[name].get("matrix") or end[0] == SKIPPED]
        if any(s in (FAILED, TIMED_OUT) and not allowed for s, _, allowed, _ in single):
            run = "failed"
        else:
            run = "cancelled" if any(s == CANCELLED for s, _, _, _ in single) else "succeeded"
        return RUN[run], {name: end[:3] for name, end in self.ends.items()}


# --- both -------------------------------------------------------------------------------------------------------------------
class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, seed, jobs):
        yaml = yaml_of(jobs).encode()
        lines = ["%s %s" % (name, " ".join(outcomes)) for job in jobs for name, outcomes in job["outcomes"].items()]
        self.process.stdin.write(b"case %d %d\n%s%s\nend\n" % (seed, len(yaml), yaml, "\n".join(lines).encode()))
        self.process.stdin.flush()
        run, ends = None, {}
        for line in iter(self.process.stdout.readline, b"end\n"):
            words = line.decode().split()
            if not line or words[0] == "error":
                raise RuntimeError("the driver says %r" % line)
            if words[0] == "run":
                run = int(words[1])
            else:
                ends[words[0]] = (int(words[1]), int(words[2]), words[3] == "1")
        return run, ends


def differs(driver, seed, wrong=""):
    jobs = make(random.Random(seed))
    wanted, got = Model(jobs, wrong).solve(), driver.ask(seed, jobs)
    return None if wanted == got else (jobs, wanted, got)


def show(seed, jobs, wanted, got):
    print("seed %d\n%s" % (seed, yaml_of(jobs)))
    for job in jobs:
        for name, outcomes in job["outcomes"].items():
            print("  %s: %s" % (name, " ".join(outcomes)))
    print("run: model %s, code %s" % (wanted[0], got[0]))
    for name in sorted(set(wanted[1]) | set(got[1])):
        if wanted[1].get(name) != got[1].get(name):
            print("%s (end, attempts, allowed): model %s, code %s" % (name, wanted[1].get(name), got[1].get(name)))


def main(argv):
    driver = Driver(argv[1])
    if "--mutants" in argv:
        found = 0
        wrongs = ["one retry more", "allowed is failure", "skips hide failures", "optional", "no output is any"]
        for wrong in wrongs:
            seeds = [s for s in range(3000) if differs(driver, s, wrong)][:1]
            print("%-20s %s" % (wrong, "found by seed %d" % seeds[0] if seeds else "NOT FOUND"))
            found += bool(seeds)
        print("%d passed, %d failed" % (found, len(wrongs) - found))
        return 0 if found == len(wrongs) else 1
    graphs = int(argv[argv.index("--graphs") + 1]) if "--graphs" in argv else 1000
    first = int(argv[argv.index("--seed") + 1]) if "--seed" in argv else 0
    failed = 0
    for seed in range(first, first + (1 if "--seed" in argv and "--graphs" not in argv else graphs)):
        found = differs(driver, seed)
        if found:
            failed += 1
            if failed <= 3:
                show(seed, *found)
        elif "--seed" in argv and "--graphs" not in argv:
            print(yaml_of(make(random.Random(seed))))
    print("%d passed, %d failed" % (graphs - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
