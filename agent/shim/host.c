// What the agent has found out of the machine, and how it wants jobs to run.
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "agent/shim/shim.h"
#include "base/log.h"

static char *copy(const char *text) {
    char *made = strdup(text);
    if (!made)
        abort();
    return made;
}

static void take_user(struct shim_host *host, const Hodei__V1__ShimHost *told) {
    free(HD_STEAL(host->groups));
    host->has_user = told->other_user;
    host->uid = told->uid;
    host->gid = told->gid;
    host->groups = hd_calloc(told->n_groups + 1, sizeof(*host->groups));
    host->n_groups = told->n_groups;
    for (size_t i = 0; i < told->n_groups; i++)
        host->groups[i] = told->groups[i];
}

// Another user enters its workspace by its name, and lists nothing on the way.
static void make_folders(const struct shim *shim) {
    if ((shim->host.keep && mkdir(shim->kept, 0700) != 0 && errno != EEXIST) ||
        (shim->host.has_user && (chmod(shim->state, 0711) != 0 || chmod(shim->work, 0711) != 0)))
        hd_warn("the folders in %s cannot be set up: %s", shim->state, strerror(errno));
}

void host_take(struct shim *shim, const Hodei__V1__ShimHost *told) {
    struct shim_host *host = &shim->host;
    if (host->has_user != (bool)told->other_user || (host->has_user && host->uid != told->uid))
        workspaces_drop_fresh(shim); // they are another user's
    take_user(host, told);
    host->processes_max = told->processes_max;
    host->keep = told->keep;
    host->kept_max = told->kept_max;
    make_folders(shim);
    if (host->told || shim->active.head) // those of living jobs are where they are
        return;
    host->told = true;
    free(host->tree);
    free(host->memory);
    free(host->cpu);
    host->tree = copy(told->tree);
    host->memory = copy(told->memory);
    host->cpu = copy(told->cpu);
    host->tree_limits = told->tree_limits;
    cgroups_init(shim);
}

void host_init(struct shim_host *host) {
    *host = (struct shim_host){.tree = copy(""), .memory = copy(""), .cpu = copy("")};
}

void host_release(struct shim_host *host) {
    free(host->groups);
    free(host->tree);
    free(host->memory);
    free(host->cpu);
}
