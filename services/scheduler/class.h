// Classes of jobs: those of one class require the same, so that one answer holds for all of them. Pure.
//
// A *selector* is what a worker must be (executor, labels, tolerations, not the one to avoid), with the index of the workers that fit it. A *class* is a
// selector and the amounts that are asked for. Both are found by what they say, counted by those that name them, and go with the
// last one.
#ifndef SCH_CLASS_H
#define SCH_CLASS_H

#include "base/map.h"
#include "hodei/v1/flow.pb-c.h"
#include "services/scheduler/index.h"

struct sch_selector {
    struct sch_selector *next;            // same hash
    struct sch_selector *before, *behind; // all of them, in the order made
    uint64_t hash;
    size_t refs; // classes
    struct sch_needs needs;
    struct sch_index index;
    uint64_t built; // the state of the fleet that the index was built for; 0: none
    size_t text_len;
    char text[]; // canonical form; `needs` points into it
};
struct sch_lane;
struct sch_group;
struct sch_age { // of an offer; the smaller one goes first
    int64_t ready_at_ms;
    uint64_t key;
};
struct sch_spot {         // a lane of a class, with what is looked at when the class comes back into the order
    struct sch_age first; // of its offers
    struct sch_group *group;
    struct sch_lane *lane;
};
struct sch_class {
    struct sch_class *next;            // same hash
    struct sch_class *before, *behind; // all of them, in the order made
    uint64_t hash;
    size_t refs; // offers
    struct sch_selector *selector;
    struct hd_resources asks;
    uint32_t number; // small, of no other class
    bool blocked;    // no worker has room: its lanes are out of the order
    struct sch_spot *spots;
    size_t n_spots, cap_spots;
};
struct sch_classes {
    struct hd_map by_text, selectors_by_text;
    struct sch_class *first, *last;
    struct sch_selector *selectors, *selectors_last;
    bool *blocked; // by number, side by side: many are looked at at once
    uint32_t *unused;
    uint32_t n_numbers, n_unused, cap_numbers;
};

struct sch_class *sch_class_get(struct sch_classes *classes, const Hodei__V1__ReadyJob *job);
void sch_class_put(struct sch_classes *classes, struct sch_class *class);
void sch_classes_release(struct sch_classes *classes); // every class must be gone

#endif
