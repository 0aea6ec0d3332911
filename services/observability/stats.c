// Feed EVENTS: how jobs fared, counted a tenant, pipeline and job; and the request that reads it.
#include <openssl/evp.h>

#include "hodei/v1/run.pb-c.h"
#include "services/observability/observability.h"

#define DIGEST_BYTES 32
#define MS_MAX (INT64_C(1000) * 60 * 60 * 24 * 3650) // ten years: what is more is nonsense and would overflow a sum

struct event {
    struct hd_item *item;
    const char *tenant;
    struct hd_bytes digest;
};

static int by_digest(const void *a, const void *b) {
    return memcmp(((const struct event *)a)->digest.data, ((const struct event *)b)->digest.data, DIGEST_BYTES);
}

static enum hd_status check(struct hd_ctx *cx, struct hd_item *item, struct event *ret) {
    const Hodei__V1__JobsEnded *ended = (const Hodei__V1__JobsEnded *)item->msg;

    ret->item = item;
    HD_TRY(obs_parse_event_subject(cx->arena, item->subject, &item->err, &ret->tenant));
    for (size_t i = 0; i < ended->n_jobs; i++)
        if (!hd_name_valid(ended->jobs[i]->pipeline) || !hd_name_valid(ended->jobs[i]->job))
            return hd_item_fail(item, HD_INVALID, "jobs[%zu] of the event has no valid names", i);
    return HD_OK;
}

// The same message said again is the same bytes, whatever id it carries.
static enum hd_status digest(struct hd_ctx *cx, struct event *event) {
    uint8_t *hash = hd_arena_alloc(cx->arena, DIGEST_BYTES), *data;
    size_t len;

    hd_pb_pack(cx->arena, event->item->msg, &data, &len);
    char *all = hd_arena_alloc(cx->arena, strlen(event->tenant) + 1 + len);
    memcpy(all, event->tenant, strlen(event->tenant) + 1);
    memcpy(all + strlen(event->tenant) + 1, data, len);
    if (EVP_Digest(all, strlen(event->tenant) + 1 + len, hash, NULL, EVP_sha256(), NULL) != 1)
        return hd_fail(cx, HD_INTERNAL, "SHA-256 of an event could not be computed");
    event->digest = (struct hd_bytes){hash, DIGEST_BYTES};
    return HD_OK;
}

static int64_t within(int64_t ms) {
    return ms < 0 ? 0 : ms > MS_MAX ? MS_MAX : ms;
}

// A job that never ran (skipped, cancelled) is neither a success nor a failure.
static bool stat_of(const char *tenant, const Hodei__V1__JobEnd *end, struct obs_stat *ret) {
    bool succeeded = end->state == HODEI__V1__JOB_STATE__JOB_STATE_SUCCEEDED;
    bool failed =
        end->state == HODEI__V1__JOB_STATE__JOB_STATE_FAILED || end->state == HODEI__V1__JOB_STATE__JOB_STATE_TIMED_OUT;

    *ret = (struct obs_stat){tenant, end->pipeline,          end->job,           succeeded,
                             failed, within(end->queued_ms), within(end->ran_ms)};
    return succeeded || failed;
}

static int by_key(const void *a, const void *b) {
    const struct obs_stat *x = a, *y = b;
    int order = strcmp(x->tenant, y->tenant);
    if (order == 0)
        order = strcmp(x->pipeline, y->pipeline);
    return order ? order : strcmp(x->job, y->job);
}

static size_t fold(struct obs_stat *stats, size_t n) {
    size_t out = 0;
    if (n)
        qsort(stats, n, sizeof(*stats), by_key);
    for (size_t i = 0; i < n; i++) {
        if (out == 0 || by_key(&stats[out - 1], &stats[i]) != 0) {
            stats[out++] = stats[i];
            continue;
        }
        stats[out - 1].succeeded += stats[i].succeeded;
        stats[out - 1].failed += stats[i].failed;
        stats[out - 1].queued_ms += stats[i].queued_ms;
        stats[out - 1].ran_ms += stats[i].ran_ms;
    }
    return out;
}

