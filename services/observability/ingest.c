// Feed LOGS: chunks are stored in the order of their frames and acknowledged to the agent that keeps them until then.
#include "base/quota.h"
#include "hodei/v1/flow.pb-c.h"
#include "services/observability/observability.h"

// A chunk of the batch with what it belongs to. Attempts and runs are found by their keys, since both arrays are sorted later.
struct arrival {
    struct hd_item *item;
    const Hodei__V1__LogChunk *chunk;
    const char *worker, *tenant;
    struct hd_uuid run, attempt;
};
struct batch {
    struct arrival *arrivals; // by (run, job index, attempt)
    size_t n_arrivals;
    struct obs_run *runs; // by id
    size_t n_runs;
    struct obs_attempt *attempts; // by (run, job index, id)
    size_t n_attempts;
    struct obs_row *rows;
    size_t n_rows, cap_rows;
    struct obs_day *days; // by tenant
    size_t n_days;
};

static int by_attempt(const void *a, const void *b) {
    const struct arrival *x = a, *y = b;
    int order = hd_uuid_cmp(x->run, y->run);
    if (order == 0)
        order = x->chunk->job_index < y->chunk->job_index ? -1 : x->chunk->job_index > y->chunk->job_index;
    return order ? order : hd_uuid_cmp(x->attempt, y->attempt);
}

static void refuse(struct hd_item *item) {
    item->err.status = HD_INVALID;
    hd_metric_add(&obs_metrics[OBS_M_REFUSED], 1);
}

// Takes the chunks of the items that are right as a whole.
static void gather(struct hd_ctx *cx, struct hd_item *items, size_t n, struct batch *batch) {
    size_t cap = 0;
    batch->arrivals = NULL;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__LogChunks *chunks = (const Hodei__V1__LogChunks *)items[i].msg;
        size_t before = batch->n_arrivals;
        struct obs_log_subject subject;
        if (obs_parse_log_subject(cx->arena, items[i].subject, &items[i].err, &subject) != HD_OK) {
            refuse(&items[i]);
            continue;
        }
        for (size_t j = 0; j < chunks->n_chunks; j++) {
            struct arrival arrival = {&items[i], chunks->chunks[j], subject.worker, subject.tenant, {{0}}, {{0}}};
            if (obs_check_chunk(&subject, arrival.chunk, &items[i].err, &arrival.run, &arrival.attempt) != HD_OK) {
                refuse(&items[i]);
                batch->n_arrivals = before;
                break;
            }
            HD_GROW(cx->arena, batch->arrivals, batch->n_arrivals, cap);
            batch->arrivals[batch->n_arrivals++] = arrival;
        }
    }
    if (batch->n_arrivals)
        qsort(batch->arrivals, batch->n_arrivals, sizeof(*batch->arrivals), by_attempt);
}

// Locks the runs and leaves out what comes for another tenant's run.
static enum hd_status lock_runs(struct hd_ctx *cx, struct batch *batch) {
    size_t n = 0;

    batch->runs = HD_NEW_ARRAY(cx->arena, batch->n_arrivals, struct obs_run);
    for (size_t i = 0; i < batch->n_arrivals; i++)
        if (i == 0 || !hd_uuid_eq(batch->arrivals[i].run, batch->arrivals[i - 1].run))
            batch->runs[batch->n_runs++] =
                (struct obs_run){.id = batch->arrivals[i].run, .tenant = batch->arrivals[i].tenant};
    HD_TRY(obs_lock_runs(cx, batch->runs, batch->n_runs));
    for (size_t i = 0; i < batch->n_arrivals; i++) {
        struct arrival *arrival = &batch->arrivals[i];
        if (strcmp(obs_run_of(batch->runs, batch->n_runs, arrival->run)->tenant, arrival->tenant) == 0) {
            batch->arrivals[n++] = *arrival;
        } else if (arrival->item->err.status == HD_OK) {
            hd_item_fail(arrival->item, HD_INVALID, "run %s is not of tenant %s", arrival->chunk->run, arrival->tenant);
            refuse(arrival->item);
        }
    }
    batch->n_arrivals = n;
    return HD_OK;
}

