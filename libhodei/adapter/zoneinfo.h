// Time zones of this machine: reads their data from /usr/share/zoneinfo (package tzdata).
#ifndef HD_ADAPTER_ZONEINFO_H
#define HD_ADAPTER_ZONEINFO_H

#include "base/ctx.h"
#include "base/tz.h"

// "UTC" is always there. HD_INVALID: no such zone, with a hint; HD_INTERNAL: this machine cannot read it. The zone lives in the
// arena of the context.
enum hd_status hd_zoneinfo_read(struct hd_ctx *cx, const char *name, const struct hd_zone **ret) HD_MUST_USE;

#endif
