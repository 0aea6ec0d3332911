#include "services/pipelines/yaml.h"

#include <string.h>
#include <yaml.h>

#include "base/buf.h"

#define CORE_TAG "tag:yaml.org,2002:"

struct frame { // a list or mapping that is not complete
    struct pip_node *node;
    size_t cap;
    struct pip_entry key; // of the value that comes next
    bool has_key;
    bool has_merge;
};
struct anchor {
    uint64_t hash;
    const char *name;
    const struct pip_node *node;
};
struct builder {
    struct hd_arena *arena;
    struct hd_err *err;
    const struct pip_node *root;
    struct frame stack[PIP_DEPTH_MAX];
    size_t depth;
    struct anchor *anchors;
    size_t n_anchors, cap_anchors;
    size_t expanded; // nodes that stand in the tree by aliases
    bool done;
};

const char *pip_kind_name(enum pip_kind kind) {
    static const char *const names[] = {
        [PIP_TEXT] = "a text",    [PIP_NULL] = "nothing", [PIP_BOOL] = "true or false", [PIP_INT] = "a number",
        [PIP_FLOAT] = "a number", [PIP_LIST] = "a list",  [PIP_MAP] = "a mapping"};
    return names[kind];
}

static struct pip_at at_mark(yaml_mark_t mark) {
    return (struct pip_at){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static HD_PRINTF(3, 4) enum hd_status fail_at(struct hd_err *err, struct pip_at at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hd_err_setv(err, HD_INVALID, fmt, ap);
    va_end(ap);
    hd_err_at(err, at.line, at.column);
    return HD_INVALID;
}

// --- scalars of the core schema ---------------------------------------------------------------------------------------

static size_t span_digits(const char *p) {
    return strspn(p, "0123456789");
}

static bool is_int(const char *text) {
    if (text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        size_t n = strspn(text + 2, text[1] == 'o' ? "01234567" : "0123456789abcdefABCDEF");
        return n > 0 && text[2 + n] == '\0';
    }
    text += *text == '-' || *text == '+';
    size_t n = span_digits(text);
    return n > 0 && text[n] == '\0';
}

static bool is_float(const char *text) {
    static const char *const special[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    const char *p = text + (*text == '-' || *text == '+');
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if (strcmp(p, special[i]) == 0)
            return i < 3 || p == text; // not-a-number has no sign
    }
    size_t whole = span_digits(p), part = 0;
    p += whole;
    if (*p == '.') {
        part = span_digits(p + 1);
        p += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t n = span_digits(p);
        return n > 0 && p[n] == '\0';
    }
    return *p == '\0';
}

static enum pip_kind plain_kind(const char *text) {
    static const struct {
        const char *text;
        enum pip_kind kind;
    } words[] = {{"", PIP_NULL},      {"~", PIP_NULL},     {"null", PIP_NULL}, {"Null", PIP_NULL},
                 {"NULL", PIP_NULL},  {"true", PIP_BOOL},  {"True", PIP_BOOL}, {"TRUE", PIP_BOOL},
                 {"false", PIP_BOOL}, {"False", PIP_BOOL}, {"FALSE", PIP_BOOL}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i].text) == 0)
            return words[i].kind;
    }
    return is_int(text) ? PIP_INT : is_float(text) ? PIP_FLOAT : PIP_TEXT;
}

// --- mappings ---------------------------------------------------------------------------------------------------------

static int entry_cmp(const void *a, const void *b) {
    const struct pip_entry *x = *(const struct pip_entry *const *)a, *y = *(const struct pip_entry *const *)b;
    int cmp = strcmp(x->key, y->key);
    return cmp ? cmp : (x > y) - (x < y); // both lie in one array: position decides
}

