#include "tests/unit/test.h"

#include "services/pipelines/compile.h"

#define TOP "hodei: v1\nname: p\njobs: { a: { run: x } }\n"

TEST(crons_are_taken) {
    static const char source[] = TOP "on:\n"
                                     "  manual:\n"
                                     "  cron:\n"
                                     "    - { expr: \"0 3 * * *\", timezone: Europe/Madrid, overlap: cancel }\n"
                                     "    - { expr: \"0 3 * * *\" }\n"
                                     "    - { expr: \"@daily\", catch_up: true, overlap: queue }\n";
    struct hd_arena arena;
    struct hd_err err = {0};
    Hodei__V1__CompiledPipeline *p = NULL;

    hd_arena_init(&arena);
    CHECK_INT(pip_compile(&arena, source, strlen(source), &err, &p), HD_OK);
    CHECK_STR(err.text, "");
    if (p) {
        CHECK_INT(p->n_cron, 3);
        CHECK_STR(p->cron[0]->expr, "0 3 * * *");
        CHECK_STR(p->cron[0]->timezone, "Europe/Madrid");
        CHECK_INT(p->cron[0]->overlap, HODEI__V1__OVERLAP__OVERLAP_CANCEL);
        CHECK_STR(p->cron[1]->timezone, "UTC");
        CHECK_INT(p->cron[1]->overlap, HODEI__V1__OVERLAP__OVERLAP_SKIP);
        CHECK(!p->cron[1]->catch_up && p->cron[2]->catch_up);
        CHECK_INT(p->cron[2]->overlap, HODEI__V1__OVERLAP__OVERLAP_QUEUE);
    }
    hd_arena_release(&arena);
}

TEST(other_pipelines_are_taken) {
    static const char source[] =
        TOP "on: { pipeline: [{ name: build }, { name: a, when: failure }, { name: b, when: always }] }\n";
    struct hd_arena arena;
    struct hd_err err = {0};
    Hodei__V1__CompiledPipeline *p = NULL;

    hd_arena_init(&arena);
    CHECK_INT(pip_compile(&arena, source, strlen(source), &err, &p), HD_OK);
    CHECK_STR(err.text, "");
    if (p) {
        CHECK_INT(p->n_on_pipeline, 3);
        CHECK_STR(p->on_pipeline[0]->name, "build");
        CHECK_INT(p->on_pipeline[0]->accepts, HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_SUCCESS);
        CHECK_INT(p->on_pipeline[1]->accepts, HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_FAILURE);
        CHECK_INT(p->on_pipeline[2]->accepts, 1 + 2 + 8);
    }
    hd_arena_release(&arena);
}

static const struct {
    const char *on, *field;
    unsigned line, column;
    const char *text, *hint;
} bad[] = {
    {"on: push\n", "on", 4, 5, "must be a mapping, not a text", ""},
    {"on: { push: {} }\n", "on.push", 4, 7, "\"push\" is not available yet", ""},
    {"on: { pull_request: {} }\n", "on.pull_request", 4, 7, "\"pull_request\" is not available yet", ""},
    {"on: { tag: v1 }\n", "on.tag", 4, 7, "\"tag\" is not available yet", ""},
    {"on: { webhook: {} }\n", "on.webhook", 4, 7, "\"webhook\" is not available yet", ""},
    {"on: { pipeline: x }\n", "on.pipeline", 4, 17, "must be a list, not a text", "write it as a list: [x]"},
    {"on: { pipeline: [{ when: always }] }\n", "on.pipeline[0].name", 4, 18, "\"name\" is missing", ""},
    {"on: { pipeline: [{ name: a b }] }\n", "on.pipeline[0].name", 4, 26,
     "\"a b\" is not a name: 1 to 128 letters, digits, '.', '_' or '-'", ""},
    {"on: { pipeline: [{ name: a, when: ended }] }\n", "on.pipeline[0].when", 4, 35, "when cannot be \"ended\"",
     "one of: success, failure, always"},
    {"on: { pipeline: [{ name: a }, { name: p }] }\n", "on.pipeline[1]", 4, 31,
     "a pipeline cannot start itself: it would never end", ""},
    {"on: { pipeline: [{ name: a }, { name: a, when: failure }] }\n", "on.pipeline[1]", 4, 31,
     "the same pipeline as in on.pipeline[0]", ""},
    {"on: { corn: [] }\n", "on.corn", 4, 7, "unknown key \"corn\"", "did you mean \"cron\"?"},
    {"on: { cron: \"0 3 * * *\" }\n", "on.cron", 4, 13, "must be a list, not a text",
     "write it as a list: [0 3 * * *]"},
    {"on:\n  cron: [ \"0 3 * * *\" ]\n", "on.cron[0]", 5, 11, "must be a mapping, not a text", ""},
    {"on:\n  cron: [ { timezone: UTC } ]\n", "on.cron[0].expr", 5, 11, "\"expr\" is missing", ""},
    {"on:\n  cron:\n  - expr: 0 25 * * *\n", "on.cron[0].expr", 6, 11, "hour \"25\": must be from 0 to 23", ""},
    {"on:\n  cron:\n  - expr: 0 0 30 2 *\n", "on.cron[0].expr", 6, 11,
     "\"0 0 30 2 *\" never fires: none of its months has such a day", "the day of month is \"30\", the month \"2\""},
    {"on:\n  cron:\n  - { expr: \"@daily\", timezone: ../x }\n", "on.cron[0].timezone", 6, 33,
     "\"../x\" is not a time zone", "write UTC or Area/City, for example Europe/Madrid"},
    {"on:\n  cron:\n  - { expr: \"@daily\", overlap: stop }\n", "on.cron[0].overlap", 6, 32,
     "overlap cannot be \"stop\"", "one of: skip, queue, cancel"},
    {"on:\n  cron:\n  - { expr: \"@daily\", catch_up: yes }\n", "on.cron[0].catch_up", 6, 33,
     "must be true or false, not a text", ""},
    {"on:\n  cron:\n  - expr: \"@daily\"\n  - { expr: \"@daily\", timezone: UTC }\n", "on.cron[1]", 7, 5,
     "the same expression and time zone as in on.cron[0]", ""},
};

TEST(what_is_wrong_has_its_place) {
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hd_arena arena;
        struct hd_err err = {0};
        Hodei__V1__CompiledPipeline *p;
        hd_arena_init(&arena);
        char *source = hd_arena_printf(&arena, TOP "%s", bad[i].on);
        CHECK_INT(pip_compile(&arena, source, strlen(source), &err, &p), HD_INVALID);
        CHECK_STR(err.text, bad[i].text);
        CHECK_STR(err.field, bad[i].field);
        CHECK_STR(err.hint, bad[i].hint);
        CHECK_INT(err.line, bad[i].line);
        CHECK_INT(err.column, bad[i].column);
        hd_arena_release(&arena);
    }
}

TEST_MAIN
