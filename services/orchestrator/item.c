// What requests have in common: for which tenant, of which run.
#include "services/orchestrator/finish.h"

const char *orc_item_tenant(struct hd_item *item) {
    const char *tenant = item->principal ? item->principal->tenant : "";
    if (hd_token_valid(tenant))
        return tenant;
    hd_item_fail(item, HD_DENIED, "the request names no tenant");
    return NULL;
}

bool orc_item_id(struct hd_item *item, const char *field, const char *text, struct hd_uuid *ret) {
    if (hd_uuid_parse(text, ret) == HD_OK)
        return true;
    hd_item_fail(item, HD_INVALID, "\"%.60s\" is not the id of a run", text);
    hd_err_field(&item->err, "%s", field);
    hd_err_hint(&item->err, "it is what the start of the run answered; the list of runs shows it too");
    return false;
}

struct orc_run *orc_item_run(struct hd_item *item, const struct orc_ws *ws, struct hd_uuid id, const char *field) {
    struct orc_run *run = orc_ws_run(ws, id);
    char text[HD_UUID_TEXT];
    if (run && strcmp(run->tenant, item->principal->tenant) == 0 &&
        hd_within(item->principal, run->project, run->pipeline))
        return run;
    hd_uuid_format(id, text);
    hd_item_fail(item, HD_MISSING, "there is no run %s", text);
    hd_err_field(&item->err, "%s", field);
    return NULL;
}
