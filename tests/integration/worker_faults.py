#!/usr/bin/env python3
"""What happens to a worker: its agent is killed again and again, its network is cut for longer than the lease, its first process is the
shim. Cuts need a network namespace, and so root; elsewhere those tests say that they are left out."""

import base64
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import BUILD, Platform, expect, run_tests, wait_for  # noqa: E402

p = None  # the platform that the tests share; its own agents are in the pool "default", those of the tests in pools of their own
LEASE_AND_MARGIN = 20


def start(name, pool, script, *lines):
    p.apply("hodei: v1\nname: %s\njobs:\n  only:\n    pool: %s\n%s    run: |\n      %s\n" %
            (name, pool, "".join("    %s\n" % line for line in lines), script.replace("\n", "\n      ")))
    return p.start_run(name)


def worker(name):
    return p.get("/v1/workers/" + name)


def attempts(run):
    return [a["state"] for a in p.jobs(run)["only"]["attempts"]]


def settings(name, pool, nats, **more):
    flags = dict({"name": name, "pool": pool, "state": os.path.join(p.folder, name), "nats": nats, "nats-user": p.info["nats_user"],
                  "nats-password-file": p.info["nats_password_file"], "join-token-file": p.info["join_token_file"],
                  "on-stop": "stop", "slots": 4}, **{k.replace("_", "-"): v for k, v in more.items()})
    return ["--%s=%s" % pair for pair in flags.items()]


class Agent:
    def __init__(self, name, pool, prefix=(), nats=None, **more):
        self.name, self.state = name, os.path.join(p.folder, name)
        self.argv = [*prefix, os.path.join(BUILD, "hodei-agent"), *settings(name, pool, nats or p.info["nats"], **more)]
        self.start()
        wait_for(lambda: worker(name)["state"] == "online", "%s is online" % name)

    def start(self):
        with open(self.state + ".out", "ab") as out:
            self.process = subprocess.Popen(self.argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.terminate()
        self.process.wait(30)


# --- an agent that is killed again and again -----------------------------------------------------------------------------------

KILLS, JOBS, LINES = 50, 300, 40


def test_agent_killed_fifty_times():
    """Under load, at random moments: no attempt is started twice, none is forgotten, every byte of the logs is there."""
    folder = os.path.join(p.folder, "killed")
    os.makedirs(folder)
    os.chmod(folder, 0o777)
    text = "hodei: v1\nname: killed\njobs:\n"
    for i in range(JOBS):
        text += ("  j%d: { pool: killed, run: 'echo begin >>%s/$HODEI_RUN.j%d; for i in $(seq %d); do echo j%d line $i; done; "
                 "sleep 0.2; echo end >>%s/$HODEI_RUN.j%d' }\n" % (i, folder, i, LINES, i, folder, i))
    p.apply(text)
    agent = Agent("w-killed", "killed", slots=10)
    rng, runs, kills, unstarted = random.Random(), [], 0, 0
    seed = rng.randrange(1 << 32)
    rng.seed(seed)
    print("        seed %d" % seed)
    try:
        while kills < KILLS:
            if not runs or p.run(runs[-1])["state"] == "succeeded":
                runs.append(p.start_run("killed"))
            time.sleep(rng.uniform(0, 0.6))  # the moment is what is random
            agent.kill()
            agent.start()
            kills += 1
        for run in runs:
            p.wait_run(run, "succeeded", 180)
            for name, job in p.jobs(run).items():
                with open("%s/%s.%s" % (folder, run, name)) as file:
                    did = file.read()
                expect(did == "begin\nend\n", "%s of %s ran once: %r, %r" % (name, run, did, job["attempts"]))
                # One that was written down and had not reached the shim has not started: it is refused, and placed anew.
                refused = [a for a in job["attempts"][:-1] if a["state"] == "refused" and not a.get("started_at_ms")]
                expect(len(refused) == len(job["attempts"]) - 1, "none is lost: %r" % job["attempts"])
                unstarted += len(refused)
                want = "".join("%s line %d\n" % (name, i) for i in range(1, LINES + 1)).encode()
                wait_for(lambda run=run, name=name, want=want: p.log(run, name) == want, "the log of %s is whole" % name)
        print("        %d jobs, %d kills, %d attempts were refused before they started" % (len(runs) * JOBS, kills, unstarted))
    finally:
        agent.end()


# --- a full disk ---------------------------------------------------------------------------------------------------------------


def test_full_disk():
    """With too little disk the worker takes nothing and says so, and what waits runs once there is room again. A job that fills the
    disk to its end fails, with that cause; the worker stays well."""
    if os.geteuid() != 0:
        print("        left out: a small file system needs root")
        return
    folder, gate = os.path.join(p.folder, "w-disk"), os.path.join(p.folder, "disk.gate")
    os.makedirs(folder)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True, text=True)
    expect(done.returncode == 0, done.stderr)
    agent = None
    try:
        agent = Agent("w-disk", "disk", disk_floor="16Mi", disk="1Gi")
        low = start("disk-low", "disk", "head -c 40000000 /dev/zero >file\ntouch %s.there\nwhile [ ! -e %s ]; do sleep 0.05; done" %
                    (gate, gate))
        wait_for(lambda: os.path.exists(gate + ".there"), "little disk is left")
        wait_for(lambda: "disk-floor" in worker("w-disk").get("unfit", ""), "the worker says so")
        waits = start("disk-waits", "disk", "echo ran")
        wait_for(lambda: "disk-floor" in p.get("/v1/runs/%s/jobs/only:explain" % waits)["text"], "explain says it")
        expect(worker("w-disk")["state"] == "online", "it lives on")
        open(gate, "w").close()
        p.wait_run(low, "succeeded")
        p.wait_run(waits, "succeeded")
        full = start("disk-full", "disk", "cat /dev/zero >file || true\nwhile echo more; do sleep 0.01; done")
        p.wait_run(full, "failed")
        only = p.jobs(full)["only"]["attempts"][0]
        expect("cannot write its log" in only["message"] and "No space left on device" in only["message"], "%r" % only)
        p.wait_run(start("disk-after", "disk", "echo ran"), "succeeded")
        expect("unfit" not in worker("w-disk"), "it is well again")
    finally:
        if agent:
            agent.end()
        subprocess.run(["umount", "-l", folder], capture_output=True)


