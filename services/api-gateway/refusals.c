#include "services/api-gateway/refusals.h"

#include <pthread.h>

#include "base/buf.h"
#include "base/map.h"

struct refusals {
    pthread_mutex_t lock;
    struct refusal all[REFUSALS_MAX];
    size_t n;
};

struct refusals *refusals_new(void) {
    struct refusals *refusals = hd_calloc(1, sizeof(*refusals));

    pthread_mutex_init(&refusals->lock, NULL);
    return refusals;
}

void refusals_free(struct refusals *refusals) {
    if (!refusals)
        return;
    pthread_mutex_destroy(&refusals->lock);
    free(refusals);
}

static struct refusal *find(struct refusals *refusals, const struct refusal *like) {
    for (size_t i = 0; i < refusals->n; i++) {
        struct refusal *one = &refusals->all[i];
        if (hd_streq(one->action, like->action) && hd_streq(one->actor, like->actor) &&
            hd_streq(one->tenant, like->tenant) && hd_streq(one->detail, like->detail))
            return one;
    }
    return NULL;
}

// The last place is for what finds none.
static struct refusal *place(struct refusals *refusals, const struct refusal *refusal) {
    static const struct refusal various = {.action = "various"};
    struct refusal *found = find(refusals, refusal);

    if (!found && refusals->n >= REFUSALS_MAX - 1) {
        refusal = &various;
        found = find(refusals, refusal);
    }
    if (found)
        return found;
    found = &refusals->all[refusals->n++];
    *found = *refusal;
    found->count = 0;
    return found;
}

void refusals_add(struct refusals *refusals, const struct refusal *refusal) {
    pthread_mutex_lock(&refusals->lock);
    struct refusal *found = place(refusals, refusal);
    found->count += refusal->count;
    hd_strlcpy(found->address, refusal->address, sizeof(found->address));
    hd_strlcpy(found->trace, refusal->trace, sizeof(found->trace));
    pthread_mutex_unlock(&refusals->lock);
}

size_t refusals_take(struct refusals *refusals, struct refusal ret[REFUSALS_MAX]) {
    pthread_mutex_lock(&refusals->lock);
    size_t n = refusals->n;
    memcpy(ret, refusals->all, n * sizeof(*ret));
    refusals->n = 0;
    pthread_mutex_unlock(&refusals->lock);
    return n;
}
