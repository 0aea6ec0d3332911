#!/bin/sh
# Starts the whole platform in a temporary folder, runs the project's own pipeline on it, and shows what came of it. The exit
# status is 0 only if the run succeeded. Nothing is left behind, also after Ctrl-C.
set -eu
cd "$(dirname "$0")/.."
hodei=${BUILD:-build}/hodei
data=$(mktemp -d "${TMPDIR:-/tmp}/hodei-demo.XXXXXX")
dev=

clean() {
    status=$?
    trap - EXIT INT TERM HUP
    if [ -n "$dev" ]; then
        kill -TERM "$dev" 2>/dev/null || true
        wait "$dev" 2>/dev/null || true
    fi
    [ "${KEEP:-}" ] || rm -rf "$data"
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step() {
    printf '\n== %s\n' "$*"
}

step "Starting the platform: PostgreSQL, nats-server, eight services, one agent"
"$hodei" dev --data "$data" --slots 3 >"$data/dev.out" 2>&1 &
dev=$!
tries=0
until grep -qs '"ready": true' "$data/dev.json"; do
    tries=$((tries + 1))
    if ! kill -0 "$dev" 2>/dev/null || [ "$tries" -gt 1200 ]; then
        cat "$data/dev.out" >&2
        tail -n 5 "$data"/log/*.log >&2 || true
        echo "The platform did not start." >&2
        exit 1
    fi
    sleep 0.1
done
grep '^Ready' "$data/dev.out" || true
. "$data/env"
"$hodei" worker list

step "Applying hodei.yml"
"$hodei" pipeline apply hodei.yml

step "Running it: three jobs at once, and one that needs them all"
run=$("$hodei" run start hodei-pipelines --env "REPO=$(pwd)")
echo "run $run"
result=0
"$hodei" run watch "$run" --logs || result=$?

step "The same with curl"
cat <<END
curl -H "Authorization: Bearer \$HODEI_TOKEN" -H 'Content-Type: application/yaml' --data-binary @hodei.yml $HODEI_SERVER/v1/pipelines
curl -H "Authorization: Bearer \$HODEI_TOKEN" --json '{"pipeline":"hodei-pipelines","env":[{"name":"REPO","value":"$(pwd)"}]}' $HODEI_SERVER/v1/runs
curl -H "Authorization: Bearer \$HODEI_TOKEN" "$HODEI_SERVER/v1/runs/$run/logs?format=text"
END
echo
if [ "$result" = 0 ]; then
    echo "The run has succeeded."
else
    echo "The run has not succeeded (exit status $result)." >&2
fi
exit "$result"
