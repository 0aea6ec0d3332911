#!/usr/bin/env bash
# run.sh FOLDER SECONDS: every fuzzer in FOLDER first replays its seeds and the crashes of the past, then looks for new ones. What
# it finds is kept in FOLDER/found/; put it into tests/fuzz/regression/<fuzzer>/ with the fix. SECONDS 0: replays only. Two
# fuzzers at a time. Ends with "N passed, N failed".
set -u
folder=${1:?the folder of the fuzzers} seconds=${2:?seconds each}
here=$(cd "$(dirname "$0")" && pwd)
passed=0 failed=0

# Replays, then fuzzes; the output goes to $folder/<name>.log.
one() {
    local name=$1 work=$folder/found/$1
    mkdir -p "$work/corpus"
    local old=()
    for d in "$here/corpus/$name" "$here/regression/$name"; do
        [ -d "$d" ] && old+=("$d")
    done
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    if [ ${#old[@]} -gt 0 ]; then
        "$folder/$name" -runs=0 -timeout=20 -rss_limit_mb=1024 "${old[@]}" || return 1
    fi
    [ "$seconds" = 0 ] || "$folder/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
        -artifact_prefix="$work/" "$work/corpus" "${old[@]}"
}

jobs=()
finish() {
    local name=${jobs[0]%%:*} pid=${jobs[0]##*:}
    jobs=("${jobs[@]:1}")
    if wait "$pid"; then
        passed=$((passed + 1))
        printf 'ok   %-16s %s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: */runs /p' "$folder/$name.log")"
    else
        failed=$((failed + 1))
        printf 'BAD  %s\n' "$name"
        grep -vE '^#[0-9]+|^INFO' "$folder/$name.log" | tail -n 40
        echo "again: $folder/$name <the file named above>"
    fi
}
for source in "$here"/fuzz_*.c; do
    name=$(basename "$source" .c)
    if [ ! -x "$folder/$name" ]; then
        failed=$((failed + 1))
        echo "BAD  $name is not built: make fuzzers"
        continue
    fi
    [ ${#jobs[@]} -lt 2 ] || finish
    one "$name" >"$folder/$name.log" 2>&1 &
    jobs+=("$name:$!")
done
while [ ${#jobs[@]} -gt 0 ]; do
    finish
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
