#!/bin/sh
# embed-comments.sh FILE.proto ...: writes a C header with what the schemas say of their messages, fields and enums, by their names.
set -eu
echo '// Generated from schemas. Do not edit.'
echo 'static const struct schema_comment schema_comments[] = {'
awk '
function path(name,   i, p) { p = ""; for (i = 1; i <= depth; i++) if (stack[i] != "") p = p stack[i] "."; return p name }
function emit(name, text) {
    if (text == "") return
    gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text)
    printf "    {\"%s\", \"%s\"},\n", name, text
}
function trailing(line) { if (!match(line, /\/\/ */)) return ""; return substr(line, RSTART + RLENGTH) }
FNR == 1 { depth = 0; above = "" }
/^ *\/\// { sub(/^ *\/\/ ?/, ""); above = above (above == "" ? "" : " ") $0; next }
/^ *(message|enum) +[A-Za-z0-9_]+ *\{/ {
    emit(path($2), above); above = ""
    if ($0 !~ /\} *$/) stack[++depth] = $2
    next
}
/^ *oneof / { stack[++depth] = ""; above = ""; next }
/^ *\}/ { if (depth > 0) depth--; above = ""; next }
/= *[0-9]+.*;/ {
    said = trailing($0); line = $0; sub(/ *=.*/, "", line); n = split(line, words, " ")
    if (above != "") said = said == "" ? above : above " " said
    if (depth > 0) emit(path(words[n]), said)
    above = ""; next
}
{ above = "" }' "$@"
echo '};'
