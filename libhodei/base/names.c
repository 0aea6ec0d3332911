#include "base/names.h"

#include <assert.h>

#include "base/buf.h"

#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define GIB ((int64_t)1 << 30)

const struct hd_stream hd_streams[HD_STREAM_COUNT] = {
    [HD_STREAM_EVENTS] = {"EVENTS", HD_SUBJECT_EVENT ".>", false, false, 3 * DAY, 1 * GIB, 120 * SECOND},
    // What these two carry is said again by its owner until it is answered: they may be lost at any time, and need no disk.
    [HD_STREAM_FLOW] = {"FLOW", "hodei.flow.>", true, true, 1 * HOUR, GIB / 4, 120 * SECOND},
    [HD_STREAM_REPORTS] = {"REPORTS", HD_SUBJECT_REPORT ".>", true, true, 24 * HOUR, GIB / 4, 120 * SECOND},
    [HD_STREAM_LOGS] = {"LOGS", HD_SUBJECT_LOG ".>", true, false, 24 * HOUR, 4 * GIB, 120 * SECOND},
};

// In memory, because PostgreSQL has what is in it: a lost one is made again and filled from there.
const struct hd_stream hd_work_stream = {NULL, NULL, true, true, 300 * SECOND, 64 << 20, 60 * SECOND};

char *hd_subject(struct hd_arena *arena, const char *prefix, const char *a) {
    assert(hd_token_valid(a));
    return hd_arena_printf(arena, "%s.%s", prefix, a);
}

char *hd_subject_rpc(struct hd_arena *arena, const char *service, const char *method) {
    assert(hd_token_valid(service) && hd_token_valid(method));
    return hd_arena_printf(arena, HD_SUBJECT_RPC ".%s.%s", service, method);
}

char *hd_subject_event(struct hd_arena *arena, const char *tenant, const char *entity, const char *what) {
    assert(hd_token_valid(tenant) && hd_token_valid(entity) && hd_token_valid(what));
    return hd_arena_printf(arena, HD_SUBJECT_EVENT ".%s.%s.%s", tenant, entity, what);
}

char *hd_subject_log(struct hd_arena *arena, const char *worker, const char *tenant, const char *run,
                     unsigned job_index) {
    assert(hd_token_valid(worker) && hd_token_valid(tenant) && hd_token_valid(run));
    return hd_arena_printf(arena, HD_SUBJECT_LOG ".%s.%s.%s.%u", worker, tenant, run, job_index);
}

// ASCII only, whatever the locale is.
static bool letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool made_of(const char *text, size_t max, bool dots) {
    size_t n = 0;
    for (; text && text[n]; n++) {
        char c = text[n];
        if (n == max || !(letter_or_digit(c) || c == '_' || c == '-' || (dots && c == '.')))
            return false;
    }
    return n > 0;
}

bool hd_token_valid(const char *text) {
    return made_of(text, 64, false);
}

bool hd_name_valid(const char *text) {
    return made_of(text, 128, true);
}
