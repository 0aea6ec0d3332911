#!/usr/bin/env bash
# lint.sh [part...]: what can be said of the code without running it. Runs after `make all`, in BUILD (build). Each part is silent
# or names file, line and what to do. The last line is "lint: clear" or which parts are not.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}

# Files that git knows, but not those that are deleted in the working tree.
files() {
    git ls-files -- "$@" | while read -r f; do [ ! -e "$f" ] || echo "$f"; done
}
part_format() {
    files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1 | grep -E 'error:' | sed 's/error: code should be clang-formatted.*/not formatted: run clang-format -i on it/' |
        sort -t: -k1,1 -u | grep . && return 1
    return 0
}
part_tidy() {
    make --no-print-directory -k BUILD="$build" tidy 2>&1 | grep -vE '^make|^[0-9]+ warnings? |^Suppressed|^Use -header' | grep -E ': (error|warning): ' | sed "s#^$PWD/##" | sort -u | grep . && return 1
    return 0
}
part_cppcheck() {
    files '*.c' | xargs cppcheck -j2 --quiet --std=c11 --enable=warning,portability,performance --library=posix -D_GNU_SOURCE \
        '-DHD_VERSION="0"' -Ilibhodei -I. --suppressions-list=<(grep -v '^#' tests/lint/cppcheck.supp) \
        --template='{file}:{line}: {message} [{id}]' --error-exitcode=1 2>&1
}
part_layering() {
    python3 tests/lint/layering.py
}
part_purity() {
    python3 tests/lint/purity.py "$build"
}
part_schemas() {
    tests/lint/schemas.sh | grep -v ' 0 failed$'
    [ "${PIPESTATUS[0]}" = 0 ]
}
part_docs() {
    python3 tests/lint/docs.py "$build" | grep -v ' 0 failed$'
    [ "${PIPESTATUS[0]}" = 0 ]
}

bad=
for part in "${@:-format layering purity schemas docs cppcheck tidy}"; do
    for one in $part; do
        start=$SECONDS
        if "part_$one"; then
            printf 'ok   %-9s %3ds\n' "$one" $((SECONDS - start))
        else
            printf 'BAD  %-9s %3ds\n' "$one" $((SECONDS - start))
            bad="$bad $one"
        fi
    done
done
[ -n "$bad" ] && { echo "lint: not clear:$bad"; exit 1; }
echo "lint: clear"
