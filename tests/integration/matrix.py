#!/usr/bin/env python3
"""The permission matrix: every route of the gateway's table × every role × own, foreign and unknown names, over real HTTP.

What is expected comes from the tables: routes as `print-routes` prints them, permissions of roles as the API lists them. A request that is
allowed and would change something carries something unknown, so that it ends with 400, behind the decision and before any effect; on foreign
names the requests are real, and at the end the foreign tenant is what it was.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import BUILD, Platform, expect, run_tests, wait_for  # noqa: E402

BUILTIN = ["viewer", "developer", "operator", "admin", "auditor"]
OWN, FOREIGN, HOME = "acme", "umbrella", "default"
UNKNOWN = "01890000-0000-7000-8000-000000000000"
SHARED = "/v1/workers"  # all tenants see the same
OWN_BY_NAME = "/v1/projects/"  # a project is a name: everybody's of that name is his own
UPSERT = {("PUT", "/v1/roles/{name}"), ("PUT", "/v1/service-accounts/{name}"), ("POST", "/v1/groups/{group}:add")}
MOVES = re.compile(r'"last_used_at_ms": "?\d+"?|"enforced": true, ')  # by itself
p, connection, world, cells = None, None, {}, 0


def ask(method, path, token=None, body=None, tenant=None):
    """One request on the one connection. -> (status, body)"""
    global connection
    address = urllib.parse.urlsplit(p.info["server"])
    headers = {"Authorization": "Bearer " + token} if token else {}
    if tenant:
        headers["Hodei-Tenant"] = tenant
    if body is not None:
        headers["Content-Type"] = "application/yaml" if isinstance(body, str) else "application/json"
        body = body if isinstance(body, str) else json.dumps(body)
    for attempt in (1, 2):
        connection = connection or http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        except (http.client.HTTPException, OSError):  # an idle connection was closed
            connection = None
            if attempt == 2:
                raise


def must(*args, **kwargs):
    status, body = ask(*args, **kwargs)
    expect(200 <= status < 300, "%r: %d %s" % (args[:2], status, body))
    return json.loads(body) if body else None


class Tenant:
    """One with one of everything that has a name, and a service account for each role."""

    def __init__(self, name):
        self.name, self.roles, self.tokens = name, {}, {}
        if name != HOME:
            must("POST", "/v1/tenants", p.token, {"name": name})
        self.word = name + "-thing"
        word = self.word
        must("PUT", "/v1/roles/" + word, p.token, {"permissions": ["run.read", "log.read"]}, name)
        self.roles = {role["name"]: role["permissions"] for role in must("GET", "/v1/roles", p.token, tenant=name)["roles"]}
        expect(sorted(self.roles) == sorted(BUILTIN + [word]), "the roles are there: %r" % self.roles)
        for role in self.roles:
            account = "as-" + role
            must("PUT", "/v1/service-accounts/" + account, p.token, tenant=name)
            must("POST", "/v1/bindings", p.token, {"principal": "service-account:" + account, "role": role}, name)
            self.tokens[role] = self.token(account)
        must("PUT", "/v1/service-accounts/" + word, p.token, tenant=name)
        self.tokens["none"] = self.token(word)
        self.roles["none"] = []
        must("POST", "/v1/users", p.token, {"name": word, "password": "of " + word, "roles": ["viewer"]}, name)
        must("POST", "/v1/groups/%s:add" % word, p.token, {"member": "user:" + word}, name)
        must("POST", "/v1/pipelines", p.token, "hodei: v1\nname: %s\non:\n  cron: [{ expr: '0 3 * * *' }]\njobs:\n  only: { executor: noop }\n" % word, name)
        self.ids = {"pipeline": word, "run": must("POST", "/v1/runs", p.token, {"pipeline": word}, name)["id"]}
        self.ids["token"] = must("GET", "/v1/tokens", p.token, tenant=name)["tokens"][0]["id"]
        self.ids["binding"] = must("GET", "/v1/bindings", p.token, tenant=name)["bindings"][0]["id"]
        self.ids["schedule"] = wait_for(lambda: must("GET", "/v1/schedules", p.token, tenant=name)["schedules"], "the schedule is there")[0]["id"]
        wait_for(lambda: must("GET", "/v1/runs/" + self.ids["run"], p.token, tenant=name)["state"] == "succeeded", "the run has ended")

    def token(self, account):
        return must("POST", "/v1/tokens", p.token, {"name": "matrix", "subject": "service-account:" + account}, self.name)["token"]

    def snapshot(self):
        """All that it has, without what moves by itself."""
        paths = ["/v1/roles", "/v1/bindings", "/v1/groups", "/v1/service-accounts", "/v1/users", "/v1/tokens", "/v1/pipelines", "/v1/schedules", "/v1/runs",
                 "/v1/runs/%s" % self.ids["run"], "/v1/quota"]
        return {path: MOVES.sub("", json.dumps(must("GET", path, p.token, tenant=self.name), sort_keys=True)) for path in paths}


def fill(path, ids, word):
    """A path with the names of a tenant, or with UNKNOWN ones."""
    kind = (path.split("/") + [""])[2].split(":")[0]
    name = {"pipelines": "pipeline", "schedules": "schedule", "tokens": "token", "bindings": "binding"}.get(kind)
    path = re.sub(r"\{(name|id)\}", lambda _: ids.get(name or ("run" if kind == "runs" else ""), word), path)
    path = path.replace("{project}", word if word != UNKNOWN else "unknown")
    return path.replace("{run}", ids.get("run", UNKNOWN)).replace("{job}", "only").replace("{group}", word).replace("{user}", word)


def body_of(route, word):
    """A body that is right, as far as names go."""
    bodies = {
        ("POST", "/v1/runs"): {"pipeline": word},
        ("POST", "/v1/pipelines:render"): {"name": word},
        ("POST", "/v1/tokens"): {"name": "x", "subject": "service-account:" + word},
        ("POST", "/v1/bindings"): {"principal": "service-account:" + word, "role": "viewer"},
        ("PUT", "/v1/roles/{name}"): {"permissions": ["run.read"]},
        ("POST", "/v1/groups/{group}:add"): {"member": "user:x"},
        ("POST", "/v1/groups/{group}:remove"): {"member": "user:" + word},
        ("POST", "/v1/users/{name}:set-password"): {"password": "of somebody else"},
    }
    return bodies.get((route["method"], route["path"]))


def allowed(route, tenant, role):
    held = tenant.roles[role]
    return not route["permission"] or route["permission"] in held or "*" in held


def named(route):
    """Does it name something that belongs to a tenant?"""
    return not route["path"].startswith((SHARED, OWN_BY_NAME)) and ("{" in route["path"] or body_of(route, "x") is not None)


def plain(body, *names):
    """A problem without what differs by nature."""
    problem = json.loads(body)
    problem.pop("request_id", None)
    text = json.dumps(problem, sort_keys=True)
    for name in names:
        text = text.replace(name, "*")
    return text


def wrong(route):
    """(suffix, body) that is refused behind the decision."""
    if route["body"] == "none":
        return "?no_such_parameter=1", None
    return "", {"no_such_field": 1}


def cell(what, holds):
    global cells
    cells += 1
    expect(holds, what)


def refused(route, path, status, body, who):
    """What somebody without the permission sees."""
    if route["platform"]:
        nothing = ask("GET", "/v1/nothing-here", p.token)[1]
        cell("%s: %s is not there for him: %d %s" % (who, path, status, body),
             status == 404 and plain(body, path.split("?")[0]) == plain(nothing, "/v1/nothing-here"))
    else:
        cell("%s: %s %s is refused: %d %s" % (who, route["method"], path, status, body), status == 403 and route["permission"] in body)


def check_own(route, tenant, role):
    who, path = "%s of %s" % (role, tenant.name), fill(route["path"], tenant.ids, tenant.word)
    reads = route["method"] == "GET"
    suffix, body = ("", None) if reads else wrong(route)
    if route["path"].startswith(SHARED):
        path = path.replace(tenant.word, p.worker)
    status, text = ask(route["method"], path + suffix, tenant.tokens[role], body)
    if not allowed(route, tenant, role) or (route["platform"] and tenant.name != HOME):
        refused(route, path, status, text, who)
    elif reads:
        cell("%s: GET %s: %d %s" % (who, path, status, text), status == 200 or (status == 400 and "/diff" in path))
        if tenant.name == OWN:
            cell("%s: GET %s shows nothing foreign: %s" % (who, path, text), FOREIGN not in text or route["platform"])
    else:
        cell("%s: %s %s comes behind the decision: %d %s" % (who, route["method"], path, status, text), status == 400)


def check_foreign(route, tenant, role):
    """Names of the foreign tenant are answered as names that nobody has."""
    other, token, who = world[FOREIGN], tenant.tokens[role], "%s of %s" % (role, tenant.name)
    path = fill(route["path"], other.ids, other.word)
    status, text = ask(route["method"], path, token, body_of(route, other.word))
    if not allowed(route, tenant, role) or route["platform"]:
        return refused(route, path, status, text, who)
    if (route["method"], route["path"]) in UPSERT:
        cell("%s: %s %s makes one of his own: %d %s" % (who, route["method"], path, status, text), status in (200, 204))
        if route["method"] == "PUT":
            return must("DELETE", path, token)
        return must("POST", path.replace(":add", ":remove"), token, body_of(route, other.word))
    unknown = fill(route["path"], {}, UNKNOWN)
    status2, text2 = ask(route["method"], unknown, token, body_of(route, UNKNOWN))
    names = list(other.ids.values()) + [other.word, UNKNOWN]
    if route["path"] == "/v1/runs/{run}/logs":  # of a run that is not known, a log may come yet: it is empty
        return cell("%s: %s is empty: %s" % (who, path, text), status == status2 == 200 and text == text2)
    if status == 400 and "/diff" in path:
        return cell("%s: the same for both" % who, plain(text, *names) == plain(text2, *names))
    if status == 403 and route["method"] == "POST" and route["path"] in ("/v1/bindings", "/v1/tokens"):
        return cell("%s: the same for both" % who, plain(text, *names) == plain(text2, *names))
    return cell("%s: %s %s: %d %s, and %s: %d %s" % (who, route["method"], path, status, text, unknown, status2, text2),
                status == 404 and status2 == 404 and plain(text, *names) == plain(text2, *names))


def routes():
    out = subprocess.run([os.path.join(BUILD, "print-routes")], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def test_without_token():
    for route in routes():
        path = fill(route["path"], {}, UNKNOWN)
        for token in (None, "hodei_" + "x" * 43):
            status, _ = ask(route["method"], path, token)
            cell("%s %s without a token: %d" % (route["method"], path, status), 
                 status == (401 if not route["open"] else 200 if route["method"] == "GET" else 400))


def test_every_permission_is_known():
    known = {one["name"] for one in must("GET", "/v1/permissions")["permissions"]}
    for route in routes():
        cell("%s of %s is in the table of permissions" % (route["permission"], route["path"]), not route["permission"] or route["permission"] in known)


def test_own():
    for tenant in world.values():
        for role in tenant.tokens:
            for route in routes():
                if not route["open"]:
                    check_own(route, tenant, role)
    print("        %d cells" % cells)


def test_foreign():
    before = world[FOREIGN].snapshot()
    for tenant in (world[OWN], world[HOME]):
        for role in tenant.tokens:
            for route in routes():
                if named(route) and not route["open"]:
                    if route["platform"] and tenant.name == HOME:
                        continue  # to the platform's administrators nothing is foreign: test_own has these
                    check_foreign(route, tenant, role)
    after = world[FOREIGN].snapshot()
    for path, text in before.items():
        expect(after[path] == text, "the foreign tenant is what it was: %s\n%s\n%s" % (path, text, after[path]))
    print("        %d cells" % cells)


class Part:
    """Somebody with a role in a part of a tenant, and what is in it and out of it."""

    def __init__(self, tenant, role, scope):
        self.role, self.name = role, "-".join([role] + list(scope.values()))
        account = "part-" + self.name
        must("PUT", "/v1/service-accounts/" + account, p.token, tenant=tenant.name)
        must("POST", "/v1/bindings", p.token, dict(scope, principal="service-account:" + account, role=role), tenant.name)
        self.token = tenant.token(account)


def thing(tenant, name, project):
    """A pipeline with a schedule and a run that has ended."""
    must("POST", "/v1/pipelines?project=" + project, p.token, "hodei: v1\nname: %s\non:\n  cron: [{ expr: '0 3 * * *' }]\njobs:\n  only: { executor: noop }\n" % name,
         tenant.name)
    ids = {"pipeline": name, "run": must("POST", "/v1/runs", p.token, {"pipeline": name}, tenant.name)["id"]}
    ids["schedule"] = wait_for(lambda: must("GET", "/v1/schedules?pipeline=" + name, p.token, tenant=tenant.name)["schedules"], "the schedule is there")[0]["id"]
    wait_for(lambda: must("GET", "/v1/runs/" + ids["run"], p.token, tenant=tenant.name)["state"] == "succeeded", "the run has ended")
    return ids


def check_part(route, part, held, inside, outside):
    """In a part: what is in it is as in the whole tenant, what is out of it is not there, and the rest of the tenant is refused."""
    path, who = fill(route["path"], inside, inside["pipeline"]), part.name
    suffix, body = ("", None) if route["method"] == "GET" else wrong(route)
    status, text = ask(route["method"], path + suffix, part.token, body)
    if route["permission"] not in held or route["platform"]:
        return refused(route, path, status, text, who)
    if route["path"] == "/v1/stats/jobs":
        return cell("%s: %s is of the whole tenant: %d %s" % (who, path, status, text), status == 403 and "parts of the tenant" in text)
    if route["method"] == "GET":
        cell("%s: GET %s: %d %s" % (who, path, status, text), status == 200 or (status == 400 and "/diff" in path))
        cell("%s: GET %s shows nothing from elsewhere: %s" % (who, path, text), outside["pipeline"] not in text)
        cell("%s: GET %s shows what is his: %s" % (who, path, text), "{" in route["path"] or inside["pipeline"] in text)
    else:
        cell("%s: %s %s comes behind the decision: %d %s" % (who, route["method"], path, status, text), status == 400)
    if not named(route):
        return None
    path, unknown = fill(route["path"], outside, outside["pipeline"]), fill(route["path"], {}, UNKNOWN)
    status, text = ask(route["method"], path, part.token, body_of(route, outside["pipeline"]))
    status2, text2 = ask(route["method"], unknown, part.token, body_of(route, UNKNOWN))
    names = list(outside.values()) + [UNKNOWN]
    return cell("%s: %s %s: %d %s, and %s: %d %s" % (who, route["method"], path, status, text, unknown, status2, text2),
                status == status2 == 404 and plain(text, *names) == plain(text2, *names))


def test_parts_of_a_tenant():
    tenant = world[OWN]
    inside, outside = thing(tenant, "inside", "web"), thing(tenant, "elsewhere", "data")
    parts = {one["name"] for one in must("GET", "/v1/permissions")["permissions"] if one.get("part")}
    expect(len(parts) > 6, "parts: %r" % parts)
    paths = ["/v1/pipelines/elsewhere", "/v1/pipelines/elsewhere/versions", "/v1/runs/" + outside["run"], "/v1/schedules?pipeline=elsewhere"]
    before = [MOVES.sub("", json.dumps(must("GET", path, p.token, tenant=OWN), sort_keys=True)) for path in paths]
    for scope in ({"project": "web"}, {"pipeline": "inside"}):
        for role, permissions in list(tenant.roles.items()):
            if role == "none":
                continue
            part, held = Part(tenant, role, scope), parts if "*" in permissions else parts & set(permissions)
            for route in routes():
                if route["permission"]:
                    check_part(route, part, held, inside, outside)
    after = [MOVES.sub("", json.dumps(must("GET", path, p.token, tenant=OWN), sort_keys=True)) for path in paths]
    expect(before == after, "what is elsewhere is what it was:\n%s\n%s" % (before, after))
    print("        %d cells" % cells)


def test_foreign_tenant_in_the_header():
    for role, token in world[OWN].tokens.items():
        for name in (FOREIGN, HOME, "no tenant!"):
            status, text = ask("GET", "/v1/whoami", token, tenant=name)
            status2, text2 = ask("GET", "/v1/whoami", token, tenant="nobodys")
            cell("%s in %s: %d %s" % (role, name, status, text), status == status2 == 404 and plain(text, name) == plain(text2, "nobodys"))


def main():
    global p
    p = Platform(agents=1)
    p.start()
    p.worker = wait_for(lambda: p.get("/v1/workers")["workers"], "a worker is there")[0]["name"]
    for name in (HOME, OWN, FOREIGN):
        world[name] = Tenant(name)
    code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    print("        %d cells in all" % cells)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
