// ReadLog: what is stored after the cursor, or wait for more.
#include "services/observability/observability.h"

#define WAIT_MAX_MS 20000
#define BYTES_DEFAULT (256 << 10)
#define BYTES_MAX (1 << 20)
// An answer must fit into one message of the bus (1 MiB) with its envelope.
#define ANSWER_BYTES (960 << 10)
#define ENTRY_OVERHEAD 256

struct reading {
    const Hodei__V1__ReadLogRequest *request;
    struct hd_uuid run;
    struct obs_cursor cursor;
    int64_t max_bytes;
};

static enum hd_status refuse(struct hd_item *item, const char *field, const char *text) {
    hd_item_fail(item, HD_INVALID, "%s", text);
    hd_err_field(&item->err, "%s", field);
    return HD_INVALID;
}

static enum hd_status check(struct hd_item *item, struct reading *ret) {
    const Hodei__V1__ReadLogRequest *request = (const Hodei__V1__ReadLogRequest *)item->msg;
    struct reading reading = {.request = request};

    if (hd_uuid_parse(request->run, &reading.run) != HD_OK)
        return refuse(item, "run", "the run is not a UUID");
    if (*request->job && !hd_name_valid(request->job))
        return refuse(item, "job", "a job's name is 1 to 128 of A-Z a-z 0-9 . _ -");
    if (obs_cursor_parse(request->cursor, &reading.cursor) != HD_OK)
        return refuse(item, "cursor", "the cursor is not one of an earlier answer");
    if (request->wait_ms < 0 || request->wait_ms > WAIT_MAX_MS)
        return refuse(item, "wait_ms", "wait_ms is 0 to 20000");
    if (request->max_bytes > BYTES_MAX)
        return refuse(item, "max_bytes", "max_bytes is at most 1048576");
    reading.max_bytes = request->max_bytes ? request->max_bytes : BYTES_DEFAULT;
    if (reading.max_bytes > ANSWER_BYTES)
        reading.max_bytes = ANSWER_BYTES;
    *ret = reading;
    return HD_OK;
}

// Adds frames of one stored chunk as far as there is room; at least one frame of an answer always has. Returns how many.
static size_t add_entry(struct hd_ctx *cx, const struct hd_rows *rows, size_t row, const Hodei__V1__LogChunk *chunk,
                        size_t skip, int64_t *room, Hodei__V1__ReadLogReply *reply) {
    Hodei__V1__LogEntry *entry = (Hodei__V1__LogEntry *)hd_pb_new(cx->arena, &hodei__v1__log_entry__descriptor);
    size_t n = 0;

    *room -= ENTRY_OVERHEAD;
    while (skip + n < chunk->n_frames) {
        int64_t bytes = obs_frames_bytes(&chunk->frames[skip + n], 1);
        if (bytes > *room && (n || reply->n_entries))
            break;
        *room -= bytes;
        n++;
    }
    if (n || chunk->n_frames == 0) { // of what is over a quota there is a number and no text
        entry->job = hd_arena_strdup(cx->arena, hd_row_text(rows, row, 1));
        entry->attempt_number = (uint32_t)hd_row_int(rows, row, 2);
        entry->first_frame = (uint64_t)hd_row_int(rows, row, 3) + skip;
        entry->frames = chunk->frames + skip;
        entry->n_frames = n;
        entry->gap_frames = chunk->gap_frames;
        entry->gap_bytes = chunk->gap_bytes;
        reply->entries[reply->n_entries++] = entry;
    }
    return n;
}

static enum hd_status fill(struct hd_ctx *cx, struct reading *reading, Hodei__V1__ReadLogReply *reply) {
    struct hd_rows rows;
    int64_t room = reading->max_bytes;

    HD_TRY(obs_read_rows(cx, reading->run, reading->request->job, reading->cursor, reading->max_bytes, &rows));
    reply->entries = HD_NEW_ARRAY(cx->arena, rows.n + 1, Hodei__V1__LogEntry *);
    for (size_t i = 0; i < rows.n; i++) {
        int64_t seq = hd_row_int(&rows, i, 0);
        size_t skip = seq == reading->cursor.seq ? (size_t)reading->cursor.skip : 0;
        struct hd_bytes data = hd_row_bytes(&rows, i, 4);
        ProtobufCMessage *msg;
        HD_TRY(hd_pb_unpack(cx->arena, &hodei__v1__log_chunk__descriptor, data.data, data.len, &cx->err, &msg));
        const Hodei__V1__LogChunk *chunk = (const Hodei__V1__LogChunk *)msg;
        size_t n =
            skip < chunk->n_frames || chunk->n_frames == 0 ? add_entry(cx, &rows, i, chunk, skip, &room, reply) : 0;
        if (skip + n < chunk->n_frames) {
            reading->cursor = (struct obs_cursor){seq, (int64_t)(skip + n)};
            break;
        }
        reading->cursor = (struct obs_cursor){seq + 1, 0};
    }
    return HD_OK;
}

static enum hd_status answer(struct hd_ctx *cx, struct hd_item *item, struct reading *reading,
                             const struct obs_run *run) {
    Hodei__V1__ReadLogReply *reply = (Hodei__V1__ReadLogReply *)item->reply;

    if (run->found && strcmp(run->tenant, item->principal->tenant) != 0) {
        hd_item_fail(item, HD_MISSING, "there is no run %s", reading->request->run);
        return HD_OK;
    }
    // A run that is not known here has not written anything, yet or ever: that is no error.
    if (run->found && reading->cursor.seq <= run->last_seq) {
        HD_TRY(fill(cx, reading, reply));
        if (reply->n_entries == 0) // what there is, is of other jobs, or deleted
            reading->cursor = (struct obs_cursor){run->last_seq + 1, 0};
    }
    if (reply->n_entries == 0 && reading->request->wait_ms > 0 && hd_item_park(cx, item, reading->request->wait_ms))
        return HD_OK;
    reply->cursor = obs_cursor_format(cx->arena, reading->cursor);
    return HD_OK;
}

static int by_id(const void *a, const void *b) {
    return hd_uuid_cmp(((const struct obs_run *)a)->id, ((const struct obs_run *)b)->id);
}

enum hd_status obs_read_log(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct reading *readings = HD_NEW_ARRAY(cx->arena, n, struct reading);
    struct obs_run *runs = HD_NEW_ARRAY(cx->arena, n, struct obs_run);
    size_t n_runs = 0, n_distinct = 0;
    (void)self;

    for (size_t i = 0; i < n; i++)
        if (check(&items[i], &readings[i]) == HD_OK)
            runs[n_runs++].id = readings[i].run;
    if (n_runs == 0)
        return HD_OK;
    qsort(runs, n_runs, sizeof(*runs), by_id);
    for (size_t i = 0; i < n_runs; i++)
        if (i == 0 || !hd_uuid_eq(runs[i].id, runs[n_distinct - 1].id))
            runs[n_distinct++] = runs[i];
    HD_TRY(obs_find_runs(cx, runs, n_distinct));
    for (size_t i = 0; i < n; i++)
        if (items[i].err.status == HD_OK)
            HD_TRY(answer(cx, &items[i], &readings[i], obs_run_of(runs, n_distinct, readings[i].run)));
    return HD_OK;
}
