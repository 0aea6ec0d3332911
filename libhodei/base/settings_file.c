// Settings from a YAML file: one flat mapping, read by libyaml's events.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/settings_impl.h"

#define MAX_DOCUMENT_BYTES (1u << 20)

struct reader {
    struct hd_settings *settings;
    const char *path;
    yaml_parser_t parser;
    struct hd_err *err;
};

static enum hd_status refuse(struct reader *r, yaml_mark_t mark, const char *what) {
    hd_err_set(r->err, HD_INVALID, "%s:%zu:%zu: %s", r->path, mark.line + 1, mark.column + 1, what);
    hd_err_at(r->err, (unsigned)mark.line + 1, (unsigned)mark.column + 1);
    return HD_INVALID;
}

static enum hd_status next_event(struct reader *r, yaml_event_t *ret) {
    if (yaml_parser_parse(&r->parser, ret))
        return HD_OK;
    yaml_mark_t mark = r->parser.problem_mark;
    return refuse(r, mark, r->parser.problem ? r->parser.problem : "not YAML");
}

static bool is_null(const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || hd_streq(text, "~") || hd_streq(text, "null"));
}

static enum hd_status take_pair(struct reader *r, const yaml_event_t *key, const yaml_event_t *value) {
    if (value->type != YAML_SCALAR_EVENT)
        return refuse(r, value->start_mark, "a setting's value must be one text or number");
    const char *name = (const char *)key->data.scalar.value;
    if (key->data.scalar.length != strlen(name) ||
        value->data.scalar.length != strlen((const char *)value->data.scalar.value))
        return refuse(r, key->start_mark, "a text has a zero byte");
    bool file;
    enum hd_status status;
    struct value *found = hd_settings_find(r->settings, name, &file);
    if (!found)
        status = hd_settings_unknown(r->settings, "", name, r->err);
    else if (found->source == FROM_FILE)
        return refuse(r, key->start_mark, "this setting stands in the file twice");
    else
        status = hd_settings_set(found, is_null(value) ? "" : (const char *)value->data.scalar.value, file, FROM_FILE,
                                 r->err);
    if (status != HD_OK) {
        hd_err_wrap(r->err, "%s:%zu:%zu", r->path, key->start_mark.line + 1, key->start_mark.column + 1);
        hd_err_at(r->err, (unsigned)key->start_mark.line + 1, (unsigned)key->start_mark.column + 1);
    }
    return status;
}

static enum hd_status read_pairs(struct reader *r) {
    for (;;) {
        yaml_event_t key, value;
        HD_TRY(next_event(r, &key));
        if (key.type != YAML_SCALAR_EVENT) {
            enum hd_status end = key.type == YAML_MAPPING_END_EVENT
                                     ? HD_OK
                                     : refuse(r, key.start_mark, "the name of a setting is expected here");
            yaml_event_delete(&key);
            return end;
        }
        enum hd_status status = next_event(r, &value);
        if (status == HD_OK) {
            status = take_pair(r, &key, &value);
            yaml_event_delete(&value);
        }
        yaml_event_delete(&key);
        HD_TRY(status);
    }
}

// A file without content is fine; a second document, a list or a lone text is not.
static enum hd_status read_document(struct reader *r) {
    bool seen = false;
    for (;;) {
        yaml_event_t event;
        HD_TRY(next_event(r, &event));
        yaml_event_type_t type = event.type;
        yaml_mark_t mark = event.start_mark;
        bool empty = type == YAML_SCALAR_EVENT && is_null(&event);
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return HD_OK;
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT || type == YAML_DOCUMENT_END_EVENT)
            continue;
        if (seen || (type != YAML_MAPPING_START_EVENT && !empty))
            return refuse(r, mark, "the file must be one list of `name: value` lines");
        seen = true;
        if (!empty)
            HD_TRY(read_pairs(r));
    }
}

static enum hd_status load(const char *path, struct hd_buf *ret, struct hd_err *err) {
    FILE *file = fopen(path, "re");
    if (!file)
        return hd_err_set(err, HD_INVALID, "settings file %s: %s", path, strerror(errno));
    hd_buf_reserve(ret, MAX_DOCUMENT_BYTES + 1);
    ret->len = fread(ret->data, 1, MAX_DOCUMENT_BYTES + 1, file);
    ret->data[ret->len] = '\0';
    bool failed = ferror(file);
    int why = errno;
    fclose(file);
    if (failed)
        return hd_err_set(err, HD_INVALID, "settings file %s: %s", path, strerror(why));
    if (ret->len > MAX_DOCUMENT_BYTES)
        return hd_err_set(err, HD_INVALID, "settings file %s is larger than %u bytes", path, MAX_DOCUMENT_BYTES);
    return HD_OK;
}

enum hd_status hd_settings_read_file(struct hd_settings *settings, const char *path, struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf text = {0};
    HD_TRY(load(path, &text, err));
    struct reader reader = {.settings = settings, .path = path, .err = err};
    if (!yaml_parser_initialize(&reader.parser))
        abort();
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text.data, text.len);
    enum hd_status status = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    return status;
}
