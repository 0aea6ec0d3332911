// The description of the API, OpenAPI 3.1, made from the route table, the descriptors of messages and what the schemas say of them.
#ifndef HD_GATEWAY_OPENAPI_H
#define HD_GATEWAY_OPENAPI_H

#include "base/buf.h"

// Adds the document, one JSON object. It is the same for every installation of a version.
void openapi_add(struct hd_buf *out);

#endif
