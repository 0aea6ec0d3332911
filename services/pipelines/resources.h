// The keys of a job that say where it may run: `resources` and `tolerations`. Rows for the table of a job's keys.
#ifndef HD_PIPELINES_RESOURCES_H
#define HD_PIPELINES_RESOURCES_H

#include "services/pipelines/keys.h"

struct pip_tolerations { // as the field of pip_take_tolerations
    Hodei__V1__Toleration **list;
    size_t n;
};

extern const struct pip_keys pip_resource_keys, pip_toleration_keys;
pip_take pip_take_resources;   // Hodei__V1__Resources *; stays NULL where nothing is asked for
pip_take pip_take_tolerations; // struct pip_tolerations

#endif
