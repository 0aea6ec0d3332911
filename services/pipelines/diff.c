#include "services/pipelines/diff.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/pb.h"
#include "services/pipelines/compile.h"

#define AROUND 3 // lines of context

// --- lines ----------------------------------------------------------------------------------------------------------------

struct lines {
    struct hd_str *items; // each with its newline, but for the last perhaps
    int32_t *ids;         // equal lines of both sides have the same
    size_t n;
};

static struct lines split(struct hd_arena *arena, const char *text) {
    struct lines lines = {0};
    size_t n = 1;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    lines.items = HD_NEW_ARRAY(arena, n, struct hd_str);
    lines.ids = HD_NEW_ARRAY(arena, n, int32_t);
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        len += p[len] == '\n';
        lines.items[lines.n++] = (struct hd_str){p, len};
        p += len;
    }
    return lines;
}

struct numbered {
    const struct lines *side;
    size_t at;
};

static int numbered_cmp(const void *a, const void *b) {
    const struct hd_str *x = &((const struct numbered *)a)->side->items[((const struct numbered *)a)->at],
                        *y = &((const struct numbered *)b)->side->items[((const struct numbered *)b)->at];
    int cmp = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);
    return cmp ? cmp : (x->len > y->len) - (x->len < y->len);
}

static void number(struct hd_arena *arena, struct lines *a, struct lines *b) {
    size_t n = a->n + b->n;
    struct numbered *all = HD_NEW_ARRAY(arena, n, struct numbered);
    int32_t id = 0;
    for (size_t i = 0; i < n; i++)
        all[i] = i < a->n ? (struct numbered){a, i} : (struct numbered){b, i - a->n};
    if (n)
        qsort(all, n, sizeof(*all), numbered_cmp);
    for (size_t i = 0; i < n; i++) {
        id += i && numbered_cmp(&all[i - 1], &all[i]) != 0;
        all[i].side->ids[all[i].at] = id;
    }
}

// --- Myers' greedy algorithm ------------------------------------------------------------------------------------------------

// A stretch that differs: lines [a, a + n_a) of the one became [b, b + n_b) of the other.
struct change {
    size_t a, n_a, b, n_b;
};
struct changes {
    struct hd_arena *arena;
    struct change *items;
    size_t n, cap;
};

static void add_change(struct changes *c, size_t a, size_t n_a, size_t b, size_t n_b) {
    HD_GROW(c->arena, c->items, c->n, c->cap);
    c->items[c->n++] = (struct change){a, n_a, b, n_b};
}

struct search {
    const int32_t *a, *b;                   // after the lines that both begin with
    int32_t n, m;                           // before those that both end with
    int32_t *trace[PIP_DIFF_EDITS_MAX + 1]; // the furthest x of diagonals -d, -d + 2, …, d after d edits
    size_t steps;
};

// The furthest x on diagonal k after d edits, before the equal lines that follow.
static int32_t reach(const struct search *s, int32_t d, int32_t k) {
    if (d == 0)
        return 0;
    const int32_t *before = s->trace[d - 1]; // diagonal j is at (j + d - 1) / 2
    if (k == -d)
        return before[0];
    int32_t right = before[(k + d - 2) / 2] + 1; // from diagonal k - 1: a line of `a` goes
    if (k == d)
        return right;
    int32_t down = before[(k + d) / 2];
    return down >= right ? down : right;
}

// How many edits; -1: more than are looked for.
static int32_t search(struct search *s, struct hd_arena *arena) {
    for (int32_t d = 0; d <= PIP_DIFF_EDITS_MAX; d++) {
        int32_t *row = s->trace[d] = HD_NEW_ARRAY(arena, (size_t)d + 1, int32_t);
        for (int32_t k = -d; k <= d; k += 2) {
            int32_t x = reach(s, d, k), y = x - k;
            while (x < s->n && y >= 0 && y < s->m && s->a[x] == s->b[y]) {
                x++;
                y++;
                s->steps++;
            }
            row[(k + d) / 2] = x;
            if (x >= s->n && y >= s->m)
                return d;
            if (++s->steps > PIP_DIFF_STEPS_MAX)
                return -1;
        }
    }
    return -1;
}

