// What the settings say of tenants and pools.
#include <string.h>

#include "base/buf.h"
#include "base/names.h"
#include "services/scheduler/scheduler.h"

static size_t words_of(const char *text) {
    size_t n = 1;
    for (; *text; text++)
        n += *text == ',';
    return n;
}

// "acme=3,other=1"; the words are cut in place.
static enum hd_status take_weights(struct sch_rules *rules, char *text, struct hd_err *err) {
    char *rest = NULL;
    rules->weights = hd_calloc(words_of(text), sizeof(*rules->weights));
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(word, '=');
        int64_t weight = 0;
        if (equals)
            *equals = '\0';
        if (!equals || !hd_token_valid(word) || hd_parse_i64(equals + 1, &weight) != HD_OK || weight < 1 ||
            weight > SCH_WEIGHT_MAX) {
            hd_err_set(err, HD_INVALID, "tenant-weights: \"%.80s\" has no weight from 1 to %d", word, SCH_WEIGHT_MAX);
            hd_err_hint(err, "for example --tenant-weights=acme=3,other=1");
            return HD_INVALID;
        }
        rules->weights[rules->n_weights++] = (struct sch_weight){word, weight};
    }
    return HD_OK;
}

static enum hd_status take_pools(struct sch_pairs *pools, char *text, struct hd_err *err) {
    char *rest = NULL;
    pools->list = hd_calloc(words_of(text), sizeof(*pools->list));
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (!hd_token_valid(word))
            return hd_err_set(err, HD_INVALID, "spread-pools: \"%.80s\" is not the name of a pool", word);
        pools->list[pools->n++] = (struct sch_pair){word, ""};
    }
    return HD_OK;
}

enum hd_status sch_configure(struct scheduler *scheduler, const struct hd_settings *settings, struct hd_err *err) {
    const char *placement = hd_settings_text(settings, "placement");
    const char *weights = hd_settings_text(settings, "tenant-weights");
    const char *pools = hd_settings_text(settings, "spread-pools");
    size_t size = strlen(weights) + 1;
    if (!hd_streq(placement, "pack") && !hd_streq(placement, "spread"))
        return hd_err_set(err, HD_INVALID, "placement: \"%.40s\" is not pack or spread", placement);
    scheduler->policy = hd_streq(placement, "spread") ? SCH_SPREAD : SCH_PACK;
    scheduler->rules.ageing_ms = hd_settings_int(settings, "ageing");
    scheduler->rules.reserve_ms = hd_settings_int(settings, "reserve-after");
    scheduler->texts = hd_calloc(1, size + strlen(pools) + 1);
    memcpy(scheduler->texts, weights, size);
    memcpy(scheduler->texts + size, pools, strlen(pools) + 1);
    HD_TRY(take_weights(&scheduler->rules, scheduler->texts, err));
    return take_pools(&scheduler->spread_pools, scheduler->texts + size, err);
}

void sch_configure_release(struct scheduler *scheduler) {
    free(scheduler->rules.weights);
    free(scheduler->spread_pools.list);
    free(scheduler->texts);
}

enum sch_policy sch_policy_of(const struct scheduler *scheduler, const char *pool) {
    for (size_t i = 0; i < scheduler->spread_pools.n; i++)
        if (hd_streq(scheduler->spread_pools.list[i].key, pool))
            return SCH_SPREAD;
    return scheduler->policy;
}
