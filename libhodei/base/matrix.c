#include "base/matrix.h"

#include <string.h>

static enum hd_status too_many(struct hd_err *err) {
    hd_err_set(err, HD_INVALID, "the matrix has more than %d combinations", HD_MATRIX_MAX);
    hd_err_hint(err, "take values or axes away, or split the job");
    return HD_INVALID;
}

static enum hd_status count(const struct hd_value *axes, struct hd_err *err, size_t *ret) {
    size_t n = 1;
    if (axes->n > HD_MATRIX_AXES_MAX)
        return hd_err_set(err, HD_INVALID, "the matrix has %zu axes, more than %d", axes->n, HD_MATRIX_AXES_MAX);
    for (size_t i = 0; i < axes->n; i++) {
        if (axes->items[i]->kind != HD_LIST)
            return hd_err_set(err, HD_INVALID, "axis \"%.60s\" of the matrix must be a list, not %s", axes->names[i],
                              hd_kind_name(axes->items[i]->kind));
        if (__builtin_mul_overflow(n, axes->items[i]->n, &n))
            return too_many(err);
    }
    *ret = axes->n ? n : 0;
    return HD_OK;
}

static enum hd_status maps_only(const struct hd_value *list, const char *what, struct hd_err *err) {
    if (list->kind != HD_LIST)
        return hd_err_set(err, HD_INVALID, "%s must be a list of maps, not %s", what, hd_kind_name(list->kind));
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i]->kind != HD_MAP)
            return hd_err_set(err, HD_INVALID, "item %zu of %s must be a map, not %s", i + 1, what,
                              hd_kind_name(list->items[i]->kind));
    return HD_OK;
}

// The combination with this number.
static struct hd_value *combine(struct hd_arena *arena, const struct hd_value *axes, size_t number, size_t room) {
    struct hd_value *map = hd_value_new(arena, HD_MAP, axes->n + room);
    size_t picks[HD_MATRIX_AXES_MAX];
    for (size_t i = axes->n; i-- > 0;) {
        picks[i] = number % axes->items[i]->n;
        number /= axes->items[i]->n;
    }
    for (size_t i = 0; i < axes->n; i++)
        hd_value_set(map, axes->names[i], axes->items[i]->items[picks[i]]);
    return map;
}

static bool has_all(const struct hd_value *map, const struct hd_value *wanted) {
    for (size_t i = 0; i < wanted->n; i++) {
        const struct hd_value *value = hd_value_get(map, wanted->names[i]);
        if (!value || !hd_value_equal(value, wanted->items[i]))
            return false;
    }
    return wanted->n > 0;
}

static bool is_excluded(const struct hd_value *map, const struct hd_value *exclude) {
    for (size_t i = 0; exclude && i < exclude->n; i++)
        if (has_all(map, exclude->items[i]))
            return true;
    return false;
}

// Agrees with every axis that the map names, and it names one.
static bool agrees(const struct hd_value *map, const struct hd_value *axes, const struct hd_value *extra) {
    bool any = false;
    for (size_t i = 0; i < extra->n; i++) {
        if (!hd_value_get(axes, extra->names[i]))
            continue;
        any = true;
        const struct hd_value *value = hd_value_get(map, extra->names[i]);
        if (!value || !hd_value_equal(value, extra->items[i]))
            return false;
    }
    return any;
}

static void add_members(struct hd_value *map, const struct hd_value *axes, const struct hd_value *extra) {
    for (size_t i = 0; i < extra->n; i++) {
        size_t k = 0;
        while (k < map->n && strcmp(map->names[k], extra->names[i]) != 0)
            k++;
        if (k == map->n)
            hd_value_set(map, extra->names[i], extra->items[i]);
        else if (!hd_value_get(axes, extra->names[i]))
            map->items[k] = extra->items[i];
    }
}

static enum hd_status include_all(struct hd_arena *arena, struct hd_value **maps, size_t n_axes_maps,
                                  const struct hd_value *axes, const struct hd_value *include, struct hd_err *err,
                                  struct hd_value *out) {
    for (size_t i = 0; i < include->n; i++) {
        const struct hd_value *extra = include->items[i];
        bool used = false;
        for (size_t k = 0; k < n_axes_maps; k++) {
            if (!agrees(maps[k], axes, extra))
                continue;
            add_members(maps[k], axes, extra);
            used = true;
        }
        if (used)
            continue;
        if (out->n >= HD_MATRIX_MAX)
            return too_many(err);
        struct hd_value *own = hd_value_new(arena, HD_MAP, extra->n);
        add_members(own, axes, extra);
        hd_value_add(out, own);
    }
    return HD_OK;
}

static enum hd_status multiply(struct hd_arena *arena, const struct hd_value *axes, const struct hd_value *include,
                               const struct hd_value *exclude, struct hd_err *err, struct hd_value **ret) {
    size_t n = 0, room = 0, kept = 0;
    HD_TRY(count(axes, err, &n));
    if (n > HD_MATRIX_MAX)
        return too_many(err);
    for (size_t i = 0; include && i < include->n; i++)
        room += include->items[i]->n;
    if (room > 1000)
        return hd_err_set(err, HD_INVALID, "include of the matrix names more than 1000 values");
    struct hd_value *out = hd_value_new(arena, HD_LIST, n + (include ? include->n : 0));
    struct hd_value **maps = HD_NEW_ARRAY(arena, n, struct hd_value *);
    for (size_t i = 0; i < n; i++) {
        struct hd_value *map = combine(arena, axes, i, room);
        if (is_excluded(map, exclude))
            continue;
        maps[kept++] = map;
        hd_value_add(out, map);
    }
    if (include)
        HD_TRY(include_all(arena, maps, kept, axes, include, err, out));
    *ret = out;
    return HD_OK;
}

enum hd_status hd_matrix_expand(struct hd_arena *arena, const struct hd_value *axes, const struct hd_value *include,
                                const struct hd_value *exclude, struct hd_err *err, const struct hd_value **ret) {
    const struct hd_value *given = axes;
    struct hd_value *out = NULL;
    if (include)
        HD_TRY(maps_only(include, "include of the matrix", err));
    if (exclude)
        HD_TRY(maps_only(exclude, "exclude of the matrix", err));
    if (axes->kind == HD_LIST) {
        HD_TRY(maps_only(axes, "the matrix", err));
        if (axes->n + (include ? include->n : 0) > HD_MATRIX_MAX)
            return too_many(err);
        out = hd_value_new(arena, HD_LIST, axes->n + (include ? include->n : 0));
        for (size_t i = 0; i < axes->n; i++)
            if (!is_excluded(axes->items[i], exclude))
                hd_value_add(out, axes->items[i]);
        for (size_t i = 0; include && i < include->n; i++)
            hd_value_add(out, include->items[i]);
    } else if (axes->kind == HD_MAP) {
        HD_TRY(multiply(arena, given, include, exclude, err, &out));
    } else {
        return hd_err_set(err, HD_INVALID, "the matrix must be a map of lists or a list of maps, not %s",
                          hd_kind_name(axes->kind));
    }
    if (out->n == 0) {
        hd_err_set(err, HD_INVALID, "the matrix has no combination");
        hd_err_hint(err, "give each axis a value, and do not exclude them all");
        return HD_INVALID;
    }
    *ret = out;
    return HD_OK;
}
