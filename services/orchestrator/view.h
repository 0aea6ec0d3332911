// Rows as users see them. Pure: the working set in, messages in its arena out.
#ifndef ORC_VIEW_H
#define ORC_VIEW_H

#include "services/orchestrator/ws.h"

char *orc_view_etag(struct hd_arena *arena, const struct orc_run *run);
void orc_view_run(struct hd_arena *arena, const struct orc_run *run, Hodei__V1__Run *ret); // without its jobs

// Jobs of one run by index, as many as a reply may hold.
struct orc_view_page {
    const struct orc_run *run;
    uint32_t from;
    unsigned limit;
    Hodei__V1__Job **jobs;
    size_t n;
};
void orc_view_jobs(const struct orc_ws *ws, struct orc_view_page *page);

#endif