static void group_attempts(struct hd_ctx *cx, struct batch *batch) {
    batch->attempts = HD_NEW_ARRAY(cx->arena, batch->n_arrivals + 1, struct obs_attempt);
    for (size_t i = 0; i < batch->n_arrivals; i++) {
        struct arrival *arrival = &batch->arrivals[i];
        if (i == 0 || by_attempt(arrival, arrival - 1) != 0)
            batch->attempts[batch->n_attempts++] = (struct obs_attempt){.run = arrival->run,
                                                                        .id = arrival->attempt,
                                                                        .job_index = arrival->chunk->job_index,
                                                                        .worker = arrival->worker,
                                                                        .session = arrival->chunk->session};
        struct obs_attempt *attempt = &batch->attempts[batch->n_attempts - 1];
        HD_GROW(cx->arena, attempt->pieces, attempt->n_pieces, attempt->cap_pieces);
        attempt->pieces[attempt->n_pieces++] =
            (struct frames_piece){.first = arrival->chunk->first_frame,
                                  .end = arrival->chunk->first_frame + obs_chunk_frames(arrival->chunk),
                                  .chunk = (void *)arrival->chunk};
    }
}

// --- quota ------------------------------------------------------------------------------------------------------------

static int by_tenant(const void *a, const void *b) {
    return strcmp(((const struct obs_day *)a)->tenant, ((const struct obs_day *)b)->tenant);
}

static struct obs_day *day_of(const struct batch *batch, const char *tenant) {
    const struct obs_day key = {.tenant = tenant};
    return bsearch(&key, batch->days, batch->n_days, sizeof(key), by_tenant);
}

static enum hd_status load_days(struct hd_ctx *cx, struct batch *batch) {
    struct obs_day *days = HD_NEW_ARRAY(cx->arena, batch->n_runs, struct obs_day);
    size_t n = 0;

    for (size_t i = 0; i < batch->n_runs; i++)
        days[i].tenant = batch->runs[i].tenant;
    qsort(days, batch->n_runs, sizeof(*days), by_tenant);
    for (size_t i = 0; i < batch->n_runs; i++)
        if (i == 0 || by_tenant(&days[i], &days[n - 1]) != 0)
            days[n++] = days[i];
    batch->days = days;
    batch->n_days = n;
    HD_TRY(obs_lock_days(cx, days, n));
    for (size_t i = 0; i < n; i++)
        obs_day_turn(&days[i], hd_quota_day(cx->now.wall_ms));
    return HD_OK;
}

static enum hd_status save_days(struct hd_ctx *cx, struct batch *batch) {
    for (size_t i = 0; i < batch->n_days; i++)
        obs_day_mark(cx, &batch->days[i]);
    return obs_save_days(cx, batch->days, batch->n_days);
}

static int64_t written(Hodei__V1__LogFrame *const *frames, size_t n) {
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += (int64_t)frames[i]->data.len;
    return bytes;
}

static void add_note(struct hd_ctx *cx, Hodei__V1__LogChunk *chunk, const char *text) {
    Hodei__V1__LogFrame *frame = (Hodei__V1__LogFrame *)hd_pb_new(cx->arena, &hodei__v1__log_frame__descriptor);

    frame->stream = HODEI__V1__LOG_STREAM__LOG_STREAM_SYSTEM;
    frame->at_ms = cx->now.wall_ms;
    frame->data.data = (uint8_t *)hd_arena_strdup(cx->arena, text);
    frame->data.len = strlen(text);
    chunk->frames = HD_NEW_ARRAY(cx->arena, 1, Hodei__V1__LogFrame *);
    chunk->frames[0] = frame;
    chunk->n_frames = 1;
}

