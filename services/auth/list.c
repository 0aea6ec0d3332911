// Everything that is listed in pages. The key of a page is the first field of its items.
#include "services/auth/auth.h"

struct page {
    enum auth_statement statement;
    const ProtobufCMessageDescriptor *type; // of an item
    int32_t size;
    const char *token, *filter;
};

// Fills a list and the token of the next page: one row more than fits says whether there is one.
static void fill(struct hd_ctx *cx, const struct hd_rows *rows, int64_t size, const ProtobufCMessageDescriptor *type,
                 ProtobufCMessage ***ret, size_t *ret_n, char **ret_next) {
    *ret_n = rows->n > (size_t)size ? (size_t)size : rows->n;
    *ret = HD_NEW_ARRAY(cx->arena, *ret_n, ProtobufCMessage *);
    for (size_t i = 0; i < *ret_n; i++)
        (*ret)[i] = auth_row(cx, rows, i, type);
    if (rows->n > *ret_n)
        *ret_next = hd_arena_strdup(cx->arena, hd_row_text(rows, *ret_n - 1, 0));
}

static enum hd_status read_page(struct hd_ctx *cx, struct hd_item *item, const struct page *page,
                                ProtobufCMessage ***ret, size_t *ret_n, char **ret_next) {
    struct hd_rows rows;
    unsigned size;

    if (!hd_item_page(item, page->size, &size))
        return HD_OK;
    HD_TRY(HD_RUN(cx, &auth_sql[page->statement], &rows, HD_TEXT(item->principal->tenant), HD_I64(cx->now.wall_ms),
                  HD_TEXT(page->token), HD_I64((int64_t)size + 1), HD_TEXT(page->filter)));
    fill(cx, &rows, size, page->type, ret, ret_n, ret_next);
    return HD_OK;
}

#define LIST(name, Request, Reply, field, n_field, stmt, desc, by)                                                     \
    enum hd_status name(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {                              \
        (void)self;                                                                                                    \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const Hodei__V1__##Request *request = (const Hodei__V1__##Request *)items[i].msg;                          \
            Hodei__V1__##Reply *reply = (Hodei__V1__##Reply *)items[i].reply;                                          \
            struct page page = {stmt, &hodei__v1__##desc##__descriptor, request->page_size, request->page_token, by};  \
            HD_TRY(read_page(cx, &items[i], &page, (ProtobufCMessage ***)(void *)&reply->field, &reply->n_field,       \
                             &reply->next_page_token));                                                                \
        }                                                                                                              \
        return HD_OK;                                                                                                  \
    }

LIST(auth_list_bindings, ListBindingsRequest, ListBindingsReply, bindings, n_bindings, SQL_LIST_BINDINGS, binding,
     request->principal)
LIST(auth_list_groups, ListGroupsRequest, ListGroupsReply, members, n_members, SQL_LIST_GROUPS, group_member,
     request->group)
LIST(auth_list_service_accounts, ListServiceAccountsRequest, ListServiceAccountsReply, service_accounts,
     n_service_accounts, SQL_LIST_ACCOUNTS, service_account, "")
LIST(auth_list_tokens, ListTokensRequest, ListTokensReply, tokens, n_tokens, SQL_LIST_TOKENS, api_token,
     request->subject)
LIST(auth_list_tenants, ListTenantsRequest, ListTenantsReply, tenants, n_tenants, SQL_LIST_TENANTS, tenant, "")

static enum hd_status list_audit(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ListAuditRequest *request = (const Hodei__V1__ListAuditRequest *)item->msg;
    Hodei__V1__ListAuditReply *reply = (Hodei__V1__ListAuditReply *)item->reply;
    // What is nobody's is seen by those who look after the platform.
    const char *tenants[] = {item->principal->tenant, ""};
    size_t n_tenants = hd_streq(tenants[0], AUTH_HOME_TENANT) ? 2 : 1;
    int64_t before = INT64_MAX;
    unsigned size;
    struct hd_rows rows;

    if (!hd_item_page(item, request->page_size, &size))
        return HD_OK;
    if (*request->page_token && (hd_parse_i64(request->page_token, &before) != HD_OK || before < 1)) {
        hd_item_page_token_wrong(item);
        return HD_OK;
    }
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_LIST_AUDIT], &rows, HD_TEXTS(tenants, n_tenants), HD_I64(before),
                  HD_I64(request->since_ms), HD_I64(request->until_ms ? request->until_ms : INT64_MAX),
                  HD_TEXT(request->actor), HD_TEXT(request->action), HD_TEXT(request->target),
                  HD_TEXT(request->outcome), HD_I64((int64_t)size + 1)));
    fill(cx, &rows, size, &hodei__v1__audit_entry__descriptor, (ProtobufCMessage ***)(void *)&reply->entries,
         &reply->n_entries, &reply->next_page_token);
    return HD_OK;
}

enum hd_status auth_list_audit(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(list_audit(cx, &items[i]));
    return HD_OK;
}
