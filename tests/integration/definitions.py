#!/usr/bin/env python3
"""Definitions through the whole platform: versions, differences, plans, the schema, and that lint, validate and apply agree.

definitions.py [NAME...]. BUILD names the folder of the binaries.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

from hodei import HODEI, ROOT, Platform, expect, run_tests, wait_for

p = Platform(slots=4)
ONE = "hodei: v1\nname: %s\njobs:\n  only: { run: '%s' }\n"


def refused(reply, status, text):
    expect(reply.status == status and text in reply.json["detail"], "refused with %d and %r: %r" % (status, text, reply))
    return reply.json


def test_versions():
    for script in ("one", "two", "three"):
        p.apply(ONE % ("kept", "echo " + script))
    page = p.get("/v1/pipelines/kept/versions?page_size=2")
    expect([v["version"] for v in page["versions"]] == [3, 2], "newest first: %r" % page)
    rest = p.get("/v1/pipelines/kept/versions?page_size=2&page_token=" + page["next_page_token"])
    expect([v["version"] for v in rest["versions"]] == [1] and not rest.get("next_page_token"), "the last page: %r" % rest)
    for version in page["versions"] + rest["versions"]:
        one = p.get("/v1/pipelines/kept?version=%d" % version["version"])
        expect(one["digest"] == version["digest"] and version["jobs"] == 1, "the same version: %r, %r" % (one, version))
        expect(version["made_by"] == "admin" and version["created_at_ms"] > 0, "who and when: %r" % version)
    expect(len({v["digest"] for v in page["versions"] + rest["versions"]}) == 3, "each has a digest of its own")
    refused(p.api("GET", "/v1/pipelines/none/versions"), 404, 'no pipeline "none"')
    refused(p.api("GET", "/v1/pipelines/kept/versions?page_token=x"), 400, "page_token")
    refused(p.api("GET", "/v1/pipelines/kept/versions?page_size=1001"), 400, "page_size")
    lines = p.cli("pipeline", "versions", "kept").stdout.splitlines()
    expect(len(lines) == 4 and lines[1].split()[:3] == ["3", "1", "admin"], "a table: %r" % lines)
    done = p.cli("pipeline", "versions", "none", code=None)
    expect(done.returncode != 0 and 'no pipeline "none"' in done.stderr, "a name that is not there: %r" % done.stderr)


def test_delete_keeps_runs():
    p.apply(ONE % ("gone", "echo first"))
    ended = p.start_run("gone")
    p.wait_run(ended, "succeeded")
    folder = tempfile.mkdtemp(dir=p.folder)
    os.chmod(folder, 0o777)
    mark = os.path.join(folder, "go")
    p.apply(ONE % ("gone", "until test -e %s; do sleep 0.05; done; echo second" % mark))
    going = p.start_run("gone")
    wait_for(lambda: p.job_state(going, "only") == "active", "the job runs")
    expect(p.api("DELETE", "/v1/pipelines/gone").status == 204, "deleted")
    refused(p.api("GET", "/v1/pipelines/gone"), 404, "gone")
    reply = p.api("POST", "/v1/runs", {"pipeline": "gone"})
    refused(reply, 404, "deleted")
    with open(mark, "w"):
        pass
    p.wait_run(going, "succeeded")
    expect(p.log(going) .count(b"second") == 1 and b"first" in p.log(ended), "what ran goes on, and logs are kept")
    runs = [r["id"] for r in p.get("/v1/runs?pipeline=gone")["runs"]]
    expect(set(runs) == {ended, going}, "runs stay in the list: %r" % runs)
    versions = p.get("/v1/pipelines/gone/versions")["versions"]
    expect([(v["version"], v.get("deleted", False)) for v in versions] == [(3, True), (2, False), (1, False)],
           "the deletion is a version: %r" % versions)
    expect("first" in p.get("/v1/pipelines/gone?version=1")["source"], "a version of a deleted pipeline")
    refused(p.api("GET", "/v1/pipelines/gone/diff"), 404, "gone")
    again = p.apply(ONE % ("gone", "echo third"))
    expect(again["pipeline"]["version"] == 4, "it goes on counting: %r" % again)
    back = p.get("/v1/pipelines/gone/diff")
    expect((back["from"], back["to"]) == (2, 4) and "+  only: { run: 'echo third' }" in back["diff"], "over the deletion: %r" % back)
    expect(p.get("/v1/pipelines/gone/diff?from=3&to=4")["jobs_added"] == ["only"], "a deletion counts as empty")


def test_diff():
    first = "hodei: v1\nname: changing\njobs:\n  build: { run: make }\n  test: { needs: [build], run: make test }\n"
    second = first.replace("make test", "make check") + "  deploy: { needs: [test], run: ./deploy }\n"
    p.apply(first)
    lone = p.get("/v1/pipelines/changing/diff")
    expect(lone["jobs_added"] == ["build", "test"] and lone["diff"].startswith("--- changing version 0\n+++ changing version 1\n"),
           "the first version against nothing: %r" % lone)
    p.apply(second)
    got = p.get("/v1/pipelines/changing/diff?from=1&to=2")
    expect(got["diff"] == "--- changing version 1\n+++ changing version 2\n@@ -2,4 +2,5 @@\n name: changing\n jobs:\n   build: { run: make }\n"
           "-  test: { needs: [build], run: make test }\n+  test: { needs: [build], run: make check }\n"
           "+  deploy: { needs: [test], run: ./deploy }\n", "the text: %s" % got["diff"])
    expect((got["jobs_added"], got["jobs_removed"], got["jobs_changed"]) == (["deploy"], [], ["test"]), "what it means: %r" % got)
    expect(p.get("/v1/pipelines/changing/diff")["diff"] == got["diff"], "the newest against the one before")
    back = p.get("/v1/pipelines/changing/diff?from=2&to=1")
    expect(back["jobs_removed"] == ["deploy"], "backwards: %r" % back)
    expect(p.get("/v1/pipelines/changing/diff?from=2&to=2").get("diff", "") == "", "the same version")
    refused(p.api("GET", "/v1/pipelines/changing/diff?to=9"), 404, "no version 9")
    expect(p.api("GET", "/v1/pipelines/changing/diff?from=7&to=1").json["field"] == "from", "which one is missing")
    text = p.cli("pipeline", "diff", "changing", "1", "2").stdout
    expect(text == "# jobs added: deploy\n# jobs changed: test\n" + got["diff"], "by CLI: %s" % text)
    path = os.path.join(p.folder, "changing.yml")
    with open(path, "w") as file:
        file.write(first)
    text = p.cli("pipeline", "diff", "changing", "--file", path).stdout
    expect("# jobs removed: deploy" in text and "+++ %s\n" % path in text, "against a file: %s" % text)
    expect(p.cli("pipeline", "diff", "changing", "1", "--file", path).stdout == "", "equal: nothing")


RENDERED = """hodei: v1
name: planned
inputs: { mode: { type: enum, values: [debug, release], default: release }, who: { required: true } }
jobs:
  build:
    matrix: { axes: { os: [linux, bsd] } }
    run: make ${{ matrix.os }} ${{ inputs.mode }} ${{ inputs.who }} ${{ run.id }}
  ship: { needs: [build], if: inputs.mode == 'release', run: ./ship }
