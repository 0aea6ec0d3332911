#!/usr/bin/env python3
"""What may happen to an installation: outages of NATS and PostgreSQL, services that stand still, state that is gone, restarts one by
one. Load runs meanwhile; judge.py says whether all of it was done once, and whether anything is left."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import SERVICES, Failed, Platform, alive, expect, run_side_by_side, wait_for  # noqa: E402
from judge import Client, Load, nothing_left, shim_of  # noqa: E402
from postgres import Postgres, conninfo, folder_of_servers  # noqa: E402

LEASE_S, LOST_S = 15, 20  # of a worker; until it is lost


@contextlib.contextmanager
def platform(**about):
    p = Platform(**about)
    try:
        p.start()
        yield p
    finally:
        if sys.exc_info()[0]:
            print(p.output()[-2000:])
            p.print_logs()
        p.destroy()


@contextlib.contextmanager
def under_load(name, jobs, seconds, begun, runs=1, **about):
    """A platform whose load has begun; afterwards it must be done, once each, and nothing be left."""
    with platform(**about) as p:
        load = Load(p, name, jobs=jobs, seconds=seconds)
        load.start(runs)
        load.wait_begun(begun)
        yield p, load
        load.check()
        nothing_left(p)


@contextlib.contextmanager
def stopped(p, *names):
    """Processes that stand still, and know nothing of it."""
    pids = [p.process(name)["pid"] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def stay(seconds):
    """How long an outage lasts is what is tested."""
    time.sleep(seconds)


def test_the_judge_sees_what_is_wrong():
    """Of a run that was well, each of what could have happened instead."""
    with under_load("judged", 10, 0.05, 1, agents=1, slots=4) as (p, load):
        load.check()
        run = load.runs[0]
        good = load.lines()
        begin, end = ["begin", run, "j3", "1"], ["end", run, "j3", "1"]
        for wrong, text in ((good + [begin], "an attempt starts once"), ([x for x in good if x != end], "what counts is what ran last"),
                            ([x for x in good if x not in (begin, end)], "what counts is what ran last"),
                            (good + [["begin", run, "j3", "2"]], "what counts is what ran last"),
                            ([["begin", run, "j3", "7"]] + good, "without a loss behind it"),
                            (good + [["begin", "another", "j3", "1"]], "nobody has started")):
            load.lines = lambda wrong=wrong: wrong
            try:
                load.check()
            except Failed as failed:
                expect(text in str(failed), "%s: %s" % (text, failed))
            else:
                raise AssertionError("the judge finds nothing: " + text)
        del load.lines
        load.fails = lambda i: i == 3  # another end was expected
        try:
            load.check()
            raise AssertionError("the judge takes any result")
        except Failed as failed:
            expect("its result" in str(failed), "%s" % failed)
        del load.fails


# --- services ------------------------------------------------------------------------------------------------------------------


def test_services_stand_still_past_their_lease():
    """One of two of each at once, then all of one service; each goes on afterwards as if nothing had been."""
    with under_load("still", 150, 0.5, 10, runs=2, agents=2, slots=8, replicas=2) as (p, load):
        with stopped(p, *(name if i % 2 else name + "-2" for i, name in enumerate(SERVICES) if name != "api-gateway")):
            stay(LOST_S + 5)
        load.start()
        for name in ("orchestrator", "scheduler"):
            with stopped(p, name, name + "-2"):
                stay(LEASE_S)
        load.start()


def test_nobody_is_lost_while_the_registry_stands_still():
    with under_load("registry", 40, 3, 8, agents=2, slots=4) as (p, _):
        with stopped(p, "worker-registry"):
            stay(LOST_S + 10)


@contextlib.contextmanager
def meanwhile(n, work):
    """So many threads do it again and again; what one of them raises is raised at the end."""
    over, errors = threading.Event(), []

    def again():
        try:
            while not over.is_set():
                work()
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=again) for _ in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    expect(not errors, "%r" % errors)


def restart(p, name):
    """As a rollout does: asked to end, gone, another one ready."""
    pid = p.process(name)["pid"]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: p.process(name)["pid"] == 0 and not alive(pid), "%s has left" % name)
    p.dev.send_signal(signal.SIGUSR1)
    wait_for(lambda: p.process(name)["pid"] and p.ready(name), "%s is back" % name, 60)


def test_rolling_restart():
    """Every process of every service is asked to end and started anew, one by one, under load: no call fails for a client that asks
    again after a 503, and none is left without an answer."""
    with platform(agents=2, slots=8, replicas=2) as p:
        load = Load(p, "rolling", jobs=4, seconds=0.1)
        with meanwhile(4, load.start):
            for name in [name + suffix for name in SERVICES for suffix in ("", "-2")]:
                load.wait_begun(load.begun() + 20)
                restart(p, name)
        bad = [x for x in load.refused if x[0] != 503]
        print("        %d runs, %d answers 503" % (len(load.runs), len(load.refused) - len(bad)))
        expect(not bad, "no call fails: %r" % bad[:5])
        load.check()
        nothing_left(p)


def test_who_has_connected_is_answered():
    """A gateway that ends at once refuses new connections, and answers whoever had one already."""
    with platform(agents=0) as p:
        gateway = p.process("api-gateway")
        address = ("127.0.0.1", gateway["http_port"])
        with socket.create_connection(address) as connection:
            Client(p).call("GET", "/v1/runs")  # comes after it, so it has been accepted
            os.kill(gateway["pid"], signal.SIGTERM)
            wait_for(lambda: not connects(address), "nobody new comes in")
            connection.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: hodei\r\n\r\n")
            answer = connection.makefile("rb").read()
        expect(answer.startswith(b"HTTP/1.1 401 ") and b"Connection: close" in answer, "answered, and told to go: %r" % answer)
        wait_for(lambda: not alive(gateway["pid"]), "the gateway has ended")


def connects(address):
    try:
        socket.create_connection(address, 5).close()
        return True
    except OSError:
        return False


def test_requests_on_their_way_to_who_leaves():
    """Two orchestrators are restarted by turns while 16 clients ask without a pause: each question has its answer, at once."""
    with platform(agents=1, slots=4, replicas=2) as p:
        load = Load(p, "asked", jobs=2, seconds=0.1)
        load.start()
        slowest, asked, refused, lock = [0.0], [0], [], threading.Lock()

        def ask():
            client = Client(p, 30)
            for _ in range(50):
                began = time.monotonic()
                client.call("GET", "/v1/runs/" + load.runs[0])
                with lock:
                    slowest[0], asked[0] = max(slowest[0], time.monotonic() - began), asked[0] + 1
            with lock:
                refused.extend(client.refused)
        with meanwhile(16, ask):
            for _ in range(6):
                for name in ("orchestrator", "orchestrator-2"):
                    restart(p, name)
        print("        %d questions, the slowest took %.2f s" % (asked[0], slowest[0]))
        expect(not refused, "none is refused: %r" % refused[:5])
        expect(slowest[0] < 5, "none is lost: %.1f s" % slowest[0])
        load.check()


# --- NATS ----------------------------------------------------------------------------------------------------------------------


def test_nats_away_for_longer_than_the_grace():
    """Nobody hears of anybody for longer than it takes to lose a worker, twice; jobs run on, and no worker is lost."""
    with under_load("away", 40, 2, 8, agents=2, slots=4) as (p, load):
        with stopped(p, "nats"):
            stay(LOST_S + 15)
        load.wait_begun(load.begun() + 8)
        with stopped(p, "nats"):
            stay(LOST_S)
            p.kill("nats")  # and what it had in memory is gone


def test_streams_deleted_under_500_jobs():
    with under_load("deleted", 500, 0.5, 20, agents=2, slots=16) as (p, load):
        for n in (20, 200, 350):
            load.wait_begun(n)
            bus = p.nats()
            expect(len(bus.wipe()) >= 6, "there were streams")
            bus.close()


def test_leader_of_a_nats_cluster_killed():
    """Each of three servers in turn, first the one that leads most; the others go on. Then one stays away: the work streams that only it has
    kept are made anew elsewhere."""
    with platform(agents=3, slots=8, replicas=2, more=["--nats-servers", "3"]) as p:
        load = Load(p, "cluster", jobs=150, seconds=0.3)
        load.start(2)
        names = {"hodei-dev": "nats", "hodei-dev-2": "nats-2", "hodei-dev-3": "nats-3"}
        for n in (20, 120, 200):
            load.wait_begun(n)
            bus = p.nats()
            leads = {}
            for stream in bus.streams():
                about = json.loads(bus.request("$JS.API.STREAM.INFO." + stream))
                leader = about.get("cluster", {}).get("leader")
                leads[leader] = leads.get(leader, 0) + 1
                expect(stream.startswith("WORK_") or about["config"]["num_replicas"] == 3, "%s has three copies" % stream)
            bus.close()
            p.kill(names[max((x for x in leads if x), key=leads.get)])
        load.start(1)
        load.check()
        bus = p.nats()
        leader = json.loads(bus.request("$JS.API.STREAM.INFO.WORK_agent-1"))["cluster"]["leader"]
        bus.close()
        os.kill(p.dev.pid, signal.SIGSTOP)  # it would start the server again
        try:
            os.kill(p.process(names[leader])["pid"], signal.SIGKILL)
            began = time.monotonic()
            load.start(2)
            load.check()
            print("        two runs of %d jobs were done %.1f s after a server had gone" % (load.jobs, time.monotonic() - began))
        finally:
            os.kill(p.dev.pid, signal.SIGCONT)
        nothing_left(p)


# --- PostgreSQL ----------------------------------------------------------------------------------------------------------------


def test_postgres_fails_over():
    """The primary is gone for good, its synchronous standby takes over: what was accepted is there."""
    with folder_of_servers() as folder:
        primary = Postgres(os.path.join(folder, "one")).start("-c", "synchronous_standby_names=*", "-c", "synchronous_commit=local")
        standby = None
        try:
            standby = Postgres(os.path.join(folder, "two"), primary).start()
            primary.end()
            primary.start("-c", "synchronous_standby_names=*")
            with platform(agents=2, slots=8, replicas=2, more=["--postgres", conninfo(primary, standby)]) as p:
                load = Load(p, "failover", jobs=100, seconds=0.3)
                load.start(3)
                load.wait_begun(60)
                starts = threading.Thread(target=load.start, args=(3,))
                starts.start()
                primary.kill()
                standby.tool("pg_ctl", "promote", "-D", standby.data)
                began = time.monotonic()
                starts.join()
                load.wait_begun(load.begun() + 20)
                print("        work flowed again %.1f s after the promotion" % (time.monotonic() - began))
                load.check()
                nothing_left(p)
        finally:
            for server in (primary, standby):
                if server:
                    server.end()


def test_postgres_killed_again_and_again():
    with under_load("killed", 150, 0.3, 20, runs=2, agents=2, slots=8, replicas=2) as (p, load):
        for n in (20, 80, 140, 200):
            load.wait_begun(n)
            p.kill("postgres")


def test_no_statement_is_compiled():
    """With JIT as a distribution's PostgreSQL has it, a statement that reads a small table would take 60 ms for that alone."""
    explained = ["-c", "session_preload_libraries=auto_explain", "-c", "auto_explain.log_min_duration=0", "-c", "auto_explain.log_analyze=on",
                 "-c", "jit_above_cost=0", "-c", "log_line_prefix=<%u> "]
    with folder_of_servers() as folder:
        server = Postgres(os.path.join(folder, "pg")).start(*explained)
        try:
            with under_load("compiled", 20, 0.1, 4, agents=1, slots=8, more=["--postgres", conninfo(server)]):
                pass
            with open(server.log, errors="replace") as file:
                said = [x for x in re.split(r"^<", file.read(), flags=re.M) if x.startswith("hodei-orchestrator>") and "Query Text: " in x]
            expect([x for x in said if "Query Text: insert into runs" in x], "what the orchestrator says is explained: %d" % len(said))
            compiled = [x for x in said if "JIT:" in x and not re.search(r"set_config|pg_namespace|pg_tables|migrat", x)]  # of a new connection
            expect(not compiled, "nothing is compiled: %r" % compiled[:1])
        finally:
            server.end()


