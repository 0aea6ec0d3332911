// The observability service on a real PostgreSQL: logs stored and followed, jobs counted.
#include "tests/integration/twin.h"

#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "services/observability/observability.h"
#include "tests/integration/servers.h"

#define RUN "01890a5d-ac96-774b-bcce-b302099a8001"
#define ATTEMPT "01890a5d-ac96-774b-bcce-b302099a80a0"
#define SESSION "01890a5d-ac96-774b-bcce-b302099a80b0"
#define MSG(name) &hodei__v1__##name##__descriptor
enum { ACKS }; // what the test listens to

struct world {
    struct twin twin;
    struct observability obs;
    struct hd_err err;
    int ids;
};
static void world_init(struct world *w, size_t replicas) {
    memset(w, 0, sizeof(*w));
    servers_pg_clean();
    twin_init(&w->twin);
    CHECK_INT(w->twin.bus->ops->listen(w->twin.bus, "hodei.ack.w1", NULL, ACKS, &w->err), HD_OK);
    w->obs.retention_ms = INT64_C(30) * 24 * 3600 * 1000;
    for (size_t i = 0; i < replicas; i++)
        w->obs.service = twin_add(&w->twin, &obs_def, servers_pg(), &w->obs);
    twin_pass(&w->twin, 0); // makes streams and tables
}

static Hodei__V1__LogChunk *chunk(struct world *w, unsigned job, uint64_t first, size_t n, size_t bytes) {
    Hodei__V1__LogChunk *made = (Hodei__V1__LogChunk *)hd_pb_new(&w->twin.arena, MSG(log_chunk));
    made->worker = "w1";
    made->session = SESSION;
    made->tenant = "acme";
    made->run = RUN;
    made->job_index = job;
    made->job = hd_arena_printf(&w->twin.arena, "job%u", job);
    made->attempt = hd_arena_printf(&w->twin.arena, "01890a5d-ac96-774b-bcce-b302099a8%03x", job);
    made->attempt_number = 1;
    made->first_frame = first;
    made->n_frames = n;
    made->frames = HD_NEW_ARRAY(&w->twin.arena, n, Hodei__V1__LogFrame *);
    for (size_t i = 0; i < n; i++) {
        made->frames[i] = (Hodei__V1__LogFrame *)hd_pb_new(&w->twin.arena, MSG(log_frame));
        made->frames[i]->stream = HODEI__V1__LOG_STREAM__LOG_STREAM_STDOUT;
        made->frames[i]->data.data = hd_arena_alloc(&w->twin.arena, bytes + 32);
        snprintf((char *)made->frames[i]->data.data, 32, "%u:%zu", job, (size_t)first + i);
        made->frames[i]->data.len = bytes ? bytes : strlen((char *)made->frames[i]->data.data);
    }
    return made;
}
static void write_to(struct world *w, Hodei__V1__LogChunk *one, const char *subject) {
    Hodei__V1__LogChunks chunks = HODEI__V1__LOG_CHUNKS__INIT;
    chunks.chunks = &one;
    chunks.n_chunks = 1;
    twin_publish(&w->twin, subject, &chunks.base, hd_arena_printf(&w->twin.arena, "log-%d", ++w->ids));
}
static void write_log(struct world *w, unsigned job, uint64_t first, size_t n) {
    write_to(w, chunk(w, job, first, n, 0), hd_subject_log(&w->twin.arena, "w1", "acme", RUN, job));
}
// What was last acknowledged of a job's attempt; -1: nothing.
static int64_t acked(struct world *w, unsigned job) {
    const char *attempt = hd_arena_printf(&w->twin.arena, "01890a5d-ac96-774b-bcce-b302099a8%03x", job);
    int64_t next = -1;
    const Hodei__V1__Acks *acks;
    twin_pass(&w->twin, 0);
    while ((acks = twin_take(&w->twin, HD_ARRIVED_HINT, ACKS, MSG(acks)))) {
        CHECK_STR(acks->session, SESSION);
        for (size_t i = 0; i < acks->n_logs; i++)
            if (strcmp(acks->logs[i]->attempt, attempt) == 0)
                next = (int64_t)acks->logs[i]->next_frame;
    }
    return next;
}

