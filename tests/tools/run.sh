#!/usr/bin/env bash
# run.sh COMMAND...: runs each test program, shows the output of those that fail, and adds up their closing lines. A program that
# ends without "N passed, N failed" counts as one failure, and so does a bad exit status without a failed test.
set -u
passed=0 failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for command in "$@"; do
    start=$SECONDS
    if [ "${command#python3 }" != "$command" ] || [ "${command#bash }" != "$command" ]; then
        bash -c "$command" 2>&1 | tee "$out"
        rc=${PIPESTATUS[0]}
    else
        bash -c "$command" >"$out" 2>&1
        rc=$?
    fi
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$out" | tail -n 1)
    if [ -n "$line" ]; then
        read -r p _ f _ <<<"$line"
        [ "$rc" = 0 ] || [ "$f" != 0 ] || f=1
    else
        p=0 f=1
    fi
    passed=$((passed + p)) failed=$((failed + f))
    if [ "$f" != 0 ]; then
        echo "=== $command ended with $rc:"
        tail -n 60 "$out"
    fi
    printf '%5d passed, %d failed  %4ds  %s\n' "$p" "$f" $((SECONDS - start)) "$command" | sed 's/passed,/ok,/;s/failed /bad /'
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
