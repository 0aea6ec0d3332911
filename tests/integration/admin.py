#!/usr/bin/env python3
"""What operators do with the databases: hodei admin doctor finds what is broken, and nothing in a system that works; dead letters."""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import Platform, expect, run_tests, wait_for  # noqa: E402

p = None


def doctor(code, *args):
    return p.cli("admin", "doctor", "--postgres", p.info["postgres"], *args, code=code).stdout


def broken(sql, words, mend):
    """One thing is broken, seen, and mended."""
    p.sql(sql)
    said = doctor(1)
    expect(words in said and "what to do" in said and said.count("FOUND") == 1, "%s: %s" % (words, said))
    p.sql(mend)


def test_a_system_that_works_has_nothing():
    p.apply("hodei: v1\nname: work\njobs:\n" + "".join("  j%d: { run: 'sleep 0.2' }\n" % i for i in range(20)))
    runs = [p.start_run("work") for _ in range(5)]
    seen = 0
    while not all(p.get("/v1/runs/" + run)["state"] == "succeeded" for run in runs):
        said = doctor(0)  # at any moment: what one transaction changes is seen before it or after it
        expect("0 found something" in said and "FOUND" not in said, said)
        seen += 1
    expect(seen >= 2, "it was looked at %d times" % seen)
    checks = json.loads(doctor(0, "-o", "json"))["checks"]
    expect(len(checks) > 20 and all(check["ok"] and not check["found"] for check in checks), "%r" % checks)


def test_what_is_broken_is_found():
    pid = p.process("orchestrator")["pid"]
    os.kill(pid, signal.SIGSTOP)  # it would mend some of it
    try:
        broken("UPDATE orchestrator.tenants SET used = used + 3 WHERE name = 'default'", "default: 0 jobs are admitted, the counter says 3",
               "UPDATE orchestrator.tenants SET used = used - 3 WHERE name = 'default'")
        run = p.sql("SELECT id FROM orchestrator.runs LIMIT 1").strip()
        broken("UPDATE orchestrator.jobs SET state = 5 WHERE run_id = '%s' AND idx = 3; UPDATE orchestrator.runs SET state = 1 WHERE id = '%s';"
               " UPDATE orchestrator.tenants SET used = used + 1 WHERE name = 'default'" % (run, run), "run %s, job 3: its attempt" % run,
               "UPDATE orchestrator.jobs SET state = 6 WHERE run_id = '%s' AND idx = 3; UPDATE orchestrator.runs SET state = 3 WHERE id = '%s';"
               " UPDATE orchestrator.tenants SET used = used - 1 WHERE name = 'default'" % (run, run))
        broken("UPDATE orchestrator.runs SET state = 2, created_ms = created_ms - 100000 WHERE id = '%s'" % run, "run %s of work" % run,
               "UPDATE orchestrator.runs SET state = 3 WHERE id = '%s'" % run)
        broken("UPDATE orchestrator.attempts SET state = 2 WHERE run_id = '%s' AND idx = 4" % run, "run %s, job 4: attempt" % run,
               "UPDATE orchestrator.attempts SET state = 3 WHERE run_id = '%s' AND idx = 4" % run)
        broken("INSERT INTO quota.outbox (said_ms, data) VALUES (1, '')", "quota: what was said has been published", "DELETE FROM quota.outbox WHERE said_ms = 1")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect("FOUND" not in doctor(0), "all is mended")


def test_dead_letters():
    bus = p.nats()
    bus.publish("hodei.flow.placed", b"nonsense")
    bus.flush()
    bus.close()
    wait_for(lambda: "orchestrator: there are no dead letters, but" in doctor(None), "it is found")
    to = ("--postgres", p.info["postgres"])
    said = p.cli("admin", "dead", "list", *to).stdout
    expect("orchestrator" in said and "hodei.flow.placed" in said, said)
    letter = [line.split()[1] for line in said.splitlines() if line.startswith("orchestrator")][0]
    said = p.cli("admin", "dead", "show", "orchestrator", letter, *to).stdout
    expect("subject  hodei.flow.placed" in said and "bm9uc2Vuc2U" in said, said)
    expect("dropped a message of hodei.flow.placed" in p.cli("admin", "dead", "drop", "orchestrator", letter, *to).stdout, "drop")
    failed = p.cli("admin", "dead", "show", "orchestrator", letter, *to, code=None)
    expect(failed.returncode and "no dead letter" in failed.stderr, failed.stderr)
    expect("FOUND" not in doctor(0), "nothing is left")


def test_a_dead_letter_said_again():
    """It reaches its service: what makes no sense is a dead letter again, under a new number; what does is handled."""
    to = ("--postgres", p.info["postgres"])
    nats = ("--nats", p.info["nats"], "--nats-user", p.info["nats_user"], "--nats-password-file", p.info["nats_password_file"])

    def letters():
        return p.sql("select id from orchestrator.dead_letters order by id").split()
    p.sql("insert into orchestrator.dead_letters (at_ms, subject, data, status, error) values"
          " (1, 'hodei.flow.placed', 'nonsense', 'invalid', 'x'), (1, 'hodei.flow.placed', '\\x0a0764656661756c74', 'invalid', 'x')")  # of the pool "default", and nothing else
    bad, good = letters()
    failed = p.cli("admin", "dead", "replay", "orchestrator", bad, *to, "--nats", p.info["nats"], code=None)
    expect(failed.returncode and "operator's" in failed.stderr and len(letters()) == 2, failed.stderr)
    for letter in (bad, good):
        expect("said again: hodei.flow.placed" in p.cli("admin", "dead", "replay", "orchestrator", letter, *to, *nats).stdout, "replay")
    wait_for(lambda: len(letters()) == 1 and letters()[0] not in (bad, good), "one of them is dead again")
    p.cli("admin", "dead", "drop", "orchestrator", letters()[0], *to)
    expect("FOUND" not in doctor(0), "nothing is left")


def test_what_cannot_be_done_is_said():
    failed = p.cli("admin", "doctor", code=None)
    expect(failed.returncode == 2 and "HODEI_POSTGRES" in failed.stderr, failed.stderr)
    failed = p.cli("admin", "doctor", "--postgres", "host=/nowhere dbname=x", code=None)
    expect(failed.returncode not in (0, 1) and "cannot connect to PostgreSQL" in failed.stderr, failed.stderr)
    failed = p.cli("admin", "dead", "show", "api-gateway", "1", "--postgres", p.info["postgres"], code=None)
    expect(failed.returncode == 2 and "no service that has dead letters" in failed.stderr, failed.stderr)
    failed = p.cli("admin", "dead", "drop", "quota", "x", "--postgres", p.info["postgres"], code=None)
    expect(failed.returncode == 2 and "no id" in failed.stderr, failed.stderr)


if __name__ == "__main__":
    p = Platform()
    p.start()
    sys.exit(p.finish(run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)))
