// Pushes versioned rows to the service that keeps a copy of them, until it has confirmed them.
//
// The rows say in a column of theirs whether they are confirmed. A timer (kicked after a change) loads those that are not and
// asks; the answer confirms exactly what was asked, which is why only one question is under way at a time. No answer, an
// error, a crash: the rows are still unconfirmed, and the timer asks again. After a refusal rows are asked about one by
// one, so that one that is wrong does not hold up those behind it.
#ifndef HD_SERVICE_PUSH_H
#define HD_SERVICE_PUSH_H

#include "service/service.h"

struct hd_push_keys { // of the rows in a request
    size_t n;
    const char **tenants;
    const char **names; // NULL: the tenant and the version are the whole key
    int64_t *versions;
};
struct hd_push_def {
    const char *service, *method; // whom to ask
    int answer;                   // index into the service's answers
    const char *timer;            // name of the timer that runs hd_push_due
    int64_t timeout_ms;
    unsigned max; // rows in one request
    // Loads rows that are not confirmed, in a fixed order from the `skip`th, at most `limit`; n = 0 where there is none.
    enum hd_status (*load)(struct hd_ctx *cx, unsigned skip, unsigned limit, struct hd_push_keys *ret_keys,
                           const ProtobufCMessage **ret_request);
    enum hd_status (*confirm)(struct hd_ctx *cx, const struct hd_push_keys *keys);
    struct hd_metric *confirmed, *failed; // rows confirmed, questions that failed
};
struct hd_push {
    const struct hd_push_def *def;
    struct hd_service *service; // borrowed
    struct hd_arena arena;      // of `asked`
    struct hd_push_keys asked;
    int64_t given_up_mono_ms; // 0: nothing is asked
    bool one_by_one;          // since a refusal, until all rows have had their turn
    unsigned skip;            // rows that were refused alone
};

void hd_push_init(struct hd_push *push, const struct hd_push_def *def, struct hd_service *service);
void hd_push_release(struct hd_push *push);
// The bodies of the timer's and the answer's handler.
enum hd_status hd_push_due(struct hd_ctx *cx, struct hd_push *push) HD_MUST_USE;
enum hd_status hd_push_answered(struct hd_ctx *cx, struct hd_push *push, const struct hd_item *items,
                                size_t n) HD_MUST_USE;

#endif
