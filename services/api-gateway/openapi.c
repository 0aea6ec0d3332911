#include "services/api-gateway/openapi.h"

#include <ctype.h>
#include <string.h>

#include "base/map.h"
#include "base/pb.h"
#include "base/pb_field.h"
#include "services/api-gateway/routes.h"

struct schema_comment {
    const char *name, *text; // "Run", "Run.state"
};
#include "api-gateway/comments.h"

#define PACKAGE "hodei.v1."
#define NAMED_MAX 400 // messages and enums of the API
#define JSON_TYPE "application/json"

// Messages and enums that are named so far, in the order in which they were.
struct named {
    const ProtobufCMessageDescriptor *messages[NAMED_MAX];
    const ProtobufCEnumDescriptor *enums[NAMED_MAX];
    size_t n_messages, n_enums;
};
struct doc {
    struct hd_buf *out;
    struct named named;
};

// --- writing ---------------------------------------------------------------------------------------------------------

static void add_text(struct hd_buf *out, const char *text) {
    hd_json_add_string(out, text, strlen(text));
}

static void add_member(struct hd_buf *out, const char *name, const char *text) {
    hd_buf_addf(out, ",\"%s\":", name);
    add_text(out, text);
}

static const char *short_name(const char *name) {
    return hd_starts_with(name, PACKAGE) ? name + strlen(PACKAGE) : name;
}

static const char *comment_of(const char *type, const char *field) {
    const char *name = short_name(type);
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(schema_comments) / sizeof(schema_comments[0]); i++) {
        const char *of = schema_comments[i].name;
        if (strncmp(of, name, len) == 0 && (field ? of[len] == '.' && hd_streq(of + len + 1, field) : !of[len]))
            return schema_comments[i].text;
    }
    return NULL;
}

static void add_description(struct hd_buf *out, const char *type, const char *field) {
    const char *text = comment_of(type, field);
    if (text)
        add_member(out, "description", text);
}

// --- schemas ---------------------------------------------------------------------------------------------------------

static void name_message(struct named *named, const ProtobufCMessageDescriptor *message) {
    for (size_t i = 0; i < named->n_messages; i++)
        if (named->messages[i] == message)
            return;
    if (named->n_messages < NAMED_MAX)
        named->messages[named->n_messages++] = message;
}

static void name_enum(struct named *named, const ProtobufCEnumDescriptor *one) {
    for (size_t i = 0; i < named->n_enums; i++)
        if (named->enums[i] == one)
            return;
    if (named->n_enums < NAMED_MAX)
        named->enums[named->n_enums++] = one;
}

static void add_ref(struct hd_buf *out, const char *name) {
    hd_buf_addf(out, "\"$ref\":\"#/components/schemas/%s\"", name);
}

// The members of the schema of one value, without its braces.
static void add_value(struct doc *doc, const ProtobufCFieldDescriptor *field) {
    struct hd_buf *out = doc->out;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        hd_buf_adds(out, "\"type\":\"integer\",\"format\":\"int32\"");
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        hd_buf_adds(out, "\"type\":\"integer\",\"minimum\":0,\"maximum\":4294967295");
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        add_ref(out, "Int64");
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        add_ref(out, "UInt64");
        return;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        hd_buf_adds(out, "\"type\":\"number\"");
        return;
    case PROTOBUF_C_TYPE_BOOL:
        hd_buf_adds(out, "\"type\":\"boolean\"");
        return;
    case PROTOBUF_C_TYPE_ENUM:
        name_enum(&doc->named, field->descriptor);
        add_ref(out, short_name(((const ProtobufCEnumDescriptor *)field->descriptor)->name));
        return;
    case PROTOBUF_C_TYPE_STRING:
        hd_buf_adds(out, "\"type\":\"string\"");
        return;
    case PROTOBUF_C_TYPE_BYTES:
        hd_buf_adds(out, "\"type\":\"string\",\"contentEncoding\":\"base64\"");
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        name_message(&doc->named, field->descriptor);
        add_ref(out, short_name(((const ProtobufCMessageDescriptor *)field->descriptor)->name));
        return;
    }
}