static Hodei__V1__ReadLogRequest request(const char *job, const char *cursor, uint32_t max_bytes) {
    Hodei__V1__ReadLogRequest made = HODEI__V1__READ_LOG_REQUEST__INIT;
    made.run = RUN;
    made.job = (char *)(uintptr_t)job;
    made.cursor = (char *)(uintptr_t)cursor;
    made.max_bytes = max_bytes;
    return made;
}
static Hodei__V1__ReadLogReply *read_log(struct world *w, const char *job, const char *cursor, uint32_t max_bytes) {
    Hodei__V1__ReadLogRequest ask = request(job, cursor, max_bytes);
    Hodei__V1__ReadLogReply *reply;
    CHECK_INT(twin_call(&w->twin, "acme", "observability", "ReadLog", &ask.base, MSG(read_log_reply), &w->err, &reply),
              HD_OK);
    return reply;
}

#define JOBS 4
// A reader that goes on from its cursor, and checks that each job's frames come whole and in order.
struct reader {
    const char *cursor;
    uint64_t next[JOBS];
    bool whole;
};
static size_t follow(struct world *w, struct reader *reader, const char *job, uint32_t max_bytes) {
    const Hodei__V1__ReadLogReply *reply = read_log(w, job, reader->cursor, max_bytes);
    size_t frames = 0;
    for (size_t i = 0; reply && i < reply->n_entries; i++) {
        const Hodei__V1__LogEntry *entry = reply->entries[i];
        unsigned index = (unsigned)(entry->job[3] - '0');
        for (size_t k = 0; k < entry->n_frames; k++, frames++) {
            char want[32];
            snprintf(want, sizeof(want), "%u:%" PRIu64, index, reader->next[index]);
            reader->whole = reader->whole && index < JOBS && entry->first_frame + k == reader->next[index]++ &&
                            entry->frames[k]->data.len >= strlen(want) &&
                            memcmp(entry->frames[k]->data.data, want, strlen(want)) == 0;
        }
    }
    reader->cursor = reply ? reply->cursor : "";
    return frames;
}

TEST(stored_acknowledged_and_read) {
    struct world w;
    world_init(&w, 1);
    write_log(&w, 0, 0, 3);
    CHECK_INT(acked(&w, 0), 3);
    write_log(&w, 0, 3, 2);
    CHECK_INT(acked(&w, 0), 5);
    struct reader reader = {.cursor = "", .whole = true};
    CHECK_INT(follow(&w, &reader, "", 0), 5);
    CHECK(reader.whole);
    CHECK_INT(follow(&w, &reader, "", 0), 0);
    write_log(&w, 0, 5, 1);
    CHECK_INT(acked(&w, 0), 6);
    CHECK_INT(follow(&w, &reader, "", 0), 1);
    CHECK(reader.whole);
    twin_release(&w.twin);
}

static void write_gap(struct world *w, uint64_t first, uint64_t n, uint64_t bytes) {
    Hodei__V1__LogChunk *gap = chunk(w, 0, first, 1, 0);
    gap->n_frames = 0;
    gap->gap_frames = n;
    gap->gap_bytes = bytes;
    write_to(w, gap, hd_subject_log(&w->twin.arena, "w1", "acme", RUN, 0));
}

// --- quota ------------------------------------------------------------------------------------------------------------

