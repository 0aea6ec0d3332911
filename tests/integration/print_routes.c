// Prints the gateway's route table, one JSON object a line, for matrix.py.
#include <stdio.h>

#include "services/api-gateway/routes.h"

static const char *const bodies[] = {
    [BODY_NONE] = "none", [BODY_JSON] = "json", [BODY_OPTIONAL] = "optional", [BODY_PIPELINE] = "pipeline"};

int main(void) {
    for (size_t i = 0; i < gateway_routes_len; i++) {
        const struct route *route = &gateway_routes[i];
        printf("{\"method\":\"%s\",\"path\":\"%s\",\"permission\":\"%s\",\"body\":\"%s\",\"open\":%s,\"platform\":%s,"
               "\"success\":%d}\n",
               route->method, route->path, route->permission ? route->permission : "", bodies[route->body],
               route->open ? "true" : "false", route->platform ? "true" : "false", route->success);
    }
    return 0;
}