static void add_field_schema(struct doc *doc, const ProtobufCFieldDescriptor *field) {
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        add_value(doc, field);
        return;
    }
    hd_buf_adds(doc->out, "\"type\":\"array\",\"items\":{");
    add_value(doc, field);
    hd_buf_addc(doc->out, '}');
}

static bool in_path(const struct route *route, const char *field) {
    size_t len = strlen(field);
    for (const char *at = route->path; (at = strchr(at, '{')); at++)
        if (strncmp(at + 1, field, len) == 0 && at[len + 1] == '}')
            return true;
    return false;
}

// `route`: as its body, where what stands in the path has no place. NULL: all of it.
static void add_message_schema(struct doc *doc, const ProtobufCMessageDescriptor *message, const struct route *route) {
    struct hd_buf *out = doc->out;
    const char *separator = "";
    hd_buf_adds(out, "{\"type\":\"object\",\"additionalProperties\":false");
    add_description(out, message->name, NULL);
    hd_buf_adds(out, ",\"properties\":{");
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        if (route && (in_path(route, field->name) || (route->dry_run && hd_streq(field->name, "dry_run"))))
            continue;
        hd_buf_addf(out, "%s\"%s\":{", separator, field->name);
        separator = ",";
        add_field_schema(doc, field);
        add_description(out, message->name, field->name);
        hd_buf_addc(out, '}');
    }
    hd_buf_adds(out, "}}");
}

static void add_enum_schema(struct hd_buf *out, const ProtobufCEnumDescriptor *one) {
    hd_buf_adds(out, "{\"type\":\"string\",\"enum\":[");
    for (unsigned i = 0; i < one->n_values; i++) {
        char text[128];
        hd_pb_enum_text(one, one->values[i].name, text, sizeof(text));
        hd_buf_adds(out, i ? "," : "");
        add_text(out, text);
    }
    hd_buf_addc(out, ']');
    HD_AUTO_BUF struct hd_buf text = {0};
    const char *of = comment_of(one->name, NULL);
    hd_buf_adds(&text, of ? of : "");
    for (unsigned i = 0; i < one->n_values; i++) {
        char word[128];
        const char *says = comment_of(one->name, one->values[i].name);
        hd_pb_enum_text(one, one->values[i].name, word, sizeof(word));
        if (says)
            hd_buf_addf(&text, "%s- `%s`: %s", text.len ? "\n" : "", word, says);
    }
    if (text.len)
        add_member(out, "description", text.data);
    hd_buf_addc(out, '}');
}

// --- operations ------------------------------------------------------------------------------------------------------

static const struct tag {
    const char *name, *text, *segments; // of paths, behind /v1/
} tags[] = {
    {"pipelines", "Definitions, their versions, checks and previews; schedules.", " pipelines schedules "},
    {"runs", "Runs and their jobs, logs, what people do to them, and counts.", " runs stats "},
    {"workers", "The machines that run jobs.", " workers "},
    {"quota", "Limits of tenants and projects, and what is used of them.", " quota projects "},
    {"access", "Who may do what: roles, bindings, groups, service accounts, tokens.",
     " whoami permissions roles bindings groups service-accounts tokens "},
    {"users", "People with passwords.", " users "},
    {"sessions", "Logging in and out, and the keys of access tokens.",
     " login refresh logout sessions auth .well-known "},
    {"audit", "Who has done what.", " audit "},
    {"tenants", "For administrators of the platform.", " tenants "},
    {"description", "This document.", " openapi.json "},
};

static const struct tag *tag_of(const struct route *route) {
    const char *from = hd_starts_with(route->path, "/v1/") ? route->path + 4 : route->path + 1;
    char segment[64];
    snprintf(segment, sizeof(segment), " %.*s ", (int)strcspn(from, "/:{"), from);
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
        if (strstr(tags[i].segments, segment))
            return &tags[i];
    return &tags[0];
}

