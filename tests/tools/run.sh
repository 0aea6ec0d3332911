#!/usr/bin/env bash
# run.sh COMMAND...: runs each test program, shows the output of those that fail, and adds up their closing lines. A program that
# ends without "N passed, N failed" counts as one failure, and so does a bad exit status without a failed test. What failed is said once
# more at the end: the last screen of a long log is all that some readers get.
set -u
passed=0 failed=0 again=
out=$(mktemp)
trap 'rm -f "$out"' EXIT
# The name of each failed test with the two lines before it (C) and the last two of what it said after (Python); without one, the end.
digest() {
    grep -q '^FAILED' "$1" || { tail -n 5 "$1"; return; }
    awk '/^FAILED/ { flush(); if (b != "") print "    " b; if (c != "") print "    " c; print; inside = 1; d = e = ""; next }
         /^ok |^[0-9]+ passed/ { flush(); b = c = ""; next }
         inside { if (!/^ *\^+$/) { d = e; e = $0 }; next }
         { b = c; c = $0 }
         function flush() { if (inside) { if (d != "") print "    " d; if (e != "") print "    " e; b = c = "" }; inside = 0 }
         END { flush() }' "$1" | cut -c1-300 | head -n 12
}

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
        again+="$command ended with $rc:"$'\n'"$(digest "$out")"$'\n'
    fi
    printf '%5d passed, %d failed  %4ds  %s\n' "$p" "$f" $((SECONDS - start)) "$command" | sed 's/passed,/ok,/;s/failed /bad /'
done
[ -z "$again" ] || printf '\n%s\n' "$again"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
