#!/usr/bin/env python3
"""Runs every pipeline under tests/pipelines/ for real, several at a time, and compares its course with what its comments say, in order.

  # input: NAME=VALUE          an input of the runs that are started from here on
  # env: NAME=VALUE            a variable of them; the value @ becomes a folder of this pipeline's own that is empty at first
  # expect: refused LINE:COLUMN TEXT    the definition is refused there, with that in the message; nothing else is said then
  # expect: no plan TEXT                the plan of a run with these inputs cannot be made, and this is why; before the first run only
  # expect: start refused TEXT          a start with these inputs is refused
  # expect: run STATE [KEY=VALUE]...    waits until the run has ended, and how it has
  # expect: JOB STATE [KEY=VALUE]... [log=TEXT]
                               how the job is (after `expect: run`: how it ended). KEY is a field of the job or of its last attempt, or
                               attempts: how many; gap: the shortest wait in ms between two of them. KEY>=VALUE compares numbers. message
                               and outputs: a part. log, to the end of the line: parts that its output holds, in this order, set apart
                               by |; a part that begins with ! must not be in it. What has spaces or quotes stands in '…'.
  # expect: order A < B ...    each of these jobs began after the one before had ended
  # expect: apart A B ...      no two of these jobs ran at the same time; of other runs: B@2 is that of the second run
  # expect: together JOB N     never more than N jobs of this matrix ran at the same time
  # do: start                  another run, which is the one that is meant from here on; the first is started by itself
  # do: run N                  the N-th run is meant from here on
  # do: wait JOB STATE [WHAT]  until the job is in this state (and waits for this: approval, group, backoff, pause)
  # do: explain JOB TEXT       until the answer to why it waits has this in it
  # do: other NAME             applies the pipeline of this name, starts a run of it and waits for its end
  # do: follow                 waits for a run of this pipeline that started by itself, which is meant from here on
  # do: touch FILE             makes a file in the folder that the value @ stands for
  # do: VERB [JOB] [KEY=VALUE]...    steers the run or the job: approve, reject, skip, cancel, retry, mark-done, pause, resume, rerun,
                               prioritize. from=failed, from=job, reason=TEXT (the last, to the end of the line); status=N: it is refused.
                               Where it makes a new run, that one is meant from here on.

Before the first run its plan is asked for as well: its jobs must be those of the run, and what it says will be skipped must be.

corpus.py [NAME...]. BUILD names the folder of the binaries, JOBS how many go at a time (8).
"""
import concurrent.futures
import glob
import os
import re
import shlex
import sys
import tempfile
import time
import traceback

from hodei import Platform, expect, wait_for

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pipelines")
LEAST = 103  # pipelines that there are at least
ENDED = ("succeeded", "failed", "cancelled", "skipped", "timed_out")
COUNTS = ("jobs_total", "jobs_ended", "jobs_failed")  # 0 is left out of an answer
VERBS = "approve reject skip cancel retry mark-done pause resume rerun prioritize".split()


def read(path):
    """[(kind, text)] in the order of the lines."""
    found = []
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        match = re.match(r"# (input|env|expect|do): (.+)", line)
        if match:
            found.append((number, match.group(1), match.group(2)))
        else:
            expect(not re.match(r"#\s*(input|env|expect|do)\b", line), "line %d is no comment of ours: %s" % (number, line))
    return found


def options(words):
    """KEY=VALUE and KEY>=VALUE."""
    found = []
    for word in words:
        match = re.fullmatch(r"(\w+)(>=|=)(.*)", word)
        expect(match, "%r is not KEY=VALUE" % word)
        found.append(match.groups())
    return found


def span(job):
    last = (job.get("attempts") or [{}])[-1]
    expect(last.get("started_at_ms") and last.get("ended_at_ms"), "%s ran: %r" % (job["name"], job))
    return last["started_at_ms"], last["ended_at_ms"]