// What is over the tenant's quota becomes a gap, which the log tells of once.
static void fill_cut(struct hd_ctx *cx, const struct obs_day *day, struct obs_attempt *attempt,
                     Hodei__V1__LogChunk *inout) {
    HD_AUTO_BUF struct hd_buf limit = {0};

    inout->gap_frames = inout->n_frames;
    inout->gap_bytes = (uint64_t)written(inout->frames, inout->n_frames);
    inout->n_frames = 0;
    inout->frames = NULL;
    hd_metric_add(&obs_metrics[OBS_M_CUT_BYTES], (int64_t)inout->gap_bytes);
    if (attempt->closing == day->closings)
        return;
    attempt->closing = day->closings;
    hd_quota_format(HD_QUOTA_LOG_BYTES_DAY, day->limit, &limit);
    add_note(
        cx, inout,
        hd_arena_printf(cx->arena,
                        "\n[... the tenant may write %s of logs a day, and that is used up: output from here on is "
                        "not kept until midnight UTC, or until log_bytes_day of its quota is raised]\n",
                        limit.data));
}

// --- rows -------------------------------------------------------------------------------------------------------------

// What a reader sees where output is missing. Of a gap of which a part is stored already the bytes are shared out by frames.
static void fill_gap(struct hd_ctx *cx, const Hodei__V1__LogChunk *chunk, uint64_t skip, Hodei__V1__LogChunk *ret) {
    ret->gap_frames = chunk->gap_frames - skip;
    ret->gap_bytes = (uint64_t)((double)chunk->gap_bytes * (double)ret->gap_frames / (double)chunk->gap_frames);
    add_note(cx, ret,
             hd_arena_printf(cx->arena,
                             "\n[... %llu bytes of output were dropped here: the worker was cut off and its spool was "
                             "full]\n",
                             (unsigned long long)ret->gap_bytes));
    hd_metric_add(&obs_metrics[OBS_M_GAPS], 1);
    hd_metric_add(&obs_metrics[OBS_M_GAP_BYTES], (int64_t)ret->gap_bytes);
}

static void add_row(struct hd_ctx *cx, struct batch *batch, struct obs_attempt *attempt,
                    const struct frames_piece *piece, const Hodei__V1__LogChunk *chunk) {
    struct obs_run *run = obs_run_of(batch->runs, batch->n_runs, attempt->run);
    struct obs_day *day = day_of(batch, run->tenant);
    Hodei__V1__LogChunk stored = HODEI__V1__LOG_CHUNK__INIT;
    size_t skip = (size_t)(piece->from - piece->first), len;
    uint8_t *data;

    if (chunk->gap_frames) {
        fill_gap(cx, chunk, skip, &stored);
    } else {
        stored.frames = chunk->frames + skip;
        stored.n_frames = chunk->n_frames - skip;
        if (!obs_day_take(day, written(stored.frames, stored.n_frames)))
            fill_cut(cx, day, attempt, &stored);
    }
    hd_pb_pack(cx->arena, &stored.base, &data, &len);
    int64_t bytes = obs_frames_bytes(stored.frames, stored.n_frames);
    HD_GROW(cx->arena, batch->rows, batch->n_rows, batch->cap_rows);
    batch->rows[batch->n_rows++] = (struct obs_row){
        .attempt = attempt,
        .seq = ++run->last_seq,
        .attempt_number = (int32_t)chunk->attempt_number,
        .first_frame = (int64_t)piece->from,
        .n_frames = (int32_t)obs_chunk_frames(&stored),
        .bytes = bytes,
        .job = chunk->job,
        .frames = {data, len},
    };
    hd_metric_add(&obs_metrics[OBS_M_STORED], 1);
    hd_metric_add(&obs_metrics[OBS_M_BYTES], bytes);
}

static enum hd_status take(struct hd_ctx *cx, struct batch *batch, struct obs_attempt *attempt,
                           const struct frames_piece *piece) {
    ProtobufCMessage *msg = piece->chunk;
    struct hd_bytes early;

    if (piece->waits) {
        HD_TRY(obs_load_early(cx, attempt, piece->first, &early));
        HD_TRY(hd_pb_unpack(cx->arena, &hodei__v1__log_chunk__descriptor, early.data, early.len, &cx->err, &msg));
    }
    add_row(cx, batch, attempt, piece, (const Hodei__V1__LogChunk *)msg);
    return HD_OK;
}

