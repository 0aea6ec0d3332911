#!/usr/bin/env python3
"""Decisions are pure: their objects need no I/O, no clock, no randomness and no global state of the C library.

purity.py BUILD looks at the undefined symbols of the objects below, and of what they call within the project. Each must be in a pure
object itself, or in the list of what is allowed; so a call that hides three functions away is found too.
"""
import os
import re
import subprocess
import sys

PURE = {
    "libhodei/base": "arena buf calendar cron duration expr_check expr_eval expr_functions expr_known expr_parse inputs json_scan jwt map matrix metrics names pb_field pb_guard pb_json_read pb_json_write quota resources scope status template tz value",
    "services/orchestrator": "machine advance decide graph group plan admit explain rerun retry steer ws view",
    "services/scheduler": "heap place index class queue explain standing reserve pool",
    "services/pipelines": "yaml keys compile compile_job compile_parts compile_step compile_text diff graph render resources schema scope splice tick triggers",
    "services/worker-registry": "machine liveness validate",
    "services/observability": "frames parse",
    "services/api-gateway": "routes",
    "services/auth": "keys permission token",
    "agent/stream": "session stream",
    "agent/connection": "reports logs",
    "agent/executor": "executor",
}
# From everywhere: text and memory, sorting, the heap through arenas and containers, messages, the compiler's own.
ALLOWED = r"""
    mem(cpy|move|set|cmp|chr|mem) str(len|cmp|ncmp|chr|rchr|str|spn|cspn|ncasecmp|casecmp) strdup str(tol|toll|toul|toull|tod)
    qsort bsearch malloc calloc realloc free abort __assert_fail __errno_location __stack_chk_fail _GLOBAL_OFFSET_TABLE_
    (__)?v?snprintf(_chk)? __mem(cpy|move|set)_chk __ctype_b_loc __isoc99_sscanf
    protobuf_c_.* hodei__v1__.* __(asan|ubsan)_.*
"""
# In single objects only, each for its reason.
EXCEPTIONS = {
    "libhodei/base/arena": ("stderr __fprintf_chk", "the last words when memory is out"),
    "libhodei/base/buf": ("stderr __fprintf_chk close", "the last words when memory is out; the cleanup of descriptors lives here"),
    "libhodei/base/pb_json_read": ("cJSON_.*", "parses text in memory"),
    "libhodei/base/value": ("cJSON_.* floor", "parses text in memory"),
    "services/pipelines/yaml": ("yaml_.*", "parses text in memory"),
    "agent/connection/logs": ("hd_log", "says once that a log was cut; log_read_fn is an argument"),
}
# Of objects that are not pure as a whole, but whose functions below are.
FUNCTIONS = {
    "libhodei/base/uuid": "hd_uuid7 hd_uuid_.* hd_rng_next hd_rng_below hd_rng_seed",
    "agent/stream/journal": "journal_encode journal_encode_floor journal_encode_taken",
}


def pattern(words):
    return re.compile(r"(?:%s)\Z" % "|".join(words.split()))


def symbols(path):
    """(what it defines for others, what it needs)"""
    out = subprocess.run(["nm", "-P", path], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    rows = [line.split()[:2] for line in out.splitlines()]
    return {n for n, kind in rows if kind in "TDBRVW" and kind != "U"}, {n for n, kind in rows if kind in "Uw"}


def main(build):
    allowed, found = pattern(ALLOWED), []
    pure = ["%s/%s" % (folder, name) for folder, names in PURE.items() for name in names.split()]
    defined = set()  # by pure objects
    needs = {}
    for name in pure:
        path = os.path.join(build, "obj", name + ".o")
        if not os.path.exists(path):
            found.append("%s.c: %s is not there: build first, or mend the table in tests/lint/purity.py" % (name, path))
            continue
        own, needs[name] = symbols(path)
        defined |= own
    functions = pattern(" ".join(FUNCTIONS.values()))
    for name, wanted in needs.items():
        mine = pattern(EXCEPTIONS.get(name, ("-",))[0])
        for symbol in sorted(wanted - defined):
            if not (allowed.match(symbol) or functions.match(symbol) or mine.match(symbol)):
                found.append("%s.c: is pure and calls %s: take what it gives as an argument, or return a decision to the handler"
                             % (name, symbol))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "build"))
