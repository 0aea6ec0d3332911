// The JSON Schema for editors against the compiler: what one takes, the other takes. Runs in the root of the project.
#include "tests/unit/test.h"

#include <cjson/cJSON.h>
#include <glob.h>
#include <regex.h>

#include "base/buf.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/schema.h"
#include "services/pipelines/yaml.h"

static cJSON *schema;
static const char *wrong; // the first keyword that did not hold

static bool valid(const cJSON *rule, const struct pip_node *node);

static bool has_type(const char *type, const struct pip_node *node) {
    static const char *const names[] = {"string", "null", "boolean", "integer", "number", "array", "object"};
    return strcmp(type, names[node->kind]) == 0 || (strcmp(type, "number") == 0 && node->kind == PIP_INT);
}

static bool any_type(const cJSON *types, const struct pip_node *node) {
    const cJSON *one;
    if (cJSON_IsString(types))
        return has_type(types->valuestring, node);
    cJSON_ArrayForEach(one, types) {
        if (has_type(one->valuestring, node))
            return true;
    }
    return false;
}

static bool is_text(const cJSON *json, const struct pip_node *node) {
    return node->kind == PIP_TEXT && strcmp(json->valuestring, node->text) == 0;
}

static bool any_of(const cJSON *list, const struct pip_node *node, bool texts) {
    const cJSON *one;
    cJSON_ArrayForEach(one, list) {
        if (texts ? is_text(one, node) : valid(one, node))
            return true;
    }
    return false;
}

static bool has_key(const struct pip_node *map, const char *key) {
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->entries[i].key, key) == 0)
            return true;
    return false;
}

static bool members_valid(const cJSON *rule, const struct pip_node *map) {
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(rule, "properties"),
                *others = cJSON_GetObjectItemCaseSensitive(rule, "additionalProperties"), *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(rule, "required")) {
        if (!has_key(map, one->valuestring))
            return false;
    }
    for (size_t i = 0; i < map->n; i++) {
        const cJSON *of = cJSON_GetObjectItemCaseSensitive(properties, map->entries[i].key);
        if (!of && cJSON_IsFalse(others))
            return false;
        if (of || cJSON_IsObject(others)) {
            if (!valid(of ? of : others, map->entries[i].value))
                return false;
        }
    }
    return true;
}

static bool items_valid(const cJSON *rule, const struct pip_node *list) {
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(rule, "items");
    for (size_t i = 0; items && i < list->n; i++)
        if (!valid(items, list->items[i]))
            return false;
    return true;
}

static bool matches(const char *pattern, const char *text) {
    regex_t regex;
    bool ok = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0;
    CHECK(ok);
    ok = ok && regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return ok;
}

static bool keyword_holds(const cJSON *key, const cJSON *rule, const struct pip_node *node) {
    const char *name = key->string;
    bool list = node->kind == PIP_LIST, map = node->kind == PIP_MAP, text = node->kind == PIP_TEXT;
    bool number = node->kind == PIP_INT || node->kind == PIP_FLOAT;
    if (strcmp(name, "type") == 0)
        return any_type(key, node);
    if (strcmp(name, "const") == 0)
        return is_text(key, node);
    if (strcmp(name, "enum") == 0)
        return any_of(key, node, true);
    if (strcmp(name, "anyOf") == 0)
        return any_of(key, node, false);
    if (strcmp(name, "$ref") == 0)
        return valid(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(schema, "$defs"),
                                                      key->valuestring + strlen("#/$defs/")),
                     node);
    if (strcmp(name, "properties") == 0 || strcmp(name, "additionalProperties") == 0 || strcmp(name, "required") == 0)
        return !map || members_valid(rule, node);
    if (strcmp(name, "items") == 0)
        return !list || items_valid(rule, node);
    if (strcmp(name, "minItems") == 0)
        return !list || (double)node->n >= key->valuedouble;
    if (strcmp(name, "minProperties") == 0)
        return !map || (double)node->n >= key->valuedouble;
    if (strcmp(name, "minLength") == 0)
        return !text || (double)node->n >= key->valuedouble;
    if (strcmp(name, "pattern") == 0)
        return !text || matches(key->valuestring, node->text);
    if (strcmp(name, "minimum") == 0)
        return !number || strtod(node->text, NULL) >= key->valuedouble;
    if (strcmp(name, "maximum") == 0)
        return !number || strtod(node->text, NULL) <= key->valuedouble;
    CHECK(strcmp(name, "description") == 0 || strcmp(name, "title") == 0 ||
          name[0] == '$'); // else: a keyword we do not know
    return true;
}

