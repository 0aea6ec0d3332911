#!/usr/bin/env python3
"""What each service and each agent can not do, once it has the password that it runs with: at nats-server and at PostgreSQL.

Who may do what is written down here once more, by what is at stake, and not read from libhodei/base/doors.c: each user is tried on everything,
and must be refused all that it is not named for. That the rest is allowed shows in a job that runs, and in logs without a refusal.
"""

import os
import re
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import Failed, Platform, expect, run_tests, wait_for  # noqa: E402

SERVICES = ["api-gateway", "pipelines", "orchestrator", "scheduler", "worker-registry", "quota", "auth", "observability"]
AGENTS = ["agent-agent-1", "agent-agent-2"]
OWNERS = ["pipelines", "orchestrator", "worker-registry", "quota", "auth", "observability"]
STREAMS = ["EVENTS", "FLOW", "REPORTS", "LOGS"]
API = "$JS.API."

p = None

# Subject: who may publish it.
PUBLISH = {
    "hodei.evt.default.run.changed": ["orchestrator"],
    "hodei.evt.default.job.ended": ["orchestrator"],
    "hodei.evt.system.worker.changed": ["worker-registry"],
    "hodei.evt.system.worker.removed": [],
    "hodei.flow.ready.default": ["orchestrator"],
    "hodei.flow.placed": ["scheduler"],
    "hodei.flow.other": [],
    "hodei.work.agent-1": ["orchestrator"],
    "hodei.ack.agent-1": ["orchestrator", "observability"],
    "hodei.report.agent-1.attempts": ["agent-agent-1"],
    "hodei.report.agent-2.attempts": ["agent-agent-2"],
    "hodei.report.agent-3.attempts": [],
    "hodei.log.agent-1.default.x.0": ["agent-agent-1"],
    "hodei.log.agent-2.default.x.0": ["agent-agent-2"],
    "hodei.rpc.auth.Authenticate": ["api-gateway"],
    "hodei.rpc.pipelines.ApplyPipeline": ["api-gateway"],
    "hodei.rpc.orchestrator.StartRun": ["api-gateway", "pipelines"],
    "hodei.rpc.orchestrator.CancelRun": ["api-gateway"],
    "hodei.rpc.orchestrator.PutVersions": ["pipelines"],
    "hodei.rpc.orchestrator.PutGrants": ["quota"],
    "hodei.rpc.orchestrator.GetUsage": ["quota"],
    "hodei.rpc.pipelines.PutGrants": ["quota"],
    "hodei.rpc.pipelines.GetUsage": ["quota"],
    "hodei.rpc.observability.PutGrants": ["quota"],
    "hodei.rpc.observability.GetUsage": ["quota"],
    "hodei.evt.default.quota.crossed": ["orchestrator", "pipelines", "observability"],
    "hodei.rpc.orchestrator.LeasePool": ["scheduler"],
    "hodei.rpc.orchestrator.Reconcile": ["worker-registry"],
    "hodei.rpc.orchestrator.SessionsLost": ["worker-registry"],
    "hodei.rpc.worker-registry.Join": AGENTS,
    "hodei.rpc.worker-registry.Heartbeat": AGENTS,
    "hodei.rpc.worker-registry.Drain": ["api-gateway"],
    "hodei.rpc.worker-registry.GetFleet": ["scheduler"],
    "hodei.rpc.scheduler.ExplainJobs": ["orchestrator"],
    "hodei.rpc.quota.SetQuota": ["api-gateway"],
    "hodei.rpc.quota.GetGrants": ["orchestrator"],
    "hodei.rpc.observability.ReadLog": ["api-gateway"],
    "_INBOX.api-gateway.x": ["pipelines", "orchestrator", "worker-registry", "quota", "auth", "observability"],
    "_INBOX.orchestrator.x": ["quota", "scheduler"],
    "_INBOX.agent.agent-1.x": ["worker-registry"],
    "_INBOX.pipelines.x": ["orchestrator"],
    "_INBOX.quota.x": ["orchestrator", "pipelines", "observability"],
    "_INBOX.auth.x": [],
    "_INBOX.operator.x": [name for name in SERVICES if name != "api-gateway"],
    "$SYS.REQ.SERVER.PING": [],
    API + "INFO": [],
    API + "STREAM.NAMES": [],
    API + "STREAM.CREATE.FOREIGN": ["worker-registry"],  # WORK_<worker> is a token that NATS cannot match in parts
    API + "STREAM.DELETE.WORK_agent-1": ["worker-registry"],
    API + "STREAM.PURGE.WORK_agent-1": [],
    API + "STREAM.MSG.GET.WORK_agent-1": [],
    API + "CONSUMER.MSG.NEXT.WORK_agent-1.x": ["agent-agent-1"],
    API + "CONSUMER.MSG.NEXT.WORK_agent-2.x": ["agent-agent-2"],
    "$JS.ACK.WORK_agent-1.x.1.1.1.1.1": ["agent-agent-1"],
    "$JS.ACK.WORK_agent-2.x.1.1.1.1.1": ["agent-agent-2"],
}
MAKES = {"EVENTS": ["orchestrator", "pipelines", "observability"], "FLOW": ["orchestrator", "scheduler"], "REPORTS": ["orchestrator"], "LOGS": ["observability"]}
CHANGES = {"EVENTS": ["orchestrator"], "FLOW": ["orchestrator"], "REPORTS": ["orchestrator"], "LOGS": ["observability"]}
READS = {("EVENTS", "observability_events"): "observability", ("FLOW", "orchestrator_placed"): "orchestrator",
         ("FLOW", "sched_ready_default"): "scheduler", ("REPORTS", "orchestrator_reports"): "orchestrator",
         ("LOGS", "observability_logs"): "observability", ("EVENTS", "spy"): None, ("REPORTS", "spy"): None, ("LOGS", "spy"): None}
