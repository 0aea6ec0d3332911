#include "services/pipelines/compile.h"
#include "tests/unit/test.h"

#define JOB "hodei: v1\nname: p\njobs:\n  a:\n    run: x\n"

static enum hd_status compile(struct hd_arena *arena, const char *source, struct hd_err *err,
                              const Hodei__V1__CompiledJob **ret) {
    Hodei__V1__CompiledPipeline *p;
    hd_err_clear(err);
    HD_TRY(pip_compile(arena, source, strlen(source), err, &p));
    *ret = p->jobs[0];
    return HD_OK;
}

TEST(amounts_become_resources) {
    struct hd_arena arena;
    struct hd_err err;
    const Hodei__V1__CompiledJob *job = NULL;
    hd_arena_init(&arena);
    CHECK_INT(compile(&arena,
                      JOB "    resources: { cpu: 0.5, memory: 512Mi, disk: 2G, gpu: 1 }\n"
                          "    tolerations: [{ key: gpu, value: only }, { key: spot }]\n",
                      &err, &job),
              HD_OK);
    CHECK_INT(job->resources->cpu_milli, 500);
    CHECK_INT(job->resources->memory_bytes, 512 << 20);
    CHECK_INT(job->resources->disk_bytes, 2000000000);
    CHECK_INT(job->resources->gpu, 1);
    CHECK_INT(job->n_tolerations, 2);
    CHECK_STR(job->tolerations[0]->key, "gpu");
    CHECK_STR(job->tolerations[0]->value, "only");
    CHECK_STR(job->tolerations[1]->value, "");
    CHECK_INT(compile(&arena, JOB "    resources: { cpu: \"250m\" }\n", &err, &job), HD_OK);
    CHECK_INT(job->resources->cpu_milli, 250);
    CHECK_INT(compile(&arena, JOB "    resources: { cpu: 16 }\n", &err, &job), HD_OK);
    CHECK_INT(job->resources->cpu_milli, 16000);
    CHECK_INT(compile(&arena, JOB "    resources: { cpu: 0 }\n", &err, &job), HD_OK);
    CHECK(job->resources == NULL);
    hd_arena_release(&arena);
}

static const struct {
    const char *source, *field;
    unsigned column;
    const char *text, *hint;
} bad[] = {
    {"resources: 2", "jobs.a.resources", 16, "must be a mapping, not a number", ""},
    {"resources: {cpus: 2}", "jobs.a.resources.cpus", 17, "unknown key \"cpus\"", "did you mean \"cpu\"?"},
    {"resources: {cpu: many}", "jobs.a.resources.cpu", 22, "\"many\" is not a number of CPUs",
     "for example 2, 0.5 or 500m"},
    {"resources: {cpu: -1}", "jobs.a.resources.cpu", 22, "\"-1\" is not a number of CPUs",
     "for example 2, 0.5 or 500m"},
    {"resources: {cpu: }", "jobs.a.resources.cpu", 22, "must be a text, not nothing", ""},
    {"resources: {memory: 512}", "jobs.a.resources.memory", 25, "an amount of bytes needs a unit",
     "for example 512Mi or 512Gi"},
    {"resources: {memory: 1GB}", "jobs.a.resources.memory", 25, "\"1GB\" is not an amount of bytes",
     "for example 512Mi, 1.5Gi or 2G; units are Ki, Mi, Gi, Ti, k, M, G, T"},
    {"resources: {disk: 9999Ti}", "jobs.a.resources.disk", 23, "\"9999Ti\" is not an amount of bytes",
     "for example 512Mi, 1.5Gi or 2G; units are Ki, Mi, Gi, Ti, k, M, G, T"},
    {"resources: {gpu: 0.5}", "jobs.a.resources.gpu", 22, "GPUs are whole: they cannot be shared", ""},
    {"resources: {gpu: 1025}", "jobs.a.resources.gpu", 22, "must be a whole number from 0 to 1024", ""},
    {"tolerations: {key: x}", "jobs.a.tolerations", 18, "must be a list, not a mapping", ""},
    {"tolerations: [{value: x}]", "jobs.a.tolerations[0].key", 19, "\"key\" is missing", ""},
    {"tolerations: [{key: a b}]", "jobs.a.tolerations[0].key", 25,
     "\"a b\" is not a name: 1 to 128 letters, digits, '.', '_' or '-'", ""},
};

TEST(bad_amounts_name_their_place) {
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hd_arena arena;
        struct hd_err err;
        const Hodei__V1__CompiledJob *job;
        unsigned before = test_failures;
        hd_arena_init(&arena);
        const char *source = hd_arena_printf(&arena, JOB "    %s\n", bad[i].source);
        CHECK_INT(compile(&arena, source, &err, &job), HD_INVALID);
        CHECK_STR(err.text, bad[i].text);
        CHECK_STR(err.field, bad[i].field);
        CHECK_STR(err.hint, bad[i].hint);
        CHECK_INT(err.line, 6);
        CHECK_INT(err.column, bad[i].column);
        if (test_failures != before)
            printf("  %s\n", bad[i].source);
        hd_arena_release(&arena);
    }
}

TEST_MAIN
