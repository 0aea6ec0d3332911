#include "base/scope.h"

#include "base/buf.h"

bool hd_within(const Hodei__V1__Principal *who, const char *project, const char *pipeline) {
    if (!who->narrowed)
        return true;
    for (size_t i = 0; i < who->n_within; i++) {
        const Hodei__V1__Scope *part = who->within[i];
        if (*part->pipeline ? hd_streq(part->pipeline, pipeline) : *part->project && hd_streq(part->project, project))
            return true;
    }
    return false;
}

struct hd_parts hd_parts_of(struct hd_arena *arena, const Hodei__V1__Principal *who) {
    struct hd_parts parts = {.all = !who->narrowed,
                             .projects = HD_NEW_ARRAY(arena, who->n_within + 1, const char *),
                             .pipelines = HD_NEW_ARRAY(arena, who->n_within + 1, const char *)};

    for (size_t i = 0; i < who->n_within && !parts.all; i++) {
        const Hodei__V1__Scope *part = who->within[i];
        if (*part->pipeline)
            parts.pipelines[parts.n_pipelines++] = part->pipeline;
        else if (*part->project)
            parts.projects[parts.n_projects++] = part->project;
    }
    return parts;
}
