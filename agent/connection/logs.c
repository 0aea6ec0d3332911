#include "agent/connection/logs.h"

#include <stdlib.h>
#include <string.h>

#include "agent/shim/shim.h"
#include "base/log.h"
#include "base/pb.h"

static struct attempt_log *log_of(struct attempt *attempt) {
    if (!attempt->log)
        attempt->log = hd_calloc(1, sizeof(*attempt->log));
    return attempt->log;
}

static bool window_open(const struct attempt_log *log) {
    return log->n_marks < LOG_MARKS && log->sent_byte - log->acked_byte < LOG_WINDOW_BYTES;
}

static bool to_send(const struct attempt_log *log) {
    if (log->hole)
        return false;
    return log->orphan ? !log->complete || log->sent_byte < log->known_byte : log->sent_byte < log->known_byte;
}

// The one place that says in which queue a log is.
static void place(struct session *session, struct attempt *attempt) {
    struct attempt_log *log = attempt->log;
    if (to_send(log) && window_open(log)) {
        if (attempt->links[CHAIN_LOG].queue != &session->log_ready)
            queue_add(&session->log_ready, CHAIN_LOG, attempt);
    } else if (log->n_marks) {
        queue_add(&session->log_sent, CHAIN_LOG, attempt);
    } else {
        queue_leave(CHAIN_LOG, attempt);
    }
}

void logs_grown(struct session *session, struct attempt *attempt, const Hodei__V1__ShimState *state) {
    bool fresh = !attempt->log;
    struct attempt_log *log = log_of(attempt);
    if (!attempt->detail)
        return;
    if (fresh) {
        log->sent_frame = log->acked_frame = state->acked_frame;
        log->sent_byte = log->acked_byte = state->acked_byte;
    }
    log->orphan = false;
    if (state->dropped_frame > log->dropped_frame) {
        log->dropped_frame = state->dropped_frame;
        log->dropped_byte = state->dropped_byte;
        log->hole = false;
    }
    if (state->log_frames > log->known_frame) {
        log->known_frame = state->log_frames;
        log->known_byte = state->log_bytes;
    }
    log->complete = log->complete || state->ended;
    place(session, attempt);
}

void logs_orphan(struct session *session, struct attempt *attempt) {
    if (!attempt->detail || (attempt->log && attempt->log->complete))
        return;
    log_of(attempt)->orphan = true;
    attempt->log->hole = false; // nobody is left to say more of it
    place(session, attempt);
}

bool logs_stored(const struct attempt *attempt) {
    const struct attempt_log *log = attempt->log;
    if (!log || !attempt->detail)
        return true;
    return (log->complete || (attempt->ended && !log->orphan)) && log->acked_frame >= log->known_frame;
}

static void tell_shim(struct session *session, const struct attempt *attempt) {
    Hodei__V1__ShimMessage *out = &session->fx.shim;
    Hodei__V1__ShimLogAck *ack = HD_NEW(session->arena, Hodei__V1__ShimLogAck);
    *ack = (Hodei__V1__ShimLogAck)HODEI__V1__SHIM_LOG_ACK__INIT;
    ack->attempt = hd_arena_strdup(session->arena, attempt->text);
    ack->next_frame = attempt->log->acked_frame;
    ack->next_byte = attempt->log->acked_byte;
    HD_GROW(session->arena, out->log_acks, out->n_log_acks, session->fx.cap_acks);
    out->log_acks[out->n_log_acks++] = ack;
}

void logs_acked(struct session *session, struct attempt *attempt, uint64_t next_frame) {
    struct attempt_log *log = attempt->log;
    unsigned n = 0;
    if (!log)
        return;
    while (n < log->n_marks && log->marks[n].frame <= next_frame)
        n++;
    if (!n)
        return;
    log->acked_frame = log->marks[n - 1].frame;
    log->acked_byte = log->marks[n - 1].byte;
    log->n_marks -= n;
    memmove(log->marks, log->marks + n, log->n_marks * sizeof(log->marks[0]));
    log->progress_ms = session->now.mono_ms;
    if (!log->orphan)
        tell_shim(session, attempt);
    place(session, attempt);
    session_settle(session, attempt);
}

