// The one route table of the gateway, and the pure part of reading a request line: path patterns and query strings.
//
// A pattern's segment is literal, or "{field}" with an optional literal behind it ("{id}:cancel"). A value ends at '/' and at
// ':', so that a verb is never taken for a name. The name in braces is the field of the request message that takes the value.
// All text that is returned lives in the arena of the caller or in the table.
#ifndef HD_GATEWAY_ROUTES_H
#define HD_GATEWAY_ROUTES_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

enum route_body {
    BODY_NONE,     // none is taken; query parameters fill the request
    BODY_JSON,     // the request message as JSON; no query parameters
    BODY_OPTIONAL, // likewise; none at all is an empty message
    BODY_PIPELINE, // the request message as JSON, or its `source` as YAML
};

struct route {
    const char *method, *path;
    const ProtobufCMessageDescriptor *request, *reply;
    const char *service,
        *rpc; // hodei.rpc.<service>.<rpc>; service NULL: the gateway answers with the description of the API
    const char *permission; // NULL: any principal
    int success;            // HTTP status; 204 has no body
    enum route_body body;
    const char *waits_on; // field of request and reply that is equal while nothing has changed; NULL: does not wait
    bool of_run;    // of the run of its field `run`, and the service does not know in which part of the tenant that is
    bool text;      // can answer as text/plain: the bytes of a log
    bool dry_run;   // sets the field of that name
    bool platform;  // of the platform's administrators; for others it is not there
    bool open;      // needs no token: what everybody may see, and what makes and ends sessions
    const char *id; // what the operation is called in the description of the API; NULL: as the rpc
    const char *verbatim; // field of the reply whose text, JSON, is the answer itself; NULL: the reply is
};
extern const struct route gateway_routes[];
extern const size_t gateway_routes_len;

#define ROUTE_PARAMS_MAX 2
struct route_match {
    const struct route *route;
    struct {
        const char *field, *value;
    } params[ROUTE_PARAMS_MAX];
    size_t n_params;
};
// HD_OK, HD_MISSING (no such path), HD_PRECONDITION (the path is there, the method is not: *ret_allow lists those that
// are), HD_INVALID (bad percent encoding).
enum hd_status route_find(struct hd_arena *arena, const char *method, const char *path, struct hd_err *err,
                          struct route_match *ret, const char **ret_allow) HD_MUST_USE;

// The error of an address where nothing is.
void route_missing(const char *path, struct hd_err *err);

struct query_param {
    const char *name, *value;
};
#define QUERY_PARAMS_MAX 16
struct query {
    struct query_param params[QUERY_PARAMS_MAX];
    size_t n;
};
// "a=1&b=x%20y" → parameters. NULL and "" are none. The same name twice is refused.
enum hd_status query_parse(struct hd_arena *arena, const char *text, struct hd_err *err, struct query *ret) HD_MUST_USE;
// The value, taken out of the query; NULL where it is not there.
const char *query_take(struct query *query, const char *name);

// Sets path and query parameters by name in `msg`, whose type is the route's request.
enum hd_status route_fill(struct hd_arena *arena, const struct route_match *match, const struct query *query,
                          ProtobufCMessage *msg, struct hd_err *err) HD_MUST_USE;

#endif
