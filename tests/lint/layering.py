#!/usr/bin/env python3
"""Includes point one way: base → adapters → service runner → services, agent, cli. Nobody includes another's headers."""
import os
import re
import subprocess
import sys

# folder: what it may include besides itself, hodei/v1/ and the headers of the system. The longest folder that fits counts.
MAY = {
    "libhodei/base": "base/",
    "libhodei/adapter": "base/ adapter/",
    "libhodei/service": "base/ adapter/ service/",
    "services": "base/ adapter/ service/",  # each its own folder besides
    "agent": "base/ adapter/ service/ agent/",
    "agent/monitor": "base/",
    "agent/shim": "base/",
    # The CLI checks pipelines offline, and `hodei dev` lists what the services are.
    "cli": "base/ adapter/ service/ services/pipelines/compile.h services/pipelines/diff.h services/pipelines/render.h services/pipelines/schema.h",
    "tests": "base/ adapter/ service/ services/ agent/ cli/ tests/",
}
# Headers of libraries that one layer alone may include: (header, who).
ONLY = [
    (r"nats/|nats\.h", r"libhodei/adapter/bus_nats"),
    (r"libpq-fe\.h|postgresql/", r"libhodei/adapter/db|tests/integration/servers\.h|tests/sim/real\.c"),
    (r"civetweb\.h", r"services/api-gateway/|tests/"),
    (r"curl/", r"cli/|tests/"),
    (r"cjson/|cJSON\.h", r"libhodei/base/|cli/|tests/"),
    (r"yaml\.h", r"libhodei/base/settings|services/pipelines/yaml|cli/print|tests/"),
    (r"zlib\.h", r"services/api-gateway/gzip|tests/"),
]
OWN = re.compile(r"(base|adapter|service|services|agent|cli|tests)/")


def folder_of(path):
    return max((f for f in MAY if path.startswith(f + "/")), key=len, default=None)


def main():
    found = []
    files = subprocess.run(["git", "ls-files", "--", "*.c", "*.h"], stdout=subprocess.PIPE, universal_newlines=True,
                           check=True).stdout.split()
    for path in filter(os.path.exists, files):
        folder = folder_of(path)
        if folder is None:
            found.append("%s: its folder is not in the table of tests/lint/layering.py" % path)
            continue
        home = os.path.dirname(path)
        with open(path) as f:
            lines = f.read().splitlines()
        for number, line in enumerate(lines, 1):
            match = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
            if not match:
                continue
            what, where = match.group(1), "%s:%d" % (path, number)
            for header, who in ONLY:
                if re.match(header, what) and not re.match(who, path):
                    found.append("%s: includes %s, which only %s may" % (where, what, who.replace("|", " and ")))
            real = os.path.normpath(os.path.join(home, what))
            if os.path.exists(real) and real != what:
                what = real.replace("libhodei/", "", 1)  # beside the file
            mine = home.replace("libhodei/", "", 1) + "/"
            if OWN.match(what) and not what.startswith(mine) and not any(what.startswith(m) for m in MAY[folder].split()):
                found.append("%s: %s may not include %s" % (where, folder, what))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
