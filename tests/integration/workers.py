#!/usr/bin/env python3
"""Workers from outside: what people see of them, cordon and drain, what their agents refuse, how they stop and are checked."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import BUILD, Platform, expect, run_tests, wait_for  # noqa: E402

p = None  # the platform that the tests share; its own agent is in the pool "default", those of tests in pools of their own


class Agent:
    """An agent alone in a pool of its name, with its settings in a file."""

    def __init__(self, name, **settings):
        self.name, self.folder = name, os.path.join(p.folder, name)
        self.file = self.folder + ".yml"
        self.settings = {"name": name, "pool": name, "state": self.folder, "slots": 2, "nats": p.info["nats"],
                         "nats-user": p.info["nats_user"], "nats-password-file": p.info["nats_password_file"],
                         "join-token-file": p.info["join_token_file"]}
        self.write(**settings)
        self.process = None

    def write(self, **settings):
        self.settings.update({k.replace("_", "-"): v for k, v in settings.items()})
        with open(self.file, "w") as file:
            file.writelines("%s: %s\n" % pair for pair in self.settings.items())

    def start(self):
        with open(self.folder + ".out", "ab") as out:
            self.process = subprocess.Popen([os.path.join(BUILD, "hodei-agent"), "--config=" + self.file], stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL)
        wait_for(lambda: get(self.name)["state"] == "online", "%s is online" % self.name)
        return self

    def said(self, word):
        with open(self.folder + ".out") as file:
            return word in file.read()

    def signal(self, sig):
        self.process.send_signal(sig)

    def metrics(self):
        """From the port that the kernel says it listens on."""
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout
        port = re.search(r"127\.0\.0\.1:(\d+)\s.*pid=%d," % self.process.pid, listening).group(1)
        with urllib.request.urlopen("http://127.0.0.1:%s/metrics" % port, timeout=10) as answer:
            return answer.read().decode()

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def get(name="agent-1"):
    return p.get("/v1/workers/" + name)


def there(agent, script, name=None):
    """A run on that agent."""
    return start(name or agent.name, script, "pool: " + agent.name)


def start(name, script, *lines):
    p.apply("hodei: v1\nname: %s\njobs:\n  only:\n%s    run: |\n      %s\n" %
            (name, "".join("    %s\n" % line for line in lines), script.replace("\n", "\n      ")))
    return p.start_run(name)


def explain(run):
    return p.get("/v1/runs/%s/jobs/only:explain" % run)


def test_worker_is_shown():
    worker = wait_for(lambda: get().get("load") and get(), "its load is known")
    expect(worker["load"]["memory_bytes_total"] > 1 << 20 and worker["load"]["disk_bytes_free"] > 1 << 20, "%r" % worker["load"])
    expect(worker["state"] == "online" and "cordon" not in worker, "%r" % worker)
    shown = p.cli("worker", "get", "agent-1").stdout
    expect("machine:" in shown and "disk free" in shown and "slots" in shown, shown)
    expect(p.api("GET", "/v1/workers/nobody").status == 404, "no such worker")


def test_cordon_keeps_new_jobs_away():
    gate = os.path.join(p.folder, "gate")
    running = start("cordon-running", "touch %s.there; while [ ! -e %s ]; do sleep 0.05; done" % (gate, gate))
    wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
    expect("cordoned" in p.cli("worker", "cordon", "agent-1", "--reason", "new kernel").stdout, "it says so")
    waiting = start("cordon-waiting", "echo ran")
    told = wait_for(lambda: (lambda e: "cordon" in e["text"] and e)(explain(waiting)), "explain says it")
    expect("hodei worker uncordon agent-1" in told["text"], "%r" % told)
    p.kill("agent-1")  # the cordon outlives the agent
    wait_for(lambda: get()["joined_at_ms"] / 1000 > time.time() - 60 and get()["state"] == "online", "it is back")
    cordon = get()["cordon"]
    expect(cordon["mode"] == "cordoned" and cordon["reason"] == "new kernel" and cordon["actor"], "%r" % cordon)
    expect("new kernel" in p.cli("worker", "get", "agent-1").stdout, "who and why")
    open(gate, "w").close()
    p.wait_run(running, "succeeded")  # what was there goes on
    expect(p.job_state(waiting, "only") == "ready", "nothing new was placed")
    p.cli("worker", "uncordon", "agent-1", "--reason", "done")
    p.wait_run(waiting, "succeeded")
    actions = [(a["action"], a["reason"]) for a in get()["actions"]]
    expect(actions == [("cordon", "new kernel"), ("uncordon", "done")], "%r" % actions)


def test_drain_ends_when_the_jobs_have():
    gate = os.path.join(p.folder, "drain")
    running = start("drain", "touch %s.there; while [ ! -e %s ]; do sleep 0.05; done" % (gate, gate))
    wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
    p.cli("worker", "drain", "agent-1")
    wait_for(lambda: time.time() - get()["cordon"]["at_ms"] / 1000 > 12, "long enough for an empty one to be drained", 20)
    expect(get()["cordon"]["mode"] == "draining", "while a job runs: %r" % get()["cordon"])
    waits = subprocess.Popen([os.path.join(BUILD, "hodei"), "worker", "drain", "agent-1", "--wait"], stdout=subprocess.PIPE, text=True,
                             env=dict(os.environ, HODEI_SERVER=p.info["server"], HODEI_TOKEN=p.token))
    open(gate, "w").close()
    p.wait_run(running, "succeeded")
    said, _ = waits.communicate(timeout=30)
    expect(waits.returncode == 0 and "drained" in said, "who waits is told: %r" % said)
    expect(get()["cordon"]["mode"] == "drained", "it is drained")
    expect("drained" in p.cli("worker", "list").stdout, "in the list too")
    p.cli("worker", "uncordon", "agent-1")


def test_usage_of_jobs():
    gate = os.path.join(p.folder, "usage.gate")
    agent = Agent("usage").start()
    try:
        run = there(agent, "exec python3 -c 'import os, time\nx = bytearray(60 << 20)\nopen(\"%s.there\", \"w\")\n"
                    "while not os.path.exists(\"%s\"): sum(range(100000))'" % (gate, gate))
        wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
        job = wait_for(lambda: (lambda j: j and j[0]["cpu_ms"] > 1000 and j[0])(get("usage").get("jobs")), "its usage is known", 20)
        attempt = p.jobs(run)["only"]["attempts"][0]
        expect(job["attempt"] == attempt["id"], "%r is of %r" % (job, attempt))
        expect(60 << 20 <= job["memory_bytes"] < 200 << 20 and job["processes"] == 1, "%r" % job)
        expect(attempt["id"] in p.cli("worker", "get", "usage").stdout, "the command line shows it")
        metrics = agent.metrics()
        found = re.search(r'^hodei_agent_job_memory_bytes\{attempt="%s"\} (\d+)$' % attempt["id"], metrics, re.M)
        expect(found and int(found.group(1)) >= 60 << 20, metrics[:3000])
        expect("hodei_agent_machine_disk_free_bytes" in metrics and "hodei_agent_lease_left_ms" in metrics, "the others too")
        open(gate, "w").close()
        p.wait_run(run, "succeeded")
        wait_for(lambda: not get("usage").get("jobs"), "no longer", 15)
    finally:
        agent.end()


def test_too_little_disk_and_reload():
    """Below its floor a worker takes nothing and says so; settings are read again without a restart."""
    agent = Agent("floor", disk_floor="900T", labels="tier=old", nats_inbox="_INBOX.agent").start()
    try:
        wait_for(lambda: "disk-floor" in get("floor").get("unfit", ""), "it says so")
        run = there(agent, "echo ran")
        told = wait_for(lambda: (lambda e: "disk-floor" in e["text"] and e)(explain(run)), "explain says it")
        expect('worker "floor" says' in told["text"], "%r" % told)
        expect("disk-floor" in p.cli("worker", "get", "floor").stdout and "unfit" in p.cli("worker", "list").stdout, "people see it")
        session = get("floor")["session"]
        agent.write(disk_floor="wrong")
        agent.signal(signal.SIGHUP)
        wait_for(lambda: agent.said("all stays as it was"), "a bad file changes nothing")
        agent.write(disk_floor="1Mi", labels="tier=new", slots=7, nats_inbox="_INBOX.agent.two")
        agent.signal(signal.SIGHUP)
        p.wait_run(run, "succeeded")
        worker = wait_for(lambda: (lambda w: w["slots"] == 7 and w)(get("floor")), "it is another worker")
        expect(worker["labels"] == [{"key": "tier", "value": "new"}] and worker["session"] == session, "%r" % worker)
        expect("unfit" not in worker, "%r" % worker)
        expect(agent.said("nats-inbox is changed only by a restart") and not agent.said("labels is changed only"), "it says what")
    finally:
        agent.end()


def test_stopping_drains():
    """SIGTERM: nothing more is taken, what runs may end, then the agent leaves with exit status 0."""
    gate = os.path.join(p.folder, "stopping.gate")
    agent = Agent("stopping").start()
    try:
        run = there(agent, "touch %s.there; while [ ! -e %s ]; do sleep 0.05; done; echo whole" % (gate, gate))
        wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
        agent.signal(signal.SIGTERM)
        wait_for(lambda: "being stopped" in get("stopping").get("unfit", ""), "it says that it takes nothing")
        second = there(agent, "echo never", "stopping-second")
        wait_for(lambda: "being stopped" in explain(second)["text"], "explain says it")
        wait_for(lambda: time.time() - get("stopping")["heartbeat_at_ms"] / 1000 < 3, "it still beats", 10)
        expect(agent.process.poll() is None, "it waits for its job")
        open(gate, "w").close()
        p.wait_run(run, "succeeded")
        expect(agent.process.wait(10) == 0, "it has left")
        expect(p.log(run) == b"whole\n", "with all of the log")
        p.api("POST", "/v1/runs/%s:cancel" % second)
    finally:
        agent.end()


def test_draining_ends_in_time():
    """What has not ended after stop-timeout is stopped, and told of as lost to the worker: it waits for another one."""
    agent = Agent("impatient", stop_timeout="1s").start()
    try:
        mark = os.path.join(p.folder, "impatient.mark")
        run = there(agent, "touch %s; sleep 600" % mark)
        wait_for(lambda: os.path.exists(mark), "it runs")
        began = time.monotonic()
        agent.signal(signal.SIGTERM)
        expect(agent.process.wait(10) == 0 and time.monotonic() - began >= 1, "it has left, and not before")
        only = wait_for(lambda: (lambda j: j["attempts"][0]["state"] == "lost" and j)(p.jobs(run)["only"]), "that is known at once", 3)
        expect(only["state"] == "ready", "it waits for another worker: %r" % only)
        p.api("POST", "/v1/runs/%s:cancel" % run)
    finally:
        agent.end()


def test_leaving_and_coming_back():
    """on-stop: leave, as the systemd unit says: jobs run on without the agent, and the next one adopts them."""
    gate = os.path.join(p.folder, "leaving.gate")
    agent = Agent("leaving", on_stop="leave").start()
    try:
        run = there(agent, "touch %s.there; while [ ! -e %s ]; do sleep 0.05; done; echo whole" % (gate, gate))
        wait_for(lambda: os.path.exists(gate + ".there"), "it runs")
        agent.signal(signal.SIGTERM)
        expect(agent.process.wait(10) == 0, "it leaves at once")
        open(gate, "w").close()
        agent.start()
        p.wait_run(run, "succeeded")
        expect(p.log(run) == b"whole\n" and len(p.jobs(run)["only"]["attempts"]) == 1, "one attempt, a whole log")
    finally:
        agent.end()


def test_check():
    agent = Agent("check")
    good = subprocess.run([os.path.join(BUILD, "hodei-agent"), "check", "--config=" + agent.file], capture_output=True, text=True)
    expect(good.returncode == 0 and "MISSING" not in good.stdout, good.stdout + good.stderr)
    for word in ("state folder", "disk", "user", "shim", "cgroups", "NATS", "registry", "clock"):
        expect(re.search(r"^(ok|note) +%s" % word, good.stdout, re.M), "%s: %s" % (word, good.stdout))
    expect(not os.path.exists(agent.folder), "it changes nothing")
    agent.write(disk_floor="900T")
    low = subprocess.run([os.path.join(BUILD, "hodei-agent"), "check", "--config=" + agent.file], capture_output=True, text=True)
    expect(low.returncode == 1 and re.search("^MISSING disk", low.stdout, re.M), low.stdout)
    agent.write(nats="nats://127.0.0.1:1", state="/etc/passwd/none", shim="/none")
    bad = subprocess.run([os.path.join(BUILD, "hodei-agent"), "check", "--config=" + agent.file], capture_output=True, text=True)
    for word in ("state folder", "shim", "NATS"):
        expect(re.search(r"^MISSING +%s" % word, bad.stdout, re.M), "%s: %s" % (word, bad.stdout))
    expect(bad.returncode == 1 and "3 things are missing" in bad.stdout, bad.stdout)
    expect(p.api("GET", "/v1/workers/check").status == 404, "nobody has joined")


def test_no_permission():
    p.sql("insert into auth.tokens (sha256, subject, tenant, permissions, created_at_ms) values (sha256('reader'), "
          "'token:reader', 'default', array['worker.read'], 0)")
    header = {"Authorization": "Bearer reader"}
    expect(p.raw("GET", "/v1/workers/agent-1", None, header).status == 200, "may read")
    reply = p.raw("POST", "/v1/workers/agent-1:cordon", None, header)
    expect(reply.status == 403 and "worker.write" in reply.body.decode(), "may not cordon: %r" % reply)


def main():
    global p
    p = Platform(agents=1, slots=4).start()
    try:
        return run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    finally:
        if p.dev and p.dev.poll() is None and sys.exc_info()[0]:
            p.print_logs()
        p.destroy()


if __name__ == "__main__":
    sys.exit(main())
