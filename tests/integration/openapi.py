#!/usr/bin/env python3
"""The description of the API is the API: a client that knows nothing but GET /openapi.json drives the platform, and each of its requests and
each answer is held against the schemas there; what stands in an answer and not in its schema is found too. What clients rely on stands in
openapi.txt and is not taken away again: openapi.py --update adds to it."""

import gzip
import json
import os
import re
import subprocess
import sys
import urllib.parse
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hodei import ROOT, Platform, expect, run_tests, wait_for  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones have another resolver, Debian's has not
    import jsonschema

p = document = None
BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "openapi.txt")
METHODS = {"get", "post", "put", "delete"}


def operations():
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def follow(node):
    while "$ref" in node:
        expect(node["$ref"].startswith("#/"), "a reference within the document: %r" % node)
        at = document
        for word in node["$ref"][2:].split("/"):
            at = at[word]
        node = at
    return node


def check(schema, value, what):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resolver = jsonschema.RefResolver("", document)
        problems = list(jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(value))
    expect(not problems, "%s: %s at %s" % (what, problems and problems[0].message[:500], problems and list(problems[0].path)))


def call(name, body=None, headers=None, /, **values):
    """The operation of that name with these parameters: (status, what it answered)."""
    path, method, operation = next(one for one in operations() if one[2]["operationId"] == name)
    query = []
    for parameter in map(follow, operation["parameters"]):
        if parameter["name"] not in values:
            expect(not parameter["required"], "%s needs %s" % (name, parameter["name"]))
            continue
        value = values.pop(parameter["name"])
        check(parameter["schema"], value, "%s of %s" % (parameter["name"], name))
        text = urllib.parse.quote(",".join(value) if isinstance(value, list) else str(value), safe=",")
        if parameter["in"] == "path":
            path = path.replace("{%s}" % parameter["name"], text)
        else:
            query.append(parameter["name"] + "=" + text)
    expect(not values, "%s has parameters %r" % (name, list(values)))
    if isinstance(body, dict):
        check(operation["requestBody"]["content"]["application/json"]["schema"], body, "the body of " + name)
    reply = p.api(method.upper(), path + ("?" + "&".join(query) if query else ""), body, headers or {})
    expect(str(reply.status) in operation["responses"], "%s answers %d, which is not described: %r" % (name, reply.status, reply))
    response = follow(operation["responses"][str(reply.status)])
    if "content" not in response:
        expect(not reply.body, "%s says nothing: %r" % (name, reply.body))
        return reply.status, None
    kind = reply.headers["Content-Type"].split(";")[0]
    expect(kind in response["content"], "%s answers %s, which is not described" % (name, kind))
    if kind == "text/plain":
        return reply.status, reply.body.decode()
    check(response["content"][kind]["schema"], reply.json, "the answer of " + name)
    return reply.status, reply.json


def good(name, /, *args, **values):
    status, answer = call(name, *args, **values)
    expect(status < 300, "%s: %d %r" % (name, status, answer))
    return answer


def test_every_route_is_described():
    printed = subprocess.run([os.path.join(ROOT, "build/print-routes")], capture_output=True, text=True, check=True).stdout
    routes = {(r["path"], r["method"].lower()): r for r in map(json.loads, printed.splitlines())}
    found = {(path, method): operation for path, method, operation in operations()}
    expect(set(routes) == set(found), "routes and operations: %r" % (set(routes) ^ set(found)))
    names = [operation["operationId"] for operation in found.values()]
    expect(len(names) == len(set(names)), "each name once: %r" % sorted(n for n in names if names.count(n) > 1))
    tags = {tag["name"] for tag in document["tags"]}
    for (path, method), operation in found.items():
        route, what = routes[path, method], method + " " + path
        expect(method in METHODS and operation["summary"] and operation["description"], what + " says what it does")
        expect(("security" in operation) == route["open"], what + " says whether it needs a token")
        expect(str(route["success"]) in operation["responses"], what + " says how it succeeds")
        expect(set(operation["tags"]) <= tags, what + " has a tag")
        expect(operation["tags"] != ["pipelines"] or re.match(r"/v1/(pipelines|schedules)\b", path), what + " has its own tag")
        in_path = {x["name"] for x in map(follow, operation["parameters"]) if x["in"] == "path"}
        expect(in_path == set(re.findall(r"\{(\w+)\}", path)), what + " has the parameters of its path")
        expect(("requestBody" in operation) == (route["body"] != "none"), what + " says whether it takes a body")


def test_every_reference_leads_somewhere():
    count = 0

    def walk(node):
        nonlocal count
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(value)
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            count += bool(follow(node))
    walk(document)
    expect(count > 500, "%d references" % count)
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        expect(schema.get("description") or not schema.get("properties"), "%s is described" % name)
        for field, inner in schema.get("properties", {}).items():
            expect("description" in inner or "$ref" in inner, "%s.%s is described" % (name, field))


def facts():
    """What clients rely on, a line each; the messages' own are in tests/lint/schemas.txt."""
    for path, method, operation in operations():
        what = "%s %s" % (method.upper(), path)
        yield "%s is %s" % (what, operation["operationId"])
        for status, response in operation["responses"].items():
            yield " ".join([what, "answers", status, *sorted(follow(response).get("content", {}))])
        for parameter in map(follow, operation["parameters"]):
            yield "%s takes %s %s" % (what, parameter["in"], parameter["name"])
        for kind in operation.get("requestBody", {}).get("content", {}):
            yield "%s takes a body of %s" % (what, kind)
        for parameter in map(follow, operation["parameters"]):
            if parameter["required"] and parameter["in"] != "path":
                yield "%s needs %s" % (what, parameter["name"])