def test_disk_full_under_postgres():
    """Nothing new is accepted, and the answer says so; once there is room again all goes on."""
    if os.geteuid() != 0:
        print("        left out: a small file system needs root")
        return
    with folder_of_servers() as folder:
        small = os.path.join(folder, "small")
        os.mkdir(small)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", small], capture_output=True, text=True)
        expect(done.returncode == 0, done.stderr)
        server = None
        try:
            server = Postgres(os.path.join(small, "pg")).start("-c", "max_wal_size=64MB")
            with platform(agents=1, slots=8, more=["--postgres", conninfo(server)]) as p:
                load = Load(p, "full", jobs=100, seconds=0.5)
                load.start()
                load.wait_begun(20)
                filler = os.path.join(small, "filler")
                with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                    while file.write(bytes(1 << 16)):
                        pass
                refused = wait_for(lambda: (lambda r: r.status != 201 and r)(
                    p.api("POST", "/v1/runs", {"pipeline": "full"}, {"Idempotency-Key": os.urandom(8).hex()})), "a start is refused", 60)
                print("        refused with %d: %s" % (refused.status, refused.json.get("detail")))
                expect(refused.status == 503 and refused.json["detail"] == "the database has no room left on its disk" and refused.json["hint"], "%r" % refused)
                stay(3)
                os.unlink(filler)
                if server.process.poll() is not None:  # it gives up where it cannot write its log
                    server.start()
                load.runs = [run["id"] for run in p.get("/v1/runs?pipeline=full")["runs"]]  # those of the clients above too
                load.start()
                load.check()
                nothing_left(p)
        finally:
            if server:
                server.end()
            subprocess.run(["umount", "-l", small], capture_output=True)


