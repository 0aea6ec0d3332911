#!/usr/bin/env python3
"""Who may do what, as it changes: tokens, roles and tenants that are taken back stop within 2 s at every gateway, whatever is away; the
commands of the command line; the audit trail."""

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import Platform, expect, run_tests, wait_for  # noqa: E402

FRESH_S = 2.0  # what users are promised
RUNS = "/v1/runs"
p = None


def at(port, token, path="/v1/whoami", tenant=None):
    p.gateway = port
    try:
        headers = {"Authorization": "Bearer " + token}
        return p.raw("GET", path, headers=dict(headers, **({"Hodei-Tenant": tenant} if tenant else {})))
    finally:
        p.gateway = None


def account(name, role, tenant="default"):
    """A token of a service account with that role."""
    p.cli("service-account", "create", name, "--tenant", tenant)
    p.cli("binding", "create", "service-account:" + name, role, "--tenant", tenant)
    return p.cli("token", "create", "main", "--for", "service-account:" + name, "--tenant", tenant).stdout.strip()


def token_id(subject, tenant="default"):
    found = json.loads(p.cli("token", "list", "--subject", subject, "-o", "json", "--tenant", tenant).stdout)["tokens"]
    return next(one["id"] for one in found if one["state"] == "active")


def warm(token, status=200, **kwargs):
    """Every gateway has decided on it."""
    for port in p.ports:
        wait_for(lambda port=port: at(port, token, **kwargs).status == status, "gateway %d answers %d" % (port, status), 5)


def stops(token, began, status, what, **kwargs):
    """Each gateway goes on asking; the last one that still says yes says it within 2 s of `began`."""
    for port in p.ports:
        last = began
        while True:
            asked = time.monotonic()
            reply = at(port, token, **kwargs)
            if reply.status == status:
                break
            expect(reply.status == 200, "%s: %r" % (what, reply))
            last = asked
            expect(asked - began < FRESH_S + 3, "%s: gateway %d still lets it pass" % (what, port))
        expect(last - began <= FRESH_S, "%s: gateway %d let it pass for %.2f s" % (what, port, last - began))
        print("        %s at %d: last yes after %.2f s" % (what, port, last - began))


def test_revoked_token():
    token = account("revoked", "viewer")
    warm(token)
    identity = token_id("service-account:revoked")
    p.cli("token", "revoke", identity)
    stops(token, time.monotonic(), 401, "a revoked token")
    expect("revoked" in p.cli("token", "list", "--subject", "service-account:revoked").stdout, "it is listed so")


def test_role_taken_away():
    token = account("demoted", "developer")
    warm(token, path="/v1/runs")
    bindings = json.loads(p.cli("binding", "list", "--principal", "service-account:demoted", "-o", "json").stdout)["bindings"]
    p.cli("binding", "delete", bindings[0]["id"])
    stops(token, time.monotonic(), 403, "a role taken away", path="/v1/runs")


def part_account(name, role, *where):
    p.cli("service-account", "create", name)
    p.cli("binding", "create", "service-account:" + name, role, *where)
    return p.cli("token", "create", "main", "--for", "service-account:" + name).stdout.strip()


def as_one(token, method, path, body=None, key=None):
    headers = {"Authorization": "Bearer " + token}
    if body is not None:
        headers["Content-Type"] = "application/yaml" if isinstance(body, str) else "application/json"
        body = body if isinstance(body, str) else json.dumps(body)
    if key:
        headers["Idempotency-Key"] = key
    return p.raw(method, path, body, headers)


NOOP = "hodei: v1\nname: %s\njobs:\n  only: { executor: noop }\n"


