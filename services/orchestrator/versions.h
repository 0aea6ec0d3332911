// Compiled pipeline versions, unpacked and kept: they never change, so a copy is never stale.
//
// Bounded by bytes; the least recently used go, in orc_versions_trim only, so that a plan handed out stays valid until the
// handler that got it is done.
#ifndef ORC_VERSIONS_H
#define ORC_VERSIONS_H

#include "base/map.h"
#include "services/orchestrator/store.h"

struct orc_plan_entry;
struct orc_versions {
    struct hd_map map; // hash of tenant, name, version → entry
    struct orc_plan_entry *newest, *oldest;
    size_t bytes, bound_bytes;
};
struct orchestrator;

void orc_versions_release(struct orc_versions *versions);
void orc_versions_trim(struct orc_versions *versions);
// Fills run->plan of every run in the working set; HD_INTERNAL if a version is not in the store.
enum hd_status orc_plans(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) HD_MUST_USE;

#endif
