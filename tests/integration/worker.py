#!/usr/bin/env python3
"""What jobs can do to a worker, and what a worker does for jobs. Agents in three shapes, each in a pool of its own: with control
groups, with them and another user, and without any. What only root can set up is left out for others, and said."""

import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import BUILD, Platform, alive, expect, run_tests, wait_for  # noqa: E402

ROOT = os.geteuid() == 0
USER = "nobody"
BOUND = 10  # seconds: how soon a job that misbehaves has ended, with a machine that does other things too
p = None
agents = {}


class Agent:
    """An agent of the tests' own, in a pool of its name."""

    def __init__(self, name, *settings, state=None):
        self.name, self.settings = name, settings
        self.state = state or os.path.join(p.folder, name)
        self.out = os.path.join(p.folder, name + ".out")
        self.start()
        agents[name] = self

    def argv(self):
        return [os.path.join(BUILD, "hodei-agent"), "--name=" + self.name, "--pool=" + self.name, "--state=" + self.state,
                "--nats=" + p.info["nats"], "--nats-user=" + p.info["nats_user"],
                "--nats-password-file=" + p.info["nats_password_file"], "--join-token-file=" + p.info["join_token_file"],
                "--on-stop=stop", "--disk-floor=0", *self.settings]

    def start(self):
        with open(self.out, "ab") as out:
            self.process = subprocess.Popen(self.argv(), stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        wait_for(lambda: self.worker()["state"] == "online" and self.shim(), "%s is online" % self.name)

    def worker(self):
        return {w["name"]: w for w in p.get("/v1/workers")["workers"]}[self.name]

    def shim(self):
        mark = ("--state=" + self.state).encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"hodei-shim") and mark in words and alive(int(entry)):
                return int(entry)
        return None

    def log(self):
        with open(self.out, errors="replace") as file:
            return file.read()

    def groups(self):
        """Folders of control groups below those of this session, but for the empty ones that wait to be used again."""
        with open(os.path.join(self.state, "session")) as file:
            name = "hodei-" + file.read().strip()
        found = []
        for folder, folders, _ in os.walk("/sys/fs/cgroup"):
            if os.path.basename(folder) == name:
                found += [os.path.join(folder, x) for x in folders if "unified" not in folder or self.pids(folder + "/" + x)]
                folders.clear()
        return found

    @staticmethod
    def pids(folder):
        with open(folder + "/cgroup.procs") as file:
            return file.read().split()

    def clean(self, spool=True):
        """Nothing is left of any job."""
        def look():
            left = self.groups()
            for folder in ("work", "spool") if spool else ("work",):
                left += [folder + "/" + name for name in os.listdir(os.path.join(self.state, folder))]
            expect(not left, "left: %r" % left)
            shim = self.shim()
            with open("/proc/%d/task/%d/children" % (shim, shim)) as file:
                expect(not file.read().strip(), "children of the shim are left")
            return True

        wait_for(look, "%s is clean" % self.name)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        wait_for(lambda: not self.shim(), "the shim of %s has ended" % self.name)


def job(pool, script, *lines):
    """Starts a run of one job."""
    text = "hodei: v1\nname: %s\njobs:\n  only:\n    pool: %s\n" % (pool, pool)
    text += "".join("    %s\n" % line for line in lines)
    if script is not None:
        text += "    run: %s\n" % json.dumps(script)
    p.apply(text)
    return p.start_run(pool)


def ended(run, timeout=60):
    p.wait_run(run, timeout=timeout)
    one = p.jobs(run)["only"]
    return one["attempts"][-1] if one.get("attempts") else one


def log_of(run, want=None):
    if want is not None:
        wait_for(lambda: want in p.log(run), "its log has %r: %r" % (want, p.log(run)[-500:]), 10)
    return p.log(run)