static void add_tags(struct hd_buf *out) {
    hd_buf_adds(out, ",\"tags\":[");
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        hd_buf_addf(out, "%s{\"name\":\"%s\"", i ? "," : "", tags[i].name);
        add_member(out, "description", tags[i].text);
        hd_buf_addc(out, '}');
    }
    hd_buf_addc(out, ']');
}

static bool takes_query(const struct route *route, const char *field) {
    bool body = route->body == BODY_JSON || route->body == BODY_OPTIONAL;
    return !body && !in_path(route, field) && !hd_streq(field, "source") && !hd_streq(field, "dry_run");
}

static void add_parameter(struct doc *doc, const ProtobufCMessageDescriptor *message,
                          const ProtobufCFieldDescriptor *field, bool path) {
    struct hd_buf *out = doc->out;
    hd_buf_addf(out, "{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s", field->name, path ? "path" : "query",
                path ? "true" : "false");
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        hd_buf_adds(out, ",\"style\":\"form\",\"explode\":false");
    add_description(out, message->name, field->name);
    hd_buf_adds(out, ",\"schema\":{");
    add_field_schema(doc, field);
    hd_buf_adds(out, "}},");
}

static void add_parameters(struct doc *doc, const struct route *route) {
    const ProtobufCMessageDescriptor *message = route->request;
    hd_buf_adds(doc->out, ",\"parameters\":[");
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        bool plain = field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_BYTES;
        if (in_path(route, field->name))
            add_parameter(doc, message, field, true);
        else if (plain && takes_query(route, field->name))
            add_parameter(doc, message, field, false);
    }
    if (route->text)
        hd_buf_adds(doc->out,
                    "{\"name\":\"format\",\"in\":\"query\",\"required\":false,\"description\":\"text: the bytes "
                    "themselves, as with Accept: text/plain\",\"schema\":{\"type\":\"string\",\"enum\":[\"json\","
                    "\"text\"]}},");
    if (!route->open && hd_streq(route->method, "POST"))
        hd_buf_adds(doc->out, "{\"$ref\":\"#/components/parameters/IdempotencyKey\"},");
    if (!route->open)
        hd_buf_adds(doc->out, "{\"$ref\":\"#/components/parameters/Tenant\"},");
    hd_buf_adds(doc->out, "{\"$ref\":\"#/components/parameters/RequestId\"}]");
}

static void add_body(struct doc *doc, const struct route *route) {
    struct hd_buf *out = doc->out;
    if (route->body == BODY_NONE)
        return;
    hd_buf_addf(out, ",\"requestBody\":{\"required\":%s,\"content\":{\"" JSON_TYPE "\":{\"schema\":",
                route->body == BODY_OPTIONAL ? "false" : "true");
    add_message_schema(doc, route->request, route);
    hd_buf_addc(out, '}');
    if (route->body == BODY_PIPELINE)
        hd_buf_adds(
            out, ",\"application/yaml\":{\"schema\":{\"type\":\"string\",\"description\":\"the definition itself\"}}");
    hd_buf_adds(out, "}}");
}

static const struct {
    int status;
    const char *name, *text;
    bool open; // where no token is needed too
    bool body; // only where there is one
} problems[] = {
    {400, "Invalid", "The request makes no sense: `field` says where, `hint` what to do.", true},
    {401, "Unauthenticated", "No token, or one that is not valid (any more); a wrong password.", true},
    {403, "Denied", "The caller may not do this.", false},
    {404, "Missing", "It is not there, or not for the caller.", true},
    {409, "Conflict", "It has changed meanwhile, or the state of things does not allow it.", true},
    {412, "Precondition", "Not possible in the state of things.", true},
    {413, "TooLarge", "The body has more than 2 MiB.", true, .body = true},
    {415, "MediaType", "The body is neither JSON nor, where that is taken, YAML.", true, .body = true},
    {429, "Limited", "A limit of the tenant, or too many requests: `Retry-After` says when to try again.", true},
    {500, "Internal", "An error of the platform itself; its log has more under the request's id.", true},
    {503, "Unavailable", "A service does not answer, and nothing was done: try again after `Retry-After` seconds.",
     true},
    {504, "Timeout", "It took too long and may have been done: try again with the same Idempotency-Key.", true},
};

