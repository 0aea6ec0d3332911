#!/usr/bin/env python3
"""What docs/ARCHITECTURE.md and the services' README.md list is what the code has.

docs.py BUILD checks: the first column of the tables under "Processes", "Subjects", "Streams", "Requests", "Tables", "Settings" in
docs/ARCHITECTURE.md, and "Exit statuses" in docs/CLI.md; the diagrams of state machines; that a service's README.md names its requests, tables, settings; and that
docs/hodei.schema.json is what `hodei schema` prints.
docs.py BUILD --update writes the diagrams and the schema anew; the rest is for people to write. Ends with "N passed, N failed".
"""
import glob
import json
import os
import re
import subprocess
import sys

PAGE = "docs/ARCHITECTURE.md"
TESTING = "docs/TESTING.md"
CLI = "docs/CLI.md"
SCHEMA = "docs/hodei.schema.json"
passed, failed = 0, 0


def read(path):
    with open(path) as f:
        return f.read()


def sources(folder):
    return "\n".join(read(p) for p in sorted(glob.glob(folder + "/*.c")))


def services():
    return sorted(p.split("/")[1] for p in glob.glob("services/*/main.c"))


def requests(service):
    """Rows of tables of struct hd_rpc: {"Method", …}, RPC(Method, …) or PART(Method, …)."""
    found = []
    for table in re.findall(r"const struct hd_rpc \w+\[\] = \{(.*?)\n\};", sources("services/" + service), re.S):
        found += re.findall(r'^    (?:\{"|RPC\(|PART\()(\w+)"?,', table, re.M)
    return found


def tables(folder):
    text = "\n".join(read(p) for p in sorted(glob.glob(folder + "/migrations/*.sql")))
    return set(re.findall(r"(?im)^\s*create (?:unlogged )?table (?:if not exists )?(\w+)", text)) - \
        set(re.findall(r"(?im)^\s*drop table (?:if exists )?(\w+)", text))


def settings(program):
    ran = subprocess.run([program, "--print-settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         universal_newlines=True, timeout=10)
    return [line.split(":")[0] for line in ran.stdout.splitlines() if re.match(r"[a-z-]+:", line)]


def section(page, heading):
    found = re.search(r"^### %s\n(.*?)(?=^#{2,3} |\Z)" % re.escape(heading), page, re.S | re.M)
    return found.group(1) if found else ""


def first_column(page, heading):
    rows = [line for line in section(page, heading).splitlines() if line.startswith("| ")]
    names = []
    for row in rows[1:]:
        names += re.findall(r"`([^`]+)`", row.split("|")[1])
    return names


def verdict(what, wrong):
    global passed, failed
    if not wrong:
        passed += 1
        return
    failed += 1
    for line in wrong:
        print("%s: %s" % (what, line))


def compare(heading, page, code):
    listed = first_column(page, heading)
    verdict("%s, %s" % (PAGE, heading),
            ["%s is in the code and not in the table: add a row" % n for n in sorted(set(code) - set(listed))] +
            ["%s is in the table and not in the code: take the row away" % n for n in sorted(set(listed) - set(code))] +
            ["%s has two rows" % n for n in sorted(set(listed)) if listed.count(n) > 1])


def machines(build):
    out = subprocess.run([build + "/print-machines"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    parts = re.split(r"^(\w+)\n(?=stateDiagram)", out, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def diagrams(page, build, update):
    for name, diagram in machines(build).items():
        pattern = re.compile(r"(^### The %s\n.*?^```mermaid\n)(.*?)(^```$)" % name, re.S | re.M)
        found = pattern.search(page)
        if found and found.group(2) != diagram and update:
            page = page[:found.start(2)] + diagram + page[found.end(2):]
            found = pattern.search(page)
        wrong = "" if found and found.group(2) == diagram else "differs from the table in machine.c: run tests/lint/docs.py %s --update" % build
        verdict("%s, The %s" % (PAGE, name), [wrong] if wrong else [])
    if update:
        with open(PAGE, "w") as f:
            f.write(page)


def schema(build, update):
    """The copy of the JSON Schema, for readers and editors without a build, is what the parser's tables give."""
    out = subprocess.run([build + "/hodei", "schema"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    text = json.dumps(json.loads(out), indent=2, ensure_ascii=False) + "\n"
    if update:
        with open(SCHEMA, "w") as f:
            f.write(text)
    wrong = not os.path.exists(SCHEMA) or read(SCHEMA) != text
    verdict(SCHEMA, ["differs from hodei schema: run tests/lint/docs.py %s --update" % build] if wrong else [])


def readmes(build, common):
    for service in services():
        path = "services/%s/README.md" % service
        if not os.path.exists(path):
            verdict(path, ["is not there: a page with subjects, tables, settings, metrics, threads"])
            continue
        text = read(path)
        names = [("request", n) for n in requests(service)] + [("table", n) for n in tables("services/" + service)] + \
            [("setting", n) for n in settings("%s/hodei-%s" % (build, service)) if n not in common]
        verdict(path, ["does not name the %s %s" % (kind, n) for kind, n in names if not re.search(r"\b%s\b" % re.escape(n), text)])


def programs_of_tests():
    """The page about tests names each program that has some."""
    text = read(TESTING)
    files = sorted(f for f in os.listdir("tests/integration") if f.endswith((".py", ".c")) and re.search(r"run_tests\(|run_side_by_side\(|^int main\(", read("tests/integration/" + f), re.M)
                   and f != "hodei.py" and not f.startswith("test_"))
    verdict(TESTING, ["does not name %s" % f for f in files if f not in text])


def main(build, update):
    page = read(PAGE)
    programs = sorted("hodei-" + s for s in services()) + ["hodei-agent", "hodei-shim", "hodei"]
    missing = [p for p in programs + ["print-machines"] if not os.path.exists(os.path.join(build, p))]
    if missing:
        verdict(build, ["has no %s: build it first" % p for p in missing])
    else:
        compare("Processes", page, programs)
        names = read("libhodei/base/names.h")
        compare("Subjects", page, re.findall(r'^#define HD_SUBJECT_\w+ +"([^"]+)"', names, re.M))
        compare("Streams", page, re.findall(r'^    \[HD_STREAM_\w+\] = \{"(\w+)"', read("libhodei/base/names.c"), re.M) +
                ["WORK_<worker>"])
        compare("Requests", page, ["%s.%s" % (s, r) for s in services() for r in requests(s)])
        compare("Tables", page, ["%s.%s" % (s, t) for s in services()
                                 for t in tables("services/" + s)] + sorted(tables("libhodei/service")))
        every = {s: settings("%s/hodei-%s" % (build, s)) for s in services()}
        common = set.intersection(*map(set, every.values())) | {"postgres"}
        compare("Settings", page, sorted(common) + ["%s.%s" % (s, n) for s in every for n in every[s] if n not in common] +
                ["agent." + n for n in settings(build + "/hodei-agent")] + ["shim." + n for n in settings(build + "/hodei-shim")])
        compare("Exit statuses", read(CLI), re.findall(r"^    \[HD_\w+\] = \{\"\w+\", \"[^\"]*\", \d+, \d+, (\d+),", read("libhodei/base/status.c"), re.M))
        diagrams(page, build, update)
        readmes(build, common)
        schema(build, update)
        programs_of_tests()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    sys.exit(main(words[0] if words else "build", "--update" in sys.argv))