void logs_due(struct session *session) {
    struct attempt *attempt;
    while ((attempt = session->log_sent.head) && attempt->log->progress_ms + SESSION_AGAIN_MS <= session->now.mono_ms) {
        struct attempt_log *log = attempt->log;
        log->sent_frame = log->acked_frame;
        log->sent_byte = log->acked_byte;
        memcpy(log->splits, log->marks, sizeof(log->splits));
        log->n_splits = log->n_marks;
        log->n_marks = 0;
        queue_leave(CHAIN_LOG, attempt);
        place(session, attempt);
    }
}

// Whole frames out of `len` bytes of spool. *ret_broken: what follows is no frame.
static size_t cut_frames(struct session *session, const uint8_t *data, size_t len, Hodei__V1__LogChunk *chunk,
                         bool *ret_broken) {
    size_t used = 0, cap = 0;
    *ret_broken = false;
    while (chunk->n_frames < LOG_CHUNK_FRAMES && len - used >= sizeof(struct spool_header)) {
        struct spool_header header;
        memcpy(&header, data + used, sizeof(header));
        if (header.stream == 0 || header.len > LOG_FRAME_BYTES) { // zeros are a hole
            *ret_broken = true;
            break;
        }
        if (len - used - sizeof(header) < header.len)
            break;
        Hodei__V1__LogFrame *frame = HD_NEW(session->arena, Hodei__V1__LogFrame);
        *frame = (Hodei__V1__LogFrame)HODEI__V1__LOG_FRAME__INIT;
        frame->stream = (Hodei__V1__LogStream)header.stream;
        frame->at_ms = header.at_ms;
        frame->data.data = (uint8_t *)(uintptr_t)(data + used + sizeof(header));
        frame->data.len = header.len;
        HD_GROW(session->arena, chunk->frames, chunk->n_frames, cap);
        chunk->frames[chunk->n_frames++] = frame;
        used += sizeof(header) + header.len;
    }
    return used;
}

// Nothing more can be had of this log.
static void give_up(struct session *session, struct attempt *attempt) {
    struct attempt_log *log = attempt->log;
    log->complete = true;
    log->known_frame = log->sent_frame;
    log->known_byte = log->sent_byte;
    place(session, attempt);
    session_settle(session, attempt);
}

static Hodei__V1__LogChunk *chunk_new(struct session *session, const struct attempt *attempt) {
    ProtobufCMessage *msg = NULL;
    Hodei__V1__LogChunk *chunk = HD_NEW(session->arena, Hodei__V1__LogChunk);
    *chunk = (Hodei__V1__LogChunk)HODEI__V1__LOG_CHUNK__INIT;
    if (hd_pb_unpack(session->arena, &hodei__v1__assignment__descriptor, attempt->detail, attempt->detail_len, NULL,
                     &msg) != HD_OK)
        return NULL;
    const Hodei__V1__Assignment *detail = (const Hodei__V1__Assignment *)msg;
    chunk->worker = (char *)(uintptr_t)session->worker;
    chunk->session = session->text;
    chunk->tenant = detail->tenant;
    chunk->run = detail->run;
    chunk->job_index = detail->job_index;
    chunk->job = detail->job;
    chunk->attempt = hd_arena_strdup(session->arena, attempt->text);
    chunk->attempt_number = detail->number;
    chunk->first_frame = attempt->log->sent_frame;
    return chunk;
}

static void sent(struct session *session, struct attempt *attempt) {
    struct attempt_log *log = attempt->log;
    if (!log->n_marks)
        log->progress_ms = session->now.mono_ms;
    log->marks[log->n_marks++] = (struct log_mark){log->sent_frame, log->sent_byte};
    queue_leave(CHAIN_LOG, attempt); // to the back of its queue
    place(session, attempt);
}