static void grant(struct world *w, uint64_t version, int64_t log_bytes) {
    Hodei__V1__PutGrantsRequest put = HODEI__V1__PUT_GRANTS_REQUEST__INIT;
    Hodei__V1__Grant one = HODEI__V1__GRANT__INIT, *list[] = {&one};
    Hodei__V1__Empty *reply;
    one.tenant = (char *)(uintptr_t) "acme";
    one.version = version;
    if (log_bytes >= 0) {
        one.log_bytes_day_limit_case = HODEI__V1__GRANT__LOG_BYTES_DAY_LIMIT_LOG_BYTES_DAY;
        one.log_bytes_day = log_bytes;
    }
    put.grants = list;
    put.n_grants = 1;
    CHECK_INT(twin_call(&w->twin, "", "observability", "PutGrants", &put.base, MSG(empty), &w->err, &reply), HD_OK);
}
static const Hodei__V1__QuotaUsage *usage(struct world *w) {
    Hodei__V1__GetUsageRequest ask = HODEI__V1__GET_USAGE_REQUEST__INIT;
    Hodei__V1__GetUsageReply *reply;
    ask.tenant = (char *)(uintptr_t) "acme";
    CHECK_INT(twin_call(&w->twin, "", "observability", "GetUsage", &ask.base, MSG(get_usage_reply), &w->err, &reply),
              HD_OK);
    return reply->usage;
}
static void write_bytes(struct world *w, unsigned job, uint64_t first, size_t n, size_t bytes) {
    write_to(w, chunk(w, job, first, n, bytes), hd_subject_log(&w->twin.arena, "w1", "acme", RUN, job));
    CHECK_INT(acked(w, job), (int64_t)(first + n)); // what is not kept is acknowledged too
}
// How many bytes of jobs, how many notes of the platform, and how many frames the log says that it has lost.
struct seen {
    size_t bytes, notes;
    uint64_t cut_frames, cut_bytes;
};
static struct seen look(struct world *w, const char *job) {
    const Hodei__V1__ReadLogReply *reply = read_log(w, job, "", 1 << 20);
    struct seen seen = {0};
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Hodei__V1__LogEntry *entry = reply->entries[i];
        seen.cut_frames += entry->gap_frames;
        seen.cut_bytes += entry->gap_bytes;
        for (size_t k = 0; k < entry->n_frames; k++) {
            bool note = entry->frames[k]->stream == HODEI__V1__LOG_STREAM__LOG_STREAM_SYSTEM;
            seen.notes += note;
            seen.bytes += note ? 0 : entry->frames[k]->data.len;
        }
    }
    return seen;
}

TEST(what_is_over_the_quota_is_cut_and_told_once) {
    struct world w;
    world_init(&w, 2); // two replicas
    grant(&w, 1, 1000);
    write_bytes(&w, 0, 0, 4, 200);
    CHECK_INT(usage(&w)->log_bytes_day, 800);
    CHECK_INT(usage(&w)->n_near, 1);
    write_bytes(&w, 0, 4, 2, 150); // 1100: it is not kept
    write_bytes(&w, 0, 6, 1, 10);  // neither is what would fit
    write_bytes(&w, 1, 0, 1, 10);  // nor what others write
    struct seen seen = look(&w, "job0"), other = look(&w, "job1");
    CHECK_INT(seen.bytes, 800);
    CHECK_INT(seen.notes, 1);
    CHECK_INT(seen.cut_frames, 3);
    CHECK_INT(seen.cut_bytes, 310);
    CHECK_INT(other.bytes, 0);
    CHECK_INT(other.notes, 1);
    CHECK_INT(usage(&w)->log_bytes_day, 800);
    CHECK_INT(usage(&w)->n_reached, 1);
    write_bytes(&w, 0, 4, 3, 150); // said again, as known: nothing changes
    CHECK_INT(look(&w, "job0").cut_frames, 3);
    grant(&w, 2, 2000); // raised: it goes on at once
    write_bytes(&w, 0, 7, 1, 100);
    CHECK_INT(look(&w, "job0").bytes, 900);
    grant(&w, 1, 0); // late, after its successor
    write_bytes(&w, 0, 8, 1, 100);
    CHECK_INT(look(&w, "job0").bytes, 1000);
    write_bytes(&w, 0, 9, 1, 5000); // closed again, and told again
    write_bytes(&w, 0, 10, 1, 5);
    CHECK_INT(look(&w, "job0").notes, 2);
    w.twin.now.wall_ms += INT64_C(24) * 3600 * 1000; // tomorrow
    write_bytes(&w, 0, 11, 1, 70);
    CHECK_INT(look(&w, "job0").bytes, 1070);
    CHECK_INT(usage(&w)->log_bytes_day, 70);
    grant(&w, 3, -1);
    write_bytes(&w, 0, 12, 3, 2000);
    CHECK_INT(look(&w, "job0").bytes, 7070);
    CHECK_INT(usage(&w)->log_bytes_day, 6070); // without a limit it is counted too
    twin_release(&w.twin);
}