# --- the shim as the first process of a container ------------------------------------------------------------------------------


def test_shim_as_first_process():
    if os.geteuid() != 0:
        print("        left out: a process namespace needs root")
        return
    gate = os.path.join(p.folder, "first.gate")
    flags = settings("w-first", "first", p.info["nats"], on_stop="drain")
    state = next(f for f in flags if f.startswith("--state="))
    env = dict(os.environ, HODEI_JOIN_TOKEN="very-secret")
    with open(os.path.join(p.folder, "first.out"), "ab") as out:
        first = subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", os.path.join(BUILD, "hodei-shim"), state,
                                  "--run-agent=" + os.path.join(BUILD, "hodei-agent"), "--", *flags], stdout=out, stderr=out,
                                 stdin=subprocess.DEVNULL, env=env)
    try:
        wait_for(lambda: worker("w-first")["state"] == "online", "it has joined")
        shim = int(subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True).stdout)

        def children(name):
            return [int(x) for x in subprocess.run(["pgrep", "-P", str(shim), name], capture_output=True, text=True).stdout.split()]

        run = start("first", "first", "tr '\\0' '\\n' </proc/1/environ | grep -c very-secret || true\n"
                    "(setsid true &) ; touch %s.there\nwhile [ ! -e %s ]; do sleep 0.05; done\necho whole" % (gate, gate))
        wait_for(lambda: os.path.exists(gate + ".there"), "its job runs")
        for _ in range(3):
            [agent] = wait_for(lambda: children("hodei-agent"), "the agent runs")
            os.kill(agent, signal.SIGKILL)
            wait_for(lambda agent=agent: (lambda now: now and now != [agent])(children("hodei-agent")), "it is started again")
        wait_for(lambda: not subprocess.run(["ps", "--ppid", str(shim), "-o", "stat="], capture_output=True,
                                            text=True).stdout.count("Z"), "nobody is left a zombie")
        os.kill(shim, signal.SIGTERM)
        wait_for(lambda: "being stopped" in worker("w-first").get("unfit", ""), "it drains", 40)
        expect(first.poll() is None, "it waits for its job")
        open(gate, "w").close()
        p.wait_run(run, "succeeded")
        expect(first.wait(20) == 0, "it ends well: %r" % first.returncode)
        expect(p.log(run) == b"0\nwhole\n" and attempts(run) == ["succeeded"], "%r %r" % (p.log(run), attempts(run)))
    finally:
        if first.poll() is None:
            first.kill()