static void add_responses(struct doc *doc, const struct route *route) {
    struct hd_buf *out = doc->out;
    hd_buf_addf(out, ",\"responses\":{\"%d\":{\"description\":", route->success);
    const char *says = route->success == 204 ? "Done." : comment_of(route->reply->name, NULL);
    add_text(out, says ? says : "Done.");
    if (route->success != 204) {
        hd_buf_adds(out, ",\"content\":{\"" JSON_TYPE "\":{\"schema\":{");
        if (route->verbatim || !route->service) {
            hd_buf_adds(out, "\"type\":\"object\"");
        } else {
            name_message(&doc->named, route->reply);
            add_ref(out, short_name(route->reply->name));
        }
        hd_buf_adds(out, "}}");
        if (route->text)
            hd_buf_adds(out, ",\"text/plain\":{\"schema\":{\"type\":\"string\"}}");
        hd_buf_addc(out, '}');
    }
    hd_buf_addc(out, '}');
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++)
        if ((!route->open || problems[i].open) && (route->body != BODY_NONE || !problems[i].body))
            hd_buf_addf(out, ",\"%d\":{\"$ref\":\"#/components/responses/%s\"}", problems[i].status, problems[i].name);
    hd_buf_addc(out, '}');
}

static void add_operation(struct doc *doc, const struct route *route) {
    struct hd_buf *out = doc->out;
    const char *says = comment_of(route->request->name, NULL);
    hd_buf_addc(out, '"');
    for (const char *p = route->method; *p; p++)
        hd_buf_addc(out, (char)tolower((unsigned char)*p));
    hd_buf_addf(out, "\":{\"operationId\":\"%s\",", route->id ? route->id : route->rpc);
    hd_buf_addf(out, "\"tags\":[\"%s\"],\"summary\":\"", tag_of(route)->name);
    const char *name = route->id ? route->id : route->rpc; // "ListRuns": "List runs"
    for (const char *p = name; *p; p++)
        hd_buf_addf(out, p > name && isupper((unsigned char)*p) ? " %c" : "%c",
                    p > name ? tolower((unsigned char)*p) : *p);
    hd_buf_addc(out, '"');
    HD_AUTO_BUF struct hd_buf text = {0};
    hd_buf_adds(&text, says ? says : "");
    if (route->permission)
        hd_buf_addf(&text, "%sNeeds the permission `%s`.", text.len ? "\n\n" : "", route->permission);
    if (route->platform)
        hd_buf_adds(&text, "\n\nFor administrators of the platform; for others it is not there.");
    if (text.len)
        add_member(out, "description", text.data);
    if (route->open)
        hd_buf_adds(out, ",\"security\":[]");
    add_parameters(doc, route);
    add_body(doc, route);
    add_responses(doc, route);
    hd_buf_addc(out, '}');
}

// Each path once, with all its methods.
static void add_paths(struct doc *doc) {
    const char *separator = "";
    hd_buf_adds(doc->out, ",\"paths\":{");
    for (size_t i = 0; i < gateway_routes_len; i++) {
        const char *path = gateway_routes[i].path, *between = "";
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = hd_streq(gateway_routes[k].path, path);
        if (seen)
            continue;
        hd_buf_addf(doc->out, "%s\"%s\":{", separator, path);
        separator = ",";
        for (size_t k = i; k < gateway_routes_len; k++) {
            if (!hd_streq(gateway_routes[k].path, path))
                continue;
            hd_buf_adds(doc->out, between);
            between = ",";
            add_operation(doc, &gateway_routes[k]);
        }
        hd_buf_addc(doc->out, '}');
    }
    hd_buf_addc(doc->out, '}');
}

// --- components ------------------------------------------------------------------------------------------------------

