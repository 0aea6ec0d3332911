// How much a tenant's jobs may write a day. What does not fit is not kept, and neither is anything after it until the day ends or the limit
// changes: a log that is cut is cut once.
#include "service/holder.h"
#include "services/observability/observability.h"

#define DIM HD_QUOTA_LOG_BYTES_DAY

enum hd_status obs_put_grants(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        struct hd_grants grants = hd_grants_read(cx, &items[i], DIM);
        if (grants.n)
            HD_TRY(obs_save_grants(cx, &grants));
    }
    return HD_OK;
}

enum hd_status obs_get_usage(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        struct obs_day day = {.tenant = ((const Hodei__V1__GetUsageRequest *)items[i].msg)->tenant};
        if (!hd_of_service(&items[i]))
            continue;
        HD_TRY(obs_read_day(cx, &day));
        obs_day_turn(&day, hd_quota_day(cx->now.wall_ms));
        hd_usage_fill(cx, &items[i], DIM, day.limit, day.bytes, obs_day_closed(&day));
    }
    return HD_OK;
}

void obs_day_turn(struct obs_day *day, int64_t today) {
    if (day->day >= today) // a replica whose clock is behind counts on in the new day
        return;
    day->day = today;
    day->bytes = 0;
    day->marks = 0;
    day->closed_limit = HD_QUOTA_UNLIMITED;
}

bool obs_day_closed(const struct obs_day *day) {
    return day->limit >= 0 && day->closed_limit == day->limit;
}

bool obs_day_take(struct obs_day *day, int64_t bytes) {
    if (obs_day_closed(day))
        return false;
    if (bytes <= hd_quota_room(day->limit, day->bytes)) {
        day->bytes += bytes;
        day->added += bytes;
        return true;
    }
    day->closed_limit = day->limit;
    day->closings++;
    return false;
}

void obs_day_mark(struct hd_ctx *cx, struct obs_day *day) {
    int64_t used = obs_day_closed(day) ? day->limit : day->bytes;

    if (day->limit >= 0)
        day->marks = hd_quota_mark(cx, day->tenant, DIM, day->limit, used, day->marks);
}
