#include "services/observability/parse.h"

#include "base/buf.h"
#include "base/names.h"

// Cuts a subject at its dots; the count, or max + 1 where there are more.
static size_t cut(struct hd_arena *arena, const char *subject, const char **tokens, size_t max) {
    char *text = hd_arena_strdup(arena, subject);
    size_t n = 0;
    for (;;) {
        char *dot = strchr(text, '.');
        if (n == max)
            return max + 1;
        tokens[n++] = text;
        if (!dot)
            return n;
        *dot = '\0';
        text = dot + 1;
    }
}

enum hd_status obs_parse_log_subject(struct hd_arena *arena, const char *subject, struct hd_err *err,
                                     struct obs_log_subject *ret) {
    const char *tokens[6];
    struct hd_uuid run;
    int64_t job_index;

    if (cut(arena, subject, tokens, 6) != 6 || strcmp(tokens[0], "hodei") != 0 || strcmp(tokens[1], "log") != 0 ||
        !hd_token_valid(tokens[2]) || !hd_token_valid(tokens[3]) || hd_uuid_parse(tokens[4], &run) != HD_OK ||
        hd_parse_i64(tokens[5], &job_index) != HD_OK || job_index < 0 || job_index > INT32_MAX)
        return hd_err_set(err, HD_INVALID, "the subject %s is not hodei.log.<worker>.<tenant>.<run>.<job index>",
                          subject);
    *ret = (struct obs_log_subject){tokens[2], tokens[3], tokens[4], (uint32_t)job_index};
    return HD_OK;
}

enum hd_status obs_parse_event_subject(struct hd_arena *arena, const char *subject, struct hd_err *err,
                                       const char **ret_tenant) {
    const char *tokens[5];
    if (cut(arena, subject, tokens, 5) != 5 || strcmp(tokens[0], "hodei") != 0 || strcmp(tokens[1], "evt") != 0 ||
        !hd_token_valid(tokens[2]))
        return hd_err_set(err, HD_INVALID, "the subject %s is not hodei.evt.<tenant>.job.ended", subject);
    *ret_tenant = tokens[2];
    return HD_OK;
}

static enum hd_status foreign(struct hd_err *err, const char *field, const char *says, const char *subject_says) {
    hd_err_set(err, HD_INVALID, "the log chunk says %s \"%s\", its subject \"%s\"", field, says, subject_says);
    hd_err_field(err, "%s", field);
    return HD_INVALID;
}

static enum hd_status bad(struct hd_err *err, const char *field, const char *text) {
    hd_err_set(err, HD_INVALID, "%s", text);
    hd_err_field(err, "%s", field);
    return HD_INVALID;
}

enum hd_status obs_check_chunk(const struct obs_log_subject *subject, const Hodei__V1__LogChunk *chunk,
                               struct hd_err *err, struct hd_uuid *ret_run, struct hd_uuid *ret_attempt) {
    struct hd_uuid session, run, attempt;

    if (strcmp(chunk->worker, subject->worker) != 0)
        return foreign(err, "worker", chunk->worker, subject->worker);
    if (strcmp(chunk->tenant, subject->tenant) != 0)
        return foreign(err, "tenant", chunk->tenant, subject->tenant);
    if (strcmp(chunk->run, subject->run) != 0)
        return foreign(err, "run", chunk->run, subject->run);
    if (chunk->job_index != subject->job_index)
        return bad(err, "job_index", "the log chunk's job index is not its subject's");
    if (hd_uuid_parse(chunk->run, &run) != HD_OK)
        return bad(err, "run", "the run is not a UUID");
    if (hd_uuid_parse(chunk->session, &session) != HD_OK)
        return bad(err, "session", "the session is not a UUID");
    if (hd_uuid_parse(chunk->attempt, &attempt) != HD_OK)
        return bad(err, "attempt", "the attempt is not a UUID");
    if (!hd_name_valid(chunk->job))
        return bad(err, "job", "a job's name is 1 to 128 of A-Z a-z 0-9 . _ -");
    if (chunk->attempt_number > INT32_MAX)
        return bad(err, "attempt_number", "the attempt's number is too large");
    if ((chunk->n_frames == 0) == (chunk->gap_frames == 0))
        return bad(err, "frames", "a log chunk has at least one frame, or is a gap");
    if (chunk->gap_frames > OBS_MAX_GAP || chunk->gap_bytes > INT64_MAX)
        return bad(err, "gap_frames", "a gap has at most 2^30 frames");
    if (chunk->first_frame > (uint64_t)OBS_MAX_FRAME)
        return bad(err, "first_frame", "the frame's number is too large");
    for (size_t i = 0; i < chunk->n_frames; i++)
        if (chunk->frames[i]->data.len > OBS_FRAME_BYTES)
            return bad(err, "frames", "a log frame has at most 32 KiB");
    *ret_run = run;
    *ret_attempt = attempt;
    return HD_OK;
}

uint64_t obs_chunk_frames(const Hodei__V1__LogChunk *chunk) {
    return chunk->gap_frames ? chunk->gap_frames : chunk->n_frames;
}

int64_t obs_frames_bytes(Hodei__V1__LogFrame *const *frames, size_t n) {
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += (int64_t)frames[i]->data.len + OBS_FRAME_OVERHEAD;
    return bytes;
}

enum hd_status obs_cursor_parse(const char *text, struct obs_cursor *ret) {
    struct obs_cursor cursor = {0};
    char seq[24];
    const char *dot = strchr(text, '.');

    if (*text) {
        if (!dot || (size_t)(dot - text) >= sizeof(seq))
            return HD_INVALID;
        memcpy(seq, text, (size_t)(dot - text));
        seq[dot - text] = '\0';
        HD_TRY(hd_parse_i64(seq, &cursor.seq));
        HD_TRY(hd_parse_i64(dot + 1, &cursor.skip));
        if (cursor.seq < 0 || cursor.skip < 0)
            return HD_INVALID;
    }
    *ret = cursor;
    return HD_OK;
}

char *obs_cursor_format(struct hd_arena *arena, struct obs_cursor cursor) {
    return hd_arena_printf(arena, "%lld.%lld", (long long)cursor.seq, (long long)cursor.skip);
}
