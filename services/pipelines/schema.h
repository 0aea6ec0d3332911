// The JSON Schema (draft 2020-12) of the pipeline language, for editors, from the tables that the parser itself walks. Pure.
#ifndef HD_PIPELINES_SCHEMA_H
#define HD_PIPELINES_SCHEMA_H

#include "base/buf.h"

void pip_schema(struct hd_buf *out); // adds one line of JSON

#endif