# --- workers -------------------------------------------------------------------------------------------------------------------


def test_state_folder_lost():
    """An agent that comes back without its folder is another session: what it had is lost and runs elsewhere, nothing starts twice."""
    with platform(agents=2, slots=4) as p:
        load = Load(p, "state", jobs=40, seconds=1)
        load.start()
        load.wait_begun(10)
        state = os.path.join(p.data, "agent-1")
        shim = shim_of(p, "agent-1")
        agent = p.process("agent-1")["pid"]
        os.kill(p.dev.pid, signal.SIGSTOP)  # it would start the agent again at once
        try:
            for pid in (agent, shim):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(state)
        finally:
            os.kill(p.dev.pid, signal.SIGCONT)
        lost = load.check(may_be_lost=True)
        expect(0 < lost <= 4, "what it ran is lost: %d" % lost)
        wait_for(lambda: sum(w["state"] == "online" for w in p.get("/v1/workers")["workers"]) == 2, "it is back", 30)
        nothing_left(p)


def test_shim_killed():
    """Its jobs die with it and are lost, with that cause; the agent starts another."""
    with platform(agents=1, slots=4) as p:
        load = Load(p, "shim", jobs=40, seconds=1)
        load.start()
        load.wait_begun(10)
        shim = shim_of(p, "agent-1")
        os.kill(shim, signal.SIGKILL)
        lost = load.check(may_be_lost=True)
        expect(0 < lost <= 4, "what it ran is lost: %d" % lost)
        causes = {a.get("message", "") for job in p.jobs(load.runs[0]).values() for a in job["attempts"] if a["state"] == "lost"}
        expect(causes and all("that looked after the job is gone" in x for x in causes), "it is said why: %r" % causes)
        expect(shim_of(p, "agent-1") != shim, "there is another")
        nothing_left(p)


