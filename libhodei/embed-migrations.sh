#!/bin/sh
# embed-migrations.sh DIR: writes a C header with every DIR/NNNN_name.sql as rows of a struct hd_migration table.
set -eu
echo '// Generated from SQL files. Do not edit.'
echo '#include "adapter/db.h"'
echo 'static const struct hd_migration hd_embedded_migrations[] = {'
for f in "$1"/[0-9][0-9][0-9][0-9]_*.sql; do
    base=$(basename "$f" .sql)
    number=$(echo "${base%%_*}" | sed 's/^0*//')
    printf '    {%s, "%s",\n' "$number" "${base#*_}"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$f"
    echo '    },'
done
echo '};'