static enum hd_status keep_early(struct hd_ctx *cx, const struct obs_attempt *attempt,
                                 const struct frames_piece *piece) {
    uint8_t *data;
    size_t len;
    hd_pb_pack(cx->arena, piece->chunk, &data, &len);
    hd_metric_add(&obs_metrics[OBS_M_EARLY], 1);
    return obs_save_early(cx, attempt, piece->first, piece->end - piece->first, (struct hd_bytes){data, len});
}

// Carries out the plan for one attempt.
static enum hd_status store_attempt(struct hd_ctx *cx, struct batch *batch, struct obs_attempt *attempt) {
    bool waited = false;

    attempt->next_frame = frames_plan(attempt->next_frame, attempt->pieces, attempt->n_pieces);
    for (size_t i = 0; i < attempt->n_pieces; i++) {
        const struct frames_piece *piece = &attempt->pieces[i];
        waited = waited || (piece->waits && piece->verdict != FRAMES_EARLY);
        if (piece->verdict == FRAMES_TAKE)
            HD_TRY(take(cx, batch, attempt, piece));
        else if (piece->verdict == FRAMES_EARLY && !piece->waits)
            HD_TRY(keep_early(cx, attempt, piece));
        else if (!piece->waits)
            hd_metric_add(&obs_metrics[piece->verdict == FRAMES_KNOWN ? OBS_M_KNOWN : OBS_M_DROPPED], 1);
    }
    return waited ? obs_drop_early(cx, attempt) : HD_OK;
}

// One message a worker session; the attempts of a batch are few.
static void acknowledge(struct hd_ctx *cx, const struct batch *batch) {
    bool *said = HD_NEW_ARRAY(cx->arena, batch->n_attempts + 1, bool);
    for (size_t i = 0; i < batch->n_attempts; i++) {
        const struct obs_attempt *first = &batch->attempts[i];
        Hodei__V1__Acks acks = HODEI__V1__ACKS__INIT;
        if (said[i])
            continue;
        acks.session = (char *)first->session;
        acks.logs = HD_NEW_ARRAY(cx->arena, batch->n_attempts - i, Hodei__V1__LogAck *);
        for (size_t j = i; j < batch->n_attempts; j++) {
            const struct obs_attempt *attempt = &batch->attempts[j];
            char id[HD_UUID_TEXT];
            if (said[j] || strcmp(attempt->worker, first->worker) != 0 || strcmp(attempt->session, first->session) != 0)
                continue;
            Hodei__V1__LogAck *ack = (Hodei__V1__LogAck *)hd_pb_new(cx->arena, &hodei__v1__log_ack__descriptor);
            hd_uuid_format(attempt->id, id);
            ack->attempt = hd_arena_strdup(cx->arena, id);
            ack->next_frame = attempt->next_frame;
            acks.logs[acks.n_logs++] = ack;
            said[j] = true;
        }
        hd_tell(cx, hd_subject(cx->arena, HD_SUBJECT_ACK, first->worker), &acks.base);
    }
}

enum hd_status obs_store_logs(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct batch batch = {0};
    (void)self;

    gather(cx, items, n, &batch);
    if (batch.n_arrivals == 0)
        return HD_OK;
    HD_TRY(lock_runs(cx, &batch));
    if (batch.n_arrivals == 0)
        return HD_OK;
    group_attempts(cx, &batch);
    HD_TRY(obs_load_attempts(cx, batch.attempts, batch.n_attempts));
    HD_TRY(load_days(cx, &batch));
    for (size_t i = 0; i < batch.n_attempts; i++)
        HD_TRY(store_attempt(cx, &batch, &batch.attempts[i]));
    if (batch.n_rows) {
        HD_TRY(obs_save_rows(cx, batch.rows, batch.n_rows));
        HD_TRY(obs_save_runs(cx, batch.runs, batch.n_runs));
        HD_TRY(save_days(cx, &batch));
    }
    // Also those with a next_frame of 0: what waits is found through their rows.
    HD_TRY(obs_save_attempts(cx, batch.attempts, batch.n_attempts));
    acknowledge(cx, &batch);
    return HD_OK;
}