// What was dropped counts as stored, and whoever reads sees that it is missing.
TEST(a_gap_is_stored_and_shown) {
    struct world w;
    world_init(&w, 1);
    write_log(&w, 0, 0, 3);
    CHECK_INT(acked(&w, 0), 3);
    write_gap(&w, 3, 1000, 5000);
    CHECK_INT(acked(&w, 0), 1003);
    write_gap(&w, 3, 2000, 10000); // it has grown meanwhile
    CHECK_INT(acked(&w, 0), 2003);
    write_gap(&w, 3, 1000, 5000); // late
    CHECK_INT(acked(&w, 0), 2003);
    write_log(&w, 0, 2003, 2);
    CHECK_INT(acked(&w, 0), 2005);
    const Hodei__V1__ReadLogReply *reply = read_log(&w, "", "", 0);
    CHECK_INT(reply->n_entries, 4);
    const Hodei__V1__LogEntry *gap = reply->entries[1];
    CHECK_INT(gap->first_frame, 3);
    CHECK_INT(gap->gap_frames, 1000);
    CHECK_INT(gap->gap_bytes, 5000);
    CHECK_INT(gap->n_frames, 1);
    CHECK_INT(gap->frames[0]->stream, HODEI__V1__LOG_STREAM__LOG_STREAM_SYSTEM);
    const char *text = hd_arena_strndup(&w.twin.arena, (char *)gap->frames[0]->data.data, gap->frames[0]->data.len);
    CHECK_STR(text, "\n[... 5000 bytes of output were dropped here: the worker was cut off and its spool was full]\n");
    CHECK_INT(reply->entries[2]->first_frame, 1003);
    CHECK_INT(reply->entries[2]->gap_frames, 1000);
    CHECK_INT(reply->entries[2]->gap_bytes, 5000);
    CHECK_INT(reply->entries[3]->first_frame, 2003);
    CHECK_INT(reply->entries[3]->gap_frames, 0);
    twin_release(&w.twin);
}

TEST(late_twice_and_cut_differently) {
    struct world w;
    world_init(&w, 1);
    write_log(&w, 0, 6, 4);
    CHECK_INT(acked(&w, 0), 0); // it waits, and says so
    struct reader reader = {.cursor = "", .whole = true};
    CHECK_INT(follow(&w, &reader, "", 0), 0);
    write_log(&w, 0, 0, 2);
    CHECK_INT(acked(&w, 0), 2);
    CHECK_INT(follow(&w, &reader, "", 0), 2);
    write_log(&w, 0, 0, 2); // again
    CHECK_INT(acked(&w, 0), 2);
    write_log(&w, 0, 1, 7); // overlaps both
    CHECK_INT(acked(&w, 0), 10);
    CHECK_INT(follow(&w, &reader, "", 0), 8);
    CHECK(reader.whole);
    CHECK_INT(servers_pg_int("SELECT count(*) FROM observability.log_early"), 0);
    twin_release(&w.twin);
}

TEST(an_answer_is_bounded_and_goes_on_within_a_chunk) {
    struct world w;
    world_init(&w, 1);
    write_to(&w, chunk(&w, 0, 0, 10, 30000), "hodei.log.w1.acme." RUN ".0");
    write_to(&w, chunk(&w, 0, 10, 5, 30000), "hodei.log.w1.acme." RUN ".0");
    CHECK_INT(acked(&w, 0), 15);
    struct reader reader = {.cursor = "", .whole = true};
    CHECK_INT(follow(&w, &reader, "", 100000), 3);
    CHECK_INT(follow(&w, &reader, "", 1), 1); // one frame always
    size_t frames = 4;
    for (int i = 0; i < 10 && frames < 15; i++)
        frames += follow(&w, &reader, "", 100000);
    CHECK_INT(frames, 15);
    CHECK(reader.whole);
    Hodei__V1__ReadLogRequest big = request("", "", (1 << 20) + 1);
    Hodei__V1__ReadLogReply *reply;
    CHECK_INT(twin_call(&w.twin, "acme", "observability", "ReadLog", &big.base, MSG(read_log_reply), &w.err, &reply),
              HD_INVALID);
    CHECK_STR(w.err.field, "max_bytes");
    twin_release(&w.twin);
}