def test_a_project_and_what_is_put_where():
    token = part_account("weaver", "developer", "--project", "web")
    reply = as_one(token, "POST", "/v1/pipelines?project=web", NOOP % "site")
    expect(reply.status == 200 and reply.json["pipeline"]["project"] == "web", "his project: %r" % reply)
    again = as_one(token, "POST", "/v1/pipelines", (NOOP % "site") + "description: again\n")
    expect(again.status == 400 or again.json["pipeline"]["project"] == "web", "it stays where it is: %r" % again)
    for path in ("/v1/pipelines", "/v1/pipelines?project=data"):
        reply = as_one(token, "POST", path, NOOP % "other")
        expect(reply.status == 403 and "may not apply" in reply.json["detail"] and "project" in reply.json["hint"], "elsewhere: %r" % reply)
    p.cli("pipeline", "apply", "--project", "data", "-", text=NOOP % "ledger")
    reply = as_one(token, "POST", "/v1/pipelines?project=web", NOOP % "ledger")
    expect(reply.status == 403, "a name that is taken elsewhere: %r" % reply)
    reply = as_one(token, "POST", "/v1/pipelines:validate?project=web", NOOP % "ledger")
    expect(reply.status == 200 and not reply.json["pipeline"].get("version"), "a text is looked at, and nothing of the other told: %r" % reply)
    moved = p.cli("pipeline", "apply", "--project", "web", "-", text=NOOP % "ledger", code=7)
    expect("is in the project data" in moved.stderr and "delete it" in moved.stderr, "no moves: %s" % moved.stderr)
    p.cli("pipeline", "delete", "ledger")
    reply = as_one(token, "POST", "/v1/pipelines?project=web", NOOP % "ledger")
    expect(reply.status == 403, "old versions are not taken over: %r" % reply)
    p.cli("pipeline", "apply", "--project", "web", "-", text=NOOP % "ledger")  # who sees both may
    expect(as_one(token, "GET", "/v1/pipelines/ledger").json["project"] == "web", "now it is his")
    reply = p.api("POST", "/v1/pipelines?project=no/name", NOOP % "x", {"Content-Type": "application/yaml"})
    expect(reply.status == 400 and reply.json["field"] == "project", "a name: %r" % reply)
    listed = p.cli("pipeline", "list", "--project", "web").stdout
    expect("site" in listed and "ledger" in listed and "web" in listed, "the list: %s" % listed)


def test_a_part_runs_and_follows():
    p.cli("pipeline", "apply", "--project", "web", "-", text=NOOP.replace("executor: noop", "run: echo hello") % "talker")
    p.cli("pipeline", "apply", "--project", "data", "-", text=NOOP % "quiet")
    token = part_account("watcher", "operator", "--pipeline", "talker")
    run = as_one(token, "POST", "/v1/runs", {"pipeline": "talker"})
    expect(run.status == 201, "starts: %r" % run)
    p.wait_run(run.json["id"], "succeeded")
    p.wait_log(run.json["id"], b"hello")
    log = as_one(token, "GET", "/v1/runs/%s/logs?format=text" % run.json["id"])
    expect(log.status == 200 and b"hello" in log.body, "the log: %r" % log)
    other = p.start_run("quiet", key="shared-key")
    p.wait_run(other, "succeeded")
    for reply in (as_one(token, "POST", "/v1/runs", {"pipeline": "quiet"}, key="shared-key"), as_one(token, "GET", "/v1/runs/%s/logs" % other),
                  as_one(token, "GET", "/v1/runs/%s/logs?format=text" % other), as_one(token, "POST", "/v1/runs/%s:rerun" % other)):
        expect(reply.status == 404 and other not in reply.json["detail"].replace("there is no run " + other, ""), "elsewhere: %r" % reply)
    runs = as_one(token, "GET", "/v1/runs").json["runs"]
    expect([r["id"] for r in runs] == [run.json["id"]] and runs[0]["project"] == "web", "his runs: %r" % runs)
    again = as_one(token, "POST", "/v1/runs/%s:rerun" % run.json["id"])
    expect(again.status == 201, "rerun: %r" % again)
    p.wait_run(again.json["run"], "succeeded")
    expect(len(as_one(token, "GET", "/v1/runs?project=web").json["runs"]) == 2, "the rerun is where the first was")
    expect(p.cli("run", "list", "--project", "data").stdout.count("quiet") == 1, "the list by project")
    # who he is, and what a command says of it
    who = as_one(token, "GET", "/v1/whoami").json
    expect(not who.get("permissions") and who["scoped"][0]["within"] == [{"pipeline": "talker"}], "whoami: %r" % who)
    before, p.token = p.token, token
    try:
        said = p.cli("auth", "can-i", "run.start", code=1).stdout
        expect("it has it for the pipeline talker" in said, "can-i: %s" % said)
        p.cli("auth", "can-i", "run.start", "--pipeline", "talker")
        p.cli("auth", "can-i", "run.start", "--pipeline", "quiet", code=1)
        p.cli("worker", "list", code=4)
    finally:
        p.token = before