// The entries of one array, by key and then by position.
static const struct pip_entry **sorted(struct builder *b, const struct pip_entry *entries, size_t n) {
    const struct pip_entry **order = HD_NEW_ARRAY(b->arena, n, const struct pip_entry *);
    for (size_t i = 0; i < n; i++)
        order[i] = &entries[i];
    qsort(order, n, sizeof(*order), entry_cmp);
    return order;
}

static enum hd_status refuse_duplicates(struct builder *b, const struct pip_node *map) {
    const struct pip_entry *first = NULL, *again = NULL;

    if (map->n < 2)
        return HD_OK;
    const struct pip_entry **order = sorted(b, map->entries, map->n);
    for (size_t i = 1; i < map->n; i++) {
        if (strcmp(order[i - 1]->key, order[i]->key) == 0 && (!again || order[i] < again)) {
            first = order[i - 1];
            again = order[i];
        }
    }
    if (!again)
        return HD_OK;
    fail_at(b->err, again->at, "the key \"%.100s\" stands twice in one mapping", again->key);
    hd_err_hint(b->err, "the first one is in line %u", first->at.line);
    return HD_INVALID;
}

static enum hd_status merge_one(struct builder *b, struct pip_at at, const struct pip_node *from,
                                struct pip_entry **all, size_t *n, size_t *cap) {
    if (from->kind != PIP_MAP)
        return fail_at(b->err, at, "<< takes a mapping or a list of mappings, not %s", pip_kind_name(from->kind));
    for (size_t i = 0; i < from->n; i++) {
        HD_GROW(b->arena, *all, *n, *cap);
        (*all)[(*n)++] = from->entries[i];
    }
    return HD_OK;
}

// Replaces << by what it names. A key that is written in the mapping itself wins, then the earlier source.
static enum hd_status merge(struct builder *b, struct pip_node *map) {
    struct pip_entry *all = NULL;
    size_t n = 0, cap = 0, kept = 0;

    for (size_t i = 0; i < map->n; i++) {
        if (!map->entries[i].merge) {
            HD_GROW(b->arena, all, n, cap);
            all[n++] = map->entries[i];
        }
    }
    for (size_t i = 0; i < map->n; i++) {
        const struct pip_entry *e = &map->entries[i];
        if (e->merge && e->value->kind != PIP_LIST)
            HD_TRY(merge_one(b, e->at, e->value, &all, &n, &cap));
        for (size_t k = 0; e->merge && e->value->kind == PIP_LIST && k < e->value->n; k++)
            HD_TRY(merge_one(b, e->at, e->value->items[k], &all, &n, &cap));
    }
    if (n) {
        const struct pip_entry **order = sorted(b, all, n);
        for (size_t i = 1; i < n; i++) {
            if (strcmp(order[i - 1]->key, order[i]->key) == 0)
                all[order[i] - all].merge = true; // overridden
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!all[i].merge)
            all[kept++] = all[i];
    }
    map->entries = all;
    map->n = kept;
    return HD_OK;
}

static enum hd_status complete(struct builder *b) {
    struct frame *f = &b->stack[--b->depth];
    struct pip_node *node = f->node;

    if (node->kind == PIP_MAP) {
        HD_TRY(refuse_duplicates(b, node));
        if (f->has_merge)
            HD_TRY(merge(b, node));
    }
    node->weight = 1;
    node->height = 1;
    for (size_t i = 0; i < node->n; i++) {
        const struct pip_node *child = node->kind == PIP_MAP ? node->entries[i].value : node->items[i];
        node->weight += child->weight;
        if (child->height + 1 > node->height)
            node->height = child->height + 1;
    }
    return HD_OK;
}

// --- events -----------------------------------------------------------------------------------------------------------

static void attach(struct builder *b, const struct pip_node *node) {
    struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;

    if (!f) {
        b->root = node;
    } else if (f->node->kind == PIP_LIST) {
        HD_GROW(b->arena, f->node->items, f->node->n, f->cap);
        f->node->items[f->node->n++] = node;
    } else {
        HD_GROW(b->arena, f->node->entries, f->node->n, f->cap);
        f->key.value = node;
        f->node->entries[f->node->n++] = f->key;
        f->has_key = false;
    }
}

