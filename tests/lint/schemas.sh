#!/usr/bin/env bash
# Refuses an incompatible change of schemas/, and proves first that it does. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.."
ran=$({ python3 tests/lint/schemas.py --self-test && python3 tests/lint/schemas.py "$@"; } 2>&1)
rc=$?
grep -vE '^[0-9]+ passed, [0-9]+ failed$' <<<"$ran"
awk '/^[0-9]+ passed, [0-9]+ failed$/ {p += $1; f += $3} END {print p + 0 " passed, " f + 0 " failed"}' <<<"$ran"
exit $rc
