#include "service/service.h"

bool hd_item_page(struct hd_item *item, int64_t asked, unsigned *ret) {
    *ret = asked > 0 && asked <= HD_PAGE_MAX ? (unsigned)asked : HD_PAGE;
    if (asked >= 0 && asked <= HD_PAGE_MAX)
        return true;
    hd_item_fail(item, HD_INVALID, "page_size must be from 1 to %d", HD_PAGE_MAX);
    hd_err_field(&item->err, "page_size");
    return false;
}

bool hd_item_page_token_wrong(struct hd_item *item) {
    hd_item_fail(item, HD_INVALID, "page_token is not one that this list gave");
    hd_err_field(&item->err, "page_token");
    hd_err_hint(&item->err, "use next_page_token of the page before, unchanged");
    return false;
}
