#include "services/scheduler/class.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

// --- the canonical form of a selector --------------------------------------------------------------------------------

static int pair_order(const void *a, const void *b) {
    const struct sch_pair *x = a, *y = b;
    int keys = strcmp(x->key, y->key);
    return keys ? keys : strcmp(x->value, y->value);
}

static void add_pairs(struct hd_buf *out, struct sch_pair *pairs, size_t n) {
    if (n > 1)
        qsort(pairs, n, sizeof(*pairs), pair_order);
    hd_buf_add(out, &n, sizeof(n));
    for (size_t i = 0; i < n; i++) {
        hd_buf_add(out, pairs[i].key, strlen(pairs[i].key) + 1);
        hd_buf_add(out, pairs[i].value, strlen(pairs[i].value) + 1);
    }
}

// Executor, the worker to avoid, then the sorted labels and tolerations, each list behind its length and each text with its NUL:
// equal bytes are equal requirements.
static void selector_text(const Hodei__V1__ReadyJob *job, struct hd_buf *out) {
    struct sch_pair *pairs = hd_calloc(job->n_labels + job->n_tolerations + 1, sizeof(*pairs));
    hd_buf_addc(out, (char)job->executor);
    hd_buf_add(out, job->avoid_worker, strlen(job->avoid_worker) + 1);
    for (size_t i = 0; i < job->n_labels; i++)
        pairs[i] = (struct sch_pair){job->labels[i]->key, job->labels[i]->value};
    add_pairs(out, pairs, job->n_labels);
    for (size_t i = 0; i < job->n_tolerations; i++)
        pairs[i] = (struct sch_pair){job->tolerations[i]->key, job->tolerations[i]->value};
    add_pairs(out, pairs, job->n_tolerations);
    free(pairs);
}

static const char *read_pairs(const char *at, struct sch_pairs *ret) {
    memcpy(&ret->n, at, sizeof(ret->n));
    at += sizeof(ret->n);
    ret->list = hd_calloc(ret->n + 1, sizeof(*ret->list));
    for (size_t i = 0; i < ret->n; i++) {
        ret->list[i].key = at;
        at += strlen(at) + 1;
        ret->list[i].value = at;
        at += strlen(at) + 1;
    }
    return at;
}

static struct sch_selector *selector_get(struct sch_classes *classes, const Hodei__V1__ReadyJob *job) {
    HD_AUTO_BUF struct hd_buf text = {0};
    selector_text(job, &text);
    uint64_t hash = hd_hash(text.data, text.len, 1);
    struct sch_selector *first = hd_map_get(&classes->selectors_by_text, hash), *s = first;
    while (s && (s->text_len != text.len || memcmp(s->text, text.data, text.len) != 0))
        s = s->next;
    if (!s) {
        s = hd_calloc(1, sizeof(*s) + text.len);
        memcpy(s->text, text.data, text.len);
        s->text_len = text.len;
        s->hash = hash;
        s->needs.executor = (int)job->executor;
        s->needs.avoid = s->text[1] ? s->text + 1 : NULL;
        read_pairs(read_pairs(s->text + 2 + strlen(s->text + 1), &s->needs.labels), &s->needs.tolerations);
        s->next = first;
        hd_map_put(&classes->selectors_by_text, hash, s);
        s->before = classes->selectors_last;
        *(classes->selectors_last ? &classes->selectors_last->behind : &classes->selectors) = s;
        classes->selectors_last = s;
    }
    s->refs++;
    return s;
}

static void selector_put(struct sch_classes *classes, struct sch_selector *selector) {
    if (--selector->refs)
        return;
    struct sch_selector *first = hd_map_get(&classes->selectors_by_text, selector->hash), **at = &first;
    while (*at != selector)
        at = &(*at)->next;
    *at = selector->next;
    if (first)
        hd_map_put(&classes->selectors_by_text, selector->hash, first);
    else
        hd_map_remove(&classes->selectors_by_text, selector->hash);
    *(selector->before ? &selector->before->behind : &classes->selectors) = selector->behind;
    *(selector->behind ? &selector->behind->before : &classes->selectors_last) = selector->before;
    sch_index_release(&selector->index);
    free(selector->needs.labels.list);
    free(selector->needs.tolerations.list);
    free(selector);
}

// --- numbers ---------------------------------------------------------------------------------------------------------

static uint32_t number_get(struct sch_classes *classes) {
    if (classes->n_unused)
        return classes->unused[--classes->n_unused];
    if (classes->n_numbers == classes->cap_numbers) {
        uint32_t cap = classes->cap_numbers ? classes->cap_numbers * 2 : 64;
        bool *blocked = hd_calloc(cap, sizeof(*blocked));
        if (classes->n_numbers)
            memcpy(blocked, classes->blocked, classes->n_numbers * sizeof(*blocked));
        free(classes->blocked);
        free(classes->unused); // empty here
        classes->blocked = blocked;
        classes->unused = hd_calloc(cap, sizeof(*classes->unused));
        classes->cap_numbers = cap;
    }
    return classes->n_numbers++;
}

static void number_put(struct sch_classes *classes, uint32_t number) {
    classes->blocked[number] = false;
    classes->unused[classes->n_unused++] = number;
}

// --- classes ---------------------------------------------------------------------------------------------------------

struct sch_class *sch_class_get(struct sch_classes *classes, const Hodei__V1__ReadyJob *job) {
    struct sch_selector *selector = selector_get(classes, job);
    struct hd_resources asks = hd_resources_read(job->resources);
    uint64_t hash = hd_hash(&asks, sizeof(asks), selector->hash);
    struct sch_class *first = hd_map_get(&classes->by_text, hash), *c = first;
    while (c && (c->selector != selector || memcmp(&c->asks, &asks, sizeof(asks)) != 0))
        c = c->next;
    if (c) {
        selector_put(classes, selector);
    } else {
        c = hd_calloc(1, sizeof(*c));
        c->hash = hash;
        c->selector = selector;
        c->asks = asks;
        c->number = number_get(classes);
        c->next = first;
        hd_map_put(&classes->by_text, hash, c);
        c->before = classes->last;
        *(classes->last ? &classes->last->behind : &classes->first) = c;
        classes->last = c;
    }
    c->refs++;
    return c;
}

void sch_class_put(struct sch_classes *classes, struct sch_class *class) {
    if (--class->refs)
        return;
    struct sch_class *first = hd_map_get(&classes->by_text, class->hash), **at = &first;
    while (*at != class)
        at = &(*at)->next;
    *at = class->next;
    if (first)
        hd_map_put(&classes->by_text, class->hash, first);
    else
        hd_map_remove(&classes->by_text, class->hash);
    *(class->before ? &class->before->behind : &classes->first) = class->behind;
    *(class->behind ? &class->behind->before : &classes->last) = class->before;
    number_put(classes, class->number);
    selector_put(classes, class->selector);
    free(class->spots);
    free(class);
}

void sch_classes_release(struct sch_classes *classes) {
    hd_map_release(&classes->by_text);
    hd_map_release(&classes->selectors_by_text);
    free(classes->blocked);
    free(classes->unused);
    *classes = (struct sch_classes){0};
}
