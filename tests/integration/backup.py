#!/usr/bin/env python3
"""hodei admin backup while jobs run, and restore: the platform goes on from the moment of the backup, and what was open then ends."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import HODEI, Platform, expect, run_tests, wait_for  # noqa: E402
from judge import Load, nothing_left  # noqa: E402
from postgres import Postgres, conninfo, folder_of_servers  # noqa: E402

p = None
backup = None


def options(*more):
    return [*more, "--postgres", p.info["postgres"]]


def restart(*more):
    expect(p.stop() == 0, "it stops well")
    p.more = list(more)
    p.start()
    p.more = []


def states(load):
    return {job["name"]: job["state"] for run in load.runs for job in p.jobs(run).values()}


def test_back_in_time():
    """Twice: the second restore begins from a system that has gone on from the first."""
    global backup
    backup = os.path.join(p.folder, "first.backup")
    load = Load(p, "before", jobs=120, seconds=0.3)
    load.start(3)
    load.wait_begun(60)
    said = p.cli("admin", "backup", backup, *options()).stdout
    expect(backup in said and os.stat(backup).st_mode & 0o777 == 0o600, said)
    late = Load(p, "after", jobs=10, seconds=0.1)
    late.start()
    load.check()
    late.check()
    before = p.sql("select count(*) from orchestrator.jobs where state <= 5")
    expect(int(before) == 0, "all had ended")
    for _ in range(2):
        restart("--restore", backup, "--replace")
        for run in load.runs:
            p.wait_run(run, "succeeded", 120)
            for name, job in p.jobs(run).items():
                i = int(name[1:])
                last = job["attempts"][-1]
                expect(last["state"] == ("failed" if load.fails(i) else "succeeded"), "%s: %r" % (name, job))
                want = b"".join(b"%d\n" % n for n in range(i, i + 20))
                wait_for(lambda run=run, name=name, want=want: p.log(run, name).endswith(want), "the log of %s" % name, 60)
        expect(p.api("GET", "/v1/runs/" + late.runs[0]).status == 404, "what came after the backup is not there")
        expect(p.api("POST", "/v1/runs", {"pipeline": "after"}).status == 404, "nor its pipeline")
        again = Load(p, "again", jobs=60, seconds=0.1)
        again.start(2)
        again.check()
        nothing_left(p)


def test_what_would_be_lost_is_not_replaced_unasked():
    runs = p.sql("select count(*) from orchestrator.runs")
    expect(p.stop() == 0, "it stops well")
    p.more = ["--restore", backup]
    try:
        p.start()
        raise AssertionError("it has started")
    except SystemExit as error:
        expect("--replace gives them up" in str(error), str(error))
    broken = os.path.join(p.folder, "broken.backup")
    with open(backup, "rb") as file, open(broken, "wb") as out:
        out.write(file.read()[:-20000])
    p.more = ["--restore", broken, "--replace"]
    try:
        p.start()
        raise AssertionError("it has started")
    except SystemExit as error:
        expect("nothing has been changed" in str(error), str(error))
    p.more = []
    p.start()
    expect(p.sql("select count(*) from orchestrator.runs") == runs, "all is as it was")
    done = p.cli("admin", "restore", backup, "--replace", *options(), code=None)
    expect(done.returncode and "stop all of them first" in done.stderr, "%r" % done)
    p.healthy()


def tables(server):
    """What there is, as seen from outside."""
    return server.sql("select relnamespace::regnamespace, relname from pg_class where relkind = 'r' and relnamespace::regnamespace::text !~ '^pg_' order by 1, 2"), \
        server.sql("select id, state from orchestrator.runs order by id")


def test_a_restore_that_is_killed_has_not_been():
    """At any moment: while the old is gone and the new half there, and when all is there but the last line."""
    with folder_of_servers() as folder:
        server = Postgres(os.path.join(folder, "pg")).start()
        try:
            other = Platform(agents=1, slots=4, more=["--postgres", conninfo(server)])
            other.start()
            other.apply("hodei: v1\nname: short\njobs: { a: { executor: noop } }\n")
            other.wait_run(other.start_run("short"), "succeeded")
            expect(other.stop() == 0, "it stops well")
            before = tables(server)
            with open(backup, "rb") as file:
                whole = file.read()
            argv = [HODEI, "admin", "restore", "-", "--replace", "--postgres", conninfo(server)]
            for part in (len(whole) // 2, len(whole) - 2000):
                restore = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                restore.stdin.write(whole[:part])
                restore.stdin.flush()
                wait_for(lambda: "DROP SCHEMA" in server.sql("select query from pg_stat_activity") or
                         server.sql("select count(*) from pg_locks where mode = 'AccessExclusiveLock'").strip() != "0", "the old is gone, for that transaction")
                restore.kill()
                restore.wait()
                restore.stdin.close()
                wait_for(lambda: server.sql("select count(*) from pg_stat_activity where application_name = 'psql' and pid <> pg_backend_pid()").strip() == "0", "psql has ended")
                expect(tables(server) == before, "all is as it was")
            done = subprocess.run(argv, input=whole, capture_output=True, timeout=60)
            expect(done.returncode == 0 and b"restored" in done.stdout, "%r" % done)
            expect(tables(server)[1] != before[1], "and the next one is")
            other.start()
            other.healthy()
            expect(other.stop() == 0, "it stops well")
        finally:
            server.end()


def test_what_cannot_be_done_is_said():
    for words, text in ((("backup", "/nowhere/x"), "pg_dump has failed"), (("restore", "/nowhere/x"), "/nowhere/x: No such file"),
                        (("restore", "/etc/hostname"), "stop all of them first")):
        done = p.cli("admin", *words, *options(), code=None)
        expect(done.returncode and text in done.stderr, "%r: %r" % (words, done))
    done = p.cli("admin", "backup", "/tmp/x", "--postgres", "host=/nowhere dbname=x", code=None)
    expect(done.returncode and not os.path.exists("/tmp/x") and not os.path.exists("/tmp/x.new"), "%r" % done)


if __name__ == "__main__":
    p = Platform(agents=2, slots=8)
    p.start()
    sys.exit(p.finish(run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)))