static uint64_t hash_text(const char *text) { // FNV-1a
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

static const struct pip_node *anchored(const struct builder *b, const char *name) {
    uint64_t hash = hash_text(name);
    for (size_t i = b->n_anchors; i-- > 0;) {
        if (b->anchors[i].hash == hash && strcmp(b->anchors[i].name, name) == 0)
            return b->anchors[i].node;
    }
    return NULL;
}

static enum hd_status add_anchor(struct builder *b, struct pip_at at, const yaml_char_t *name,
                                 const struct pip_node *node) {
    if (!name)
        return HD_OK;
    if (b->n_anchors == PIP_ANCHORS_MAX)
        return fail_at(b->err, at, "more than %d anchors", PIP_ANCHORS_MAX);
    HD_GROW(b->arena, b->anchors, b->n_anchors, b->cap_anchors);
    const char *copy = hd_arena_strdup(b->arena, (const char *)name);
    b->anchors[b->n_anchors++] = (struct anchor){hash_text(copy), copy, node};
    return HD_OK;
}

static enum hd_status on_alias(struct builder *b, const yaml_event_t *event) {
    const char *name = (const char *)event->data.alias.anchor;
    struct pip_at at = at_mark(event->start_mark);
    const struct pip_node *node = anchored(b, name);

    if (!node)
        return fail_at(b->err, at, "there is no anchor &%.100s above", name);
    if (node->weight == 0) // set when it is complete
        return fail_at(b->err, at, "the alias *%.100s stands inside of what it names", name);
    if (b->depth + node->height > PIP_DEPTH_MAX)
        return fail_at(b->err, at, "nested deeper than %d levels", PIP_DEPTH_MAX);
    b->expanded += node->weight;
    if (b->expanded > PIP_EXPANSION_MAX)
        return fail_at(b->err, at, "aliases expand to more than %d nodes", PIP_EXPANSION_MAX);
    attach(b, node);
    return HD_OK;
}

static enum hd_status check_tag(struct builder *b, struct pip_at at, const yaml_char_t *tag, const char *core) {
    if (!tag || strcmp((const char *)tag, "!") == 0 || strcmp((const char *)tag, core) == 0)
        return HD_OK;
    fail_at(b->err, at, "the tag \"%.100s\" is not supported", (const char *)tag);
    hd_err_hint(b->err, "leave the tag out; quote a value that must be a text");
    return HD_INVALID;
}

static void take_key(struct frame *f, const char *text, struct pip_at at, bool plain) {
    f->key = (struct pip_entry){.key = text, .at = at, .merge = plain && strcmp(text, "<<") == 0};
    f->has_merge |= f->key.merge;
    f->has_key = true;
}

static enum hd_status on_scalar(struct builder *b, const yaml_event_t *event) {
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct pip_at at = at_mark(event->start_mark);
    struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;

    HD_TRY(check_tag(b, at, event->data.scalar.tag, CORE_TAG "str"));
    if (memchr(value, '\0', len))
        return fail_at(b->err, at, "a text may not contain a NUL character");
    const char *text = hd_arena_strndup(b->arena, value, len);
    bool plain = event->data.scalar.plain_implicit && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool is_key = f && f->node->kind == PIP_MAP && !f->has_key;
    if (is_key && !event->data.scalar.anchor) {
        take_key(f, text, at, plain);
        return HD_OK;
    }
    struct pip_node *node = HD_NEW(b->arena, struct pip_node);
    *node =
        (struct pip_node){.kind = plain ? plain_kind(text) : PIP_TEXT, .at = at, .weight = 1, .n = len, .text = text};
    HD_TRY(add_anchor(b, at, event->data.scalar.anchor, node));
    if (is_key)
        take_key(f, text, at, plain);
    else
        attach(b, node);
    return HD_OK;
}

static enum hd_status on_open(struct builder *b, const yaml_event_t *event, enum pip_kind kind) {
    struct pip_at at = at_mark(event->start_mark);
    bool map = kind == PIP_MAP;

    if (b->depth == PIP_DEPTH_MAX)
        return fail_at(b->err, at, "nested deeper than %d levels", PIP_DEPTH_MAX);
    HD_TRY(check_tag(b, at, map ? event->data.mapping_start.tag : event->data.sequence_start.tag,
                     map ? CORE_TAG "map" : CORE_TAG "seq"));
    struct pip_node *node = HD_NEW(b->arena, struct pip_node);
    node->kind = kind;
    node->at = at;
    HD_TRY(add_anchor(b, at, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor, node));
    attach(b, node);
    b->stack[b->depth++] = (struct frame){.node = node};
    return HD_OK;
}

static enum hd_status on_event(struct builder *b, const yaml_event_t *event) {
    struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;
    bool want_key = f && f->node->kind == PIP_MAP && !f->has_key;

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->root)
            return fail_at(b->err, at_mark(event->start_mark), "a second document begins; there may be only one");
        return HD_OK;
    case YAML_ALIAS_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (want_key)
            return fail_at(b->err, at_mark(event->start_mark), "a key must be a text");
        if (event->type == YAML_ALIAS_EVENT)
            return on_alias(b, event);
        return on_open(b, event, event->type == YAML_MAPPING_START_EVENT ? PIP_MAP : PIP_LIST);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return complete(b);
    case YAML_STREAM_END_EVENT:
        b->done = true;
        return HD_OK;
    default:
        return HD_OK;
    }
}

