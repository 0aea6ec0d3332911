#!/usr/bin/env python3
"""The model of leases (lease.pml) by spin: every state for each on_worker_lost, and mutants that must be caught.

lease.py FOLDER: where it is compiled."""

import concurrent.futures
import os
import re
import subprocess
import sys

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lease.pml")
RULES = ("requeue", "fail", "hold", "exclusive")
# What is explored: the rule, and ticks of a lease.
WHOLE = [(rule, 1) for rule in RULES]


def mutants():
    return re.findall(r"#define (\w+) +\(MUTANT == (\d+)\) /\* (.*?) \*/", open(MODEL, encoding="utf-8").read())


def explore(folder, name, rule, ticks=1, mutant="0"):
    """(errors, states, what is said); all states that there are, or until the first error."""
    where = os.path.join(folder, name)
    os.makedirs(where, exist_ok=True)
    defines = ["-DPOLICY=%d" % (RULES.index(rule) % 3), "-DEXCLUSIVE=%d" % (rule == "exclusive"), "-DLEASE=%d" % ticks, "-DMUTANT=" + mutant]

    def call(*command, timeout=900):
        return subprocess.run(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)

    made = call("spin", "-a", *defines, MODEL)
    if made.returncode or not os.path.exists(os.path.join(where, "pan.c")):
        return 1, 0, made.stdout
    made = call("gcc", "-w", "-O2", "-DSAFETY", "-DCOLLAPSE", "-DNOFAIR", "-DMEMLIM=3000", "-o", "pan", "pan.c")
    if made.returncode:
        return 1, 0, made.stdout
    said = call("./pan", "-m200000", "-w24").stdout
    errors, states = re.search(r"errors: (\d+)", said), re.search(r"(\d+) states, stored", said)
    if not errors or "max search depth too small" in said or "out of memory" in said:
        return 1, 0, said
    found = int(errors.group(1))
    if found and mutant == "0":
        said += call("spin", "-t", "-p", "-g", "-k", "lease.pml.trail", *defines, MODEL).stdout[-6000:]
    return found, int(states.group(1)), said


def main():
    folder = sys.argv[1]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        whole = [(rule, ticks, pool.submit(explore, folder, "%s-%d" % (rule, ticks), rule, ticks)) for rule, ticks in WHOLE]
        broken = [(what, pool.submit(explore, folder, name.lower(), "exclusive", 1, number)) for name, number, what in mutants()]
        for rule, ticks, future in whole:
            errors, states, said = future.result()
            passed, failed = passed + (not errors), failed + bool(errors)
            print("%s %s, a lease of %d: %d states" % ("FAILED" if errors else "ok    ", rule, ticks, states), flush=True)
            if errors:
                print(said)
        for what, future in broken:
            errors, states, said = future.result()
            caught = errors and "assertion violated" in said
            passed, failed = passed + bool(caught), failed + (not caught)
            print("%s: %s" % (what, "caught after %d states" % states if caught else "NOT caught\n" + said), flush=True)
    if not broken:
        failed += 1
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