for name in STREAMS:
    PUBLISH[API + "STREAM.CREATE." + name] = MAKES[name]
    PUBLISH[API + "STREAM.UPDATE." + name] = CHANGES[name]
    for verb in ("DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "INFO"):
        PUBLISH[API + "STREAM.%s.%s" % (verb, name)] = []
    PUBLISH[API + "CONSUMER.CREATE." + name] = []
    PUBLISH[API + "DIRECT.GET." + name] = []
for (name, consumer), who in READS.items():
    for subject in (API + "CONSUMER.DURABLE.CREATE.%s.%s", API + "CONSUMER.MSG.NEXT.%s.%s", "$JS.ACK.%s.%s.1.1.1.1.1"):
        PUBLISH[subject % (name, consumer)] = [who] if who else []
    PUBLISH[API + "CONSUMER.DELETE.%s.%s" % (name, consumer)] = []

# Subject: who may subscribe to it.
SUBSCRIBE = {
    ">": [], "hodei.>": [], "*.>": [], "_INBOX.>": [], "_INBOX.operator.>": [], "$JS.>": [], "$SYS.>": [], "hodei.rpc.>": [], "hodei.rpc.*.*": [],
    "hodei.evt.>": [], "hodei.evt.default.run.changed": [], "hodei.evt.system.worker.changed": ["scheduler"], "hodei.flow.>": [],
    "hodei.flow.placed": [], "hodei.work.agent-1": [], "hodei.report.>": [], "hodei.log.>": [], "hodei.ack.*": [],
    "hodei.ack.agent-1": ["agent-agent-1"], "hodei.ack.agent-2": ["agent-agent-2"], "_INBOX.agent.>": [],
    "_INBOX.agent.agent-1.>": ["agent-agent-1"], "_INBOX.agent.agent-2.>": ["agent-agent-2"],
}
for name in SERVICES:
    SUBSCRIBE["hodei.rpc.%s.*" % name] = [name] if name != "api-gateway" else []
    SUBSCRIBE["_INBOX.%s.>" % name] = [name]


def a_job_runs():
    p.apply("hodei: v1\nname: doors\njobs:\n  only:\n    run: echo through all doors\n")
    for _ in range(3):
        run = p.start_run("doors")
        p.wait_run(run, "succeeded")
        p.wait_log(run, b"through all doors")


def users_are_refused():
    for user in SERVICES + AGENTS:
        nats = p.nats(user)
        for subject, who in PUBLISH.items():
            if user not in who:
                expect("ermissions Violation" in nats.refused("PUB %s 0\r\n" % subject), "%s may publish %s" % (user, subject))
        for number, (subject, who) in enumerate(SUBSCRIBE.items()):
            expect(("ermissions Violation" in nats.refused("SUB %s %d" % (subject, number))) == (user not in who),
                   "%s: %s is %s" % (user, subject, "refused" if user in who else "not refused"))
        nats.close()
    expect(set(STREAMS) <= set(p.nats().streams()), "the streams are still there")


def wrong_passwords():
    with open(os.path.join(p.data, "secrets", "nats-auth")) as file:
        of_auth = file.read().strip()
    for user, password in [("auth", "x"), ("auth", ""), ("orchestrator", of_auth), ("operator", of_auth), ("agent-agent-1", of_auth),
                           ("services", of_auth), ("nobody", "")]:
        try:
            p.nats(user, password).close()
        except Failed as refusal:
            expect("uthorization" in str(refusal), "it is refused for its password: %s" % refusal)
        else:
            raise Failed("%s comes in with a wrong password" % user)


def psql(role, statements, passfile=None):
    """SQLSTATE of each statement, as that role; ["no connection"] where it does not come in."""
    text = "\\set VERBOSITY sqlstate\n" + "".join("%s;\n\\echo :LAST_ERROR_SQLSTATE\n" % s for s in statements)
    passfile = passfile or os.path.join(p.data, "secrets", "postgres-" + role.replace("hodei-", "", 1))
    address = "host='%s' dbname=postgres user=%s passfile='%s'" % (p.info["postgres_socket_dir"], role, passfile)
    done = subprocess.run(["psql", "-w", "-qAt", address], input=text, capture_output=True, text=True, timeout=30)
    return done.stdout.split() if done.returncode == 0 else ["no connection"]


def roles_are_refused():
    tables = {}
    for line in p.sql("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (ARRAY['%s'])" % "','".join(OWNERS)).split():
        schema, table = line.split("|")
        tables.setdefault(schema, []).append('"%s"."%s"' % (schema, table))
    expect(sorted(tables) == sorted(OWNERS), "every schema has tables: %r" % sorted(tables))
    for owner in OWNERS:
        statements = []
        for schema in OWNERS:
            if schema == owner:
                continue
            for table in tables[schema]:
                statements += ["SELECT count(*) FROM " + table, "INSERT INTO %s DEFAULT VALUES" % table, "DELETE FROM " + table,
                               "TRUNCATE " + table, "DROP TABLE " + table, "DO $$ BEGIN LOCK TABLE %s; END $$" % table, "ALTER TABLE %s ADD spy int" % table]
            statements += ['CREATE TABLE "%s".spy ()' % schema, 'DROP SCHEMA "%s" CASCADE' % schema, 'SET ROLE "hodei-%s"' % schema,
                           'GRANT ALL ON SCHEMA "%s" TO "hodei-%s"' % (schema, owner)]
        statements += ["CREATE TABLE public.spy ()", "CREATE TEMP TABLE spy ()", "CREATE SCHEMA spy", "CREATE ROLE spy", "CREATE DATABASE spy",
                       "SET ROLE hodei", "SELECT rolpassword FROM pg_authid", "COPY (SELECT 1) TO PROGRAM 'true'",
                       "SELECT pg_read_file('/etc/passwd')", 'CREATE EXTENSION dblink SCHEMA "%s"' % owner, "ALTER SYSTEM SET work_mem = '1MB'",
                       'ALTER ROLE "hodei-%s" SUPERUSER' % owner, "SELECT pg_reload_conf()"]
        states = psql("hodei-" + owner, statements)
        expect(len(states) == len(statements), "%s: %r" % (owner, states))
        done = [statement for statement, state in zip(statements, states) if state not in ("42501", "0A000", "58P01")]
        expect(not done, "hodei-%s may %s" % (owner, done))
        own = psql("hodei-" + owner, ["SELECT FROM %s WHERE false" % table for table in tables[owner]])
        expect(set(own) == {"00000"}, "hodei-%s reads its own: %r" % (owner, own))


def wrong_roles():
    other = os.path.join(p.data, "secrets", "postgres-auth")
    wrong = os.path.join(p.folder, "wrong")
    with open(os.open(wrong, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("*:*:*:*:wrong\n")
    for role, passfile in [("hodei-auth", wrong), ("hodei-quota", other), ("hodei-quota", wrong), ("hodei-scheduler", wrong), ("postgres", wrong)]:
        expect(psql(role, ["SELECT 1"], passfile) == ["no connection"], "%s comes in with %s" % (role, passfile))
    expect(psql("hodei-auth", ["SELECT 1"]) == ["1", "00000"], "with its own it does")


def secrets_are_closed():
    folder = os.path.join(p.data, "secrets")
    for name in os.listdir(folder) + ["../nats/nats.conf"]:
        mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
        expect(mode == 0o600, "%s has mode %o" % (name, mode))
    secrets = []
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as file:
            secrets.append(file.read().strip().split(":")[-1].encode())
    for process in p.info["processes"]:
        for what in ("cmdline", "environ"):
            with open("/proc/%d/%s" % (process["pid"], what), "rb") as file:
                text = file.read()
            expect(not any(secret in text for secret in secrets), "a secret stands in the %s of %s" % (what, process["name"]))
    for name in os.listdir(os.path.join(p.data, "log")):
        with open(os.path.join(p.data, "log", name), "rb") as file:
            text = file.read()
        expect(not any(secret in text for secret in secrets), "a secret stands in the log of %s" % name)


def an_installation_gets_the_same():
    """What `hodei access` prints is accepted by both servers, and holds the names of variables in place of passwords."""
    p.cli("access", "nats", "a.b", code=2)
    users = p.cli("access", "nats", "build-1").stdout
    expect("$HODEI_AGENT_BUILD_1," in users and "hodei.report.build-1.attempts" in users and "<worker>" not in users, users)
    conf, names = os.path.join(p.folder, "users.conf"), set(re.findall(r"\$(HODEI_\w+)", users))
    expect(len(names) == len(SERVICES) + 1, "a variable each: %r" % names)
    with open(conf, "w") as file:
        file.write(users)
    server = shutil.which("nats-server") or "/usr/sbin/nats-server"
    done = subprocess.run([server, "-t", "-c", conf], env={name: "x" for name in names}, capture_output=True, text=True, timeout=10)
    expect(done.returncode == 0, "nats-server takes it: %s%s" % (done.stdout, done.stderr))
    sql = "BEGIN;\n%sROLLBACK;\n" % p.cli("access", "postgres").stdout
    names = ["-v%s=x" % owner.replace("-", "_") for owner in OWNERS]
    done = subprocess.run(["psql", p.info["postgres"], "-qAt", "-vON_ERROR_STOP=1", *names], input=sql, capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0, "PostgreSQL takes it: " + done.stderr)


def nobody_was_refused_at_work():
    """nats-server and PostgreSQL tell the client; services write that into their logs. What an agent may not do on its machine is another thing."""
    for service in SERVICES + ["agent-1", "agent-2"]:
        with open(os.path.join(p.data, "log", service + ".log"), errors="replace") as file:
            lines = [line for line in file if re.search("permissions? violation|permission denied for|must be owner", line, re.I)]
        expect(not lines, "%s was refused: %r" % (service, lines[:3]))


def an_older_folder_goes_on():
    """As a version before roles and users left it: the cluster's owner owns all, and there is no role."""
    p.sql("COMMENT ON ROLE hodei IS NULL")
    for owner in OWNERS:
        p.sql("DO $$ DECLARE t record; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = '%s' LOOP"
              " EXECUTE format('ALTER TABLE %%I.%%I OWNER TO hodei', '%s', t.tablename); END LOOP; END $$" % (owner, owner))
        p.sql('ALTER SCHEMA "%s" OWNER TO hodei' % owner)
    p.stop()
    for name in os.listdir(os.path.join(p.data, "secrets")):
        if name.startswith(("nats-", "postgres-")):
            os.remove(os.path.join(p.data, "secrets", name))
    for name in ("nats-services", "nats-agent"):
        with open(os.path.join(p.data, "secrets", name), "w") as file:
            file.write("old\n")
    p.start()
    a_job_runs()
    owners = p.sql("SELECT DISTINCT schemaname || ' ' || tableowner FROM pg_tables WHERE schemaname = ANY (ARRAY['%s'])" % "','".join(OWNERS))
    expect(sorted(owners.splitlines()) == sorted("%s hodei-%s" % (o, o) for o in OWNERS), "all has its owner: %r" % owners)
    expect(not os.path.exists(os.path.join(p.data, "secrets", "nats-services")), "the shared passwords are gone")
    wait_for(lambda: len([w for w in p.get("/v1/workers")["workers"] if w["state"] == "online"]) == 2, "both workers are back")


def main():
    global p
    p = Platform(agents=2).start()
    tests = [("a job runs", a_job_runs), ("nats-server refuses", users_are_refused), ("wrong passwords", wrong_passwords),
             ("PostgreSQL refuses", roles_are_refused), ("wrong roles", wrong_roles), ("secrets are closed", secrets_are_closed),
             ("an installation gets the same", an_installation_gets_the_same), ("nobody was refused at work", nobody_was_refused_at_work), ("an older folder goes on", an_older_folder_goes_on)]
    return p.finish(run_tests(tests, sys.argv))


if __name__ == "__main__":
    sys.exit(main())