def gone(marker):
    """Nothing with the marker in its arguments lives."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as file:
                words = file.read()
        except OSError:
            continue
        if marker.encode() in words.split(b"\0") and alive(int(entry)):
            return False
    return True


def every():
    """The pools of all shapes of agents."""
    return [name for name in ("plain", "other", "bare") if name in agents]


def healthy(pool):
    """It takes the next job, and nothing of the last one is left."""
    began = time.monotonic()
    run = job(pool, "echo still here")
    expect(ended(run)["state"] == "succeeded" and time.monotonic() - began < BOUND, "%s goes on" % pool)
    agents[pool].clean()


def ends(pool, script, state, cause, *lines, words="", bound=BOUND, message=True):
    began = time.monotonic()
    run = job(pool, script, *lines)
    attempt = ended(run)
    took = time.monotonic() - began
    expect(attempt["state"] == state and attempt.get("cause") == cause, "%s: %s by %s: %r" % (pool, state, cause, attempt))
    expect(words in attempt.get("message", ""), "%s: its message says %r: %r" % (pool, words, attempt))
    expect(took < bound, "%s: it ends in time: %.1f s" % (pool, took))
    return run, attempt


# --- what a job has ---------------------------------------------------------------------------------------------------


def test_environment():
    for pool in every():
        run = job(pool, None, "env: { OWN: job, HODEI_JOB: mine }", "outputs: { text: '${{ steps.named.outputs.text }}' }", "steps:",
                  "  - run: 'env | sort'", "  - { id: named, run: 'echo step=$HODEI_STEP; echo text=a >>\"$HODEI_OUTPUT\"' }",
                  "  - { env: { OWN: step }, run: 'echo OWN=$OWN; [ \"$(pwd)\" = \"$HODEI_WORKSPACE\" ] && ls -A | wc -l' }")
        attempt = ended(run)
        expect(attempt["state"] == "succeeded", "%s: %r %r" % (pool, attempt, p.log(run)))
        text = log_of(run, b"OWN=step\n").decode()
        want = ["CI=true", "HODEI=true", "HODEI_PIPELINE=" + pool, "HODEI_RUN=" + run, "HODEI_ATTEMPT=1", "HODEI_WORKER=" + pool,
                "HODEI_JOB=mine", "HODEI_STEP=1", "step=named", "OWN=job", "HODEI_TENANT=default", "PATH=" + os.environ["PATH"]]
        for line in want:
            expect(line in text.splitlines(), "%s: %s in %s" % (pool, line, text))
        expect(text.endswith("OWN=step\n0\n"), "a fresh folder: %r" % text[-200:])
        expect(p.jobs(run)["only"]["outputs"] == '{"text":"a"}', "outputs: %r" % p.jobs(run)["only"])
        expect("PASSWORD" not in text and "TOKEN" not in text, "nothing of the agent's own: %s" % text)
        agents[pool].clean()


def test_steps():
    for pool in every():
        run = job(pool, None, "timeout: 1m", "steps:",
                  "  - run: 'mkdir -p sub; echo in >sub/file'", "  - { workdir: sub, run: cat file }",
                  "  - { shell: /bin/bash, run: 'a=(x y); echo ${a[1]} $0' }",
                  "  - { command: [printf, '%s|', '$HOME', 'b c'] }",
                  "  - { timeout: 1s, continue_on_error: true, run: 'sleep 60' }",
                  "  - { continue_on_error: true, run: 'exit 7' }", "  - run: 'echo last; exit 5'", "  - run: echo never")
        attempt = ended(run)
        expect(attempt["state"] == "failed" and attempt["exit_code"] == 5 and attempt["cause"] == "exit_code", "%r" % attempt)
        text = log_of(run, b"last\n")
        expect(b"in\ny /bin/bash\n$HOME|b c|" in text and b"never" not in text, "%s: %r" % (pool, text))
        expect(b"the step ran longer than its timeout of 1.000 s" in text, "%r" % text)


def test_another_user():
    if not ROOT:
        print("        left out: only root can run jobs as somebody else")
        return
    state = agents["other"].state
    run = job("other", "id -un; id -G; echo $HOME; stat -c %%U .; touch mine; cat %s/journal || ls %s || touch ../beside || true" %
              (state, state))
    expect(ended(run)["state"] == "succeeded", "it runs")
    lines = log_of(run, b"beside").decode().splitlines()
    groups = subprocess.run(["id", "-G", USER], capture_output=True, text=True, check=True).stdout.strip()
    expect(lines[0] == USER and lines[1] == groups, "user and groups: %r" % lines)
    expect(USER in lines and sum("Permission denied" in line for line in lines) == 3, "its folder alone is its own: %r" % lines)
    agents["other"].clean()


def test_users_that_cannot_be():
    for user, words, code in [("no-such-user", "there is no user no-such-user on this machine", 2)]:
        argv = agents["bare"].argv() + ["--user=" + user, "--state=" + os.path.join(p.folder, "never")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        expect(done.returncode == code and words in done.stderr, "%d: %s" % (done.returncode, done.stderr))
    if not ROOT:
        return
    build = os.path.join(p.folder, "agent-copy")  # where the other user can read it
    subprocess.run(["cp", BUILD + "/hodei-agent", BUILD + "/hodei-shim", p.folder], check=True)
    os.rename(p.folder + "/hodei-agent", build)
    done = subprocess.run([build, "--user=root", "--state=%s/nowhere" % p.folder, "--shim=%s/hodei-shim" % p.folder], user=USER,
                          group="nogroup", capture_output=True, text=True, timeout=20, env={})
    expect(done.returncode != 0 and ("only an agent that root has started can run jobs as root" in done.stderr or
                                     "cannot be made" in done.stderr), "%s" % done.stderr)
    os.makedirs(p.folder + "/nobody-state")
    os.chown(p.folder + "/nobody-state", 65534, 65534)
    done = subprocess.run([build, "--user=root", "--state=%s/nobody-state" % p.folder, "--shim=%s/hodei-shim" % p.folder],
                          user=USER, group="nogroup", capture_output=True, text=True, timeout=20, env={})
    expect(done.returncode == 1 and "only an agent that root has started can run jobs as root" in done.stderr, "%s" % done.stderr)


def test_shells_and_programs_that_are_not_there():
    for pool in every():
        ends(pool, "true", "failed", "start_failed", "shell: /no/such/shell", words="/no/such/shell")
        ends(pool, None, "failed", "start_failed", "command: [no-such-program]", words="no such program in PATH")
        ends(pool, "true", "failed", "start_failed", "workdir: not/there", words="the folder")
        run = job(pool, None, "steps:", "  - run: 'printf \"#!/no/interpreter\\n\" >x; chmod +x x'", "  - command: [./x]")
        attempt = ended(run)
        expect(attempt["cause"] == "start_failed" and "first line" in attempt["message"], "%r" % attempt)
        healthy(pool)


# --- what ends it -----------------------------------------------------------------------------------------------------


def test_memory():
    eater = "echo begin; tail -c 400000000 /dev/zero | tail >/dev/null; echo survived"
    for pool in every():
        if "for each process alone" in agents[pool].log():
            # An rlimit: the program is told that there is none, and fails by itself.
            run = job(pool, "tail -c 400000000 /dev/zero | tail >/dev/null || exit 9", "resources: { memory: 64Mi }",
                      "shell: /bin/bash")
            expect(ended(run)["state"] == "failed", "%s: it fails: %r" % (pool, ended(run)))
            healthy(pool)
            continue
        began = time.monotonic()
        run = job(pool, "set -o pipefail; " + eater, "resources: { memory: 64Mi }", "shell: /bin/bash")
        attempt = ended(run)
        expect(attempt["state"] == "failed" and attempt["cause"] == "oom", "%s: %r" % (pool, attempt))
        expect("64 MiB" in attempt["message"] and "resources.memory" in attempt["message"], "%r" % attempt)
        expect(b"survived" not in log_of(run, b"resources.memory"), "nothing after it")
        peak = int(attempt["usage"]["max_rss_bytes"])
        expect(48 << 20 < peak <= 68 << 20, "the peak is that of the group: %d" % peak)
        expect(time.monotonic() - began < BOUND, "in time")
        # One that stays below it is not touched, and one that fails by itself is not said to have run out.
        ends(pool, "exit 3", "failed", "exit_code", "resources: { memory: 64Mi }")
        healthy(pool)


def test_cpu():
    if "CPU time are limited by version 1" not in agents["plain"].log():
        print("        left out: no controller of version 1 here")
        return
    script = ("p=$(grep ':cpu[,:]' /proc/self/cgroup | cut -d: -f3); i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; "
              "cat /sys/fs/cgroup/cpu$p/cpu.stat /sys/fs/cgroup/cpu$p/cpu.cfs_quota_us")
    run = job("plain", script, "resources: { cpu: 100m }")
    expect(ended(run)["state"] == "succeeded", "%r" % p.log(run))
    lines = log_of(run, b"nr_throttled").decode().split("\n")
    throttled = next(int(line.split()[1]) for line in lines if line.startswith("nr_throttled"))
    expect(throttled > 0 and "10000" in lines, "a tenth of a CPU: %r" % lines)
    agents["plain"].clean()


def test_fork_bomb():
    bomb = "bomb() { bomb | bomb & bomb; }; bomb; sleep 600"
    for pool in every():
        ends(pool, bomb if pool != "bare" else "while :; do sleep 600 & done", "failed", "processes", words="may have fewer than 200",
             bound=20)
        healthy(pool)
    # Many that are fewer than that are nobody's business.
    run = job("plain", "for i in $(seq 150); do sleep 0.5 & done; wait; echo all")
    expect(ended(run)["state"] == "succeeded", "150 processes: %r" % p.log(run))


def test_ignores_term():
    script = "trap '' TERM; echo up; sleep 611 & while :; do sleep 0.1; done"
    for pool in every():
        ends(pool, script, "timed_out", "timeout", "timeout: 1s", "cancel_grace: 1s", words="timeout of 1.000 s")
        run = job(pool, script, "cancel_grace: 1s")
        log_of(run, b"up")
        began = time.monotonic()
        p.api("POST", "/v1/runs/%s:cancel" % run, {})
        expect(ended(run)["state"] == "cancelled" and 0.8 < time.monotonic() - began < BOUND, "cancelled after its grace")
        wait_for(lambda: gone("611"), "its child is gone")
        ends(pool, None, "timed_out", "timeout", "cancel_grace: 1s",
             "steps: [{ timeout: 1s, run: %s }, { run: echo never }]" % json.dumps(script), words="the step")
        healthy(pool)


def test_pipes():
    for pool in every():
        ends(pool, "exec >&- 2>&-; sleep 1; exit 3", "failed", "exit_code")
        began = time.monotonic()
        run = job(pool, "(trap '' TERM HUP; exec sleep 612) & echo left it; exit 0")
        expect(ended(run)["state"] == "succeeded" and time.monotonic() - began < BOUND, "a child that holds the pipes is ended")
        wait_for(lambda: gone("612"), "it is gone")
        expect(log_of(run, b"left it\n") == b"left it\n", "the log is whole")
        healthy(pool)


def test_daemons():
    script = """