// Where the gap from sent_frame on ends: where the owner may have it up to, so that it need never guess what a part of a gap held.
static struct log_mark gap_end(const struct attempt_log *log) {
    for (unsigned i = 0; i < log->n_splits; i++)
        if (log->splits[i].frame > log->sent_frame && log->splits[i].frame < log->dropped_frame)
            return log->splits[i];
    return (struct log_mark){log->dropped_frame, log->dropped_byte};
}

// What the shim has dropped. A very long gap goes in parts: how many bytes each had nobody knows, so they are shared out.
static Hodei__V1__LogChunk *take_gap(struct session *session, struct attempt *attempt) {
    struct attempt_log *log = attempt->log;
    Hodei__V1__LogChunk *chunk = chunk_new(session, attempt);
    if (!chunk) {
        give_up(session, attempt);
        return NULL;
    }
    struct log_mark end = gap_end(log);
    uint64_t frames = end.frame - log->sent_frame, bytes = end.byte - log->sent_byte;
    if (frames > LOG_GAP_FRAMES) {
        bytes = bytes / frames * LOG_GAP_FRAMES;
        frames = LOG_GAP_FRAMES;
    }
    uint64_t headers = frames * sizeof(struct spool_header);
    chunk->gap_frames = frames;
    chunk->gap_bytes = bytes > headers ? bytes - headers : 0;
    log->sent_frame += frames;
    log->sent_byte += bytes;
    hd_metric_add(&session_metrics[SESSION_M_GAPS], 1);
    sent(session, attempt);
    return chunk;
}

static Hodei__V1__LogChunk *take_chunk(struct session *session, struct attempt *attempt, log_read_fn *read, void *arg) {
    struct attempt_log *log = attempt->log;
    if (log->sent_frame < log->dropped_frame)
        return take_gap(session, attempt);
    size_t want = LOG_CHUNK_BYTES, got = 0;
    bool broken = false;
    if (!log->orphan && log->known_byte - log->sent_byte < want)
        want = (size_t)(log->known_byte - log->sent_byte);
    Hodei__V1__LogChunk *chunk = chunk_new(session, attempt);
    uint8_t *data = hd_arena_alloc(session->arena, want);
    enum hd_status status = read(arg, attempt->text, log->sent_byte, data, want, &got);
    size_t used = chunk && status == HD_OK ? cut_frames(session, data, got, chunk, &broken) : 0;
    if (!used && broken && !log->orphan && got >= 1 &&
        data[0] == 0) { // dropped a moment ago: the shim is about to say it
        log->hole = true;
        queue_leave(CHAIN_LOG, attempt);
        place(session, attempt);
        return NULL;
    }
    if (!used) { // of an orphan this is the end; else the file is not what the shim wrote
        if (!log->orphan)
            hd_warn("the log of attempt %s ends at frame %llu: its spool cannot be read", attempt->text,
                    (unsigned long long)log->sent_frame);
        give_up(session, attempt);
        return NULL;
    }
    log->sent_frame += chunk->n_frames;
    log->sent_byte += used;
    if (log->orphan && log->known_frame < log->sent_frame) {
        log->known_frame = log->sent_frame;
        log->known_byte = log->sent_byte;
        log->complete = broken || got < want;
    }
    sent(session, attempt);
    return chunk;
}

Hodei__V1__LogChunks *logs_take(struct session *session, log_read_fn *read, void *arg) {
    while (session->log_ready.head) {
        Hodei__V1__LogChunk *chunk = take_chunk(session, session->log_ready.head, read, arg);
        if (!chunk)
            continue;
        Hodei__V1__LogChunks *chunks = HD_NEW(session->arena, Hodei__V1__LogChunks);
        *chunks = (Hodei__V1__LogChunks)HODEI__V1__LOG_CHUNKS__INIT;
        chunks->chunks = HD_NEW_ARRAY(session->arena, 1, Hodei__V1__LogChunk *);
        chunks->chunks[chunks->n_chunks++] = chunk;
        return chunks;
    }
    return NULL;
}