TEST(one_job_of_many) {
    struct world w;
    world_init(&w, 1);
    for (unsigned i = 0; i < 20; i++)
        for (unsigned job = 0; job < JOBS; job++)
            write_log(&w, job, i, 1);
    struct reader one = {.cursor = "", .whole = true}, all = one;
    twin_pass(&w.twin, 0);
    CHECK_INT(follow(&w, &one, "job2", 0), 20);
    CHECK_INT(follow(&w, &all, "", 0), 20 * JOBS);
    CHECK(one.whole && all.whole);
    CHECK_INT(follow(&w, &one, "nojob", 0), 0);
    twin_release(&w.twin);
}

TEST(waits_for_more) {
    struct world w;
    struct reader reader = {.cursor = "", .whole = true};
    Hodei__V1__ReadLogReply *reply;
    world_init(&w, 1);
    write_log(&w, 0, 0, 1);
    CHECK_INT(acked(&w, 0), 1);
    CHECK_INT(follow(&w, &reader, "", 0), 1);
    Hodei__V1__ReadLogRequest ask = request("", reader.cursor, 0);
    ask.wait_ms = 5000;
    int call = twin_ask(&w.twin, "acme", "observability", "ReadLog", &ask.base);
    twin_pass_s(&w.twin, 3);
    CHECK(!twin_answered(&w.twin, call, MSG(read_log_reply), &w.err, &reply));
    write_log(&w, 0, 1, 2);
    twin_pass(&w.twin, 300);
    twin_pass(&w.twin, 10); // one that has just been looked at rests for a few milliseconds
    CHECK(twin_answered(&w.twin, call, MSG(read_log_reply), &w.err, &reply));
    CHECK(reply && reply->n_entries == 1 && reply->entries[0]->n_frames == 2 && reply->entries[0]->first_frame == 1);
    ask.cursor = reply ? reply->cursor : "";
    call = twin_ask(&w.twin, "acme", "observability", "ReadLog", &ask.base); // and gives up
    twin_pass_s(&w.twin, 4);
    CHECK(!twin_answered(&w.twin, call, MSG(read_log_reply), &w.err, &reply));
    twin_pass_s(&w.twin, 2);
    CHECK(twin_answered(&w.twin, call, MSG(read_log_reply), &w.err, &reply));
    CHECK(reply && reply->n_entries == 0 && strcmp(reply->cursor, ask.cursor) == 0);
    twin_release(&w.twin);
}

TEST(what_is_not_ones_own) {
    struct world w;
    Hodei__V1__ReadLogReply *reply;
    Hodei__V1__ReadLogRequest ask = request("", "", 0);
    world_init(&w, 1);
    write_log(&w, 0, 0, 1);
    CHECK_INT(acked(&w, 0), 1);
    CHECK_INT(twin_call(&w.twin, "other", "observability", "ReadLog", &ask.base, MSG(read_log_reply), &w.err, &reply),
              HD_MISSING);
    // Bodies that are not what their subject says, a run of another tenant, a subject that is none: no acknowledgement.
    Hodei__V1__LogChunk *foreign = chunk(&w, 0, 1, 1, 0);
    foreign->worker = "w2";
    write_to(&w, foreign, "hodei.log.w1.acme." RUN ".0");
    foreign = chunk(&w, 0, 1, 1, 0);
    foreign->tenant = "other";
    write_to(&w, foreign, "hodei.log.w1.acme." RUN ".0");
    write_to(&w, foreign, "hodei.log.w1.other." RUN ".0");
    write_to(&w, chunk(&w, 0, 1, 1, 0), "hodei.log.w1.acme.run.0");
    for (int i = 0; i < 60; i++)
        twin_pass_s(&w.twin, 1);
    CHECK_INT(acked(&w, 0), -1);
    CHECK_INT(servers_pg_int("SELECT count(*) FROM observability.dead_letters WHERE status = 'invalid'"), 4);
    struct reader reader = {.cursor = "", .whole = true};
    CHECK_INT(follow(&w, &reader, "", 0), 1);
    twin_release(&w.twin);
}

