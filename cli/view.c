#include "cli/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/pb_field.h"
#include "base/uuid.h"

#define BLOCK_JOBS_MAX 16
#define LINE_MAX_BYTES (64u << 10)

void view_init(struct view *view, struct cli *cli, bool prefix) {
    *view = (struct view){.cli = cli, .live = isatty(STDOUT_FILENO) && !cli->json, .prefix = prefix};
}

void view_release(struct view *view) {
    for (size_t i = 0; i < view->n_streams; i++)
        hd_buf_release(&view->streams[i].partial);
    hd_buf_release(&view->out);
}

void view_flush(struct view *view) {
    if (view->out.len)
        fwrite(view->out.data, 1, view->out.len, stdout);
    fflush(stdout);
    hd_buf_clear(&view->out);
}

void view_erase(struct view *view) {
    if (view->drawn)
        hd_buf_addf(&view->out, "\033[%uA\033[J", view->drawn);
    view->drawn = 0;
}

static struct view_stream *stream_of(struct view *view, const char *job, int64_t attempt) {
    struct hd_arena *arena = &view->cli->arena;

    for (size_t i = 0; i < view->n_streams; i++)
        if (view->streams[i].attempt == attempt && hd_streq(view->streams[i].job, job))
            return &view->streams[i];
    HD_GROW(arena, view->streams, view->n_streams, view->cap_streams);
    struct view_stream *stream = &view->streams[view->n_streams++];
    *stream = (struct view_stream){.job = hd_arena_strdup(arena, job), .attempt = attempt};
    return stream;
}

static void add_line(struct view *view, const struct view_stream *stream, const char *text, size_t len) {
    if (view->prefix) {
        const char *grey = view->cli->colour ? "\033[90m" : "";
        hd_buf_addf(&view->out, "%s%-*s |%s ", grey, (int)view->width, stream->job, CLI_RESET(view->cli));
    }
    hd_buf_add(&view->out, text, len);
}

// Without prefixes the bytes go through as they are; with them, line by line.
static void add_bytes(struct view *view, struct view_stream *stream, const char *data, size_t len) {
    if (!view->prefix && !view->live) {
        hd_buf_add(&view->out, data, len);
        return;
    }
    hd_buf_add(&stream->partial, data, len);
    size_t used = 0;
    for (;;) {
        const char *start = stream->partial.data + used;
        size_t left = stream->partial.len - used;
        const char *end = left ? memchr(start, '\n', left) : NULL;
        if (!end && left < LINE_MAX_BYTES)
            break;
        size_t n = end ? (size_t)(end - start) + 1 : left;
        add_line(view, stream, start, n);
        if (!end)
            hd_buf_addc(&view->out, '\n');
        used += n;
    }
    hd_buf_consume(&stream->partial, used);
}

static void add_frame(struct view *view, struct view_stream *stream, const char *base64) {
    size_t len = strlen(base64), n = 0;
    HD_AUTO_FREE uint8_t *data = malloc(len + 4);

    if (data && hd_base64_decode(base64, len, data, &n) == HD_OK)
        add_bytes(view, stream, (const char *)data, n);
}

void view_logs(struct view *view, const cJSON *entries) {
    const cJSON *entry, *frame;

    cJSON_ArrayForEach(entry, entries) {
        int64_t number = j_int(entry, "first_frame");
        struct view_stream *stream = stream_of(view, j_text(entry, "job"), j_int(entry, "attempt_number"));
        if (view->cli->json) {
            char *text = cJSON_PrintUnformatted(entry);
            hd_buf_addf(&view->out, "%s\n", text);
            free(text);
        }
        cJSON_ArrayForEach(frame, j_get(entry, "frames")) {
            if (!view->cli->json && number >= stream->next_frame)
                add_frame(view, stream, j_text(frame, "data"));
            number++;
        }
        if (j_int(entry, "gap_frames")) // its one frame stands for so many
            number = j_int(entry, "first_frame") + j_int(entry, "gap_frames");
        if (number > stream->next_frame)
            stream->next_frame = number;
    }
}

void view_logs_end(struct view *view) {
    for (size_t i = 0; i < view->n_streams; i++) {
        struct view_stream *stream = &view->streams[i];
        if (stream->partial.len == 0)
            continue;
        add_line(view, stream, stream->partial.data, stream->partial.len);
        hd_buf_addc(&view->out, '\n');
        hd_buf_clear(&stream->partial);
    }
}