static bool valid(const cJSON *rule, const struct pip_node *node) {
    const cJSON *key;
    if (cJSON_IsBool(rule))
        return cJSON_IsTrue(rule);
    CHECK(cJSON_IsObject(rule)); // else: a $ref to nothing
    cJSON_ArrayForEach(key, rule) {
        if (!keyword_holds(key, rule, node)) {
            wrong = key->string;
            return false;
        }
    }
    return true;
}

// 1: it is valid; 0: not; -1: it is no YAML.
static int by_schema(const char *source) {
    struct hd_arena arena;
    struct hd_err err;
    const struct pip_node *root;
    hd_arena_init(&arena);
    int result = pip_yaml_parse(&arena, source, strlen(source), &err, &root) == HD_OK ? valid(schema, root) : -1;
    hd_arena_release(&arena);
    return result;
}

static bool by_compiler(const char *source) {
    struct hd_arena arena;
    struct hd_err err;
    Hodei__V1__CompiledPipeline *p;
    hd_arena_init(&arena);
    bool ok = pip_compile(&arena, source, strlen(source), &err, &p) == HD_OK;
    hd_arena_release(&arena);
    return ok;
}

static void begin(void) {
    HD_AUTO_BUF struct hd_buf text = {0};
    pip_schema(&text);
    schema = cJSON_Parse(text.data);
    CHECK(schema != NULL);
}

TEST(what_the_compiler_takes_is_valid) {
    glob_t files;
    begin();
    CHECK_INT(glob("tests/pipelines/*.yml", 0, NULL, &files), 0);
    CHECK(files.gl_pathc > 90);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        HD_AUTO_BUF struct hd_buf source = {0};
        FILE *file = fopen(files.gl_pathv[i], "re");
        CHECK(file != NULL);
        if (!file)
            continue;
        hd_buf_reserve(&source, 64 << 10);
        source.len = fread(source.data, 1, 60 << 10, file);
        source.data[source.len] = '\0';
        (void)fclose(file);
        if (!by_compiler(source.data) || by_schema(source.data) == 1)
            continue;
        test_failures++;
        printf("%s: the schema refuses it: %s\n", files.gl_pathv[i], wrong);
    }
    globfree(&files);
    cJSON_Delete(schema);
}

#define TOP "hodei: v1\nname: p\n"
#define JOB TOP "jobs:\n  a:\n    run: x\n    "
TEST(what_is_not_valid_the_compiler_refuses) {
    static const char *const bad[] = {
        "hodei: v2\nname: p\njobs: { a: { run: x } }\n",
        "hodei: v1\njobs: { a: { run: x } }\n",
        TOP "jobs: {}\n",
        TOP "jobs: [a]\n",
        TOP "nmae: x\njobs: { a: { run: x } }\n",
        TOP "priority: 101\njobs: { a: { run: x } }\n",
        TOP "inputs: { a: { type: text } }\njobs: { a: { run: x } }\n",
        TOP "on: { push: {} }\njobs: { a: { run: x } }\n",
        TOP "on: { cron: [{ timezone: UTC }] }\njobs: { a: { run: x } }\n",
        TOP "defaults: { needs: [a] }\njobs: { a: { run: x } }\n",
        JOB "rnu: y\n",
        JOB "timeout: 5\n",
        JOB "timeout: soon\n",
        JOB "needs: b\n",
        JOB "needs: [{ when: always }]\n",
        JOB "executor: docker\n",
        JOB "image: debian\n",
        JOB "retry: { limit: 0 }\n",
        JOB "retry: { limit: 1, on: [256] }\n",
        JOB "retry: { limit: 1, backoff: { factor: 11 } }\n",
        JOB "allow_failure: { exit_codes: [0] }\n",
        JOB "matrix: { axes: [1] }\n",
        JOB "concurrency: { limit: 1 }\n",
        JOB "approval: { count: 21 }\n",
        JOB "env: { A: [x] }\n",
        TOP "jobs:\n  a:\n    steps: []\n",
        TOP "jobs:\n  a:\n    command: []\n",
        TOP "jobs:\n  a:\n    steps: [{ run: x, timeout: 1 }]\n",
    };
    begin();
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (by_schema(bad[i]) == 0 && !by_compiler(bad[i]))
            continue;
        test_failures++;
        printf("row %zu: by the schema %d, by the compiler %d\n%s", i, by_schema(bad[i]), by_compiler(bad[i]), bad[i]);
    }
    cJSON_Delete(schema);
}

TEST_MAIN
