"""The whole platform as `hodei dev` starts it, for tests: start, ask, kill, wait, stop. Python's standard library only."""

import atexit
import base64
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
HODEI = os.path.join(BUILD, "hodei")
ENDED = ("succeeded", "failed", "cancelled")
SERVICES = ["api-gateway", "orchestrator", "scheduler", "worker-registry", "pipelines", "quota", "auth", "observability"]


class Failed(Exception):
    """What was expected is not so."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def wait_for(condition, what, timeout=30.0, step=0.05):
    """Asks until condition() is true and returns what it returned; an exception counts as not yet."""
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            got = condition()
            if got:
                return got
            last = got
        except (OSError, http.client.HTTPException, KeyError, ValueError, Failed) as error:
            last = error
        time.sleep(step)
    raise Failed("after %g s still not: %s (last: %.600r)" % (timeout, what, last))


def alive(pid):
    """A zombie is not alive."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %.500r" % (self.status, self.body)


class Platform:
    def __init__(self, agents=1, slots=None, data=None, replicas=0, tls=False, more=()):
        self.folder = data or tempfile.mkdtemp(prefix="hodei-test-")
        os.chmod(self.folder, 0o755)
        self.owned = data is None
        self.data = os.path.join(self.folder, "data")
        self.agents, self.slots, self.replicas = agents, slots, replicas or int(os.environ.get("REPLICAS", 1))
        self.tls = tls
        self.more = list(more)  # further options of `hodei dev`
        self.gateway = None  # the port of another one than the first
        self.dev = None
        self.info = {}
        self.token = None
        atexit.register(self.destroy)

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, port=None):
        argv = [HODEI, "dev", "--data", self.data, "--agents", str(self.agents)]
        if self.slots:
            argv += ["--slots", str(self.slots)]
        if self.replicas > 1:
            argv += ["--replicas", str(self.replicas)]
        if self.tls:
            argv += ["--tls"]
        if port:
            argv += ["--port", str(port)]
        argv += self.more
        with open(os.path.join(self.folder, "dev.out"), "ab") as out:
            self.dev = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
        began = time.monotonic()

        def ready():
            if self.dev.poll() is not None:
                raise SystemExit("hodei dev ended with %d:\n%s" % (self.dev.returncode, self.output()))
            self.read_info()
            return self.info["ready"] and self.info["pid"] == self.dev.pid

        try:
            wait_for(ready, "the platform is ready", 60, 0.02)
        except Failed:
            print(self.output())
            self.print_logs()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def read_info(self):
        with open(os.path.join(self.data, "dev.json")) as file:
            self.info = json.load(file)
        with open(self.info["admin_token_file"]) as file:
            self.token = file.read().strip()
        return self.info

    def output(self):
        with open(os.path.join(self.folder, "dev.out"), errors="replace") as file:
            return file.read()

    def print_logs(self, lines=8):
        folder = os.path.join(self.data, "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), errors="replace") as file:
                tail = file.read()[-100000:].splitlines()[-lines:]
            print("--- %s\n%s" % (name, "\n".join(tail)))

    def sanitizer_findings(self):
        """What processes built with SAN=1 have complained of; "" where nothing, or no such build."""
        found, folder = "", os.path.join(self.data, "log")
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), errors="replace") as file:
                text = file.read()
            at = [text.find(word) for word in ("Sanitizer", "runtime error:") if word in text]
            if at:
                found += "--- %s\n%s\n" % (name, text[max(0, min(at) - 300):min(at) + 3000])
        return found

    def finish(self, code):
        """At the end of tests: what helps where one has failed; the exit status, which a finding of a sanitizer spoils too."""
        if code:
            self.print_logs()
        found = self.sanitizer_findings()
        self.destroy()
        print(found, end="")
        return 1 if found else code

    def process(self, name):
        for process in self.read_info()["processes"]:
            if process["name"] == name:
                return process
        raise KeyError(name)

    def ready(self, name):
        with urllib.request.urlopen("http://127.0.0.1:%d/readyz" % self.process(name)["port"], timeout=5) as reply:
            return reply.status == 200

    def pids(self):
        return {p["name"]: p["pid"] for p in self.read_info()["processes"]}

    def kill(self, name, sig=signal.SIGKILL):
        """Kills a process and waits until dev has started another one in its place."""
        before = self.process(name)
        os.kill(before["pid"], sig)
        wait_for(lambda: self.process(name)["starts"] > before["starts"] and self.process(name)["pid"] not in
                 (0, before["pid"]), "%s is started again" % name, 90)

    def everything(self):
        """Every living process whose command line or environment names our data folder."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as file:
                    command = file.read()
                with open("/proc/%s/environ" % entry, "rb") as file:
                    environment = file.read()
            except (OSError, PermissionError):
                continue
            if self.data.encode() in command + environment and alive(int(entry)):
                found.append((int(entry), command.replace(b"\0", b" ").decode(errors="replace")))
        return found

    def stop(self, sig=signal.SIGINT):
        self.dev.send_signal(sig)
        code = self.dev.wait(60)
        self.dev = None
        return code

    def destroy(self):
        if self.dev and self.dev.poll() is None:
            self.dev.send_signal(signal.SIGTERM)
            try:
                self.dev.wait(60)
            except subprocess.TimeoutExpired:
                self.dev.kill()
        for pid, _ in self.everything():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.dev = None
        if self.owned:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- the API ----------------------------------------------------------------------------------------------------

    def raw(self, method, path, body=None, headers=None, timeout=40):
        address = urllib.parse.urlsplit(self.info["server"])
        port = self.gateway or address.port
        if self.tls:
            connection = http.client.HTTPSConnection(address.hostname, port, timeout=timeout, context=self.trust())
        else:
            connection = http.client.HTTPConnection(address.hostname, port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def trust(self):
        """What a client needs that trusts the platform's own CA, and nobody else."""
        return ssl.create_default_context(cafile=self.info["cacert"])

    def api(self, method, path, body=None, headers=None, timeout=40):
        headers = dict({"Authorization": "Bearer " + self.token}, **(headers or {}))
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        elif body is not None:
            headers.setdefault("Content-Type", "application/yaml")
        return self.raw(method, path, body, headers, timeout)

    def get(self, path):
        reply = self.api("GET", path)
        expect(reply.status == 200, "GET %s: %r" % (path, reply))
        return reply.json

    def apply(self, yaml):
        reply = self.api("POST", "/v1/pipelines", yaml)
        expect(reply.status == 200, "apply: %r" % reply)
        return reply.json

    def start_run(self, pipeline, key=None, env=None, inputs=None):
        headers = {"Idempotency-Key": key} if key else {}
        body = {"pipeline": pipeline, "env": [{"name": k, "value": v} for k, v in (env or {}).items()], "inputs": inputs or []}
        reply = self.api("POST", "/v1/runs", body, headers)
        expect(reply.status == 201, "start: %r" % reply)
        return reply.json["id"]

    def run(self, run):
        return self.get("/v1/runs/" + run)

    def jobs(self, run):
        """Every job of a run by name, all pages."""
        found, token = {}, ""
        while True:
            page = self.get("/v1/runs/%s/jobs?page_size=500%s" % (run, "&page_token=" + token if token else ""))
            for job in page["jobs"]:
                found[job["name"]] = job
            token = page.get("next_page_token")
            if not token:
                return found

    def wait_run(self, run, state=None, timeout=60):
        got = wait_for(lambda: (lambda r: r["state"] in ENDED and r)(self.run(run)), "run %s has ended" % run, timeout)
        expect(state is None or got["state"] == state, "run is %s, not %s: %s" % (got["state"], state, json.dumps(got)[:1500]))
        return got

    def job_state(self, run, job):
        return self.jobs(run)[job]["state"]

    def running(self, run, job):
        """Its worker has said that it has started; "active" alone also means that it is on its way there."""
        return (self.jobs(run)[job]["attempts"] or [{}])[-1].get("state") == "running"

    def limit(self, jobs):
        """Sets how many jobs may be under way at once, and waits until that is in force."""
        reply = self.api("PUT", "/v1/quota", {"concurrent_jobs": jobs})
        expect(reply.status == 200, "limit: %r" % reply)
        wait_for(lambda: self.get("/v1/quota").get("enforced"), "the limit of %d is in force" % jobs)

    def log(self, run, job=None):
        reply = self.api("GET", "/v1/runs/%s/logs?format=text%s" % (run, "&job=" + job if job else ""))
        expect(reply.status == 200, "log: %r" % reply)
        return reply.body

    def wait_log(self, run, holds, job=None):
        """The log, once it holds that: what a job has said may be stored a moment after its end is known."""
        return wait_for(lambda: (lambda log: holds in log and log)(self.log(run, job)), "the log of %s %s holds %r" % (run, job or "", holds), 20)

    def cli(self, *argv, code=0, text=None, timeout=60):
        env = dict(os.environ, HODEI_SERVER=self.info["server"], HODEI_TOKEN=self.token)
        if self.tls:
            env["HODEI_CACERT"] = self.info["cacert"]
        done = subprocess.run([HODEI, *argv], env=env, input=text, capture_output=True, text=True, timeout=timeout)
        expect(code is None or done.returncode == code,
               "hodei %s: exit status %d\n%s\n%s" % (" ".join(argv), done.returncode, done.stdout[-2000:], done.stderr[-2000:]))
        return done

    def healthy(self):
        """hodei admin doctor finds nothing. What it gives a minute's time for may need that."""
        last = [""]

        def look():
            done = self.cli("admin", "doctor", "--postgres", self.info["postgres"], code=None)
            last[0] = done.stdout + done.stderr
            return done.returncode == 0
        try:
            wait_for(look, "the doctor finds nothing", 90)
        except Failed as error:
            raise Failed("%s: %s" % (error, "".join(line for line in last[0].splitlines(True) if not line.startswith("ok")))) from error

    def sql(self, statement):
        command = ["psql", self.info["postgres"], "-v", "ON_ERROR_STOP=1", "-qAtc", statement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        expect(done.returncode == 0, "%s: %s" % (statement, done.stderr))
        return done.stdout

    def person(self, name, permissions="*", tenant="default"):
        """Headers of somebody with a token of their own."""
        token = "hodei_" + base64.urlsafe_b64encode(hashlib.sha256(("token of " + name).encode()).digest()).decode()[:43]
        self.sql("insert into auth.tokens (sha256, subject, tenant, permissions, created_at_ms) values"
                 " ('\\x%s', 'user:%s', '%s', '{%s}', 0) on conflict do nothing" %
                 (hashlib.sha256(token.encode()).hexdigest(), name, tenant, permissions))
        return {"Authorization": "Bearer " + token}

    def nats(self, user=None, password=None):
        """As the operator, who may do everything, or as another user with the password that `hodei dev` has made for it."""
        user = user or self.info["nats_user"]
        if password is None:
            with open(os.path.join(self.data, "secrets", "nats-" + user)) as file:
                password = file.read().strip()
        for url in self.info["nats"].split(","):
            try:
                return Nats(url, user, password)
            except OSError as error:
                failed = error
        raise failed


class Nats:
    """As much of the NATS protocol as a hostile neighbour needs."""

    def __init__(self, url, user, password):
        address = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=10)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.inbox = 0
        options = {"verbose": False, "pedantic": False, "user": user, "pass": password, "name": "test"}
        self.send(b"CONNECT %s\r\nPING\r\n" % json.dumps(options).encode())
        line = self.file.readline()
        expect(line.startswith(b"PONG"), "nats-server says %r" % line)

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, subject, data, reply=""):
        self.send(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(data), data))

    def flush(self):
        self.send(b"PING\r\n")
        while not self.file.readline().startswith(b"PONG"):
            pass

    def refused(self, command):
        """What nats-server says against a command of the protocol; "" where it takes it."""
        self.send(command.encode() + b"\r\nPING\r\n")
        said = ""
        while True:
            line = self.file.readline()
            expect(line, "nats-server closed the connection")
            if line.startswith(b"PONG"):
                return said
            if line.startswith(b"-ERR"):
                said = line.decode().strip()

    def request(self, subject, data=b""):
        self.inbox += 1
        inbox = "_INBOX.operator.%d.%d" % (os.getpid(), self.inbox)
        self.send(b"SUB %s %d\r\n" % (inbox.encode(), self.inbox))
        self.publish(subject, data, inbox)
        while True:
            line = self.file.readline()
            expect(line, "nats-server closed the connection")
            if line.startswith(b"MSG "):
                size = int(line.split()[-1])
                body = self.file.read(size + 2)[:-2]
                self.send(b"UNSUB %d\r\n" % self.inbox)
                return body
            if line.startswith(b"PING"):
                self.send(b"PONG\r\n")
            expect(not line.startswith(b"-ERR"), "nats-server says %r" % line)

    def streams(self):
        return sorted(json.loads(self.request("$JS.API.STREAM.NAMES", b"{}")).get("streams") or [])

    def wipe(self):
        """Deletes every stream with all that is in it, consumers included."""
        names = self.streams()
        for name in names:
            self.request("$JS.API.STREAM.DELETE.%s" % name)
        return names

    def close(self):
        self.socket.close()


