// A YAML document as a tree with a place on every node, bounded against hostile input.
//
// YAML 1.2 core schema: only true/false are booleans, and plain yes/no/on/off are texts. Anchors, aliases and merge keys are
// expanded: an alias shares the anchored node, so the tree is a graph without cycles that must not be changed. Refused, with
// line and column: sources above 1 MiB, nesting above 32, expansion above 100,000 nodes, duplicate keys, keys that are no
// scalars, several documents, tags other than those of the core types, NUL in a text. Everything lives in the arena.
#ifndef HD_PIPELINES_YAML_H
#define HD_PIPELINES_YAML_H

#include <stdbool.h>

#include "base/arena.h"

#define PIP_SOURCE_MAX (1u << 20)
#define PIP_DEPTH_MAX 32
#define PIP_EXPANSION_MAX 100000
#define PIP_ANCHORS_MAX 1000

enum pip_kind { PIP_TEXT, PIP_NULL, PIP_BOOL, PIP_INT, PIP_FLOAT, PIP_LIST, PIP_MAP };

struct pip_at { // 1-based; columns count characters
    unsigned line, column;
};
struct pip_entry {
    const char *key;
    struct pip_at at; // of the key
    const struct pip_node *value;
    bool merge; // the key is a plain <<; gone from a complete mapping
};
struct pip_node {
    enum pip_kind kind;
    struct pip_at at;
    unsigned height; // levels of lists and mappings, itself included; 0 for a scalar
    size_t weight;   // nodes in it, itself included, with aliases expanded
    size_t n;        // items, entries, or bytes of the text
    union {
        const char *text; // of every scalar, as written
        const struct pip_node **items;
        struct pip_entry *entries;
    };
};

// `source` needs no terminating NUL. HD_INVALID with line and column.
enum hd_status pip_yaml_parse(struct hd_arena *arena, const char *source, size_t len, struct hd_err *err,
                              const struct pip_node **ret) HD_MUST_USE;
// "a list", "a number", … for messages.
const char *pip_kind_name(enum pip_kind kind);

#endif