def test_a_role_in_a_part_taken_away():
    p.cli("pipeline", "apply", "--project", "web", "-", text=NOOP % "gone")
    token = part_account("passing", "viewer", "--project", "web")
    warm(token, path="/v1/pipelines/gone")
    listed = p.cli("binding", "list", "--principal", "service-account:passing")
    expect("web" in listed.stdout, "the list says where: %s" % listed.stdout)
    binding = json.loads(p.cli("binding", "list", "--principal", "service-account:passing", "-o", "json").stdout)["bindings"][0]
    p.cli("binding", "delete", binding["id"])
    stops(token, time.monotonic(), 403, "a role in a project taken away", path="/v1/pipelines/gone")
    audit = json.loads(p.cli("audit", "--target", "service-account:passing", "-o", "json").stdout)["entries"]
    expect(any("in the project web" in entry["detail"] for entry in audit), "the trail says where: %r" % audit)


def test_parts_of_groups_and_scoped_tokens():
    p.cli("pipeline", "apply", "--project", "web", "-", text=NOOP % "shared")
    p.cli("service-account", "create", "grouped")
    p.cli("group", "add", "weavers", "service-account:grouped")
    p.cli("binding", "create", "group:weavers", "developer", "--project", "web")
    token = p.cli("token", "create", "main", "--for", "service-account:grouped").stdout.strip()
    wait_for(lambda: as_one(token, "GET", "/v1/pipelines/shared").status == 200, "the group's part is his")
    reply = p.api("POST", "/v1/tokens", json.dumps({"name": "reads", "subject": "service-account:grouped", "permissions": ["pipeline.read"]}),
                  {"Content-Type": "application/json"})
    narrow = reply.json["token"]
    expect(as_one(narrow, "GET", "/v1/pipelines/shared").status == 200, "what the token may")
    expect(as_one(narrow, "POST", "/v1/runs", {"pipeline": "shared"}).status == 403, "and no more than that")
    # a role that gives nothing there, both at once, and one who has no more than a part
    for argv, words in ((["service-account:grouped", "viewer", "--project", "web", "--pipeline", "shared"], "not in both"),
                        (["service-account:grouped", "viewer", "--project", "no/name"], "not the name of a project")):
        expect(words in p.cli("binding", "create", *argv, code=2).stderr, words)
    p.cli("role", "set", "counters", "audit.read")
    expect("nothing that can be allowed in a part" in p.cli("binding", "create", "user:x", "counters", "--project", "web", code=2).stderr, "useless")
    reply = as_one(token, "POST", "/v1/bindings", {"principal": "user:friend", "role": "viewer", "project": "web"})
    expect(reply.status == 403, "who has a part only gives nothing: %r" % reply)


def test_by_hand_in_the_database():
    """Nobody says anything of it: the version rises all the same."""
    token = account("by-hand", "viewer")
    warm(token)
    p.sql("DELETE FROM auth.tokens WHERE subject = 'service-account:by-hand'")
    stops(token, time.monotonic(), 401, "a token deleted by SQL")