static const char fixed_schemas[] =
    "\"Int64\":{\"description\":\"A whole number; a text where a double could not hold it exactly (2^53 and above).\","
    "\"oneOf\":[{\"type\":\"integer\",\"format\":\"int64\"},{\"type\":\"string\",\"pattern\":\"^-?[0-9]{1,19}$\"}]},"
    "\"UInt64\":{\"description\":\"A whole number from 0; a text where a double could not hold it exactly (2^53 and "
    "above).\","
    "\"oneOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"string\",\"pattern\":\"^[0-9]{1,20}$\"}]},"
    "\"Problem\":{\"type\":\"object\",\"description\":\"What went wrong (RFC "
    "9457).\",\"required\":[\"type\",\"title\",\"status\",\"detail\"],"
    "\"properties\":{"
    "\"type\":{\"type\":\"string\",\"description\":\"urn:hodei:problem:<kind>; programs go by it\"},"
    "\"title\":{\"type\":\"string\",\"description\":\"the kind, for people\"},"
    "\"status\":{\"type\":\"integer\",\"description\":\"of the answer\"},"
    "\"detail\":{\"type\":\"string\",\"description\":\"what is wrong\"},"
    "\"field\":{\"type\":\"string\",\"description\":\"where in the request\"},"
    "\"hint\":{\"type\":\"string\",\"description\":\"what to do\"},"
    "\"line\":{\"type\":\"integer\",\"description\":\"of the definition, from 1\"},"
    "\"column\":{\"type\":\"integer\",\"description\":\"of the definition, from 1\"},"
    "\"request_id\":{\"type\":\"string\",\"description\":\"by which logs name this request\"}}}";

static const char fixed_parameters[] =
    ",\"parameters\":{"
    "\"IdempotencyKey\":{\"name\":\"Idempotency-Key\",\"in\":\"header\",\"required\":false,\"schema\":{\"type\":"
    "\"string\",\"maxLength\":128},"
    "\"description\":\"The same key with the same request has one effect and one answer, for a day.\"},"
    "\"Tenant\":{\"name\":\"Hodei-Tenant\",\"in\":\"header\",\"required\":false,\"schema\":{\"type\":\"string\"},"
    "\"description\":\"The tenant that is meant; only for administrators of the platform.\"},"
    "\"RequestId\":{\"name\":\"X-Request-Id\",\"in\":\"header\",\"required\":false,\"schema\":{\"type\":\"string\","
    "\"maxLength\":64},"
    "\"description\":\"Taken as the name of this request in logs, and returned; made where it is not given.\"}}";

static void add_components(struct doc *doc) {
    struct hd_buf *out = doc->out;
    hd_buf_adds(out, ",\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}}");
    hd_buf_adds(out, fixed_parameters);
    hd_buf_adds(out, ",\"responses\":{");
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        hd_buf_addf(out, "%s\"%s\":{\"description\":", i ? "," : "", problems[i].name);
        add_text(out, problems[i].text);
        hd_buf_adds(
            out,
            ",\"content\":{\"application/problem+json\":{\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}}}}");
    }
    hd_buf_adds(out, "},\"schemas\":{");
    hd_buf_adds(out, fixed_schemas);
    for (size_t i = 0; i < doc->named.n_messages; i++) { // it grows meanwhile
        hd_buf_addf(out, ",\"%s\":", short_name(doc->named.messages[i]->name));
        add_message_schema(doc, doc->named.messages[i], NULL);
    }
    for (size_t i = 0; i < doc->named.n_enums; i++) {
        hd_buf_addf(out, ",\"%s\":", short_name(doc->named.enums[i]->name));
        add_enum_schema(out, doc->named.enums[i]);
    }
    hd_buf_adds(out, "}}");
}

void openapi_add(struct hd_buf *out) {
    struct doc *doc = hd_calloc(1, sizeof(*doc));
    doc->out = out;
    hd_buf_adds(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Hodei Pipelines\",\"version\":\"" HD_VERSION "\","
                     "\"description\":\"Pipelines, runs, their logs, workers, and who may do what.\"},"
                     "\"servers\":[{\"url\":\"/\"}],\"security\":[{\"token\":[]}]");
    add_tags(out);
    add_paths(doc);
    add_components(doc);
    hd_buf_addc(out, '}');
    free(doc);
}
