// The real decision code over definitions and outcomes that come on standard input; all jobs stand in one working set, and nothing else
// is there. Cases and answers, one after another:
//
//   case SEED BYTES            then BYTES of YAML, then lines
//   JOB OUTCOME...             of its attempts: s success, e<code>, g<signal>, t timeout, l lost, r refused; the last goes on for ever
//   end
// gives
//   run STATE
//   JOB STATE ATTEMPTS ALLOWED in any order
//   end
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "services/orchestrator/graph.h"
#include "services/pipelines/compile.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define LINE_MAX_BYTES 4096

struct outcomes {
    struct outcomes *next;
    char name[160], list[LINE_MAX_BYTES];
};
struct model {
    struct hd_arena arena;
    struct hd_rng rng;
    struct orc_chance chance;
    struct orc_ws ws;
    struct orc_run *run;
    struct outcomes *outcomes;
};

static const char *outcome_of(const struct model *m, const struct orc_job *job) {
    static char word[32];
    const char *name = orc_job_name(m->ws.arena, job), *at = "s";
    for (const struct outcomes *o = m->outcomes; o; o = o->next)
        if (strcmp(o->name, name) == 0)
            at = o->list;
    for (uint32_t i = 1; i < job->attempts && strchr(at, ' '); i++)
        at = strchr(at, ' ') + 1;
    snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, " \n"), at);
    return word;
}

static void outputs(struct model *m, const struct orc_job *job, struct orc_attempt_news *news) {
    HD_AUTO_BUF struct hd_buf json = {0};
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    for (size_t i = 0; i < spec->n_outputs; i++)
        hd_buf_addf(&json, "%s\"%s\":\"%s\"", i ? "," : "{", spec->outputs[i]->name, spec->outputs[i]->value);
    if (json.len) {
        hd_buf_addc(&json, '}');
        news->outputs = hd_arena_strdup(&m->arena, json.data);
    }
}

static void carry_out(struct model *m, struct orc_job *job) {
    struct orc_attempt_news news = {.started_ms = m->chance.now_ms, .ended_ms = m->chance.now_ms};
    orc_job_change(job, ORC_JOB_ADMIT, 0, &m->chance);
    struct orc_attempt *attempt =
        orc_job_place(&m->ws, job, hd_uuid7(m->chance.now_ms, &m->rng), "w", (struct hd_uuid){{1}}, &m->chance);
    const char *word = outcome_of(m, job);
    switch (*word) {
    case 'e':
        news.event = ORC_ATTEMPT_FAIL;
        news.cause = HODEI__V1__CAUSE__CAUSE_EXIT_CODE;
        news.exit_code = (int32_t)strtol(word + 1, NULL, 10);
        break;
    case 'g':
        news.event = ORC_ATTEMPT_FAIL;
        news.cause = HODEI__V1__CAUSE__CAUSE_SIGNAL;
        news.signal = (int32_t)strtol(word + 1, NULL, 10);
        break;
    case 't':
        news.event = ORC_ATTEMPT_TIME_OUT;
        news.cause = HODEI__V1__CAUSE__CAUSE_TIMEOUT;
        break;
    case 'l':
        news.event = ORC_ATTEMPT_LOSE;
        news.cause = HODEI__V1__CAUSE__CAUSE_WORKER_LOST;
        break;
    case 'r':
        news.event = ORC_ATTEMPT_REFUSE;
        news.cause = HODEI__V1__CAUSE__CAUSE_NO_ROOM;
        break;
    default:
        news.event = ORC_ATTEMPT_SUCCEED;
        outputs(m, job, &news);
    }
    if (*word == 'e' || *word == 'g') // it ended by itself: what its steps have given is known
        outputs(m, job, &news);
    orc_attempt_change(&m->ws, attempt, &news, &m->chance);
}

static bool advance(struct model *m) {
    struct orc_wave wave;
    orc_wave_begin(&wave, &m->ws, &m->chance);
    return !orc_wave_run(&wave);
}

// One that may run, at random; those that wait for a retry are let go first.
static struct orc_job *choose(struct model *m) {
    struct orc_job *chosen = NULL;
    uint64_t n = 0;
    for (size_t i = 0; i < m->ws.jobs.n; i++) {
        struct orc_job *job = m->ws.jobs.items[i];
        orc_job_due(job, &m->chance);
        bool may = orc_job_admissible(job->state, job->hold) || job->state == JOB(READY);
        if (may && hd_rng_below(&m->rng, ++n) == 0)
            chosen = job;
    }
    return chosen;
}

static void solve(struct model *m, const char *yaml, size_t len) {
    Hodei__V1__CompiledPipeline *plan;
    struct hd_err err = {0};
    if (pip_compile(&m->arena, yaml, len, &err, &plan) != HD_OK) {
        printf("error %u:%u %s %s\n", err.line, err.column, err.field, err.text);
        return;
    }
    m->run = orc_ws_add_run(&m->ws, hd_uuid7(1000, &m->rng));
    m->run->tenant = "acme";
    m->run->pipeline = plan->name;
    m->run->version = 1;
    m->run->state = orc_run_machine.first;
    m->run->plan = plan;
    m->run->locked = true;
    orc_run_expand(&m->ws, m->run, &m->chance);
    bool sound = advance(m);
    for (struct orc_job *job; sound; sound = advance(m)) {
        m->chance.now_ms += 3600000; // every backoff is over
        if (!(job = choose(m)))
            break;
        carry_out(m, job);
    }
    orc_run_settle(m->run, m->chance.now_ms);
    printf("run %d\n", sound ? m->run->state : -1);
    for (size_t i = 0; i < m->ws.jobs.n; i++) {
        const struct orc_job *job = m->ws.jobs.items[i];
        printf("%s %d %u %d\n", orc_job_name(&m->arena, job), job->state, job->attempts,
               (job->flags & ORC_ALLOWED) != 0);
    }
}

static bool one(void) {
    char line[LINE_MAX_BYTES];
    uint64_t seed;
    size_t len;
    if (!fgets(line, sizeof(line), stdin) || sscanf(line, "case %" SCNu64 " %zu", &seed, &len) != 2)
        return false;
    struct model m = {.chance.now_ms = 1000};
    hd_arena_init(&m.arena);
    hd_rng_seed(&m.rng, seed);
    m.chance.rng = &m.rng;
    orc_ws_init(&m.ws, &m.arena);
    char *yaml = hd_arena_alloc(&m.arena, len + 1);
    if (fread(yaml, 1, len, stdin) != len)
        return false;
    while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n") != 0) {
        struct outcomes *o = HD_NEW(&m.arena, struct outcomes);
        size_t name = strcspn(line, " ");
        snprintf(o->name, sizeof(o->name), "%.*s", (int)name, line);
        snprintf(o->list, sizeof(o->list), "%s", line + name + 1);
        o->next = m.outcomes;
        m.outcomes = o;
    }
    solve(&m, yaml, len);
    puts("end");
    fflush(stdout);
    hd_arena_release(&m.arena);
    return true;
}

int main(void) {
    while (one())
        ;
    return 0;
}
