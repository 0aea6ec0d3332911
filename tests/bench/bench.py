#!/usr/bin/env python3
"""Measures the platform on this machine: starts it in a temporary folder by `hodei dev` (PostgreSQL with fsync and
synchronous_commit on), loads it, writes BUILD/bench/bench.json and prints a table. It never fails on a number.

bench.json: each figure under its key, how it was measured under "samples" (every sample of every key) and "machine" (what it ran
on). --quick takes a tenth of the load, to see that it works; --graph, --gateway and --recovery
measure graphs, the gateway or recovery alone, and write nothing. --gateway --check is a test: it fails where a decision
costs the gateway more than it may, as a share of the same GETs without one.
"""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import recovery

BUILD = os.environ.get("BUILD", "build")
LOAD = os.path.abspath(BUILD + "/bench-load")
AGENT = os.path.abspath(BUILD + "/bench-agent")
AUTH = os.path.abspath(BUILD + "/bench-auth")
SERVICES = recovery.SERVICES
QUICK = "--quick" in sys.argv
CALLERS, SINGLE_RUNS, FANOUT_JOBS, LATENCY_RUNS = 64, 300 if QUICK else 3000, 1000 if QUICK else 10000, 20 if QUICK else 200
ROUNDS, SPAWN_SECONDS, IDLE_SECONDS = 1 if QUICK else 3, 1 if QUICK else 5, 2 if QUICK else 10
BEAT = {"noop.single_per_s": (1000, ">"), "process.ratio_to_spawn": (0.3, ">"), "latency.submit_to_start_ms.p50": (15, "<"),
        "memory.control_plane_pss_mb": (80, "<"), "graph.cost_per_job_ratio": (1.3, "<"), "agent.log_mb_per_s": (50, ">"), "agent.log_peak_mb": (16, "<")}

BEAT.update({"agent.ratio_to_spawn": (0.6, ">"), "gateway.authenticated_ratio": (0.9, ">"), "auth.check_us": (20, "<")})
GETS, GET_CALLERS = 5000 if QUICK else 50000, 16
AGENT_JOBS, LOG_MB = 1000 if QUICK else 10000, 50 if QUICK else 400


def say(text):
    print("  " + text, file=sys.stderr, flush=True)


