// The audit trail: every change, and every refusal of the gateways. It only grows, so what a flood of refusals may add is bounded: gateways
// fold what is alike, and above a number an hour only the sum is written.
#include "services/auth/auth.h"

#define HOUR_MS (INT64_C(60) * 60 * 1000)
#define REFUSED_PER_HOUR 1000 // rows
#define REFUSALS_MAX 64       // of one request
#define TEXT_MAX 256

struct columns {
    int64_t *at_ms, *count;
    const char **tenant, **actor, **action, **target, **outcome, **detail, **trace;
    size_t n;
};

static struct columns columns_new(struct hd_arena *arena, size_t n) {
    return (struct columns){
        .at_ms = HD_NEW_ARRAY(arena, n, int64_t),
        .count = HD_NEW_ARRAY(arena, n, int64_t),
        .tenant = HD_NEW_ARRAY(arena, n, const char *),
        .actor = HD_NEW_ARRAY(arena, n, const char *),
        .action = HD_NEW_ARRAY(arena, n, const char *),
        .target = HD_NEW_ARRAY(arena, n, const char *),
        .outcome = HD_NEW_ARRAY(arena, n, const char *),
        .detail = HD_NEW_ARRAY(arena, n, const char *),
        .trace = HD_NEW_ARRAY(arena, n, const char *),
    };
}

// At most TEXT_MAX bytes, and no half character.
static const char *cut(struct hd_arena *arena, const char *text) {
    size_t len = strnlen(text, TEXT_MAX);

    while (text[len] && len && ((unsigned char)text[len] & 0xC0) == 0x80)
        len--;
    return hd_arena_strndup(arena, text, len);
}

static void columns_add(struct hd_ctx *cx, struct columns *to, const Hodei__V1__AuditEntry *entry) {
    size_t i = to->n++;
    to->at_ms[i] = cx->now.wall_ms;
    to->count[i] = entry->count;
    to->tenant[i] = cut(cx->arena, entry->tenant);
    to->actor[i] = cut(cx->arena, entry->actor);
    to->action[i] = cut(cx->arena, entry->action);
    to->target[i] = cut(cx->arena, entry->target);
    to->outcome[i] = entry->outcome;
    to->detail[i] = cut(cx->arena, entry->detail);
    to->trace[i] = cut(cx->arena, entry->trace);
}

static enum hd_status columns_write(struct hd_ctx *cx, const struct columns *from) {
    size_t n = from->n;
    if (n == 0)
        return HD_OK;
    return HD_RUN(cx, &auth_sql[SQL_AUDIT], NULL, HD_I64S(from->at_ms, n), HD_TEXTS(from->tenant, n),
                  HD_TEXTS(from->actor, n), HD_TEXTS(from->action, n), HD_TEXTS(from->target, n),
                  HD_TEXTS(from->outcome, n), HD_TEXTS(from->detail, n), HD_I64S(from->count, n),
                  HD_TEXTS(from->trace, n));
}

enum hd_status auth_audit(struct hd_ctx *cx, const struct hd_item *item, const char *action, const char *target,
                          const char *detail) {
    Hodei__V1__AuditEntry entry = HODEI__V1__AUDIT_ENTRY__INIT;
    struct columns columns = columns_new(cx->arena, 1);

    entry.tenant = item->principal->tenant;
    entry.actor = item->principal->subject;
    entry.action = hd_arena_strdup(cx->arena, action);
    entry.target = hd_arena_strdup(cx->arena, target);
    entry.outcome = "done";
    entry.detail = hd_arena_strdup(cx->arena, detail);
    entry.count = 1;
    entry.trace = hd_arena_strdup(cx->arena, item->trace);
    columns_add(cx, &columns, &entry);
    return columns_write(cx, &columns);
}

static void add_refusals(struct hd_ctx *cx, const Hodei__V1__RecordRefusalsRequest *request, size_t room,
                         struct columns *to) {
    Hodei__V1__AuditEntry rest = HODEI__V1__AUDIT_ENTRY__INIT;

    for (size_t i = 0; i < request->n_refusals; i++) {
        Hodei__V1__AuditEntry entry = *request->refusals[i];
        hd_metric_add(&auth_metrics[AUTH_REFUSALS], entry.count);
        if (i < room) {
            entry.outcome = "refused";
            columns_add(cx, to, &entry);
            continue;
        }
        rest.count += entry.count;
        rest.trace = entry.trace;
    }
    if (rest.count == 0)
        return;
    hd_metric_add(&auth_metrics[AUTH_REFUSALS_FOLDED], rest.count);
    rest.action = "various";
    rest.outcome = "refused";
    rest.detail = "more refusals in this hour than are kept one by one";
    columns_add(cx, to, &rest);
}

enum hd_status auth_record_refusals(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct columns columns = columns_new(cx->arena, n * (REFUSALS_MAX + 1));
    struct hd_rows rows;

    (void)self;
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_REFUSED_SINCE], &rows, HD_I64(cx->now.wall_ms - HOUR_MS)));
    int64_t written = hd_row_int(&rows, 0, 0);
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__RecordRefusalsRequest *request = (const Hodei__V1__RecordRefusalsRequest *)items[i].msg;
        if (*items[i].principal->subject || request->n_refusals > REFUSALS_MAX) {
            hd_item_fail(&items[i], HD_DENIED, "refusals are recorded for gateways only, %d at once", REFUSALS_MAX);
            continue;
        }
        int64_t room = REFUSED_PER_HOUR - written - (int64_t)columns.n;
        add_refusals(cx, request, room > 0 ? (size_t)room : 0, &columns);
    }
    return columns_write(cx, &columns);
}
