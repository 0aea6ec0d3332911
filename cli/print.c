// An answer of the API as -o asks for it.
#include <stdio.h>

#include <yaml.h>

#include "base/pb.h"
#include "cli/cli.h"

// --- YAML ------------------------------------------------------------------------------------------------------------

// What no reader takes for anything but a text, so that it needs no quotes.
static bool plain(const char *text) {
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/");
    bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(text, words[i]) == 0)
            return false;
    return letter && !text[len];
}

static bool emit(yaml_emitter_t *emitter, yaml_event_t *event, int made) {
    return made && yaml_emitter_emit(emitter, event);
}

static bool emit_scalar(yaml_emitter_t *emitter, const char *text, bool bare) {
    yaml_event_t event;
    bool lines = strchr(text, '\n');
    yaml_scalar_style_t style = bare    ? YAML_PLAIN_SCALAR_STYLE
                                : lines ? YAML_LITERAL_SCALAR_STYLE
                                        : YAML_SINGLE_QUOTED_SCALAR_STYLE;
    return emit(emitter, &event,
                yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, -1, bare, !bare, style));
}

static bool emit_value(yaml_emitter_t *emitter, const cJSON *value) {
    yaml_event_t event;
    bool list = cJSON_IsArray(value);
    if (cJSON_IsString(value))
        return emit_scalar(emitter, value->valuestring, plain(value->valuestring));
    if (!list && !cJSON_IsObject(value)) {
        char *text = cJSON_PrintUnformatted(value);
        bool done = emit_scalar(emitter, text ? text : "null", true);
        free(text);
        return done;
    }
    if (!emit(emitter, &event,
              list ? yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE)
                   : yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE)))
        return false;
    for (const cJSON *item = value->child; item; item = item->next)
        if ((!list && !emit_scalar(emitter, item->string, plain(item->string))) || !emit_value(emitter, item))
            return false;
    return emit(emitter, &event,
                list ? yaml_sequence_end_event_initialize(&event) : yaml_mapping_end_event_initialize(&event));
}

static void print_yaml(const cJSON *value) {
    yaml_emitter_t emitter;
    yaml_event_t event;

    if (!yaml_emitter_initialize(&emitter))
        abort();
    yaml_emitter_set_output_file(&emitter, stdout);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    bool done = emit(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING)) &&
                emit(&emitter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1)) &&
                emit_value(&emitter, value) && emit(&emitter, &event, yaml_document_end_event_initialize(&event, 1)) &&
                emit(&emitter, &event, yaml_stream_end_event_initialize(&event));
    if (!done)
        fprintf(stderr, "error: the answer cannot be written as YAML: %s\n", emitter.problem ? emitter.problem : "");
    yaml_emitter_delete(&emitter);
}

// --- names -----------------------------------------------------------------------------------------------------------

// By which the other commands know it.
static const char *name_of(const cJSON *object) {
    static const char *const members[] = {"id", "name", "run"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (*j_text(object, members[i]))
            return j_text(object, members[i]);
    return "";
}

static void print_names(const cJSON *value) {
    const cJSON *list = value->child;
    if (*name_of(value)) {
        puts(name_of(value));
        return;
    }
    while (list && !cJSON_IsArray(list))
        list = list->next;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
        puts(cJSON_IsString(item) ? item->valuestring : name_of(item));
}

void cli_print(const struct cli *cli, const cJSON *value) {
    if (cli->format == CLI_YAML) {
        print_yaml(value);
        return;
    }
    if (cli->format == CLI_NAME) {
        print_names(value);
        return;
    }
    char *text = cJSON_Print(value);
    puts(text ? text : "{}");
    free(text);
}