def load(*args):
    ran = subprocess.run([LOAD] + [str(a) for a in args], stdout=subprocess.PIPE, universal_newlines=True)
    if ran.returncode:
        sys.exit("bench: bench-load %s has failed" % " ".join(map(str, args)))
    return json.loads(ran.stdout)


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Platform:
    """`hodei dev` in a folder of its own."""

    def __init__(self, slots):
        self.data = tempfile.mkdtemp(prefix="hodei-bench-")
        os.chmod(self.data, 0o755)  # as root, PostgreSQL runs as another user
        self.log = open(self.data + "/bench.log", "w")
        self.port = free_port()
        start = time.monotonic()
        self.process = subprocess.Popen([BUILD + "/hodei", "dev", "--data", self.data + "/d", "--port", str(self.port), "--slots",
                                         str(slots)], stdout=self.log, stderr=subprocess.STDOUT)
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() - start > 120:
                with open(self.data + "/bench.log") as f:
                    sys.exit("bench: the platform does not start:\n" + f.read())
            time.sleep(0.005)
        self.cold_ms = (time.monotonic() - start) * 1000
        self.token_file = self.info["admin_token_file"]
        with open(self.token_file) as f:
            self.token = f.read().strip()

    def ready(self):
        try:
            with open(self.data + "/d/dev.json") as f:
                self.info = json.load(f)
        except (OSError, ValueError):
            return False
        return self.info.get("ready")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        shutil.rmtree(self.data, ignore_errors=True)

    def call(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), method=method,
                                         data=body.encode() if body else None,
                                         headers={"Authorization": "Bearer " + self.token, "Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def apply(self, text):
        self.call("POST", "/v1/pipelines", text, "application/yaml")

    def process_of(self, name):
        return next(p for p in self.info["processes"] if p["name"] == name)

    def counter(self, service, name):
        url = "http://127.0.0.1:%d/metrics" % self.process_of(service)["port"]
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = re.search(r"^%s (\d+)" % name, answer.read().decode(), re.M)
        return int(found.group(1)) if found else 0

    def wait_counter(self, name, value, patience_s=600):
        """When a counter of the orchestrator, raised as it commits, is there: monotonic nanoseconds."""
        end = time.monotonic() + patience_s
        while self.counter("orchestrator", name) < value:
            if time.monotonic() > end:
                sys.exit("bench: %s does not reach %d: it is %d" % (name, value, self.counter("orchestrator", name)))
            time.sleep(0.01)
        return time.monotonic_ns()


# --- processes ----------------------------------------------------------------------------------------------------------------
def pss_mb(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    return total / 1024


def all_processes():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as f:
                    rest = f.read().rsplit(")", 1)[1].split()
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    words = f.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            yield int(name), int(rest[1]), (int(rest[11]) + int(rest[12])) * 1000 / os.sysconf("SC_CLK_TCK"), words


def tree(root):
    """Process ids below root, itself included, and shims of its data folder, which have no parent."""
    rows = list(all_processes())
    found, more = {root}, True
    while more:
        more = {pid for pid, parent, _, _ in rows if parent in found} - found
        found |= more
    return found


def cpu_ms(pids):
    return sum(cpu for pid, _, cpu, _ in all_processes() if pid in pids)


def shims(platform):
    return [pid for pid, _, _, words in all_processes() if words[0].endswith("hodei-shim") and
            any(platform.data in word for word in words)]


# --- what is measured ---------------------------------------------------------------------------------------------------------
def pipeline(name, jobs, job):
    lines = ["hodei: v1", "name: " + name, "jobs:", "  j0: &j {%s}" % job] + ["  j%d: *j" % i for i in range(1, jobs)]
    return "\n".join(lines) + "\n"


def measure_memory(platform, samples, when=""):
    samples["memory.control_plane%s_pss_mb" % when] = [pss_mb([platform.process_of(s)["pid"] for s in SERVICES])]
    samples["memory.agent%s_pss_mb" % when] = [pss_mb([platform.process_of("agent-1")["pid"]] + shims(platform))]


def measure_idle(platform, samples):
    say("idle for %d s" % IDLE_SECONDS)
    time.sleep(2)
    own = {platform.process_of(n)["pid"] for n in SERVICES + ["agent-1"]} | set(shims(platform)) | {platform.process.pid}
    every = tree(platform.process.pid) | own
    before = cpu_ms(own), cpu_ms(every), time.monotonic()
    time.sleep(IDLE_SECONDS)
    spent = time.monotonic() - before[2]
    samples["idle.cpu_ms_per_s"] = [(cpu_ms(own) - before[0]) / spent]
    samples["idle.all_cpu_ms_per_s"] = [(cpu_ms(every) - before[1]) / spent]


def measure_latency(platform, samples):
    say("%d runs one after another" % LATENCY_RUNS)
    note = platform.data + "/note"
    platform.apply(pipeline("bench-latency", 1, "command: [%s, note, %s]" % (LOAD, note)))
    load("latency", platform.port, platform.token_file, "bench-latency", 5, note)  # connections, caches
    runs = load("latency", platform.port, platform.token_file, "bench-latency", LATENCY_RUNS, note)["runs"]
    for key, of in (("submit_to_accepted", "accepted"), ("submit_to_start", "start"), ("submit_to_result", "result")):
        samples["latency.%s_ms" % key] = [r[of] / 1e6 for r in runs]


def measure_single(platform, samples):
    platform.apply(pipeline("bench-noop", 1, "executor: noop, run: x"))
    load("runs", platform.port, platform.token_file, "bench-noop", CALLERS, CALLERS)
    ended = "hodei_orchestrator_runs_ended_total"
    for _ in range(ROUNDS):
        say("%d runs of one no-op job, %d callers" % (SINGLE_RUNS, CALLERS))
        settle(platform)
        target = platform.counter("orchestrator", ended) + SINGLE_RUNS
        asked = load("runs", platform.port, platform.token_file, "bench-noop", SINGLE_RUNS, CALLERS)
        took = platform.wait_counter(ended, target) - asked["first_ns"]
        samples.setdefault("noop.single_per_s", []).append(SINGLE_RUNS / (took / 1e9))
        samples.setdefault("noop.submit_per_s", []).append(SINGLE_RUNS / ((asked["last_ns"] - asked["first_ns"]) / 1e9))
        samples.setdefault("noop.request_ms", []).extend(ns / 1e6 for ns in asked["request_ns"])


def settle(platform):
    """Every run that was accepted has ended."""
    platform.wait_counter("hodei_orchestrator_runs_ended_total",
                          platform.counter("orchestrator", "hodei_orchestrator_runs_started_total"))


def measure_fanout(platform, samples, key, name, job):
    platform.apply(pipeline(name, FANOUT_JOBS, job))
    for _ in range(ROUNDS):
        say("one run of %d jobs: %s" % (FANOUT_JOBS, job))
        settle(platform)
        target = platform.counter("orchestrator", "hodei_orchestrator_runs_ended_total") + 1
        start = time.monotonic_ns()
        run = platform.call("POST", "/v1/runs", json.dumps({"pipeline": name}))["id"]
        took = platform.wait_counter("hodei_orchestrator_runs_ended_total", target) - start
        got = platform.call("GET", "/v1/runs/" + run)
        if not got["state"].lower().endswith("succeeded"):
            sys.exit("bench: run %s is %s" % (run, got["state"]))
        samples.setdefault(key, []).append(FANOUT_JOBS / (took / 1e9))


def graph(name, width):
    """Three layers of that width, where each job needs two of the layer above, and one job that needs the whole last layer."""
    lines = ["hodei: v1", "name: " + name, "jobs:"]
    for i in range(3 * width):
        above = i // width * width - width
        needs = ", needs: [j%d, j%d]" % (above + i % width, above + (i + 1) % width) if i >= width else ""
        lines.append("  j%d: {executor: noop, run: x%s}" % (i, needs))
    lines.append("  last: {executor: noop, run: x, needs: [%s]}" % ", ".join("j%d" % i for i in range(2 * width, 3 * width)))
    return "\n".join(lines) + "\n"


def measure_graph(platform, samples):
    """Time per job in one run of a large graph, and in as many runs of a small one of the same shape as make the same number of jobs."""
    ended = "hodei_orchestrator_runs_ended_total"
    width, jobs = (FANOUT_JOBS - 1) // 3, (FANOUT_JOBS - 1) // 3 * 3 + 1
    runs = jobs // 10
    platform.apply(graph("bench-graph-small", 3))
    platform.apply(graph("bench-graph-large", width))
    load("runs", platform.port, platform.token_file, "bench-graph-small", CALLERS, CALLERS)
    for _ in range(ROUNDS):
        say("%d runs of a graph of 10 jobs, then one of %d" % (runs, jobs))
        settle(platform)
        target = platform.counter("orchestrator", ended) + runs
        first = load("runs", platform.port, platform.token_file, "bench-graph-small", runs, CALLERS)["first_ns"]
        small = (platform.wait_counter(ended, target) - first) / 1000 / (runs * 10)
        start = time.monotonic_ns()
        run = platform.call("POST", "/v1/runs", json.dumps({"pipeline": "bench-graph-large"}))["id"]
        large = (platform.wait_counter(ended, target + 1) - start) / 1000 / jobs
        got = platform.call("GET", "/v1/runs/" + run)
        if not got["state"].lower().endswith("succeeded") or got["jobs_ended"] != jobs:
            sys.exit("bench: run %s is %s, %s of its jobs have ended" % (run, got["state"], got["jobs_ended"]))
        samples.setdefault("graph.us_per_job_of_10", []).append(small)
        samples.setdefault("graph.us_per_job_of_10000", []).append(large)
        samples.setdefault("graph.cost_per_job_ratio", []).append(large / small)


def measure_log(platform, samples):
    """One job's output, lines of 100 bytes, from its start until all of it is stored; and the most memory that its agent has had."""
    platform.apply(pipeline("bench-log", 1, "run: 'head -c %d000000 /dev/zero | tr \"\\\\0\" x | fold -w 99'" % LOG_MB))
    agent = platform.process_of("agent-1")["pid"]
    wanted = LOG_MB * 1000000 // 99 * 100
    for _ in range(ROUNDS):
        say("one job that writes %d MB" % LOG_MB)
        settle(platform)
        before = platform.counter("observability", "hodei_observability_log_bytes_total")
        with open("/proc/%d/clear_refs" % agent, "w") as f:
            f.write("5")  # the peak is that of what comes
        start = time.monotonic_ns()
        platform.call("POST", "/v1/runs", json.dumps({"pipeline": "bench-log"}))
        while platform.counter("observability", "hodei_observability_log_bytes_total") < before + wanted:
            if time.monotonic_ns() - start > 300e9:
                sys.exit("bench: the log does not arrive")
            time.sleep(0.01)
        took = (time.monotonic_ns() - start) / 1e9
        with open("/proc/%d/status" % agent) as f:
            peak = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024
        samples.setdefault("agent.log_mb_per_s", []).append(wanted / 1e6 / took)
        samples.setdefault("agent.log_peak_mb", []).append(peak)


def measure_spawn(samples):
    for _ in range(ROUNDS):
        got = load("spawn", SPAWN_SECONDS)
        samples.setdefault("machine.spawn_per_s", []).append(got["spawned"] / (got["ns"] / 1e9))


def measure_gateway(samples):
    """The gateway alone, over a bus that answers at once: GETs of an open route, then of one that needs a decision; and a decision alone."""
    token = "hodei_" + "x" * 43
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(token)
        file.flush()
        for _ in range(ROUNDS):
            say("%d GETs of an open route, as many with a token" % GETS)
            server = subprocess.Popen([AUTH, token], stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
            about = json.loads(server.stdout.readline())
            samples.setdefault("auth.check_us", []).append(about["check_us"])
            rates = {}
            for key, credentials, path in (("gateway.get_per_s", "-", "/v1/permissions"),
                                           ("gateway.authenticated_get_per_s", file.name, "/v1/workers")):
                load("get", about["port"], credentials, path, GETS // 10, GET_CALLERS)
                got = load("get", about["port"], credentials, path, GETS, GET_CALLERS)
                rates[key] = GETS / ((got["last_ns"] - got["first_ns"]) / 1e9)
                samples.setdefault(key, []).append(rates[key])
            samples.setdefault("gateway.authenticated_ratio", []).append(
                rates["gateway.authenticated_get_per_s"] / rates["gateway.get_per_s"])
            server.stdin.close()
            server.wait(30)


def measure_agent(samples):
    """The agent alone, with nats-server and a driver, and right after it the machine's own pace of the same program."""
    for _ in range(ROUNDS):
        say("%d jobs of /bin/true on an agent alone" % AGENT_JOBS)
        ran = subprocess.run([AGENT, str(AGENT_JOBS)], stdout=subprocess.PIPE, universal_newlines=True)
        if ran.returncode:
            sys.exit("bench: bench-agent has failed:\n" + ran.stdout)
        got, spawn = json.loads(ran.stdout), load("spawn", SPAWN_SECONDS)
        rate = got["jobs"] / (got["ms"] / 1e3)
        samples.setdefault("agent.process_jobs_per_s", []).append(rate)
        samples.setdefault("agent.ratio_to_spawn", []).append(rate / (spawn["spawned"] / (spawn["ns"] / 1e9)))
        samples.setdefault("agent.peak_mb", []).append(got["agent_kib"] / 1024)
        samples.setdefault("agent.shim_peak_mb", []).append(got["shim_kib"] / 1024)


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def figures(samples):
    out = {}
    for key, values in samples.items():
        if key.startswith("recovery."):
            out[key] = max(values)
        elif key.startswith("latency.") or key == "noop.request_ms":
            out[key + ".p50"], out[key + ".p99"] = percentile(values, 50), percentile(values, 99)
        else:
            out[key] = statistics.median(values)
    out["process.ratio_to_spawn"] = out["process.jobs_per_s"] / out["machine.spawn_per_s"]
    return out


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    commit = subprocess.run(["git", "log", "-1", "--format=%h"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            universal_newlines=True).stdout.strip()
    return {"cpus": os.cpu_count(), "model": model.group(1) if model else "", "load_before": os.getloadavg()[0],
            "kernel": os.uname().release, "commit": commit, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "callers": CALLERS, "single_runs": SINGLE_RUNS, "fanout_jobs": FANOUT_JOBS, "latency_runs": LATENCY_RUNS,
            "slots": SLOTS}


def table(out):
    print("\n%-40s %12s   to beat" % ("", ""))
    for key in sorted(out):
        goal = ""
        if key in BEAT:
            limit, sign = BEAT[key]
            beaten = out[key] > limit if sign == ">" else out[key] < limit
            goal = "%s %g%s" % (sign, limit, "" if beaten else "  not yet")
        print("%-40s %12.2f   %s" % (key, out[key], goal))


def check_gateway(samples):
    """On the best sample of each, since other work on the machine only makes them worse."""
    bad = [key for key, best in (("auth.check_us", min), ("gateway.authenticated_ratio", max))
           if (best(samples[key]) > BEAT[key][0]) != (BEAT[key][1] == ">")]
    for key in bad:
        print("FAILED %s: %s, not %s %g" % (key, samples[key], BEAT[key][1], BEAT[key][0]))
    print("%d passed, %d failed" % (2 - len(bad), len(bad)))
    sys.exit(bool(bad))


SLOTS = 256  # a no-op holds no process: the slots are how much is under way at once


def graphs_alone():
    samples, platform = {}, Platform(SLOTS)
    try:
        measure_graph(platform, samples)
    finally:
        platform.stop()
    table({key: statistics.median(values) for key, values in samples.items()})


def main():
    samples, about = {}, machine()
    if "--graph" in sys.argv:
        return graphs_alone()
    if "--recovery" in sys.argv:
        recovery.measure(samples, say, QUICK)
        return table({key: max(values) for key, values in samples.items()})
    if "--gateway" in sys.argv:
        measure_gateway(samples)
        table({key: statistics.median(values) for key, values in samples.items()})
        return check_gateway(samples) if "--check" in sys.argv else None
    measure_gateway(samples)
    measure_spawn(samples)
    measure_agent(samples)
    for i in range(ROUNDS):
        say("a cold start")
        platform = Platform(SLOTS)
        samples.setdefault("start.cold_ms", []).append(platform.cold_ms)
        if i < ROUNDS - 1:
            platform.stop()
    try:
        measure_latency(platform, samples)
        measure_memory(platform, samples)
        measure_idle(platform, samples)
        measure_single(platform, samples)
        measure_fanout(platform, samples, "noop.fanout_per_s", "bench-fanout", "executor: noop, run: x")
        measure_fanout(platform, samples, "process.jobs_per_s", "bench-process", "command: [/bin/true]")
        measure_graph(platform, samples)
        measure_log(platform, samples)
        measure_memory(platform, samples, "_after_load")
    finally:
        platform.stop()
    recovery.measure(samples, say, QUICK)
    out = figures(samples)
    samples["process.ratio_to_spawn"] = [v / out["machine.spawn_per_s"] for v in samples["process.jobs_per_s"]]
    os.makedirs(BUILD + "/bench", exist_ok=True)
    with open(BUILD + "/bench/bench.json", "w") as f:
        json.dump(dict(out, samples=samples, machine=about), f, indent=1)
        f.write("\n")
    table(out)
    print("\nwritten to %s/bench/bench.json" % BUILD)


if __name__ == "__main__":
    main()