def run_tests(tests, argv):
    """Runs (name, function) pairs; the last line is `N passed, N failed`."""
    passed = failed = 0
    whole = argv[1:2] == ["--"]  # whole names follow
    chosen = [(name, function) for name, function in tests
              if not argv[1:] or (name in argv[2:] if whole else any(word in name for word in argv[1:]))]
    if not chosen:
        print("no test has %s in its name; there are %s" % (" or ".join(argv[1:]), ", ".join(name for name, _ in tests)))
        return 2
    for name, function in chosen:
        began = time.monotonic()
        try:
            function()
            passed += 1
            print("ok      %s (%.1f s)" % (name, time.monotonic() - began), flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print("FAILED  %s" % name)
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
    print("%d passed, %d failed" % (passed, failed), flush=True)
    return 1 if failed else 0


def run_side_by_side(tests, argv, processes=2):
    """The same for tests with a platform each that mostly wait: some processes of this program share them, each test in one of them."""
    if argv[1:] or len(tests) < processes:
        return run_tests(tests, argv)
    parts = [[name for i, (name, _) in enumerate(tests) if i % processes == k] for k in range(processes)]
    running = []
    for part in parts:
        out = tempfile.TemporaryFile("w+")
        running.append((subprocess.Popen([sys.executable, argv[0], "--", *part], stdout=out, stderr=out), out))
    passed = failed = 0
    for process, out in running:
        process.wait()
        out.seek(0)
        text = out.read()
        last = text.rstrip().rsplit("\n", 1)[-1].split()
        counted = len(last) == 4 and last[1] == "passed,"
        passed, failed = passed + int(last[0] if counted else 0), failed + int(last[2] if counted else 1)
        print(text.rsplit("\n", 2)[0] if counted else text)
        out.close()
    print("%d passed, %d failed" % (passed, failed), flush=True)
    return 1 if failed else 0
