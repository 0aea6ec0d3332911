// A request line: method, path and query, separated by newlines. No crash; what is found fills its message or says why not.
#include "services/api-gateway/routes.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hd_arena arena;
    struct hd_err err = {0};
    struct route_match match;
    struct query query;
    const char *allow = NULL;

    hd_arena_init(&arena);
    char *method = hd_arena_strndup(&arena, (const char *)data, size);
    char *path = method + strcspn(method, "\n");
    *path ? *path++ = '\0' : 0;
    char *text = path + strcspn(path, "\n");
    *text ? *text++ = '\0' : 0;
    enum hd_status status = route_find(&arena, method, path, &err, &match, &allow);
    if (status == HD_PRECONDITION && !allow)
        abort();
    if (status == HD_OK && query_parse(&arena, text, &err, &query) == HD_OK) {
        ProtobufCMessage *msg = hd_pb_new(&arena, match.route->request);
        if (route_fill(&arena, &match, &query, msg, &err) != HD_OK && !err.text[0])
            abort();
    }
    hd_arena_release(&arena);
    return 0;
}
