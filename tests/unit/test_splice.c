#include "tests/unit/test.h"

#include <unistd.h>

#include "base/matrix.h"
#include "services/pipelines/splice.h"

static const char *splice(struct hd_arena *arena, const char *script, const char *shell) {
    struct hd_template t;
    struct pip_splice made;
    struct hd_err err = {0};
    if (hd_template_parse(arena, script, strlen(script), &err, &t) != HD_OK ||
        pip_splice(arena, &t, shell, &err, &made) != HD_OK)
        return hd_arena_printf(arena, "! %u %s", err.column, err.text);
    return made.script;
}

#define V "\"${HODEI_EXPR_1}\""
TEST(where_it_stands) {
    static const struct {
        const char *script, *gives;
    } rows[] = {
        {"make MODE=${{ a }}", "make MODE=" V},
        {"echo \"x ${{ a }}\"", "echo \"x ${HODEI_EXPR_1}\""},
        {"echo 'x ${{ a }}'", "echo 'x '" V "''"},
        {"echo \"$(f ${{ a }})\"", "echo \"$(f " V ")\""},
        {"echo `f ${{ a }}`", "echo `f " V "`"},
        {"# it's ${{ a }}\necho ${{ b }}", "# it's \necho \"${HODEI_EXPR_2}\""},
        {"echo a#'${{ a }}'", "echo a#''" V "''"},
        {"echo \\'${{ a }}", "echo \\'" V},
        {"cat <<E\n${{ a }}\nE\necho ${{ b }}", "cat <<E\n${HODEI_EXPR_1}\nE\necho \"${HODEI_EXPR_2}\""},
        {"cat <<-E\n\t${{ a }}\n\tE\necho ${{ b }}", "cat <<-E\n\t${HODEI_EXPR_1}\n\tE\necho \"${HODEI_EXPR_2}\""},
        {"cat <<'E'\n$x\nE\necho ${{ b }}", "cat <<'E'\n$x\nE\necho " V},
        {"cat <<'E'\n${{ a }}\nE",
         "! 11 an expression cannot stand in a here-document whose end is quoted: the shell takes that as it is"},
        {"echo $(( ${{ a }} + 1 ))",
         "! 10 an expression cannot stand within $(( )): the shell would compute with it as text of a program"},
        {"echo $((1)) ${{ a }}", "echo $((1)) " V},
        {"case x in a) ${{ a }};; esac", "case x in a) " V ";; esac"},
        {"cat <<<${{ a }}", "cat <<<" V},
    };
    struct hd_arena arena;
    hd_arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        CHECK_STR(splice(&arena, rows[i].script, "/bin/sh"), rows[i].gives);
    CHECK_STR(splice(&arena, "print(${{ a }})", "/usr/bin/python3"),
              "! 7 an expression cannot stand in the run of a shell that is not a POSIX shell");
    hd_arena_release(&arena);
}

// A real shell, and the values that attackers like: each must come out as it went in.
TEST(values_are_data) {
    static const char *const scripts[] = {"printf %s ${{ a }}",
                                          "printf %s \"${{ a }}\"",
                                          "printf %s '${{ a }}'",
                                          "printf %s \"$(printf %s ${{ a }})\"",
                                          "X=${{ a }}; printf %s \"$X\"",
                                          "# don't\nprintf %s ${{ a }}",
                                          "cat <<E | tr -d '\\n'\n${{ a }}\nE\n"};
    static const char *const values[] = {
        "$(touch /tmp/hacked)", "`id`", "'; exit 3; '", "\"; exit 3; \"", "* ?", "-n", "a  b\\n", "E", "${HOME}"};
    struct hd_arena arena;
    hd_arena_init(&arena);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++) {
        for (size_t k = 0; k < sizeof(values) / sizeof(*values); k++) {
            char got[256] = "";
            setenv("HODEI_EXPR_1", values[k], 1);
            setenv("SCRIPT", splice(&arena, scripts[i], "/bin/sh"), 1);
            FILE *out = popen("exec /bin/sh -e -c \"$SCRIPT\"", "r");
            CHECK(out != NULL);
            size_t n = out ? fread(got, 1, sizeof(got) - 1, out) : 0;
            got[n] = '\0';
            CHECK_INT(out ? pclose(out) : -1, 0);
            CHECK_STR(got, values[k]);
        }
    }
    hd_arena_release(&arena);
}

static const char *expand(struct hd_arena *arena, const char *axes, const char *include, const char *exclude) {
    const struct hd_value *a, *i = NULL, *e = NULL, *out;
    struct hd_err err = {0};
    HD_AUTO_BUF struct hd_buf buf = {0};
    CHECK(hd_value_read(arena, axes, strlen(axes), &err, &a) == HD_OK);
    CHECK(!include || hd_value_read(arena, include, strlen(include), &err, &i) == HD_OK);
    CHECK(!exclude || hd_value_read(arena, exclude, strlen(exclude), &err, &e) == HD_OK);
    if (hd_matrix_expand(arena, a, i, e, &err, &out) != HD_OK)
        return hd_arena_printf(arena, "! %s", err.text);
    hd_value_write(&buf, out);
    return hd_arena_strdup(arena, buf.data);
}

TEST(matrix) {
    struct hd_arena arena;
    HD_AUTO_BUF struct hd_buf bomb = {0};
    hd_arena_init(&arena);
    CHECK_STR(expand(&arena, "{\"a\":[1,2],\"b\":[\"x\",\"y\"]}", NULL, NULL),
              "[{\"a\":1,\"b\":\"x\"},{\"a\":1,\"b\":\"y\"},{\"a\":2,\"b\":\"x\"},{\"a\":2,\"b\":\"y\"}]");
    CHECK_STR(expand(&arena, "{\"a\":[1,2],\"b\":[\"x\",\"y\"]}", "[{\"a\":2,\"c\":true},{\"a\":9},{\"z\":0}]",
                     "[{\"a\":1,\"b\":\"y\"},{\"b\":\"none\"}]"),
              "[{\"a\":1,\"b\":\"x\"},{\"a\":2,\"b\":\"x\",\"c\":true},{\"a\":2,\"b\":\"y\",\"c\":true},{\"a\":9},{"
              "\"z\":0}]");
    CHECK_STR(expand(&arena, "[{\"k\":1},{\"k\":2}]", NULL, "[{\"k\":1}]"), "[{\"k\":2}]");
    CHECK_STR(expand(&arena, "{}", "[{\"k\":1}]", NULL), "[{\"k\":1}]");
    CHECK_STR(expand(&arena, "{\"a\":[]}", NULL, NULL), "! the matrix has no combination");
    CHECK_STR(expand(&arena, "{\"a\":3}", NULL, NULL), "! axis \"a\" of the matrix must be a list, not a number");
    CHECK_STR(expand(&arena, "\"a\"", NULL, NULL), "! the matrix must be a map of lists or a list of maps, not a text");
    CHECK_STR(expand(&arena, "[1]", NULL, NULL), "! item 1 of the matrix must be a map, not a number");
    hd_buf_adds(&bomb, "{");
    for (int i = 0; i < 30; i++)
        hd_buf_addf(&bomb, "%s\"a%d\":[1,2,3,4,5,6,7,8,9,0]", i ? "," : "", i);
    hd_buf_adds(&bomb, "}");
    CHECK_STR(expand(&arena, bomb.data, NULL, NULL), "! the matrix has more than 10000 combinations");
    hd_arena_release(&arena);
}

TEST_MAIN
