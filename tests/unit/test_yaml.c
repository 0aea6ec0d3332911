#include "tests/unit/test.h"

#include "base/buf.h"
#include "services/pipelines/yaml.h"

static enum hd_status parse(struct hd_arena *arena, const char *source, struct hd_err *err,
                            const struct pip_node **ret) {
    hd_err_clear(err);
    return pip_yaml_parse(arena, source, strlen(source), err, ret);
}

// The value of a key of the root, NULL where there is none.
static const struct pip_node *get(const struct pip_node *map, const char *key) {
    for (size_t i = 0; map && map->kind == PIP_MAP && i < map->n; i++) {
        if (strcmp(map->entries[i].key, key) == 0)
            return map->entries[i].value;
    }
    return NULL;
}

TEST(core_scalars) {
    static const struct {
        const char *source;
        enum pip_kind kind;
        const char *text;
    } rows[] = {
        {"yes", PIP_TEXT, "yes"},
        {"no", PIP_TEXT, "no"},
        {"on", PIP_TEXT, "on"},
        {"off", PIP_TEXT, "off"},
        {"y", PIP_TEXT, "y"},
        {"true", PIP_BOOL, "true"},
        {"False", PIP_BOOL, "False"},
        {"tRue", PIP_TEXT, "tRue"},
        {"'true'", PIP_TEXT, "true"},
        {"!!str true", PIP_TEXT, "true"},
        {"~", PIP_NULL, "~"},
        {"null", PIP_NULL, "null"},
        {"\"null\"", PIP_TEXT, "null"},
        {"12", PIP_INT, "12"},
        {"-0", PIP_INT, "-0"},
        {"0o17", PIP_INT, "0o17"},
        {"0o18", PIP_TEXT, "0o18"},
        {"0xfF", PIP_INT, "0xfF"},
        {"0x", PIP_TEXT, "0x"},
        {"1_000", PIP_TEXT, "1_000"},
        {"12:30:45", PIP_TEXT, "12:30:45"},
        {"2026-01-01", PIP_TEXT, "2026-01-01"},
        {"1.5", PIP_FLOAT, "1.5"},
        {".5", PIP_FLOAT, ".5"},
        {"5.", PIP_FLOAT, "5."},
        {"1e3", PIP_FLOAT, "1e3"},
        {"1e", PIP_TEXT, "1e"},
        {"1.2.3", PIP_TEXT, "1.2.3"},
        {".", PIP_TEXT, "."},
        {"-", PIP_LIST, NULL},
        {"-.inf", PIP_FLOAT, "-.inf"},
        {".nan", PIP_FLOAT, ".nan"},
        {"-.nan", PIP_TEXT, "-.nan"},
        {"|\n a\n b\n", PIP_TEXT, "a\nb\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hd_arena arena;
        struct hd_err err;
        const struct pip_node *root = NULL;
        hd_arena_init(&arena);
        CHECK_INT(parse(&arena, rows[i].source, &err, &root), HD_OK);
        CHECK(root && root->kind == rows[i].kind);
        if (root && root->kind != rows[i].kind)
            printf("  %s is %s\n", rows[i].source, pip_kind_name(root->kind));
        else if (root && rows[i].text)
            CHECK_STR(root->text, rows[i].text);
        hd_arena_release(&arena);
    }
}

TEST(places_count_characters_from_one) {
    struct hd_arena arena;
    struct hd_err err;
    const struct pip_node *root = NULL;
    hd_arena_init(&arena);
    CHECK_INT(parse(&arena, "a:\n  ñandú: [x, y]\n", &err, &root), HD_OK);
    const struct pip_node *inner = get(root, "a"), *list = get(inner, "ñandú");
    CHECK(list && list->n == 2);
    CHECK_INT(inner->entries[0].at.line, 2);
    CHECK_INT(inner->entries[0].at.column, 3);
    CHECK_INT(list->at.column, 10);
    CHECK_INT(list->items[1]->at.line, 2);
    CHECK_INT(list->items[1]->at.column, 14);
    hd_arena_release(&arena);
}

TEST(merge_keys_give_way) {
    struct hd_arena arena;
    struct hd_err err;
    const struct pip_node *root = NULL;
    hd_arena_init(&arena);
    CHECK_INT(parse(&arena,
                    "one: &one {a: 1, b: 1, c: 1}\n"
                    "two: &two {b: 2, d: 2}\n"
                    "both:\n  c: own\n  <<: [*one, *two]\n"
                    "nested: &n {<<: *two, e: 5}\n"
                    "deep: {<<: *n}\n"
                    "quoted: {\"<<\": *one}\n",
                    &err, &root),
              HD_OK);
    const struct pip_node *both = get(root, "both");
    CHECK_INT(both->n, 4);
    CHECK_STR(both->entries[0].key, "c"); // what is written in the mapping comes first
    CHECK_STR(get(both, "c")->text, "own");
    CHECK_STR(get(both, "a")->text, "1");
    CHECK_STR(get(both, "b")->text, "1");
    CHECK_STR(get(both, "d")->text, "2");
    CHECK_STR(get(get(root, "deep"), "d")->text, "2");
    CHECK_STR(get(get(root, "deep"), "e")->text, "5");
    CHECK_INT(get(root, "quoted")->n, 1);
    hd_arena_release(&arena);
}

TEST(errors_have_a_place) {
    static const struct {
        const char *source;
        unsigned line, column;
        const char *text;
    } rows[] = {
        {"", 1, 1, "the definition is empty"},
        {"# nothing\n", 1, 1, "the definition is empty"},
        {"a: 1\nb: 2\na: 3\n", 3, 1, "the key \"a\" stands twice in one mapping"},
        {"a: {b: 1, c: 2, \"b\": 3}", 1, 17, "the key \"b\" stands twice in one mapping"},
        {"a: *x\n", 1, 4, "there is no anchor &x above"},
        {"a: &x [1, *x]\n", 1, 11, "the alias *x stands inside of what it names"},
        {"a: &x 1\n*x : 2\n", 2, 1, "a key must be a text"},
        {"? [a, b]\n: 1\n", 1, 3, "a key must be a text"},
        {"a: 1\n---\nb: 2\n", 2, 1, "a second document begins; there may be only one"},
        {"a: !!int 5\n", 1, 4, "the tag \"tag:yaml.org,2002:int\" is not supported"},
        {"a: !exec {}\n", 1, 4, "the tag \"!exec\" is not supported"},
        {"a: \"x\\0y\"\n", 1, 4, "a text may not contain a NUL character"},
        {"a: b: c\n", 1, 5, "not YAML: mapping values are not allowed in this context"},
        {"a:\n\t- b\n", 2, 1,
         "not YAML: found character that cannot start any token while scanning for the next token"},
        {"a: [1, 2\n", 2, 1, "not YAML: did not find expected ',' or ']' while parsing a flow sequence"},
        {"a: 1\nb: \xff\n", 2, 4, "not YAML: invalid leading UTF-8 octet"},
        {"a: 1\nb: \x01\n", 2, 4, "not YAML: control characters are not allowed"},
        {"<<: 5\n", 1, 1, "<< takes a mapping or a list of mappings, not a number"},
        {"<<: [5]\n", 1, 1, "<< takes a mapping or a list of mappings, not a number"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hd_arena arena;
        struct hd_err err;
        const struct pip_node *root = NULL;
        hd_arena_init(&arena);
        CHECK_INT(parse(&arena, rows[i].source, &err, &root), HD_INVALID);
        CHECK_STR(err.text, rows[i].text);
        CHECK_INT(err.line, rows[i].line);
        CHECK_INT(err.column, rows[i].column);
        CHECK(root == NULL);
        hd_arena_release(&arena);
    }
}

static enum hd_status parse_nested(size_t levels, bool by_alias, struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf source = {0};
    struct hd_arena arena;
    const struct pip_node *root;

    if (by_alias)
        hd_buf_adds(&source, "a: &a [[[[x]]]]\nb: ");
    for (size_t i = 0; i < levels; i++)
        hd_buf_addc(&source, '[');
    if (by_alias)
        hd_buf_adds(&source, "*a");
    for (size_t i = 0; i < levels; i++)
        hd_buf_addc(&source, ']');
    hd_arena_init(&arena);
    enum hd_status st = parse(&arena, source.data, err, &root);
    hd_arena_release(&arena);
    return st;
}

TEST(nesting_is_bounded) {
    struct hd_err err;
    CHECK_INT(parse_nested(32, false, &err), HD_OK);
    CHECK_INT(parse_nested(33, false, &err), HD_INVALID);
    CHECK_STR(err.text, "nested deeper than 32 levels");
    CHECK_INT(err.column, 33);
    CHECK_INT(parse_nested(100000, false, &err), HD_INVALID);
    CHECK_INT(parse_nested(27, true, &err), HD_OK); // the root, 27, and 4 of the alias
    CHECK_INT(parse_nested(28, true, &err), HD_INVALID);
    CHECK_STR(err.text, "nested deeper than 32 levels");
    CHECK_INT(err.line, 2);
}

TEST(alias_bomb_is_refused) {
    HD_AUTO_BUF struct hd_buf source = {0};
    struct hd_arena arena;
    struct hd_err err;
    const struct pip_node *root = NULL;

    hd_buf_adds(&source, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        hd_buf_addf(&source, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            hd_buf_addf(&source, "%s*a%d", k ? ", " : "", i - 1);
        hd_buf_adds(&source, "]\n");
    }
    hd_arena_init(&arena);
    CHECK_INT(parse(&arena, source.data, &err, &root), HD_INVALID);
    CHECK_STR(err.text, "aliases expand to more than 100000 nodes");
    CHECK_INT(err.line, 5);
    CHECK(arena.used_bytes < 1 << 20);
    hd_arena_release(&arena);
}

TEST(sizes_are_bounded) {
    HD_AUTO_BUF struct hd_buf source = {0};
    struct hd_arena arena;
    struct hd_err err = {0};
    const struct pip_node *root;

    hd_buf_adds(&source, "a: ");
    while (source.len <= PIP_SOURCE_MAX)
        hd_buf_adds(&source, "xxxxxxxxxxxxxxxx");
    hd_arena_init(&arena);
    CHECK_INT(pip_yaml_parse(&arena, source.data, PIP_SOURCE_MAX, &err, &root), HD_OK);
    CHECK_INT(pip_yaml_parse(&arena, source.data, PIP_SOURCE_MAX + 1, &err, &root), HD_INVALID);
    CHECK_STR(err.text, "the definition has 1048577 bytes, more than 1048576");
    hd_buf_clear(&source);
    for (int i = 0; i <= PIP_ANCHORS_MAX; i++)
        hd_buf_addf(&source, "- &a%d x\n", i);
    CHECK_INT(parse(&arena, source.data, &err, &root), HD_INVALID);
    CHECK_STR(err.text, "more than 1000 anchors");
    CHECK_INT(err.line, 1001);
    hd_arena_release(&arena);
}

TEST_MAIN