def kept():
    """What openapi.txt says, none of which has gone."""
    with open(BASELINE, encoding="utf-8") as file:
        before = file.read().splitlines()
    now = set(facts())
    gone = [fact for fact in before if fact not in now and " needs " not in fact]
    expect(not gone, "clients rely on it: %r" % gone)
    return now, before


def test_nothing_is_taken_away():
    now, before = kept()
    more = sorted(fact for fact in now - set(before) if " needs " in fact)
    expect(not more, "clients do not give it: %r" % more)
    expect(not now - set(before), "not in openapi.txt, so that nobody keeps it: openapi.py --update; %r" % sorted(now - set(before))[:9])


def test_gzip_for_those_who_take_it():
    plain = p.raw("GET", "/openapi.json")
    packed = p.raw("GET", "/openapi.json", headers={"Accept-Encoding": "gzip, br"})
    expect("Content-Encoding" not in plain.headers and plain.headers["Vary"] == "Accept-Encoding", "as it is: %r" % plain.headers.items())
    expect(packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body, "the same, packed")
    expect(len(packed.body) < len(plain.body) / 4, "%d bytes of %d" % (len(packed.body), len(plain.body)))
    refused = p.raw("GET", "/openapi.json", headers={"Accept-Encoding": "gzip;q=0"})
    expect(refused.body == plain.body, "not for who refuses it")
    small = p.api("GET", "/v1/whoami", headers={"Accept-Encoding": "gzip"})
    expect("Content-Encoding" not in small.headers and small.json, "not what is small")


def test_pipelines_and_runs():
    yaml = "hodei: v1\nname: described\ninputs:\n  word: { type: string, default: hi }\njobs:\n  a: { run: 'echo ${{ inputs.word }}' }\n" \
           "  b: { needs: [a], matrix: { axes: { n: [1, 2] } }, run: 'test ${{ matrix.n }} = 1', allow_failure: true }\n"
    for name in ("ValidatePipeline", "ApplyPipeline"):
        good(name, {"source": yaml})
    good("RenderPipeline", {"source": yaml})
    good("ListPipelines", page_size=1)
    good("GetPipeline", name="described")
    good("ListPipelineVersions", name="described")
    run = good("StartRun", {"pipeline": "described", "inputs": [{"name": "word", "value": "there"}]}, {"Idempotency-Key": "described"})["id"]
    wait_for(lambda: good("GetRun", id=run)["state"] in ("succeeded", "failed"), "it has ended")
    expect(good("ListRuns", state=["succeeded", "failed"], pipeline="described")["runs"][0]["id"] == run, "listed")
    good("ListJobs", run=run)
    good("ExplainJob", run=run, job="a")
    wait_for(lambda: "there" in json.dumps(good("ReadLog", run=run)) or "there" in good("ReadLog", run=run, format="text"), "its log")
    again = good("RerunRun", {}, run=run)
    expect(call("CancelRun", {"reason": "seen"}, id=again["run"])[0] in (200, 409), "cancelled, or over")
    good("JobStats")
    good("ListSchedules")
    expect(call("GetRun", id="01890a5d-ac96-774b-bcce-b302099a8057")[0] == 404, "a run that is not there")
    expect(call("StartRun", {"pipeline": "no-such"})[0] == 404, "a pipeline that is not there")


def test_workers_limits_and_people():
    worker = wait_for(lambda: good("ListWorkers", state=["online"])["workers"], "a worker")[0]["name"]
    good("GetWorker", name=worker)
    good("Cordon", {"reason": "described"}, name=worker)
    good("Uncordon", {}, name=worker)
    good("GetQuota")
    good("SetQuota", {"concurrent_jobs": 400, "weight": 2})
    good("SetProjectQuota", {"concurrent_jobs": 40}, project="part")
    good("GetProjectQuota", project="part")
    good("WhoAmI")
    good("ListPermissions")
    good("PutRole", {"description": "sees runs", "permissions": ["run.read"]}, name="seer")
    good("ListRoles")
    binding = good("PutBinding", {"principal": "user:ann", "role": "seer"})
    good("ListBindings")
    good("DeleteBinding", id=binding["id"])
    good("AddGroupMember", {"member": "user:ann"}, group="seers")
    good("ListGroups")
    good("PutServiceAccount", {}, name="robot")
    token = good("CreateToken", {"name": "t", "subject": "service-account:robot", "permissions": ["run.read"]})
    good("ListTokens")
    good("RevokeToken", id=token["about"]["id"])
    good("CreateUser", {"name": "ann", "password": "correct horse battery"})
    good("ListUsers")
    session = good("Login", {"user": "ann", "password": "correct horse battery", "tenant": "default"})
    good("ListUserSessions", user="ann")
    good("Refresh", {"refresh_token": session["refresh_token"]})
    good("DeleteUser", name="ann")
    good("ListAudit", page_size=5)
    good("ListTenants")
    good("ListSigningKeys")
    good("GetJwks")
    good("GetPipelineSchema")
    expect(call("Login", {"user": "ann", "password": "wrong", "tenant": "default"})[0] in (400, 401, 403, 404), "refused")


def main():
    global p, document
    p = Platform()
    p.start()
    document = p.raw("GET", "/openapi.json").json
    expect(document["openapi"] == "3.1.0", "a description, without a token")
    if sys.argv[1:] == ["--update"]:
        kept()
        with open(BASELINE, "w", encoding="utf-8") as file:
            file.write("".join(fact + "\n" for fact in sorted(facts())))
        return p.finish(0)
    code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    return p.finish(code)


if __name__ == "__main__":
    sys.exit(main())