def test_clock_of_a_worker_off_by_an_hour():
    """Before and after: jobs run, nobody is lost, and times that are shown are those of the platform."""
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    if not os.path.exists(library):
        print("        left out: it needs the package libfaketime")
        return
    with platform(agents=0) as p:
        processes = []
        try:
            for name, offset in (("late", "-1h"), ("early", "+1h")):
                env = dict(os.environ, LD_PRELOAD=library, FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1")
                argv = [os.path.join(os.path.dirname(p.dev.args[0]), "hodei-agent"), "--name=" + name, "--pool=" + name, "--slots=8",
                        "--state=" + os.path.join(p.folder, name), "--nats=" + p.info["nats"], "--nats-user=" + p.info["nats_user"],
                        "--nats-password-file=" + p.info["nats_password_file"], "--join-token-file=" + p.info["join_token_file"], "--on-stop=stop"]
                with open(os.path.join(p.folder, name + ".out"), "ab") as out:
                    processes.append(subprocess.Popen(argv, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL))
            wait_for(lambda: sum(w["state"] == "online" for w in p.get("/v1/workers")["workers"]) == 2, "both are online", 30)
            loads = [Load(p, "clock-" + name, jobs=60, seconds=0.5, pool=name, more="timeout: 5m, ") for name in ("late", "early")]
            for load in loads:
                load.start()
            loads[0].wait_begun(10)
            with stopped(p, "nats"):
                stay(LOST_S + 5)
            p.kill("orchestrator")
            p.kill("worker-registry")
            now = time.time() * 1000
            for load in loads:
                load.check()
                for job in p.jobs(load.runs[0]).values():
                    last = job["attempts"][-1]
                    for what in ("started_at_ms", "ended_at_ms"):
                        expect(abs(int(last[what]) - now) < 300000, "%s is the platform's time: %r" % (what, last))
                    expect(int(last["ended_at_ms"]) >= int(last["started_at_ms"]), "%r" % last)
            nothing_left(p)
        finally:
            for process in processes:
                process.terminate()
                process.wait(30)


if __name__ == "__main__":
    sys.exit(run_side_by_side([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv))