// Two replicas store, messages come twice and out of order, and a reader follows all the while.
TEST(replicas_store_and_a_reader_follows) {
    struct world w;
    struct reader reader = {.cursor = "", .whole = true};
    size_t frames = 0;
    world_init(&w, 2);
    hd_memnet_faults(w.twin.net, (struct hd_memnet_faults){.duplicate = 20, .reorder = 30});
    for (unsigned i = 0; i < 30; i++) {
        for (unsigned job = 0; job < JOBS; job++)
            write_log(&w, job, 2 * i, 2);
        if (i % 5 == 0)
            frames += follow(&w, &reader, "", 0);
    }
    for (int i = 0; i < 100 && frames < 60 * JOBS; i++) {
        twin_pass(&w.twin, 100);
        frames += follow(&w, &reader, "", 0);
    }
    CHECK_INT(frames, 60 * JOBS);
    CHECK(reader.whole);
    for (unsigned job = 0; job < JOBS; job++)
        CHECK_INT(reader.next[job], 60);
    twin_release(&w.twin);
}

TEST(jobs_are_counted_once) {
    struct world w;
    Hodei__V1__JobEnd ok = HODEI__V1__JOB_END__INIT, *list[3];
    Hodei__V1__JobsEnded ended = HODEI__V1__JOBS_ENDED__INIT;
    Hodei__V1__JobStatsRequest ask = HODEI__V1__JOB_STATS_REQUEST__INIT;
    Hodei__V1__JobStatsReply *reply;
    world_init(&w, 1);
    ok.run = RUN;
    ok.job = "build";
    ok.pipeline = "p";
    ok.state = HODEI__V1__JOB_STATE__JOB_STATE_SUCCEEDED;
    ok.queued_ms = 100;
    ok.ran_ms = 2000;
    Hodei__V1__JobEnd failed = ok, skipped = ok;
    failed.state = HODEI__V1__JOB_STATE__JOB_STATE_TIMED_OUT;
    skipped.state = HODEI__V1__JOB_STATE__JOB_STATE_SKIPPED;
    list[0] = &ok;
    list[1] = &failed;
    list[2] = &skipped;
    ended.jobs = list;
    ended.n_jobs = 3;
    for (int i = 0; i < 3; i++) { // said again under fresh ids
        twin_publish(&w.twin, "hodei.evt.acme.job.ended", &ended.base, i == 0 ? "a" : i == 1 ? "b" : "c");
        twin_pass(&w.twin, 100);
    }
    twin_publish(&w.twin, "hodei.evt.other.job.ended", &ended.base, "d"); // the same, but another tenant's
    twin_pass(&w.twin, 100);
    ask.pipeline = "p";
    CHECK_INT(twin_call(&w.twin, "acme", "observability", "JobStats", &ask.base, MSG(job_stats_reply), &w.err, &reply),
              HD_OK);
    CHECK(reply && reply->n_jobs == 1);
    if (reply && reply->n_jobs == 1) {
        CHECK_INT(reply->jobs[0]->succeeded, 1);
        CHECK_INT(reply->jobs[0]->failed, 1);
        CHECK_INT(reply->jobs[0]->queued_ms_total, 200);
        CHECK_INT(reply->jobs[0]->ran_ms_total, 4000);
    }
    CHECK_INT(
        twin_call(&w.twin, "nobody", "observability", "JobStats", &ask.base, MSG(job_stats_reply), &w.err, &reply),
        HD_OK);
    CHECK(reply && reply->n_jobs == 0);
    twin_release(&w.twin);
}

TEST(old_logs_go) {
    struct world w;
    struct reader reader = {.cursor = "", .whole = true};
    world_init(&w, 1);
    w.obs.retention_ms = 3600 * 1000;
    write_log(&w, 0, 0, 4);
    CHECK_INT(acked(&w, 0), 4);
    twin_pass(&w.twin, 61 * 1000);
    CHECK_INT(follow(&w, &reader, "", 0), 4);
    twin_pass(&w.twin, 3600 * 1000);
    reader = (struct reader){.cursor = "", .whole = true};
    CHECK_INT(follow(&w, &reader, "", 0), 0);
    CHECK_INT(servers_pg_int("SELECT count(*) FROM observability.log_attempts"), 0);
    twin_release(&w.twin);
}

TEST_MAIN