cat >d.py <<'END'
import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 100)
os.chdir("/")
os.execve("/bin/sleep", ["sleep", sys.argv[1]], {})
END
/usr/bin/env python3 d.py 613; /usr/bin/env python3 d.py 614; echo daemons
"""
    script = script.replace("/usr/bin/env python3", sys.executable) if os.access(sys.executable, os.X_OK) else script
    for pool in every():
        if pool == "other":
            script = script.replace(sys.executable, "/usr/bin/python3") if os.path.exists("/usr/bin/python3") else script
        run = job(pool, script)
        attempt = ended(run)
        expect(attempt["state"] == "succeeded", "%s: %r %r" % (pool, attempt, p.log(run)))
        wait_for(lambda: gone("613") and gone("614"), "%s: its daemons are gone" % pool, 5)
        healthy(pool)


# --- its workspace ----------------------------------------------------------------------------------------------------


def test_every_workspace_is_fresh():
    for pool in every():
        for before in ("true", "chmod 777 .", "chmod 0 .", "echo >.hidden", "mkdir -p a/b", "touch -d @1 ."):
            expect(ended(job(pool, before))["state"] == "succeeded", before)
            run = job(pool, "stat -c %a:%U .; ls -A; id -un")
            expect(ended(run)["state"] == "succeeded", "it runs")
            mode, who = log_of(run, b"\n").decode().split()  # a third word would be something in it
            expect(mode == "700:" + who, "%s: after %s: %s" % (pool, before, mode))


def test_nothing_outside_is_removed():
    outside = os.path.join(p.folder, "outside")
    os.makedirs(outside + "/deep", exist_ok=True)
    os.chmod(outside, 0o777)
    os.chmod(outside + "/deep", 0o777)
    with open(outside + "/deep/file", "w") as file:
        file.write("precious")
    for pool in every():
        scripts = ["ln -s %s link; ln -s %s/deep deeper; ln %s/deep/file hard 2>/dev/null || true" % ((outside,) * 3),
                   "mkdir -p a/b; ln -s %s a/b/link; chmod 0 a/b" % outside]
        if pool != "other":  # the folder above it is not that user's
            scripts += ["cd /; rm -rf \"$HODEI_WORKSPACE\"; ln -s %s \"$HODEI_WORKSPACE\"" % outside,
                        "cd /; rm -rf \"$HODEI_WORKSPACE\"; echo >\"$HODEI_WORKSPACE\"",
                        "cd /; rm -rf \"$HODEI_WORKSPACE\"", "ln -s %s \"$HODEI_OUTPUT\"" % outside]
        for script in scripts:
            attempt = ended(job(pool, script))
            expect(attempt["state"] == "succeeded", "%s: %r" % (script, attempt))
            agents[pool].clean()
            with open(outside + "/deep/file") as file:
                expect(file.read() == "precious", "%s: %s" % (pool, script))
        # The next step of one whose folder is gone says so.
        run = job(pool, None, "steps: [{ run: 'cd /; rm -rf \"$HODEI_WORKSPACE\" 2>/dev/null; true' }, { run: pwd }]")
        expect(ended(run)["state"] in ("failed", "succeeded"), "it ends")
        healthy(pool)


def test_trees_that_are_hard_to_remove():
    deep = os.path.join(p.folder, "deep.py")
    with open(deep, "w") as file:
        file.write("import os\nfor i in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\nopen('f', 'w').close()\n")
    scripts = ["%s %s" % ("/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable, deep),
               "mkdir -p a/b/c; echo >a/b/c/f; chmod 0 a/b/c a/b a; chmod 0 .",
               "mkdir many; cd many; seq 1 5000 | xargs touch; mkdir sub; seq 1 1000 | sed s,^,sub/, | xargs mkdir",
               "truncate -s 1T sparse; dd if=/dev/zero of=large bs=1M count=64 2>/dev/null"]
    for pool in every():
        for script in scripts:
            attempt = ended(job(pool, script))
            expect(attempt["state"] == "succeeded", "%s: %s: %r" % (pool, script[:50], attempt))
        healthy(pool)


def test_removal_holds_nobody_up():
    run = job("plain", "for d in $(seq 20); do mkdir $d; (cd $d; seq 2000 | xargs touch); done")
    expect(ended(run)["state"] == "succeeded", "40,000 files")
    slowest = 0
    for _ in range(20):
        began = time.monotonic()
        ended(job("plain", "true"))
        slowest = max(slowest, time.monotonic() - began)
    expect(slowest < 5, "others start meanwhile: %.1f s" % slowest)
    agents["plain"].clean()


def test_kept_workspaces():
    agent = Agent("keeper", "--keep-workspaces=failed", "--kept-workspaces=2")
    ids = []
    for i in range(4):
        attempt = ended(job("keeper", "echo %d >number; exit 1" % i))
        ids.append(attempt["id"])
    expect(ended(job("keeper", "echo gone >number"))["state"] == "succeeded", "one that succeeds")
    agent.clean()
    kept = sorted(os.listdir(agent.state + "/kept"))
    expect(kept == sorted(ids)[-2:], "the two newest: %r of %r" % (kept, ids))
    with open(agent.state + "/kept/" + ids[-1] + "/number") as file:
        expect(file.read() == "3\n", "as it was left")
    agent.stop()
    del agents["keeper"]


# --- its log ----------------------------------------------------------------------------------------------------------


def test_bytes_are_exact():
    seeded = random.Random(7)
    data = bytes(seeded.randrange(256) for _ in range(300000)) + b"\xff\xfe\x00no newline at the end"
    path = os.path.join(p.folder, "bytes")
    with open(path, "wb") as file:
        file.write(data)
    for pool in every():
        run = job(pool, "cat %s" % path)
        expect(ended(run)["state"] == "succeeded", "it is read")
        wait_for(lambda: len(p.log(run)) >= len(data), "all of it is there")
        expect(p.log(run) == data, "%s: exact by HTTP" % pool)
        done = subprocess.run([os.path.join(BUILD, "hodei"), "logs", run, "--job", "only"], capture_output=True, timeout=60,
                              env=dict(os.environ, HODEI_SERVER=p.info["server"], HODEI_TOKEN=p.token))
        expect(done.stdout == data, "%s: exact by the command line: %d bytes, %r" % (pool, len(done.stdout), done.stdout[:200]))


def peak_kib(pid):
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def test_a_line_of_100_mb():
    agent = Agent("long")
    size = 100000000
    before = peak_kib(agent.process.pid), peak_kib(agent.shim())
    run = job("long", "head -c %d /dev/zero | tr '\\0' x" % size)
    expect(ended(run, 180)["state"] == "succeeded", "it ends")
    wait_for(lambda: int(p.jobs(run)["only"]["attempts"][0]["log_frames"]) > 0 and not agent.worker().get("running"),
             "all of it is stored", 180)
    after = peak_kib(agent.process.pid), peak_kib(agent.shim())
    print("        agent %d → %d KiB, shim %d → %d KiB" % (before[0], after[0], before[1], after[1]))
    expect(after[0] < 24 << 10 and after[1] < before[1] + 4096, "memory stays: agent %d KiB, shim %d KiB" % after)
    agent.stop()
    del agents["long"]


def test_endless_output():
    agent = agents["plain"]
    before = peak_kib(agent.shim())
    run = job("plain", "yes", "timeout: 4s", "cancel_grace: 1s")
    attempt = ended(run)
    expect(attempt["state"] == "timed_out" and attempt["cause"] == "timeout", "%r" % attempt)
    expect(peak_kib(agent.shim()) < before + 4096, "memory of the shim: %d → %d KiB" % (before, peak_kib(agent.shim())))
    wait_for(lambda: not agent.worker().get("running"), "what it wrote is stored", 120)
    healthy("plain")


def test_full_disk():
    if not ROOT:
        print("        left out: only root can mount a small disk")
        return
    state = os.path.join(p.folder, "small-disk")
    os.makedirs(state)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", state], capture_output=True, text=True)
    if done.returncode:
        print("        left out: no tmpfs here: %s" % done.stderr.strip())
        return
    agent = Agent("full", *FULL_DISK_SETTINGS, state=state)
    try:
        ends("full", "dd if=/dev/zero of=big bs=1M count=100", "failed", "disk_full", words="No space left")  # nor for its log
        agent.clean()
        healthy("full")
        # The log itself has no room: it may be 16 MiB ahead of what is stored.
        ends("full", "head -c 11000000 /dev/zero >ballast; yes | head -c 30000000; sleep 60", "failed", "disk_full", "cancel_grace: 1s",
             words="No space left", bound=20)
        agent.clean()
        healthy("full")
    finally:
        agent.stop()
        del agents["full"]
        subprocess.run(["umount", "-l", state], check=False)


FULL_DISK_SETTINGS = ()


# --- the shim ---------------------------------------------------------------------------------------------------------


def test_a_shim_that_was_killed_leaves_nothing():
    for pool in every():
        agent = agents[pool]
        run = job(pool, "sleep 615 & echo up; wait", "on_worker_lost: fail")
        log_of(run, b"up")
        os.kill(agent.shim(), signal.SIGKILL)
        attempt = ended(run)
        expect(attempt["state"] == "lost" and attempt["cause"] == "shim_lost", "%r" % attempt)
        wait_for(lambda: gone("615"), "%s: what it left is ended" % pool)
        healthy(pool)


def test_groups_within_its_group():
    """A container engine in a job makes control groups of its own: they go with it, and what runs in them."""
    tree = next((m for m in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(m + "/cgroup.procs")), None)
    agent = Agent("nester")
    groups = bool(ROOT and tree and agent.groups() is not None and find_groups(agent))
    if not groups:
        print("  left out: needs root and control groups of version 2")
    else:
        enter = "g=%s$(sed -n 's/^0:://p' /proc/self/cgroup); mkdir -p $g/a/b/c $g/d; " % tree
        for script in (enter, enter + "sleep 617 & echo $! >$g/a/b/cgroup.procs"):
            attempt = ended(job("nester", script))
            expect(attempt["state"] == "succeeded", "%s: %r" % (script, attempt))
        wait_for(lambda: gone("617"), "what ran in a group within is ended")
        agent.clean()
    agent.stop()
    expect(not find_groups(agent), "no control group is left: %r" % find_groups(agent))
    del agents["nester"]


def test_variables_that_grow():
    """Expressions may multiply a value; the shim, which all jobs share, does not grow by it."""
    def script(size, many):
        steps = ["steps:", "  - { id: s, run: 'printf \"x=%%0%dd\" 0 >>\"$HODEI_OUTPUT\"' }" % size, "  - run: echo never", "    env:"]
        return steps + ["      V%d: '${{ steps.s.outputs.x }}'" % i for i in range(many)]

    for pool in every():
        ends(pool, None, "failed", "expression", *script(900000, 400), words="variable V0 has more than 128 KiB")
        ends(pool, None, "failed", "expression", *script(100000, 400), words="together more than 2 MiB")
        six = ["  - { id: s%d, run: 'printf \"x=%%0900000d\" 0 >>\"$HODEI_OUTPUT\"' }" % i for i in range(6)]
        ends(pool, None, "failed", "outputs", "outputs: { x: '${{ steps.s0.outputs.x }}' }", "steps:", *six,
             words="more than 4 MiB together")
        peak = peak_kib(agents[pool].shim())
        expect(peak < 48 << 10, "%s: the shim has had %d KiB" % (pool, peak))
        healthy(pool)


def test_nothing_is_left_at_the_end():
    for name in list(agents):
        agent = agents[name]
        agent.clean(spool=False)
        agent.stop()
        wait_for(lambda: not agent.groups() and not find_groups(agent), "%s: no control group is left" % name)


def find_groups(agent):
    with open(os.path.join(agent.state, "session")) as file:
        name = "hodei-" + file.read().strip()
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(folder) == name]


def main():
    global p
    p = Platform().start()
    Agent("plain", "--processes=200")
    if ROOT:
        Agent("other", "--processes=200", "--user=" + USER)
    Agent("bare", "--processes=200", "--cgroups=off")
    tests = [(name[5:], function) for name, function in globals().items() if name.startswith("test_")]
    try:
        return run_tests(tests, sys.argv)
    finally:
        for agent in agents.values():
            if agent.process.poll() is None:
                agent.process.terminate()
                agent.process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