// From the end to the start: the edits, in reverse order, gathered to changes.
static void walk_back(const struct search *s, int32_t d, size_t skip, struct changes *out) {
    int32_t x = s->n, y = s->m, end_x = 0, end_y = 0;
    bool open = false;
    for (; d > 0; d--) {
        int32_t k = x - y, from = reach(s, d, k), edge = from - k; // (from, edge): right after the edit
        if (open && (x != from || y != edge)) {                    // equal lines between this edit and the one after it
            add_change(out, skip + (size_t)x, (size_t)(end_x - x), skip + (size_t)y, (size_t)(end_y - y));
            open = false;
        }
        if (!open) {
            end_x = from;
            end_y = edge;
            open = true;
        }
        bool down = k == -d || (k != d && s->trace[d - 1][(k + d) / 2] >= s->trace[d - 1][(k + d - 2) / 2] + 1);
        x = down ? from : from - 1;
        y = down ? edge - 1 : edge;
    }
    if (open)
        add_change(out, skip + (size_t)x, (size_t)(end_x - x), skip + (size_t)y, (size_t)(end_y - y));
}

static struct changes compare(struct hd_arena *arena, const struct lines *a, const struct lines *b) {
    struct changes out = {.arena = arena};
    struct search *s = HD_NEW(arena, struct search);
    size_t skip = 0, tail = 0, least = a->n < b->n ? a->n : b->n;
    while (skip < least && a->ids[skip] == b->ids[skip])
        skip++;
    while (tail < least - skip && a->ids[a->n - 1 - tail] == b->ids[b->n - 1 - tail])
        tail++;
    *s = (struct search){.a = a->ids + skip, .b = b->ids + skip};
    s->n = (int32_t)(a->n - skip - tail);
    s->m = (int32_t)(b->n - skip - tail);
    int32_t edits = search(s, arena);
    if (edits > 0)
        walk_back(s, edits, skip, &out);
    else if (edits < 0)
        add_change(&out, skip, (size_t)s->n, skip, (size_t)s->m);
    for (size_t i = 0; i < out.n / 2; i++) {
        struct change swap = out.items[i];
        out.items[i] = out.items[out.n - 1 - i];
        out.items[out.n - 1 - i] = swap;
    }
    return out;
}

// --- the unified format -------------------------------------------------------------------------------------------------------

static void add_line(struct hd_buf *out, char sign, struct hd_str line) {
    hd_buf_addc(out, sign);
    hd_buf_add(out, line.ptr, line.len);
    if (line.len == 0 || line.ptr[line.len - 1] != '\n')
        hd_buf_adds(out, "\n\\ No newline at end of file\n");
}

static void add_range(struct hd_buf *out, char sign, size_t start, size_t n) {
    hd_buf_addf(out, n == 1 ? "%c%zu" : "%c%zu,%zu", sign, start + (n > 0), n);
}

// Changes [first, end) with the lines around them.
static void add_hunk(struct hd_buf *out, const struct lines *a, const struct lines *b, const struct change *first,
                     const struct change *end) {
    size_t before = first->a < AROUND ? first->a : AROUND;
    size_t left = a->n - (end[-1].a + end[-1].n_a), after = left < AROUND ? left : AROUND;
    size_t start_a = first->a - before, start_b = first->b - before;
    hd_buf_adds(out, "@@ ");
    add_range(out, '-', start_a, end[-1].a + end[-1].n_a + after - start_a);
    hd_buf_addc(out, ' ');
    add_range(out, '+', start_b, end[-1].b + end[-1].n_b + after - start_b);
    hd_buf_adds(out, " @@\n");
    size_t at = start_a;
    for (const struct change *c = first; c < end && out->len <= PIP_DIFF_MAX; c++) {
        for (; at < c->a; at++)
            add_line(out, ' ', a->items[at]);
        for (size_t i = 0; i < c->n_a && out->len <= PIP_DIFF_MAX; i++)
            add_line(out, '-', a->items[c->a + i]);
        for (size_t i = 0; i < c->n_b && out->len <= PIP_DIFF_MAX; i++)
            add_line(out, '+', b->items[c->b + i]);
        at = c->a + c->n_a;
    }
    for (size_t i = 0; i < after; i++)
        add_line(out, ' ', a->items[at + i]);
}

