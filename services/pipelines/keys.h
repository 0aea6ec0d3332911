// Tables of keys: what a mapping of the pipeline language may hold, and how each value is taken into a struct.
//
// The walker knows the path ("jobs.build.needs[0]"), so that an error names it with line and column. Values are not copied:
// texts point into the tree. Everything that is taken is counted against the largest compiled pipeline, since aliases let a
// small source name a large text many times.
#ifndef HD_PIPELINES_KEYS_H
#define HD_PIPELINES_KEYS_H

#include "base/arena.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/yaml.h"

#define PIP_COMPILED_MAX (3u << 20) // it must fit into one message, with room to spare
#define PIP_NAME_MAX 128
#define PIP_ENV_VALUE_MAX (128u << 10)
#define PIP_ENV_MAX 512 // variables of one mapping

struct pip_step_in_path {
    const char *key; // NULL: an index
    size_t index;
};
struct pip_walk {
    struct hd_arena *arena;
    struct hd_err *err;
    const char *source; // to find an expression within a text
    size_t source_len;
    struct pip_step_in_path path[PIP_DEPTH_MAX + 1];
    size_t n_path;
    size_t taken_bytes;
    bool defaults;         // the mapping is `defaults`
    pip_zone_check *zones; // NULL: every time zone is taken
    void *zones_arg;
};

struct pip_key;
typedef enum hd_status pip_take(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                void *field);
struct pip_key {
    const char *name;
    pip_take *take; // NULL: in the language, but not there yet
    size_t offset;  // of the field in the target
    const void *arg;
    bool required, no_default; // no_default: it has no place in `defaults`
    const char *schema;        // JSON Schema of the value, NULL: follows from `take`
    const char *help;          // for editors, NULL: none
};
struct pip_keys {
    const struct pip_key *rows;
    size_t n;
};
#define PIP_KEYS(table)                                                                                                \
    { (table), sizeof(table) / sizeof((table)[0]) }

struct pip_choice {
    const char *text;
    int value;
    bool later; // in the language, but not there yet
};
struct pip_choices { // as the arg of pip_take_choice
    const struct pip_choice *rows;
    size_t n;
};
struct pip_range { // as the arg of pip_take_int and pip_take_duration
    int64_t min, max;
};
struct pip_env { // as the field of pip_take_env
    Hodei__V1__EnvVar **vars;
    size_t n;
    bool templates; // one of them holds expressions
};
struct pip_argv { // as the field of pip_take_argv
    char **args;
    size_t n;
    bool templates;
};
struct pip_labels { // as the field of pip_take_labels
    Hodei__V1__Label **labels;
    size_t n;
};

// Takes a mapping by its table. Unknown keys name the nearest right one.
enum hd_status pip_walk_map(struct pip_walk *w, const struct pip_node *map, struct pip_keys keys,
                            void *target) HD_MUST_USE;

// Writes the error at `at`, with the walker's path as its field.
enum hd_status pip_fail(struct pip_walk *w, struct pip_at at, const char *fmt, ...) HD_PRINTF(3, 4);
enum hd_status pip_expect(struct pip_walk *w, const struct pip_node *value, enum pip_kind kind) HD_MUST_USE;
void pip_enter_key(struct pip_walk *w, const char *key);
void pip_enter_index(struct pip_walk *w, size_t index);
void pip_leave(struct pip_walk *w);
enum hd_status pip_spend(struct pip_walk *w, struct pip_at at, size_t bytes) HD_MUST_USE;
// A text without expressions. `any_scalar` also takes numbers and true/false, as written.
enum hd_status pip_text(struct pip_walk *w, const struct pip_node *value, bool any_scalar, char **ret) HD_MUST_USE;

// Rows that end in a C string of a POSIX environment name, as pip_take_env checks them.
bool pip_env_name_valid(const char *name);
// Rows of the tables; the comment is the type of the field.
pip_take pip_take_text;     // char *, not empty
pip_take pip_take_name;     // char *, [A-Za-z0-9._-]{1,128}
pip_take pip_take_node;     // const struct pip_node *, for later
pip_take pip_take_choice;   // int32_t
pip_take pip_take_int;      // int32_t
pip_take pip_take_duration; // int64_t, milliseconds
pip_take pip_take_env;      // struct pip_env
pip_take pip_take_argv;     // struct pip_argv
pip_take pip_take_labels;   // struct pip_labels

#endif