static bool is_new(const struct hd_rows *noted, struct hd_bytes hash) {
    for (size_t i = 0; i < noted->n; i++)
        if (memcmp(hd_row_bytes(noted, i, 0).data, hash.data, DIGEST_BYTES) == 0)
            return true;
    return false;
}

static enum hd_status count(struct hd_ctx *cx, const struct event *events, size_t n, const struct hd_rows *noted) {
    struct obs_stat *stats = NULL;
    size_t n_stats = 0, cap = 0;

    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__JobsEnded *ended = (const Hodei__V1__JobsEnded *)events[i].item->msg;
        if (!is_new(noted, events[i].digest))
            continue;
        for (size_t j = 0; j < ended->n_jobs; j++) {
            HD_GROW(cx->arena, stats, n_stats, cap);
            n_stats += stat_of(events[i].tenant, ended->jobs[j], &stats[n_stats]);
        }
    }
    n_stats = fold(stats, n_stats);
    return n_stats ? obs_add_stats(cx, stats, n_stats) : HD_OK;
}

enum hd_status obs_count_jobs(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct event *events = HD_NEW_ARRAY(cx->arena, n, struct event);
    struct hd_bytes *digests = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);
    struct hd_rows noted;
    size_t n_events = 0, distinct = 0;
    (void)self;

    for (size_t i = 0; i < n; i++) {
        if (check(cx, &items[i], &events[n_events]) != HD_OK)
            continue;
        HD_TRY(digest(cx, &events[n_events++]));
    }
    if (n_events == 0)
        return HD_OK;
    qsort(events, n_events, sizeof(*events), by_digest);
    for (size_t i = 0; i < n_events; i++)
        if (i == 0 || by_digest(&events[i], &events[distinct - 1]) != 0)
            events[distinct++] = events[i];
    for (size_t i = 0; i < distinct; i++)
        digests[i] = events[i].digest;
    HD_TRY(obs_note_events(cx, digests, distinct, &noted));
    hd_metric_add(&obs_metrics[OBS_M_EVENTS], (int64_t)noted.n);
    hd_metric_add(&obs_metrics[OBS_M_EVENTS_AGAIN], (int64_t)(n_events - noted.n));
    return count(cx, events, distinct, &noted);
}

enum hd_status obs_job_stats(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__JobStatsRequest *request = (const Hodei__V1__JobStatsRequest *)items[i].msg;
        Hodei__V1__JobStatsReply *reply = (Hodei__V1__JobStatsReply *)items[i].reply;
        struct hd_rows rows;
        if (*request->pipeline && !hd_name_valid(request->pipeline)) {
            hd_item_fail(&items[i], HD_INVALID, "a pipeline's name is 1 to 128 of A-Z a-z 0-9 . _ -");
            hd_err_field(&items[i].err, "pipeline");
            continue;
        }
        HD_TRY(obs_read_stats(cx, items[i].principal->tenant, request->pipeline, &rows));
        reply->jobs = HD_NEW_ARRAY(cx->arena, rows.n + 1, Hodei__V1__JobStats *);
        for (size_t j = 0; j < rows.n; j++) {
            Hodei__V1__JobStats *stats = (Hodei__V1__JobStats *)hd_pb_new(cx->arena, &hodei__v1__job_stats__descriptor);
            stats->pipeline = hd_arena_strdup(cx->arena, hd_row_text(&rows, j, 0));
            stats->job = hd_arena_strdup(cx->arena, hd_row_text(&rows, j, 1));
            stats->succeeded = (uint64_t)hd_row_int(&rows, j, 2);
            stats->failed = (uint64_t)hd_row_int(&rows, j, 3);
            stats->queued_ms_total = hd_row_int(&rows, j, 4);
            stats->ran_ms_total = hd_row_int(&rows, j, 5);
            reply->jobs[reply->n_jobs++] = stats;
        }
    }
    return HD_OK;
}