"""


def test_render():
    body = {"source": RENDERED, "inputs": [{"name": "who", "value": "a b; c"}, {"name": "mode", "value": "debug"}]}
    reply = p.api("POST", "/v1/pipelines:render", body)
    expect(reply.status == 200, "a plan: %r" % reply)
    plan = reply.json
    expect([j["name"] for j in plan["jobs"]] == ["build.1", "build.2", "ship"], "the matrix is multiplied out: %r" % plan)
    env = {v["name"]: v["value"] for v in plan["jobs"][1]["spec"]["steps"][0]["env"]}
    expect(list(env.values()) == ["bsd", "debug", "a b; c", "${{ run.id }}"], "what is known is resolved: %r" % env)
    expect(plan["jobs"][2]["skipped"] and "inputs.mode == 'release'" in plan["jobs"][2]["skipped_because"], "skipped: %r" % plan["jobs"][2])
    expect(p.api("GET", "/v1/pipelines/planned").status == 404, "nothing was stored")
    path = os.path.join(p.folder, "planned.yml")
    with open(path, "w") as file:
        file.write(RENDERED)
    offline = [HODEI, "render", path, "--input", "who=a b; c", "--input", "mode=debug"]
    alone = {"PATH": os.environ["PATH"]}  # no server, no token
    done = subprocess.run(offline + ["-o", "json"], env=alone, capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0 and json.loads(done.stdout) == plan, "the same offline: %s%s" % (done.stdout, done.stderr))
    text = subprocess.run(offline, env=alone, capture_output=True, text=True, timeout=30).stdout
    expect("  build.2:\n    matrix: {\"os\":\"bsd\"}\n" in text and '          HODEI_EXPR_3: "a b; c"\n' in text, "for people: %s" % text)
    p.apply(RENDERED)
    applied = p.api("POST", "/v1/pipelines:render", {"name": "planned", "inputs": body["inputs"]}).json
    expect(applied.pop("version") == 1 and applied == plan, "of an applied one: %r" % applied)
    expect(len(p.api("POST", "/v1/pipelines:render", dict(body, job="build")).json["jobs"]) == 2, "one job")
    refused(p.api("POST", "/v1/pipelines:render", RENDERED), 400, '"who" is required')
    refused(p.api("POST", "/v1/pipelines:render", {"name": "none"}), 404, "none")
    refused(p.api("POST", "/v1/pipelines:render", {"name": "planned", "version": 2}), 404, "no version 2")
    refused(p.api("POST", "/v1/pipelines:render", dict(body, name="planned")), 400, "both")
    wrong = refused(p.api("POST", "/v1/pipelines:render", RENDERED.replace("matrix.os", "matrx.os")), 400, "matrx")
    expect((wrong["line"], wrong["column"]) == (7, 19), "with its place: %r" % wrong)
    done = p.cli("render", path, code=None)
    expect(done.returncode != 0 and '"who" is required' in done.stderr, "the CLI says so too: %s" % done.stderr)


def test_schema():
    reply = p.raw("GET", "/v1/pipelines:schema")  # without a token: editors have none
    expect(reply.status == 200 and reply.headers["Content-Type"] == "application/json", "open: %r" % reply)
    schema = reply.json
    expect(schema == json.loads(p.cli("schema").stdout), "the CLI's is the same")
    with open(os.path.join(ROOT, "docs", "hodei.schema.json")) as file:
        expect(schema == json.load(file), "docs/hodei.schema.json is the same")
    refs = set(re.findall(r'"#/\$defs/(\w+)"', reply.body.decode()))
    expect(refs <= set(schema["$defs"]), "every reference is there: %r" % (refs - set(schema["$defs"])))
    expect(p.raw("GET", "/v1/pipelines").status == 401, "nothing else is open")


# Bad in one way each; the expected text makes sure that it is that way.
BAD = [
    ("yaml", "hodei: v1\nname: x\njobs: [", ""),
    ("key", "hodei: v1\nname: x\njobs: { a: { rnu: x } }\n", "unknown key"),
    ("later", "hodei: v1\nname: x\njobs: { a: { run: x, image: debian } }\n", "not available yet"),
    ("cycle", "hodei: v1\nname: x\njobs: { a: { run: x, needs: [b] }, b: { run: x, needs: [c] }, c: { run: x, needs: [a] } }\n", "a → b → c → a"),
    ("need", "hodei: v1\nname: x\njobs: { build: { run: x }, b: { run: x, needs: [biuld] } }\n", "no job"),
    ("name in an expression", "hodei: v1\nname: x\njobs: { a: { run: 'x ${{ inputs.y }}' } }\n", 'no "y"'),
    ("type of an expression", "hodei: v1\nname: x\njobs: { a: { run: x, if: run.version == 'x' } }\n", "cannot be compared"),
    ("matrix", "hodei: v1\nname: x\njobs: { a: { run: x, matrix: { axes: { %s } } } }\n" % ", ".join("a%d: [0,1,2,3,4,5,6,7,8,9]" % i for i in range(9)),
     "more than 10000 combinations"),
    ("cron", 'hodei: v1\nname: x\non: { cron: [{ expr: "0 0 30 2 *" }] }\njobs: { a: { run: x } }\n', "never fires"),
    ("zone", 'hodei: v1\nname: x\non: { cron: [{ expr: "@daily", timezone: Mars/Olympus }] }\njobs: { a: { run: x } }\n', "no time zone"),
    ("arithmetic", "hodei: v1\nname: x\njobs: { a: { run: 'echo $(( ${{ run.version }} ))' } }\n", "$(( ))"),
    ("alias bomb", "hodei: v1\nname: x\n" + "".join("a%d: &a%d [%s]\n" % (i, i, ", ".join(["*a%d" % (i - 1)] * 10) if i else "x") for i in range(7)) +
     "jobs: { a: { run: x } }\n", "aliases expand"),
    ("too large", "hodei: v1\nname: x\njobs:\n  a: &a { run: \"%s\" }\n" % ("x" * 100000) + "".join("  a%d: *a\n" % i for i in range(50)), "3 MiB"),
    ("type", "hodei: v1\nname: x\npriority: high\njobs: { a: { run: x } }\n", "must be a number"),
]


def test_lint_validate_and_apply_agree():
    path = os.path.join(p.folder, "bad.yml")
    for what, source, text in BAD:
        with open(path, "w") as file:
            file.write(source)
        linted = json.loads(p.cli("lint", "-o", "json", path, code=2).stdout)
        said = (linted["line"], linted["column"], linted["field"], linted["text"], linted["hint"])
        expect(linted["file"] == path and linted["line"] > 0 and linted["column"] > 0 and text in linted["text"], "%s: %r" % (what, linted))
        for way in ("/v1/pipelines:validate", "/v1/pipelines", "/v1/pipelines:render"):
            reply = p.api("POST", way, source)
            expect(reply.status == 400, "%s: %s refuses it: %r" % (what, way, reply))
            problem = reply.json
            got = tuple(problem.get(k, "") for k in ("line", "column", "field", "detail", "hint"))
            expect(got == said, "%s: %s says %r, lint %r" % (what, way, got, said))
        done = p.cli("pipeline", "apply", "--dry-run", path, code=None)
        expect(done.returncode != 0 and "%s:%d:%d: %s" % (path, said[0], said[1], said[3]) in done.stderr, "%s: %s" % (what, done.stderr))
    expect(p.api("GET", "/v1/pipelines/x").status == 404, "none of them was stored")


TESTS = [(name[5:], function) for name, function in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    p.start()
    sys.exit(p.finish(run_tests(TESTS, sys.argv)))
