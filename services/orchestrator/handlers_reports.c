// Reports of agents: one transaction for the whole batch; what is committed, or stale, is acknowledged.
#include "adapter/bus.h"
#include "base/names.h"
#include "services/orchestrator/finish.h"

#define MAX_MESSAGE_BYTES 400
#define MAX_OUTPUTS_BYTES (8u << 20) // 1 MiB of texts, which JSON may write with escapes

// The acknowledgements of one message of reports.
struct acks {
    const char *worker;
    Hodei__V1__Acks msg;
};

struct reports {
    struct orc_news_item *items;
    Hodei__V1__ReportAck **acks; // items[i] is acknowledged by acks[i]
    size_t n, cap, cap_acks;
};

static const char *message_cut(struct hd_ctx *cx, const char *text) {
    size_t len = strlen(text);
    if (len > MAX_MESSAGE_BYTES)
        for (len = MAX_MESSAGE_BYTES; len > 0 && (text[len] & 0xc0) == 0x80; len--)
            ;
    return hd_arena_strndup(cx->arena, text, len);
}

// A map of texts as JSON, NULL where there are none or more than may be.
static const char *outputs_of(struct hd_ctx *cx, const Hodei__V1__AttemptReport *report) {
    HD_AUTO_BUF struct hd_buf json = {0};
    struct hd_value *map = hd_value_new(cx->arena, HD_MAP, report->n_outputs);
    for (size_t i = 0; i < report->n_outputs; i++)
        if (!hd_value_get(map, report->outputs[i]->name))
            hd_value_set(map, report->outputs[i]->name, hd_value_text(cx->arena, report->outputs[i]->value));
    if (map->n == 0)
        return NULL;
    hd_value_write(&json, map);
    return json.len > MAX_OUTPUTS_BYTES ? NULL : hd_arena_strdup(cx->arena, json.data);
}

static bool news_of(struct hd_ctx *cx, const Hodei__V1__AttemptReport *report, struct orc_news_item *item) {
    struct orc_attempt_news *news = &item->news;
    if (!orc_attempt_event_of((int)report->state, &news->event) ||
        hd_uuid_parse(report->attempt, &item->attempt) != HD_OK)
        return false;
    news->started_ms = report->started_at_ms > 0 ? report->started_at_ms : 0;
    news->ended_ms = report->ended_at_ms > 0 ? report->ended_at_ms : 0;
    news->exit_code = report->exit_code;
    news->signal = report->signal;
    news->cause = (int)report->cause;
    news->message = message_cut(cx, report->message);
    if (report->usage) {
        news->user_ms = report->usage->user_ms;
        news->system_ms = report->usage->system_ms;
        news->max_rss_bytes = report->usage->max_rss_bytes;
    }
    news->log_frames = report->log_frames;
    news->outputs = outputs_of(cx, report);
    return true;
}

// Only the agent may speak for its worker: its credential allows its own subject alone.
static bool from_its_worker(const struct hd_item *item, const Hodei__V1__AttemptReports *msg) {
    const char *rest = item->subject + strlen(HD_SUBJECT_REPORT) + 1;
    size_t len = strlen(msg->worker);
    return hd_token_valid(msg->worker) && hd_starts_with(item->subject, HD_SUBJECT_REPORT ".") &&
           strncmp(rest, msg->worker, len) == 0 && rest[len] == '.';
}

static void collect(struct hd_ctx *cx, struct hd_item *item, struct reports *all, struct acks *acks) {
    const Hodei__V1__AttemptReports *msg = (const Hodei__V1__AttemptReports *)item->msg;
    struct hd_uuid session;
    *acks = (struct acks){.worker = msg->worker, .msg = HODEI__V1__ACKS__INIT};
    if (!from_its_worker(item, msg) || hd_uuid_parse(msg->session, &session) != HD_OK) {
        hd_item_fail(item, HD_INVALID, "reports of worker \"%.64s\": worker or session is not valid here", msg->worker);
        return;
    }
    acks->msg.session = msg->session;
    acks->msg.reports = HD_NEW_ARRAY(cx->arena, msg->n_reports, Hodei__V1__ReportAck *);
    for (size_t i = 0; i < msg->n_reports; i++) {
        Hodei__V1__ReportAck *ack = HD_NEW(cx->arena, Hodei__V1__ReportAck);
        *ack = (Hodei__V1__ReportAck)HODEI__V1__REPORT_ACK__INIT;
        ack->attempt = msg->reports[i]->attempt;
        ack->number = msg->reports[i]->number;
        acks->msg.reports[acks->msg.n_reports++] = ack;
        struct orc_news_item news = {.session = session, .worker = msg->worker};
        if (!news_of(cx, msg->reports[i], &news)) {
            ack->final = true; // nobody can ever make something of it
            orc_count(ORC_M_REPORTS_STALE, 1);
            continue;
        }
        HD_GROW(cx->arena, all->items, all->n, all->cap);
        HD_GROW(cx->arena, all->acks, all->n, all->cap_acks);
        all->items[all->n] = news;
        all->acks[all->n++] = ack;
    }
    orc_count(ORC_M_REPORTS, (int64_t)msg->n_reports);
}

enum hd_status orc_reports(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct reports all = {0};
    struct acks *acks = HD_NEW_ARRAY(cx->arena, n, struct acks);
    struct orc_out out = {0};
    struct orc_ws ws;
    orc_versions_trim(&orc->versions);
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++)
        collect(cx, &items[i], &all, &acks[i]);

    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, all.n, struct hd_uuid);
    for (size_t i = 0; i < all.n; i++)
        ids[i] = all.items[i].attempt;
    struct orc_attempt_ref *refs = NULL;
    size_t n_refs = 0, n_ids = orc_uuids_unique(ids, all.n);
    if (n_ids)
        HD_TRY(ORC_DO(cx, orc, attempts_find, ids, n_ids, &refs, &n_refs));
    HD_TRY(orc_load_attempts(cx, orc, &ws, refs, n_refs));
    bool *final = HD_NEW_ARRAY(cx->arena, all.n, bool);
    HD_TRY(orc_apply_news(cx, &ws, all.items, all.n, final));
    HD_TRY(orc_finish(cx, orc, &ws, &out));
    for (size_t i = 0; i < all.n; i++)
        all.acks[i]->final = final[i];
    for (size_t i = 0; i < n; i++)
        if (acks[i].msg.n_reports)
            hd_tell(cx, hd_subject(cx->arena, HD_SUBJECT_ACK, acks[i].worker), &acks[i].msg.base);
    return HD_OK;
}