bool view_logs_whole(const struct view *view, const cJSON *run, const char *only) {
    const cJSON *job, *attempt;

    cJSON_ArrayForEach(job, j_get(run, "jobs")) {
        if (only && !hd_streq(only, j_text(job, "name")))
            continue;
        cJSON_ArrayForEach(attempt, j_get(job, "attempts")) {
            int64_t have = 0, want = j_int(attempt, "log_frames");
            for (size_t i = 0; i < view->n_streams; i++)
                if (view->streams[i].attempt == j_int(attempt, "number") &&
                    hd_streq(view->streams[i].job, j_text(job, "name")))
                    have = view->streams[i].next_frame;
            if (have < want)
                return false;
        }
    }
    return true;
}

static const char *worker_of(const cJSON *job) {
    const cJSON *attempts = j_get(job, "attempts");
    int n = cJSON_GetArraySize(attempts);

    return n ? j_text(cJSON_GetArrayItem(attempts, n - 1), "worker") : "";
}

// An ACTIVE job has a worker; it runs once it is known to have started.
static const char *state_word(const cJSON *job) {
    const char *state = j_text(job, "state");

    return hd_streq(state, "active") && j_int(job, "started_at_ms") ? "running" : state;
}

static struct view_state *state_of(struct view *view, const char *job) {
    struct hd_arena *arena = &view->cli->arena;

    for (size_t i = 0; i < view->n_states; i++)
        if (hd_streq(view->states[i].job, job))
            return &view->states[i];
    HD_GROW(arena, view->states, view->n_states, view->cap_states);
    struct view_state *state = &view->states[view->n_states++];
    *state = (struct view_state){.job = hd_arena_strdup(arena, job), .state = ""};
    return state;
}

void view_changes(struct view *view, const cJSON *run) {
    const cJSON *job;

    cJSON_ArrayForEach(job, j_get(run, "jobs")) if (strlen(j_text(job, "name")) > view->width) view->width =
        strlen(j_text(job, "name"));
    if (view->live || view->cli->json || view->quiet)
        return;
    cJSON_ArrayForEach(job, j_get(run, "jobs")) {
        struct view_state *known = state_of(view, j_text(job, "name"));
        const char *state = state_word(job), *worker = worker_of(job);
        if (hd_streq(known->state, state))
            continue;
        known->state = hd_arena_strdup(&view->cli->arena, state);
        hd_buf_addf(&view->out, "%-*s : %s%s%s\n", (int)view->width, known->job, state,
                    hd_streq(state, "running") && worker[0] ? " on " : "", hd_streq(state, "running") ? worker : "");
    }
}

static void block_job(struct view *view, const cJSON *job, int64_t wall_ms) {
    const char *state = state_word(job), *colour = cli_colour(view->cli, state);
    int64_t from = j_int(job, "started_at_ms"), to = j_int(job, "ended_at_ms");

    if (!from)
        from = to ? to : j_int(job, "queued_at_ms");
    if (!to)
        to = wall_ms;
    hd_buf_addf(&view->out, "  %-*s  %s%-10s%s  %8s  %.40s\033[K\n", (int)view->width, j_text(job, "name"), colour,
                state, CLI_RESET(view->cli), from ? cli_duration(view->cli, to > from ? to - from : 0) : "",
                worker_of(job));
    view->drawn++;
}

// Running ones first where not all fit.
void view_block(struct view *view, const cJSON *run, int64_t wall_ms) {
    const cJSON *jobs = j_get(run, "jobs"), *job;
    bool all = cJSON_GetArraySize(jobs) <= BLOCK_JOBS_MAX;

    if (!view->live)
        return;
    cJSON_ArrayForEach(job, jobs) if (view->drawn < BLOCK_JOBS_MAX && (all || hd_streq(j_text(job, "state"), "active")))
        block_job(view, job, wall_ms);
    hd_buf_addf(&view->out, "  %" PRId64 " of %" PRId64 " jobs ended, %s\033[K\n", j_int(run, "jobs_ended"),
                j_int(run, "jobs_total"), j_text(run, "state"));
    view->drawn++;
}