# --- a network that is cut ---------------------------------------------------------------------------------------------------------


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    expect(done.returncode == 0, "ip %s: %s" % (" ".join(words), done.stderr))


def may_cut():
    if os.geteuid() == 0 and subprocess.run(["ip", "netns", "list"], capture_output=True).returncode == 0:
        return True
    print("        left out: a network namespace needs root and iproute2")
    return False


class Net:
    """A network namespace with one cable to this machine, at whose end a relay passes on to nats-server."""

    count = 0

    def __init__(self):
        Net.count += 1
        self.name = "hodei%d-%d" % (os.getpid(), Net.count)
        self.cable = "hd%d" % ((os.getpid() * 10 + Net.count) % 1000000)
        subnet = "10.231.%d" % ((os.getpid() + Net.count) % 256)
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", subnet + ".1/24", "dev", self.cable)
        ip("link", "set", self.cable, "up")
        for words in (("addr", "add", subnet + ".2/24", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            ip("-n", self.name, *words)
        self.listener = socket.create_server((subnet + ".1", 0), backlog=64)
        self.url = "nats://%s.1:%d" % (subnet, self.listener.getsockname()[1])
        self.prefix = ("ip", "netns", "exec", self.name)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        address = re.match(r"nats://([^:]+):(\d+)", p.info["nats"])
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((address.group(1), int(address.group(2))))
            except OSError:  # it is away, and so are we
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.relay, args=(source, sink), daemon=True).start()

    @staticmethod
    def relay(source, sink):
        try:
            while True:
                data = source.recv(1 << 16)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        ip("link", "set", self.cable, "down")

    def heal(self):
        ip("link", "set", self.cable, "up")

    def end(self):
        self.listener.close()
        subprocess.run(["ip", "link", "del", self.cable], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


class Cut:
    """A worker behind a cable, alone in its pool, with a job that writes how far it is."""

    def __init__(self, name, *lines, **more):
        self.net, self.name, self.run = Net(), name, None
        self.mark, self.gate = os.path.join(p.folder, name + ".mark"), os.path.join(p.folder, name + ".gate")
        self.lines = lines
        self.agent = Agent("w-" + name, name, self.net.prefix, self.net.url, **more)

    def begin(self):
        self.run = start(self.name, self.name, "echo begin $HODEI_ATTEMPT >>%s\nif [ $HODEI_ATTEMPT = 1 ]; then\n"
                         "  while [ ! -e %s ]; do date +%%s.%%N >%s.alive; sleep 0.1; done\nfi\necho result $HODEI_ATTEMPT\n"
                         "echo end $HODEI_ATTEMPT >>%s" % (self.mark, self.gate, self.mark, self.mark), *self.lines)
        wait_for(lambda: os.path.exists(self.mark + ".alive"), "its job runs")
        wait_for(lambda: attempts(self.run) == ["running"], "that is known")

    def alive(self):
        """Whether the first attempt goes on."""
        return time.time() - os.stat(self.mark + ".alive").st_mtime < 2

    def did(self):
        with open(self.mark) as file:
            return file.read().split("\n")[:-1]

    def end(self):
        try:
            self.net.heal()
            self.agent.end()
        finally:
            self.net.end()


def test_short_cut():
    """Shorter than the lease: the job ends while nobody can be told, and its result and log arrive afterwards."""
    if not may_cut():
        return
    w = Cut("short")
    try:
        w.begin()
        w.net.cut()
        open(w.gate, "w").close()
        wait_for(lambda: w.did() == ["begin 1", "end 1"], "it has ended")
        expect(p.run(w.run)["state"] == "running", "nobody knows")
        w.net.heal()
        p.wait_run(w.run, "succeeded")
        expect(attempts(w.run) == ["succeeded"] and p.log(w.run) == b"result 1\n", "%r %r" % (attempts(w.run), p.log(w.run)))
    finally:
        w.end()


def cut_and_lose(w):
    w.begin()
    w.net.cut()
    began = time.monotonic()
    wait_for(lambda: worker("w-" + w.name)["state"] == "lost", "the worker is lost", 60)
    expect(time.monotonic() - began > LEASE_AND_MARGIN - 6, "not before lease and margin")
    expect(w.alive(), "its job runs on")


def test_long_cut_requeue():
    """Another attempt starts elsewhere once the first is lost; at its return the old one is refused and stopped."""
    if not may_cut():
        return
    w, other = Cut("requeue"), None
    try:
        cut_and_lose(w)
        other = Agent("w-requeue-other", "requeue")
        p.wait_run(w.run, "succeeded", 60)
        expect(attempts(w.run) == ["lost", "succeeded"], "%r" % attempts(w.run))
        expect(w.alive(), "the first still runs: nobody could tell it")
        w.net.heal()
        wait_for(lambda: worker("w-requeue")["state"] == "online", "it is back", 60)
        wait_for(lambda: not w.alive(), "the old one is stopped", 60)
        expect(attempts(w.run) == ["lost", "succeeded"] and w.did() == ["begin 1", "begin 2", "end 2"], "%r" % w.did())
        expect(b"result 2\n" in p.log(w.run) and b"result 1" not in p.log(w.run), "%r" % p.log(w.run))
    finally:
        w.end()
        if other:
            other.end()


def test_long_cut_fail():
    """The job has failed when the worker is lost; nothing else starts, and the late end changes nothing."""
    if not may_cut():
        return
    w, other = Cut("fail", "on_worker_lost: fail"), None
    try:
        cut_and_lose(w)
        other = Agent("w-fail-other", "fail")
        p.wait_run(w.run, "failed", 60)
        open(w.gate, "w").close()
        wait_for(lambda: w.did() == ["begin 1", "end 1"], "the first ends while it is cut off")
        w.net.heal()
        wait_for(lambda: worker("w-fail")["state"] == "online" and not worker("w-fail").get("running"), "it is back and settled", 90)
        expect(attempts(w.run) == ["lost"] and p.run(w.run)["state"] == "failed", "%r" % attempts(w.run))
        expect(w.did() == ["begin 1", "end 1"], "nothing else has started: %r" % w.did())
    finally:
        w.end()
        if other:
            other.end()


def test_long_cut_hold():
    """No other attempt starts, and the result that comes back is taken."""
    if not may_cut():
        return
    w, other = Cut("hold", "on_worker_lost: hold"), None
    try:
        cut_and_lose(w)
        other = Agent("w-hold-other", "hold")
        open(w.gate, "w").close()
        wait_for(lambda: w.did() == ["begin 1", "end 1"], "the first ends while it is cut off")
        w.net.heal()
        p.wait_run(w.run, "succeeded", 90)
        expect(w.did() == ["begin 1", "end 1"], "nothing else has started: %r" % w.did())
        wait_for(lambda: p.log(w.run) == b"result 1\n", "its log is whole")
    finally:
        w.end()
        if other:
            other.end()


def test_long_cut_of_a_group():
    """A job that holds the slot of a concurrency group is ended by its shim when the lease runs out, though nobody can say so; its successor
    starts only then."""
    if not may_cut():
        return
    w, other = Cut("group", "concurrency: { group: cut }"), None
    try:
        w.begin()
        w.net.cut()
        wait_for(lambda: not w.alive(), "the first is ended within the lease", LEASE_AND_MARGIN)
        ended = os.stat(w.mark + ".alive").st_mtime
        other = Agent("w-group-other", "group")
        p.wait_run(w.run, "succeeded", 60)
        second = p.jobs(w.run)["only"]["attempts"][1]
        expect(int(second["started_at_ms"]) > ended * 1000, "no overlap: %.3f %r" % (ended, second))
        expect(attempts(w.run) == ["lost", "succeeded"] and w.did() == ["begin 1", "begin 2", "end 2"], "%r %r" % (attempts(w.run), w.did()))
        w.net.heal()
        wait_for(lambda: worker("w-group")["state"] == "online", "it is back", 60)
        expect(attempts(w.run) == ["lost", "succeeded"], "an end stays")
    finally:
        w.end()
        if other:
            other.end()


SPOOL_MAX = 16 << 20
LINE = 100  # bytes of each line: its number, so that what stands at every place of the log is known
WRITER = r"""exec python3 -c '
import os, sys, time
n = 0
while not os.path.exists("%s"):
    sys.stdout.write("".join("%%08d %%s\n" %% (n + i, "x" * 90) for i in range(600)))
    sys.stdout.flush()
    n += 600
    with open("%s.new", "w") as file:
        file.write(str(n))
    os.rename("%s.new", "%s")
    time.sleep(0.005)
'
"""


def read_log(run):
    """(offset, bytes or None, length) of each stored piece; a gap has no bytes. Offsets are of all that was written."""
    pieces, cursor, offset = [], "", 0
    while True:
        page = p.get("/v1/runs/%s/logs?max_bytes=900000%s" % (run, "&cursor=" + cursor if cursor else ""))
        for entry in page.get("entries", []):
            gap = int(entry.get("gap_bytes", 0))
            if entry.get("gap_frames"):
                expect(b"bytes of output were dropped here" in base64.b64decode(entry["frames"][0]["data"]), "the reader is told")
                pieces.append((offset, None, gap))
                offset += gap
            else:
                data = b"".join(base64.b64decode(f["data"]) for f in entry["frames"])
                pieces.append((offset, data, len(data)))
                offset += len(data)
        if not page.get("entries"):
            return pieces, offset
        cursor = page["cursor"]


def test_endless_output_while_cut_off():
    """For a minute nobody takes what a job writes without end: the spool keeps to its bound, the job goes on, and what was dropped
    shows as gaps. The result arrives, and nothing else is missing. The registry stands still meanwhile: nobody is lost."""
    if not may_cut():
        return
    w = Cut("endless", spool_max="%dMi" % (SPOOL_MAX >> 20))
    spool, registry = os.path.join(w.agent.state, "spool"), p.process("worker-registry")["pid"]

    def written():
        with open(w.mark) as file:
            return int(file.read()) * LINE

    def on_disk():
        return sum(os.stat(os.path.join(spool, name)).st_blocks * 512 for name in os.listdir(spool))

    try:
        w.run = start("endless", "endless", WRITER % (w.gate, w.mark, w.mark, w.mark))
        wait_for(lambda: os.path.exists(w.mark) and written() > 1 << 20, "it writes")
        os.kill(registry, signal.SIGSTOP)
        w.net.cut()
        cut_at, lease_over, most = time.monotonic(), 0, 0
        while time.monotonic() < cut_at + 60:
            time.sleep(0.5)  # a minute is what is asked for
            if time.monotonic() > cut_at + 18:
                lease_over = lease_over or written()
                most = max(most, on_disk())
        after = written()
        expect(after - lease_over > 4 * SPOOL_MAX, "it wrote far more than the spool holds: %d" % (after - lease_over))
        expect(SPOOL_MAX / 2 < most <= SPOOL_MAX + (3 << 20), "the spool took %.1f MiB" % (most / (1 << 20)))
        open(w.gate, "w").close()
        w.net.heal()
        os.kill(registry, signal.SIGCONT)
        p.wait_run(w.run, "succeeded", 90)
        expect(attempts(w.run) == ["succeeded"], "%r" % attempts(w.run))
        frames = int(p.jobs(w.run)["only"]["attempts"][0]["log_frames"])
        wait_for(lambda: int(p.sql("select coalesce(max(next_frame), 0) from observability.log_attempts where run = '%s'" % w.run)) ==
                 frames, "the log is stored to its end", 60)
        pieces, total = read_log(w.run)
        gaps = [length for _, data, length in pieces if data is None]
        print("        %.0f MB written, %d gaps of %.0f MB, the spool took %.1f MiB" %
              (total / 1e6, len(gaps), sum(gaps) / 1e6, most / (1 << 20)))
        expect(total == written() and gaps and sum(gaps) > 2 * SPOOL_MAX, "%d of %d, gaps %r" % (total, written(), gaps))
        for offset, data, _ in pieces:
            if data is not None:
                first = offset // LINE
                want = "".join("%08d %s\n" % (first + i, "x" * 90) for i in range(len(data) // LINE + 2)).encode()
                expect(data == want[offset % LINE:offset % LINE + len(data)], "what stands at %d: %r" % (offset, data[:200]))
        shown = p.cli("logs", w.run).stdout
        expect("bytes of output were dropped here: the worker was cut off and its spool was full]" in shown, "the command line shows it")
    finally:
        os.kill(registry, signal.SIGCONT)
        w.end()


def test_nothing_is_broken_by_it():
    p.healthy()


def main():
    global p
    p = Platform(agents=1, slots=4).start()
    try:
        return run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    finally:
        p.destroy()


if __name__ == "__main__":
    sys.exit(main())