const char *pip_diff_text(struct hd_arena *arena, const struct pip_side *from, const struct pip_side *to,
                          bool *ret_truncated) {
    HD_AUTO_BUF struct hd_buf out = {0};
    struct hd_arena scratch;
    *ret_truncated = false;
    if (strcmp(from->source, to->source) == 0)
        return "";
    hd_arena_init(&scratch);
    struct lines a = split(&scratch, from->source), b = split(&scratch, to->source);
    number(&scratch, &a, &b);
    struct changes changes = compare(&scratch, &a, &b);
    hd_buf_addf(&out, "--- %s\n+++ %s\n", from->label, to->label);
    for (size_t i = 0, end; i < changes.n && out.len <= PIP_DIFF_MAX; i = end) {
        for (end = i + 1; end < changes.n; end++)
            if (changes.items[end].a - (changes.items[end - 1].a + changes.items[end - 1].n_a) > 2 * AROUND)
                break;
        add_hunk(&out, &a, &b, &changes.items[i], &changes.items[end]);
    }
    hd_arena_release(&scratch);
    if (out.len > PIP_DIFF_MAX) {
        *ret_truncated = true;
        out.len = PIP_DIFF_MAX;
        while (out.len && out.data[out.len - 1] != '\n')
            out.len--;
    }
    return hd_arena_strndup(arena, out.data, out.len);
}

// --- what they mean -----------------------------------------------------------------------------------------------------------

static const Hodei__V1__CompiledPipeline *compiled(struct hd_arena *arena, const char *source) {
    Hodei__V1__CompiledPipeline *p = NULL;
    struct hd_err err;
    if (*source && pip_compile(arena, source, strlen(source), &err, &p) == HD_OK)
        return p;
    p = (Hodei__V1__CompiledPipeline *)hd_pb_new(arena, &hodei__v1__compiled_pipeline__descriptor);
    return p;
}

static bool same(struct hd_arena *arena, const ProtobufCMessage *a, const ProtobufCMessage *b) {
    uint8_t *x, *y;
    size_t n, m;
    if (!a || !b)
        return a == b;
    hd_pb_pack(arena, a, &x, &n);
    hd_pb_pack(arena, b, &y, &m);
    return n == m && memcmp(x, y, n) == 0;
}

static bool same_needs(const Hodei__V1__CompiledPipeline *p, const Hodei__V1__CompiledJob *a,
                       const Hodei__V1__CompiledPipeline *q, const Hodei__V1__CompiledJob *b) {
    if (a->n_needs != b->n_needs)
        return false;
    for (size_t i = 0; i < a->n_needs; i++)
        if (strcmp(p->jobs[a->needs[i]]->name, q->jobs[b->needs[i]]->name) != 0)
            return false;
    return true;
}

static bool is_last(const Hodei__V1__CompiledPipeline *p, size_t index) {
    return index >= p->n_main;
}

static bool same_job(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *p, size_t i,
                     const Hodei__V1__CompiledPipeline *q, size_t k) {
    Hodei__V1__CompiledJob a = *p->jobs[i], b = *q->jobs[k];
    a.n_needs = a.n_dependents = b.n_needs = b.n_dependents = 0; // indexes: they move with the other jobs
    return is_last(p, i) == is_last(q, k) && same_needs(p, p->jobs[i], q, q->jobs[k]) && same(arena, &a.base, &b.base);
}

struct named_job {
    const char *name;
    size_t index;
};

static int named_cmp(const void *a, const void *b) {
    return strcmp(((const struct named_job *)a)->name, ((const struct named_job *)b)->name);
}