class Course:
    """One pipeline on its way."""

    def __init__(self, platform, path):
        self.p, self.path = platform, path
        self.source = open(path).read()
        self.name = re.search(r"^name: (\S+)", self.source, re.M).group(1)
        self.inputs, self.env, self.runs, self.current, self.folder = {}, {}, [], -1, None
        self.applied = False
        self.plan = None
        self.planned = False

    # --- runs ---

    def apply(self):
        if not self.applied:
            self.p.apply(self.source.encode())
            self.applied = True

    def start_request(self):
        pairs = lambda values: [{"name": k, "value": v} for k, v in values.items()]
        return {"pipeline": self.name, "env": pairs(self.env), "inputs": pairs(self.inputs)}

    def render(self):
        return self.p.api("POST", "/v1/pipelines:render", {"source": self.source, "inputs": self.start_request()["inputs"]})

    def start(self):
        self.apply()
        if not self.planned:
            reply = self.render()
            self.planned = True
            expect(reply.status == 200, "the plan: %r" % reply)
            self.plan = reply.json
        reply = self.p.api("POST", "/v1/runs", self.start_request())
        expect(reply.status == 201, "start: %r" % reply)
        self.take(reply.json["id"])

    def take(self, run):
        self.runs.append(run)
        self.current = len(self.runs) - 1

    @property
    def run(self):
        if not self.runs:
            self.start()
        return self.runs[self.current]

    def job(self, name):
        run = self.run
        if "@" in name:
            name, number = name.split("@")
            run = self.runs[int(number) - 1]
        jobs = self.p.jobs(run)
        expect(name in jobs, "there is no job %s: %s" % (name, ", ".join(jobs)))
        return jobs[name]

    def check_plan(self):
        """Of the first run, when it has ended."""
        jobs = self.p.jobs(self.runs[0])
        parents = {j["name"] for j in jobs.values() if j.get("matrix_jobs")}
        planned = {j["name"]: j for j in self.plan["jobs"]}
        for name, job in planned.items():
            expect(name in jobs or jobs[job["matrix_of"]]["state"] in ENDED, "%s of the plan is in the run" % name)
            if job.get("skipped"):
                expect(jobs[name]["state"] == "skipped", "%s is skipped, as the plan says: %r" % (name, jobs[name]))
            if job.get("matrix") and name in jobs:
                expect(jobs[name]["matrix"] == job["matrix"], "%s: the matrix of the plan: %r, %r" % (name, job, jobs[name]))
        for name, job in jobs.items():
            known = name in planned or name in parents or planned.get(job.get("matrix_of", ""), {}).get("matrix_from")
            expect(known or jobs[name]["state"] in ("skipped", "cancelled"), "%s of the run is in the plan" % name)
        self.plan = None

    # --- expectations ---

    def refused(self, text):
        place, _, part = text.partition(" ")
        line, column = place.split(":")
        reply = self.p.api("POST", "/v1/pipelines", self.source.encode())
        expect(reply.status == 400, "refused: %r" % reply)
        problem = reply.json
        got = (problem.get("line"), problem.get("column"))
        expect(got == (int(line), int(column)) and part in problem["detail"] + " " + problem.get("hint", ""), "%r" % problem)

    def no_plan(self, part):
        reply = self.render()
        expect(reply.status == 400 and part in reply.json["detail"], "no plan: %r" % reply)
        self.planned = True

    def start_refused(self, part):
        self.apply()
        reply = self.p.api("POST", "/v1/runs", self.start_request())
        expect(reply.status in (400, 404, 412) and part in reply.json["detail"], "start refused: %r" % reply)

    def run_ended(self, state, fields):
        end = self.p.wait_run(self.run, state)
        for key, sign, value in fields:
            expect(sign == "=" and str(end.get(key, "" if key not in COUNTS else 0)).lower() == value, "the run's %s is %r" % (key, end.get(key)))
        states = {j["name"]: j["state"] for j in self.p.jobs(self.run).values()}
        expect(all(s in ENDED for s in states.values()), "all have ended: %r" % states)
        if self.plan:
            self.check_plan()

    def output(self, name, parts):
        """A line may come a moment after the end of its job is known."""
        wanted = [part for part in parts if not part.startswith("!")]
        run = self.runs[int(name.split("@")[1]) - 1] if "@" in name else self.run

        def whole():
            text = self.p.log(run, name.split("@")[0]).decode()
            return (text,) if all(part in text for part in wanted) else None
        try:
            return wait_for(whole, "the output of %s" % name, 5)[0]
        except Exception:  # pylint: disable=broad-except
            return self.p.log(run, name.split("@")[0]).decode()

    def job_is(self, name, state, fields, log):
        job = self.job(name)
        expect(job["state"] == state, "%s is %s, not %s: %r" % (name, job["state"], state, job))
        attempts = job.get("attempts") or []
        last = (attempts or [{}])[-1]
        for key, sign, value in fields:
            if key == "attempts":
                got = len(attempts)
            elif key == "gap":
                got = min(b["assigned_at_ms"] - a["ended_at_ms"] for a, b in zip(attempts, attempts[1:]))
            else:
                got = job.get(key) or last.get(key) or ""
            if isinstance(got, bool) or got == "" and value == "false":
                got = "true" if got else "false"
            right = value in got if key in ("message", "outputs") else int(got) >= int(value) if sign == ">=" else str(got) == value
            expect(right, "%s: %s is %r, not %s%s: %r" % (name, key, got, sign, value, job))
        at = 0
        text = self.output(name, log) if log else ""
        for part in log:
            if part.startswith("!"):
                expect(part[1:] not in text, "%s: its output has %r: %r" % (name, part[1:], text))
                continue
            at = text.find(part, at)
            expect(at >= 0, "%s: its output lacks %r (or it stands before the one before): %r" % (name, part, text))
            at += len(part)

    def expectation(self, text):
        head, _, log = text.partition(" log=")
        words = shlex.split(head)
        if words[0] == "refused":
            self.refused(text.partition(" ")[2])
        elif words[:2] == ["no", "plan"]:
            self.no_plan(text.split(" ", 2)[2])
        elif words[:2] == ["start", "refused"]:
            self.start_refused(text.split(" ", 2)[2])
        elif words[0] == "run":
            self.run_ended(words[1], options(words[2:]))
        elif words[0] == "order":
            names = [word for word in words[1:] if word != "<"]
            for a, b in zip(names, names[1:]):
                before, after = span(self.job(a)), span(self.job(b))
                expect(before[1] <= after[0], "%s begins after %s has ended: %r, %r" % (b, a, before, after))
        elif words[0] == "apart":
            spans = sorted((span(self.job(name)), name) for name in words[1:])
            for a, b in zip(spans, spans[1:]):
                expect(a[0][1] <= b[0][0], "apart: %r, %r" % (a, b))
        elif words[0] == "together":
            spans = [span(job) for job in self.p.jobs(self.run).values() if job.get("matrix_of") == words[1] and job.get("attempts")]
            most = max(sum(a[0] <= b[0] < a[1] for a in spans) for b in spans)
            expect(len(spans) > int(words[2]) and most <= int(words[2]), "%d at a time of %d" % (most, len(spans)))
        else:
            log = log.split("|") if log else []
            self.job_is(words[0], words[1], options(words[2:]), log)

    # --- deeds ---

    def deed(self, text):
        words = text.split()
        if words[0] == "start":
            self.start()
        elif words[0] == "run":
            self.current = int(words[1]) - 1
        elif words[0] == "wait":
            def there():
                job = self.job(words[1])
                return job["state"] == words[2] and (len(words) < 4 or words[3] in job.get("waits_for", []))
            wait_for(there, "%s of %s: %r" % (text, self.name, self.run))
        elif words[0] == "explain":
            part = text.split(" ", 2)[2]
            path = "/v1/runs/%s/jobs/%s:explain" % (self.run, words[1])
            wait_for(lambda: part in self.p.get(path)["text"], text)
        elif words[0] == "other":
            self.apply()
            other = Course(self.p, os.path.join(HERE, words[1] + ".yml"))
            other.start()
            self.p.wait_run(other.run)
        elif words[0] == "follow":
            path = "/v1/runs?pipeline=" + self.name
            self.take(wait_for(lambda: [r["id"] for r in self.p.get(path)["runs"] if r["id"] not in self.runs], text)[0])
        elif words[0] == "touch":
            open(os.path.join(self.folder, words[1]), "w").close()
        else:
            self.steer(text)

    def steer(self, text):
        head, _, reason = text.partition(" reason=")
        words = head.split()
        expect(words[0] in VERBS, "%r is no verb" % words[0])
        job = words[1] if len(words) > 1 and "=" not in words[1] else None
        body = {key: int(value) if key == "priority" else value for key, _, value in options(words[2 if job else 1:])}
        status = int(body.pop("status", 0))
        if reason:
            body["reason"] = reason
        if words[0] == "rerun" and job:
            body["job"] = job
            job = None
        path = "/v1/runs/%s%s:%s" % (self.run, "/jobs/" + job if job else "", words[0])
        reply = self.p.api("POST", path, body or None)
        expect(reply.status == status if status else reply.status in (200, 201), "%s: %r" % (text, reply))
        made = reply.json.get("run") if reply.status < 300 else None
        if made and made != self.run:
            self.take(made)

    def go(self):
        steps = read(self.path)
        expect(any(kind == "expect" for _, kind, _ in steps), "nothing is expected")
        for number, kind, text in steps:
            try:
                if kind == "input":
                    name, value = text.split("=", 1)
                    self.inputs[name] = value
                elif kind == "env":
                    name, value = text.split("=", 1)
                    if value == "@":
                        self.folder = value = tempfile.mkdtemp(dir=self.p.folder)
                        os.chmod(value, 0o777)
                    self.env[name] = value
                elif kind == "do":
                    self.deed(text)
                else:
                    self.expectation(text)
            except Exception as error:
                raise AssertionError("%s:%d: %s: %s" % (os.path.basename(self.path), number, text, error)) from error


def timed(platform, path):
    began = time.monotonic()
    Course(platform, path).go()
    return time.monotonic() - began


def main():
    paths = sorted(glob.glob(os.path.join(HERE, "*.yml")))
    expect(len(paths) >= LEAST, "there are %d pipelines, less than %d" % (len(paths), LEAST))
    chosen = [path for path in paths if not sys.argv[1:] or any(word in os.path.basename(path) for word in sys.argv[1:])]
    passed = failed = 0
    p = Platform(slots=24)
    p.start()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "8"))) as pool:
        for path, future in [(path, pool.submit(timed, p, path)) for path in chosen]:
            name = os.path.basename(path)[:-4]
            try:
                print("ok      %s (%.1f s)" % (name, future.result()), flush=True)
                passed += 1
            except Exception:  # pylint: disable=broad-except
                failed += 1
                print("FAILED  %s" % name)
                traceback.print_exc(limit=1, chain=False, file=sys.stdout)
                sys.stdout.flush()
    code = p.finish(1 if failed or not chosen else 0)
    print("%d pipelines in %.1f s" % (len(chosen), time.monotonic() - began))
    print("%d passed, %d failed" % (passed, failed), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