// What libyaml has to say. Its reader names a byte, all else a mark.
static enum hd_status syntax_error(const yaml_parser_t *parser, const char *source, size_t len, struct hd_err *err) {
    struct pip_at at = at_mark(parser->problem_mark);
    const char *problem = parser->problem ? parser->problem : "cannot be read";

    if (parser->error == YAML_MEMORY_ERROR)
        return hd_err_set(err, HD_INTERNAL, "out of memory in the YAML parser");
    if (parser->error == YAML_READER_ERROR) {
        at = (struct pip_at){1, 1};
        for (size_t i = 0; i < len && i < parser->problem_offset; i++) {
            at.column += ((unsigned char)source[i] & 0xC0) != 0x80;
            if (source[i] == '\n')
                at = (struct pip_at){at.line + 1, 1};
        }
    }
    fail_at(err, at, "not YAML: %s%s%s", problem, parser->context ? " " : "", parser->context ? parser->context : "");
    if (strstr(problem, "cannot start any token"))
        hd_err_hint(err, "indent with spaces, not tabs; quote a text that begins with %%, @ or `");
    else if (strstr(problem, "mapping values are not allowed"))
        hd_err_hint(err, "quote a text that contains \": \"");
    return HD_INVALID;
}

enum hd_status pip_yaml_parse(struct hd_arena *arena, const char *source, size_t len, struct hd_err *err,
                              const struct pip_node **ret) {
    struct builder *b = HD_NEW(arena, struct builder);
    yaml_parser_t parser;
    enum hd_status st = HD_OK;

    b->arena = arena;
    b->err = err;
    if (len > PIP_SOURCE_MAX)
        return fail_at(err, (struct pip_at){1, 1}, "the definition has %zu bytes, more than %u", len, PIP_SOURCE_MAX);
    if (!yaml_parser_initialize(&parser))
        return hd_err_set(err, HD_INTERNAL, "out of memory in the YAML parser");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)source, len);
    while (st == HD_OK && !b->done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            st = syntax_error(&parser, source, len, err);
            break;
        }
        st = on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    HD_TRY(st);
    if (!b->root)
        return fail_at(err, (struct pip_at){1, 1}, "the definition is empty");
    *ret = b->root;
    return HD_OK;
}