static const struct named_job *find(const struct named_job *sorted, size_t n, const char *name) {
    const struct named_job key = {.name = name};
    return n ? bsearch(&key, sorted, n, sizeof(key), named_cmp) : NULL;
}

static struct named_job *by_name(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *p) {
    struct named_job *all = HD_NEW_ARRAY(arena, p->n_jobs, struct named_job);
    for (size_t i = 0; i < p->n_jobs; i++)
        all[i] = (struct named_job){p->jobs[i]->name, i};
    if (p->n_jobs)
        qsort(all, p->n_jobs, sizeof(*all), named_cmp);
    return all;
}

static void compare_jobs(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *p,
                         const Hodei__V1__CompiledPipeline *q, Hodei__V1__DiffPipelineReply *ret) {
    struct named_job *old = by_name(arena, p), *new = by_name(arena, q);
    ret->jobs_added = HD_NEW_ARRAY(arena, q->n_jobs, char *);
    ret->jobs_changed = HD_NEW_ARRAY(arena, q->n_jobs, char *);
    ret->jobs_removed = HD_NEW_ARRAY(arena, p->n_jobs, char *);
    for (size_t k = 0; k < q->n_jobs; k++) {
        char *name = hd_arena_strdup(arena, q->jobs[k]->name);
        const struct named_job *before = find(old, p->n_jobs, name);
        if (!before)
            ret->jobs_added[ret->n_jobs_added++] = name;
        else if (!same_job(arena, p, before->index, q, k))
            ret->jobs_changed[ret->n_jobs_changed++] = name;
    }
    for (size_t i = 0; i < p->n_jobs; i++)
        if (!find(new, q->n_jobs, p->jobs[i]->name))
            ret->jobs_removed[ret->n_jobs_removed++] = hd_arena_strdup(arena, p->jobs[i]->name);
}

// One key of the pipeline at a time: all else of it is left out.
static void compare_keys(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *p,
                         const Hodei__V1__CompiledPipeline *q, Hodei__V1__DiffPipelineReply *ret) {
    static char *const names[] = {"name", "on", "inputs", "timeout", "concurrency"};
    enum { N = sizeof(names) / sizeof(*names) };
    ret->keys_changed = HD_NEW_ARRAY(arena, N, char *);
    for (size_t i = 0; i < N; i++) {
        const Hodei__V1__CompiledPipeline *sides[] = {p, q};
        Hodei__V1__CompiledPipeline parts[2];
        for (int k = 0; k < 2; k++) {
            hodei__v1__compiled_pipeline__init(&parts[k]);
            if (i == 0) {
                parts[k].name = sides[k]->name;
            } else if (i == 1) {
                parts[k].cron = sides[k]->cron;
                parts[k].n_cron = sides[k]->n_cron;
                parts[k].on_pipeline = sides[k]->on_pipeline;
                parts[k].n_on_pipeline = sides[k]->n_on_pipeline;
            } else if (i == 2) {
                parts[k].inputs = sides[k]->inputs;
                parts[k].n_inputs = sides[k]->n_inputs;
            } else if (i == 3) {
                parts[k].timeout_ms = sides[k]->timeout_ms;
            } else {
                parts[k].concurrency = sides[k]->concurrency;
            }
        }
        if (!same(arena, &parts[0].base, &parts[1].base))
            ret->keys_changed[ret->n_keys_changed++] = names[i];
    }
}

void pip_diff(struct hd_arena *arena, const struct pip_side *from, const struct pip_side *to,
              Hodei__V1__DiffPipelineReply *ret) {
    bool truncated;
    ret->diff = (char *)(uintptr_t)pip_diff_text(arena, from, to, &truncated);
    ret->truncated = truncated;
    const Hodei__V1__CompiledPipeline *p = compiled(arena, from->source), *q = compiled(arena, to->source);
    compare_jobs(arena, p, q, ret);
    compare_keys(arena, p, q, ret);
}
