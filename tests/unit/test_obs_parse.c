#include "services/observability/parse.h"
#include "test.h"

#define RUN "01890a5d-ac96-774b-bcce-b302099a8057"

TEST(log_subjects) {
    struct hd_arena arena;
    struct obs_log_subject s;
    struct hd_err err = {0};
    hd_arena_init(&arena);
    CHECK_INT(obs_parse_log_subject(&arena, "hodei.log.w-1.acme." RUN ".17", &err, &s), HD_OK);
    CHECK_STR(s.worker, "w-1");
    CHECK_STR(s.tenant, "acme");
    CHECK_STR(s.run, RUN);
    CHECK_INT(s.job_index, 17);
    const char *bad[] = {"",
                         "hodei",
                         "hodei.log.w.t." RUN,
                         "hodei.log.w.t." RUN ".1.2",
                         "hodei.log.w.t." RUN ".-1",
                         "hodei.log.w.t." RUN ".x",
                         "hodei.log.w.t." RUN ".4294967296",
                         "hodei.log..t." RUN ".1",
                         "hodei.log.w.t.run.1",
                         "other.log.w.t." RUN ".1",
                         "hodei.evt.w.t." RUN ".1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(obs_parse_log_subject(&arena, bad[i], &err, &s), HD_INVALID);
    hd_arena_release(&arena);
}

TEST(event_subjects) {
    struct hd_arena arena;
    const char *tenant = NULL;
    struct hd_err err = {0};
    hd_arena_init(&arena);
    CHECK_INT(obs_parse_event_subject(&arena, "hodei.evt.acme.job.ended", &err, &tenant), HD_OK);
    CHECK_STR(tenant, "acme");
    CHECK_INT(obs_parse_event_subject(&arena, "hodei.evt..job.ended", &err, &tenant), HD_INVALID);
    CHECK_INT(obs_parse_event_subject(&arena, "hodei.log.acme.job.ended", &err, &tenant), HD_INVALID);
    CHECK_INT(obs_parse_event_subject(&arena, "hodei.evt.acme", &err, &tenant), HD_INVALID);
    hd_arena_release(&arena);
}

static struct hd_err err;
static enum hd_status check(void (*change)(Hodei__V1__LogChunk *)) {
    const struct obs_log_subject subject = {"w1", "acme", RUN, 3};
    Hodei__V1__LogChunk chunk = HODEI__V1__LOG_CHUNK__INIT;
    Hodei__V1__LogFrame frame = HODEI__V1__LOG_FRAME__INIT, *frames[] = {&frame};
    struct hd_uuid run, attempt;
    chunk.worker = "w1";
    chunk.tenant = "acme";
    chunk.run = RUN;
    chunk.job_index = 3;
    chunk.job = "build";
    chunk.session = chunk.attempt = RUN;
    chunk.frames = frames;
    chunk.n_frames = 1;
    frame.data.len = OBS_FRAME_BYTES;
    if (change)
        change(&chunk);
    hd_err_clear(&err);
    return obs_check_chunk(&subject, &chunk, &err, &run, &attempt);
}
static void foreign_worker(Hodei__V1__LogChunk *c) {
    c->worker = "w2";
}
static void foreign_tenant(Hodei__V1__LogChunk *c) {
    c->tenant = "other";
}
static void foreign_run(Hodei__V1__LogChunk *c) {
    c->run = "01890a5d-ac96-774b-bcce-b302099a8058";
}
static void foreign_job(Hodei__V1__LogChunk *c) {
    c->job_index = 4;
}
static void no_frames(Hodei__V1__LogChunk *c) {
    c->n_frames = 0;
}
static void gap(Hodei__V1__LogChunk *c) {
    c->n_frames = 0;
    c->gap_frames = OBS_MAX_GAP;
}
static void gap_with_frames(Hodei__V1__LogChunk *c) {
    c->gap_frames = 1;
}
static void gap_too_large(Hodei__V1__LogChunk *c) {
    c->n_frames = 0;
    c->gap_frames = OBS_MAX_GAP + 1;
}
static void far_frame(Hodei__V1__LogChunk *c) {
    c->first_frame = UINT64_MAX;
}
static void big_frame(Hodei__V1__LogChunk *c) {
    c->frames[0]->data.len++;
}
static void bad_attempt(Hodei__V1__LogChunk *c) {
    c->attempt = "";
}
static void bad_job(Hodei__V1__LogChunk *c) {
    c->job = "a b";
}

TEST(chunks_say_what_their_subject_says) {
    const struct {
        void (*change)(Hodei__V1__LogChunk *);
        const char *field;
    } bad[] = {
        {foreign_worker, "worker"},    {foreign_tenant, "tenant"}, {foreign_run, "run"},  {foreign_job, "job_index"},
        {no_frames, "frames"},         {far_frame, "first_frame"}, {big_frame, "frames"}, {gap_with_frames, "frames"},
        {gap_too_large, "gap_frames"}, {bad_attempt, "attempt"},   {bad_job, "job"}};
    CHECK_INT(check(NULL), HD_OK);
    CHECK_INT(check(gap), HD_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(check(bad[i].change), HD_INVALID);
        CHECK_STR(err.field, bad[i].field);
    }
}

TEST(cursors) {
    struct hd_arena arena;
    struct obs_cursor c = {9, 9};
    hd_arena_init(&arena);
    CHECK_INT(obs_cursor_parse("", &c), HD_OK);
    CHECK_INT(c.seq, 0);
    CHECK_INT(c.skip, 0);
    char *text = obs_cursor_format(&arena, (struct obs_cursor){INT64_MAX, 41});
    CHECK_INT(obs_cursor_parse(text, &c), HD_OK);
    CHECK_INT(c.seq, INT64_MAX);
    CHECK_INT(c.skip, 41);
    const char *bad[] = {
        "1",   ".", "1.", ".1", "1.2.3", "-1.0", "1.-1", "a.b", "99999999999999999999.0", "1.99999999999999999999",
        "1.0 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(obs_cursor_parse(bad[i], &c), HD_INVALID);
    hd_arena_release(&arena);
}

TEST_MAIN
