// What those have in common who hold tenants to a limit of one dimension: quota's grants come, what is used is asked for, and who comes
// near a limit is told of. (The orchestrator holds many dimensions at once, and has its own.)
#ifndef HD_SERVICE_HOLDER_H
#define HD_SERVICE_HOLDER_H

#include "base/quota.h"
#include "hodei/v1/quota.pb-c.h"
#include "service/service.h"

struct hd_grants { // of one PutGrants; a limit of -1: none
    const char **tenants;
    int64_t *versions, *limits;
    size_t n;
};
// Quota asks, for no tenant in particular. False: the item has failed.
bool hd_of_service(struct hd_item *item);
// What PutGrants says of the dimension. n is 0 where there is nothing, or the item has failed.
struct hd_grants hd_grants_read(struct hd_ctx *cx, struct hd_item *item, enum hd_quota_dim dim);
// Fills the answer of GetUsage. `full`: nothing more is let in, though less than the limit is used.
void hd_usage_fill(struct hd_ctx *cx, struct hd_item *item, enum hd_quota_dim dim, int64_t limit, int64_t used,
                   bool full);

// Publishes the marks (as hd_quota_marks has them) that a tenant, or "<tenant>/<project>", has crossed upwards; the subject is evt.<tenant>.quota.crossed.
void hd_quota_tell(struct hd_ctx *cx, const char *tenant, const struct hd_quota *limit, const struct hd_quota *used,
                   uint32_t crossed);
// The marks of one dimension after a change; tells of those that are new.
uint32_t hd_quota_mark(struct hd_ctx *cx, const char *tenant, enum hd_quota_dim dim, int64_t limit, int64_t used,
                       uint32_t before);

#endif