def test_auth_away():
    """A decision is good for 2 s without auth; then requests are refused with a clear word, and what was revoked meanwhile stays so."""
    token, kept = account("away", "viewer"), account("kept", "viewer")
    warm(token, path=RUNS)
    warm(kept, path=RUNS)
    pids = [pid for name, pid in p.pids().items() if name == "auth" or name.startswith("auth-")]
    expect(len(pids) == 2, "two of auth: %r" % pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        p.sql("UPDATE auth.tokens SET revoked_at_ms = 1 WHERE subject = 'service-account:away'")
        last, reply = began, at(p.ports[0], token, RUNS)
        while reply.status == 200:
            expect(time.monotonic() - began < FRESH_S + 3, "it is still let pass")
            last = time.monotonic()
            reply = at(p.ports[0], token, RUNS)
        expect(last - began <= FRESH_S + 0.1, "let pass for %.2f s without auth" % (last - began))
        expect(reply.status == 503 and b"auth" in reply.body and reply.headers["Retry-After"], "a clear word: %r" % reply)
        print("        without auth: last yes after %.2f s, then 503" % (last - began))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    warm(token, 401, path=RUNS)
    warm(kept, path=RUNS)


def test_tenant_suspended():
    p.cli("tenant", "create", "acme")
    token = account("worker", "developer", "acme")

    def own(method, path, body=None):
        return p.api(method, path, body, {"Authorization": "Bearer " + token})

    wait_for(lambda: own("POST", "/v1/pipelines", "hodei: v1\nname: only\njobs:\n  only: { run: sleep 3 }\n").status == 200, "its pipeline")
    run = own("POST", "/v1/runs", {"pipeline": "only"}).json["id"]
    warm(token)
    p.cli("tenant", "suspend", "acme", "--reason", "not paid")
    stops(token, time.monotonic(), 403, "a suspended tenant")
    refused = at(p.ports[0], token)
    expect("suspended: not paid" in refused.json["detail"], "a clear word: %r" % refused)
    wait_for(lambda: p.sql("SELECT state FROM orchestrator.runs WHERE id = '%s'" % run).strip() == "3", "its run has gone on to its end", 20)
    p.cli("tenant", "resume", "acme")
    warm(token)
    p.cli("tenant", "delete", "acme", "--grace", "1h")
    stops(token, time.monotonic(), 403, "a tenant that is deleted")
    p.cli("tenant", "undelete", "acme")
    warm(token)


def test_user_in_two_tenants():
    """A token of a user works where that very user has a role, as far as it is scoped; in another tenant he is user:NAME@TENANT."""
    for tenant in ("one", "two", "three"):
        p.cli("tenant", "create", tenant)
    for tenant, who, role in (("one", "user:mary", "admin"), ("two", "user:mary@one", "viewer"), ("three", "user:mary", "admin"),
                              ("default", "user:mary", "admin")):
        p.cli("binding", "create", who, role, "--tenant", tenant)  # the last two are others of that name
    first = p.person("mary", "*", "one")
    made = p.api("POST", "/v1/tokens", {"name": "mine", "permissions": ["run.read", "role.read"]}, first)
    expect(made.status == 201 and made.json["about"]["subject"] == "user:mary", "for herself: %r" % made)
    token = made.json["token"]
    expect(sorted(at(p.ports[0], token).json["permissions"]) == ["role.read", "run.read"], "at home")
    there = at(p.ports[0], token, tenant="two").json
    expect(there["permissions"] == ["run.read"] and there["subject"] == "user:mary@one", "a viewer there: %r" % there)
    for tenant in ("three", "default", "nowhere"):
        reply = at(p.ports[0], token, tenant=tenant)
        expect(reply.status == 404 and reply.json["detail"] == 'there is no tenant "%s"' % tenant, "not there: %r" % reply)


def test_rotation():
    account("rotated", "viewer")
    old = p.cli("token", "create", "turns", "run.read", "--for", "service-account:rotated").stdout.strip()
    identity = next(one["id"] for one in p.get("/v1/tokens?subject=service-account:rotated")["tokens"] if one["name"] == "turns")
    new = p.cli("token", "rotate", identity, "--overlap", "3s").stdout.strip()
    expect(new != old and at(p.ports[0], new).status == 200 and at(p.ports[1], old).status == 200, "both go on")
    wait_for(lambda: at(p.ports[0], old).status == at(p.ports[1], old).status == 401, "the old one ends", 6)
    expect(at(p.ports[0], new).status == 200, "the new one goes on")


def test_command_line():
    expect("yes: admin has run.start" in p.cli("auth", "can-i", "run.start").stdout, "can-i")
    token = account("looker", "viewer")
    saved, p.token = p.token, token
    try:
        said = p.cli("auth", "can-i", "run.start", code=1)
        expect("no: service-account:looker has not run.start in the tenant default" in said.stdout, "can-i: %r" % said.stdout)
        said = p.cli("role", "set", "mine", "run.read", code=None)
        expect(said.returncode and "role.write" in said.stderr, "what is missing is named: %r" % said.stderr)
        said = p.cli("tenant", "list", code=None)
        expect("there is nothing at /v1/tenants" in said.stderr, "not there: %r" % said.stderr)
    finally:
        p.token = saved
    said = p.cli("auth", "can-i", "run.strat", code=None)
    expect(said.returncode and 'no permission "run.strat"' in said.stderr, "a misspelt one: %r" % said.stderr)
    p.cli("role", "set", "deployer", "run.read", "run.start", "--description", "for the robot")
    expect("deployer" in p.cli("role", "list").stdout, "role list")
    p.cli("group", "add", "robots", "service-account:looker")
    p.cli("binding", "create", "group:robots", "deployer")
    wait_for(lambda: "run.start" in at(p.ports[0], token).json["permissions"], "by its group", 3)
    said = p.cli("role", "delete", "deployer", code=None)
    expect("group:robots is bound" in said.stderr, "it is in use: %r" % said.stderr)
    p.cli("group", "remove", "robots", "service-account:looker")
    wait_for(lambda: "run.start" not in at(p.ports[0], token).json["permissions"], "out of the group", 3)
    p.cli("service-account", "delete", "looker")
    wait_for(lambda: at(p.ports[0], token).status == 401, "its token ends", 3)


def test_audit():
    token = account("curious", "viewer")
    for _ in range(30):
        expect(at(p.ports[0], token, "/v1/roles").status == 403, "refused")
    at(p.ports[0], "hodei_" + "y" * 43)
    lines = wait_for(lambda: p.cli("audit", "--jsonl", "--actor", "service-account:curious", "--outcome", "refused").stdout.splitlines(), "the trail has it", 10)
    entries = [json.loads(line) for line in lines]
    expect(sum(int(one["count"]) for one in entries) == 30 and len(entries) < 5, "folded: %r" % entries)
    expect(entries[0]["action"] == "GET /v1/roles" and "127.0.0.1" in entries[0]["detail"], "what and whence: %r" % entries)
    wait_for(lambda: [one for one in p.get("/v1/audit?outcome=refused")["entries"] if not one.get("actor")], "also of nobody known", 10)
    done = p.get("/v1/audit?action=CreateToken&actor=admin")["entries"]
    expect(done and all(one["outcome"] == "done" for one in done), "who made tokens: %r" % done)
    expect("hodei_" not in p.cli("audit", "--jsonl").stdout, "no token in it")
    expect("CreateToken" in p.cli("audit", "--since", "1h").stdout, "as a table")


def main():
    global p
    p = Platform(replicas=2)
    p.start()
    p.ports = [p.process(name)["http_port"] for name in ("api-gateway", "api-gateway-2")]
    code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
